//! Repos: versioned directories.

pub mod create;
pub mod delete;
pub mod inspect;
pub mod list;
