//! `pfs`: versioned data repos mounted as `/pfs/<repo>`, and pipelines that
//! run when a commit closes.
//!
//! Arrows between modules point down only; ARCHITECTURE.md draws them and
//! `tests/tidy.rs` checks them.

// The command line awaits everything there is, one future inside another.
#![recursion_limit = "256"]

pub mod api;
pub mod catalog;
pub mod chunk;
pub mod cli;
pub mod controller;
pub mod model;
pub mod mount;
pub mod pipeline;
pub mod repo;
pub mod store;
pub mod tree;
pub mod vfs;
pub mod web;
