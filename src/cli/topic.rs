//! `help repo`, `help commit`, …: the commands about one kind of thing.

use std::ffi::OsString;
use std::fmt::Write as _;

use clap::CommandFactory as _;
use clap::builder::StyledStr;

use super::grammar::Cli;

/// What each topic is about.
const TOPICS: [(&str, &str); 10] = [
    ("project", "A project is a name space for repos and pipelines."),
    ("repo", "A repo is a directory whose states are kept: its commits."),
    ("branch", "A branch is a name for the newest commit of a line of commits."),
    ("commit", "A commit is a state of a repo. It never changes once it is finished."),
    ("file", "Files are named REPO@REF:PATH, where REF is a branch or a commit."),
    ("pipeline", "A pipeline runs a program on what is new whenever a commit finishes."),
    ("job", "A job is one run of a pipeline. It has the id of the commit it writes."),
    ("datum", "A datum is what a program of a pipeline sees at a time."),
    ("secret", "A secret holds values that programs of pipelines need and nobody else."),
    ("transaction", "A transaction is what a writable mount has not committed yet."),
];

/// The text for `help TOPIC`; `None` when something else was asked for.
pub fn asked(args: &[OsString]) -> Option<StyledStr> {
    let words: Vec<_> = args.iter().skip(1).filter_map(|arg| arg.to_str()).collect();
    let words: Vec<_> = words.into_iter().filter(|word| !word.starts_with('-')).collect();
    let ["help", word] = words[..] else { return None };
    let plural = |name: &str| ["s", "es"].iter().any(|end| word.strip_suffix(end) == Some(name));
    let topic = |(name, _): &&(&str, &str)| word == *name || plural(name);
    let (name, about) = TOPICS.iter().find(topic)?;
    Some(text(name, about).into())
}

fn text(name: &str, about: &str) -> String {
    let mut text = format!("{about}\n\nCommands:\n");
    for verb in Cli::command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        for noun in verb.get_subcommands().filter(|noun| noun.get_name() == name) {
            let command = format!("pfs {} {name}", verb.get_name());
            let about = noun.get_about().map(ToString::to_string).unwrap_or_default();
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {command:<28} {about}");
        }
    }
    text.push_str("\n'pfs help VERB NOUN' tells more of each.\n");
    text
}
