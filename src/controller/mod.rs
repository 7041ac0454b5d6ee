//! From closed commits to jobs, from jobs to datums, from datums to commits.

pub mod executor;
pub mod logs;
