//! Secrets: files and variables that programs may see and nobody else.

pub mod create;
pub mod delete;
pub mod inspect;
pub mod list;
