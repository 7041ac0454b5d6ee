//! Datums: the units of work of a job.

pub mod inspect;
pub mod list;
pub mod restart;
