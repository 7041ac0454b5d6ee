//! Tests on a real Kubernetes; `make test-cluster` brings one up around them.
//!
//! `cargo test` leaves them out: they fail where there is no cluster.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a test may panic, print and read the clock"
)]

mod basics;
mod cluster;
mod image;
mod install;
mod manifests;
mod namespace;
mod pod;
mod restarts;
mod server;
mod volumes;
