//! Which name was called, run, exit code.

use std::process::ExitCode;

use pfs::cli::{self, Exit};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    let exit = runtime.block_on(async {
        tokio::select! {
            exit = cli::run(args) => exit,
            // Whatever has to be put away is put away by dropping the command.
            Ok(()) = tokio::signal::ctrl_c() => Exit::Interrupted,
        }
    });
    // A thread that waits for standard input would keep the process alive.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}
