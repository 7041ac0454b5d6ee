//! The one integration-test binary: every file here is a module of it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, print and read the clock"
)]

mod executor;
mod cli;
mod faults;
mod generated;
mod machine;
mod sdk;
mod refusals;
mod server;
mod tidy;
mod tools;
