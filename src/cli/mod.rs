//! The command line: both grammars, on top of the gRPC API alone.
//!
//! Arguments are what was typed; each command's `run` gives them their
//! meaning. Only this module prints.

mod agent;
mod branch;
mod cluster;
mod commit;
mod completion;
mod config;
mod context;
pub mod csi;
mod datum;
mod defaults;
mod delete_all;
mod deploy;
mod dialect;
mod direct;
mod failure;
mod file;
mod fsck;
mod grammar;
mod guard;
mod job;
mod keeper;
mod logging;
mod logs;
mod metrics;
mod mount;
mod output;
mod pipeline;
mod places;
mod prelude;
mod project;
mod repo;
mod secret;
mod serve;
mod show;
mod stats;
mod topic;
mod transaction;
mod verbs;
mod version;
mod warm;

use std::ffi::{OsStr, OsString};
use std::io::{self, Write as _};
use std::path::Path;

use anstyle::{AnsiColor, Style};
use clap::Parser as _;
use clap::builder::StyledStr;

use config::Config;
use context::{Context, Era};
pub use failure::{Exit, Failure, Outcome};
use grammar::{Cli, Command, Globals, NativeCli};
use output::{Named, STDOUT};

/// Runs one command line, the program's name first; prints its error.
///
/// Not asynchronous: what is awaited inside is compiled here, and not once more
/// with each program that runs it.
#[must_use]
pub fn main(args: Vec<OsString>) -> Exit {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread().enable_all().build() else {
        return Exit::Failure;
    };
    let exit = runtime.block_on(run(args));
    // A thread that waits for standard input would keep the process alive.
    runtime.shutdown_background();
    exit
}

/// Ctrl-C ends a command by dropping it, so that what it holds is put away;
/// what serves somebody ends in order by itself.
async fn run(args: Vec<OsString>) -> Exit {
    let no_color = args.iter().any(|arg| arg == "--no-color");
    let outcome = match mount::held::task() {
        Ok(Some(preparation)) => mount::held::take_over(preparation).await,
        Ok(None) if ends_in_order(&args) => dispatch(args).await,
        Ok(None) => tokio::select! {
            outcome = dispatch(args) => outcome,
            Ok(()) = tokio::signal::ctrl_c() => return Exit::Interrupted,
        },
        Err(error) => Err(error.into()),
    };
    match outcome {
        Ok(()) => Exit::Success,
        Err(failure) => {
            report(&failure, no_color);
            failure.exit
        }
    }
}

fn ends_in_order(args: &[OsString]) -> bool {
    let mut words = args.iter().skip(1);
    let orderly = ["serve", "mount", "agent", "keeper", "csi"];
    words.any(|word| orderly.iter().any(|orderly| word == orderly))
        || name(args) == Name::MountHelper
}

/// The names this program answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Name {
    Pfs,
    Pachctl,
    MountHelper,
}

/// Who was called: by name, or by the arguments that mount(8) passes on.
fn name(args: &[OsString]) -> Name {
    let program = args.first().map(Path::new).and_then(Path::file_name);
    match program.and_then(OsStr::to_str) {
        Some("pachctl") => Name::Pachctl,
        Some("mount.pfs" | "mount.fuse.pfs") => Name::MountHelper,
        _ if called_by_mount(args) => Name::MountHelper,
        _ => Name::Pfs,
    }
}

/// `mount -t fuse.pfs` calls `pfs SPEC /DIR -o OPTIONS` where there is no
/// helper of its own.
fn called_by_mount(args: &[OsString]) -> bool {
    // Without a source, or with 'none' for one, it may leave that out.
    if let [_, dir, flag, ..] = args
        && dir.as_encoded_bytes().starts_with(b"/")
        && flag == "-o"
    {
        return true;
    }
    let [_, spec, dir, flag, options, ..] = args else { return false };
    let verb = spec.to_str().is_some_and(|spec| !spec.starts_with('-') && spec != "mount");
    // No option of a mount is called as an encoding of output is.
    let encoding = options == "json" || options == "yaml";
    verb && dir.as_encoded_bytes().starts_with(b"/") && flag == "-o" && !encoding
}

async fn dispatch(args: Vec<OsString>) -> Outcome {
    match name(&args) {
        Name::MountHelper => mount_helper(&args).await,
        name @ (Name::Pfs | Name::Pachctl) => command(args, name == Name::Pachctl).await,
    }
}

async fn command(args: Vec<OsString>, called_pachctl: bool) -> Outcome {
    let plain = args.iter().any(|arg| arg == "--no-color");
    if let Some(text) = topic::asked(&args) {
        return print_help(&text, plain);
    }
    let Some(cli) = parsed(Cli::try_parse_from(args), plain)? else { return Ok(()) };
    let mut globals = cli.globals;
    globals.called_pachctl = called_pachctl;
    let config = Config::load()?;
    match cli.command {
        Command::Native(command) => command.run(&Context::new(globals, Era::Native, config)).await,
        Command::Dash(command) => {
            let translation = command.translate()?;
            let cx = Context::new(globals, Era::Dash, config);
            translation.notices.iter().for_each(|notice| cx.notice(notice));
            let words = std::iter::once("pfs".into()).chain(translation.words);
            match parsed(NativeCli::try_parse_from(words), plain)? {
                Some(cli) => cli.command.run(&cx).await,
                None => Ok(()),
            }
        }
    }
}

/// What was typed; `None` when it was a call for help, which is answered.
fn parsed<T>(result: Result<T, clap::Error>, plain: bool) -> Outcome<Option<T>> {
    let error = match result {
        Ok(cli) => return Ok(Some(cli)),
        Err(error) => error,
    };
    let text = error.render();
    if !error.use_stderr() {
        print_help(&text, plain)?;
        return Ok(None);
    }
    if let Some(failure) = misspelt(&error) {
        return Err(failure);
    }
    // Advice is called the same everywhere.
    let _ = match plain {
        true => write!(io::stderr(), "{}", text.to_string().replace("  tip:", "hint:")),
        false => {
            let text = text.ansi().to_string().replace("  \u{1b}[32mtip:", "\u{1b}[32mhint:");
            write!(anstream::stderr(), "{text}")
        }
    };
    Err(Failure::usage(""))
}

/// Prints help, painted unless that is not wanted.
fn print_help(text: &StyledStr, plain: bool) -> Outcome {
    let mut out = Named::new(STDOUT, anstream::stdout());
    match plain {
        true => write!(out, "{text}")?,
        false => write!(out, "{}", text.ansi())?,
    }
    Ok(out.flush()?)
}

/// A command that is not there; clap names every similar one, the most
/// similar last.
fn misspelt(error: &clap::Error) -> Option<Failure> {
    use clap::error::{ContextKind, ContextValue};
    let Some(ContextValue::String(typed)) = error.get(ContextKind::InvalidSubcommand) else {
        return None;
    };
    let failure = Failure::usage(format!("there is no command {typed:?}"));
    let nearest = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(names)) => names.last().cloned(),
        Some(ContextValue::String(name)) => Some(name.clone()),
        _ => None,
    };
    Some(match nearest {
        Some(name) => failure.hint(format!("did you mean {name:?}?")),
        None => failure.hint("'--help' lists the commands there are"),
    })
}

async fn mount_helper(args: &[OsString]) -> Outcome {
    let words: Option<Vec<_>> =
        args.iter().skip(1).map(|arg| arg.to_str().map(str::to_owned)).collect();
    let words = words.ok_or_else(|| Failure::usage("the arguments are not valid UTF-8"))?;
    let cx = Context::new(Globals::default(), Era::Native, Config::load()?);
    match mount::fstab::parse(&words, &cx.address()?)? {
        mount::fstab::Call::Mount(plan) => mount::control::mount(*plan).await,
        mount::fstab::Call::Help(text) => cx.say(text.trim_end()),
        mount::fstab::Call::Fake => Ok(()),
    }
}

/// Prints an error, unless it has no words.
fn report(failure: &Failure, no_color: bool) {
    if failure.message.is_empty() {
        return;
    }
    let paint = |color: AnsiColor| match no_color {
        true => Style::new(),
        false => Style::new().bold().fg_color(Some(color.into())),
    };
    let (red, cyan) = (paint(AnsiColor::Red), paint(AnsiColor::Cyan));
    let mut err = anstream::stderr();
    // Nobody is left to tell when standard error is gone.
    let _ = writeln!(err, "{red}error:{red:#} {}", failure.message);
    if let Some(hint) = &failure.hint {
        let _ = writeln!(err, "{cyan}hint:{cyan:#} {hint}");
    }
}

#[cfg(test)]
mod tests;
