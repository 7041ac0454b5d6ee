//! Projects: name spaces of repos and pipelines.

pub mod create;
pub mod delete;
pub mod inspect;
pub mod list;
