use std::ffi::OsString;

use clap::{Command as Clap, CommandFactory as _};

use super::grammar::Cli;
use super::{Name, name, topic};

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

#[test]
fn the_grammar_is_consistent() {
    Cli::command().debug_assert();
}

#[test]
fn the_name_decides_what_is_run() {
    let table = [
        ("pfs list repo", Name::Pfs),
        ("/usr/bin/pachctl list-repo", Name::Pachctl),
        ("/sbin/mount.pfs images /mnt -o ro", Name::MountHelper),
        ("/sbin/mount.fuse.pfs images /mnt -o ro", Name::MountHelper),
        ("pfs images@master /mnt -o ro", Name::MountHelper),
        ("pfs mount /mnt -o ro", Name::Pfs),
    ];
    for (line, expected) in table {
        assert_eq!(name(&words(line)), expected, "{line}");
    }
}

/// Calls `visit` with every command that does something.
fn leaves(command: &Clap, path: &str, visit: &mut impl FnMut(&Clap, &str)) {
    let path = format!("{path}{}{}", if path.is_empty() { "" } else { " " }, command.get_name());
    if !command.has_subcommands() {
        visit(command, &path);
    }
    for sub in command.get_subcommands() {
        leaves(sub, &path, visit);
    }
}

#[test]
fn every_command_says_what_it_does_and_shows_an_example() {
    leaves(&Cli::command(), "", &mut |command, path| {
        if command.is_hide_set() && command.get_arguments().all(clap::Arg::is_hide_set) {
            return;
        }
        assert!(command.get_about().is_some(), "{path} has no description");
        let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(after.starts_with("Example"), "{path} has no example");
        for argument in command.get_arguments() {
            let name = argument.get_id();
            assert!(argument.get_help().is_some(), "{path}: {name} is not described");
        }
    });
}

#[test]
fn every_verb_shows_an_example() {
    for verb in Cli::command().get_subcommands().filter(|verb| verb.has_subcommands()) {
        let after = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
        assert!(after.starts_with("Example"), "{} has no example", verb.get_name());
    }
}

#[test]
fn every_noun_is_a_topic_of_help() {
    for noun in ["repo", "commits", "file", "job", "pipeline", "branch", "secret"] {
        let text = topic::asked(&words(&format!("pachctl help {noun}"))).unwrap().to_string();
        let noun = noun.trim_end_matches('s');
        assert!(text.contains(&format!("pfs inspect {noun} ")), "{text}");
    }
    assert_eq!(topic::asked(&words("pfs help serve")), None);
    assert_eq!(topic::asked(&words("pfs list repo help")), None);
}

/// Long help of every command that is shown, one after the other.
fn help(command: &mut Clap, path: &str, text: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = command.get_name().to_owned();
    let path = if path.is_empty() { name } else { format!("{path} {name}") };
    text.push_str(&format!("==== {path}\n\n{}\n", command.render_long_help()));
    command.get_subcommands_mut().for_each(|sub| help(sub, &path, text));
}

#[test]
fn the_help_of_everything() {
    let mut root = Cli::command().term_width(100).mut_args(|arg| match arg.get_id().as_str() {
        // Those shown with every command, once.
        "address" | "project" | "verbose" | "no_color" | "rpc_timeout" => arg.hide(true),
        _ => arg,
    });
    root.build();
    let mut text = String::new();
    help(&mut root, "", &mut text);
    insta::assert_snapshot!("help", text);
}

#[test]
fn nouns_may_be_singular_or_plural() {
    let mut root = Cli::command();
    root.build();
    for verb in root.get_subcommands().filter(|verb| verb.get_name() != "help") {
        for noun in verb.get_subcommands().filter(|noun| noun.get_name() != "help") {
            if matches!(noun.get_name(), "all" | "get" | "set") {
                continue;
            }
            let mut names = noun.get_all_aliases().chain([noun.get_name()]);
            let plural = names.any(|name| name.ends_with('s'));
            assert!(plural, "{} {}", verb.get_name(), noun.get_name());
        }
    }
}
