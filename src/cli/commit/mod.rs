//! Commits: states of a repo.

pub mod delete;
pub mod find;
pub mod finish;
pub mod inspect;
pub mod list;
pub mod squash;
pub mod start;
pub mod subscribe;
pub mod wait;
