//! Which name was called, run, exit code.

use std::process::ExitCode;

use pfs::cli;
use pfs::controller::executor::runner;
use pfs::mount::holder;
use pfs::store;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    // A program of a pipeline is about to start: nothing may come before.
    if runner::is_called(&args) {
        return ExitCode::from(runner::main());
    }
    if holder::is_called() {
        return ExitCode::from(holder::main());
    }
    share_arenas();
    store::install_crypto();
    ExitCode::from(cli::main(args).code())
}

/// Two heaps for all threads: with one for each, what they free stays theirs,
/// and a server takes several times the memory of its caches.
#[cfg(target_env = "gnu")]
fn share_arenas() {
    // SAFETY: mallopt only sets a parameter of the allocator; no other thread
    // runs yet.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 2) };
}

/// Other allocators share by themselves.
#[cfg(not(target_env = "gnu"))]
fn share_arenas() {}
