//! The one integration-test binary: every file here is a module of it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, print and read the clock"
)]

mod agent;
mod api;
mod cli;
mod executor;
mod faults;
mod generated;
mod identity;
mod in_process;
mod machine;
mod model;
mod mount;
mod mounting;
mod operations;
mod pipelines;
mod posix;
mod random;
mod refusals;
mod s3;
mod sdk;
mod server;
mod takeover;
mod tidy;
mod tools;
