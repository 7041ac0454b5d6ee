//! A mount that goes on in the background.
//!
//! The command starts itself again as the holder of the mount, which starts the
//! process that serves it; that one says on its standard output that the mount
//! is ready, or why there is none on its standard error.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::cli::failure::{Failure, Outcome};
use crate::mount::holder;

/// What the child says when the directory is mounted.
const READY: &str = "mounted";

/// Whether this process is the one in the background.
pub fn is_child() -> bool {
    holder::is_held()
}

/// Starts the background process and waits until it has mounted, or not.
pub async fn start() -> Outcome {
    let mut args = std::env::args_os();
    let name = args.next().unwrap_or_default();
    let mut command = Command::new(std::env::current_exe()?);
    let (variable, value) = holder::environment();
    command.arg0(name).args(args).env(variable, value).kill_on_drop(false);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let missing = || Failure::new("the background process has no output");
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (out, mut err) = (out.ok_or_else(missing)?, err.ok_or_else(missing)?);
    let mut line = String::new();
    BufReader::new(out).read_line(&mut line).await?;
    let mut said = String::new();
    // Until the child ends, or has mounted and lets go of it.
    err.read_to_string(&mut said).await?;
    if line.trim_end() == READY {
        let mut out = anstream::stderr();
        // Nobody is left to tell when standard error is gone.
        let _ = write!(out, "{said}");
        return Ok(());
    }
    child.wait().await?;
    for notice in said.lines().take_while(|line| !line.starts_with("error: ")) {
        let _ = writeln!(anstream::stderr(), "{notice}");
    }
    let mut lines = said.lines().filter_map(|line| line.strip_prefix("error: "));
    let hint = said.lines().find_map(|line| line.strip_prefix("hint: "));
    let failure = Failure::new(lines.next().unwrap_or("the background process ended early"));
    Err(match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    })
}

/// Tells who waits that the directory is mounted, and lets go of them.
pub fn ready() -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{READY}")?;
    out.flush()?;
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdout(null.as_fd())?;
    nix::unistd::dup2_stderr(null.as_fd())?;
    Ok(())
}

/// Leaves the terminal of whoever started it.
pub fn settle() {
    // Fails when it leads a session already, which is what is wanted.
    let _ = nix::unistd::setsid();
    // Nor may it keep a directory from being unmounted.
    let _ = nix::unistd::chdir("/");
}
