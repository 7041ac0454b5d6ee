//! Which name was called, run, exit code.

use std::process::ExitCode;

use pfs::{cli, store};

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    store::install_crypto();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::FAILURE,
    };
    let exit = runtime.block_on(cli::run(args));
    // A thread that waits for standard input would keep the process alive.
    runtime.shutdown_background();
    ExitCode::from(exit.code())
}
