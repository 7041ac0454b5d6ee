//! Branches: the words that move.

pub mod create;
pub mod delete;
pub mod inspect;
pub mod list;
