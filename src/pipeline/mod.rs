//! What a pipeline means: specs, globs, datums, plans. Pure: no I/O here.

pub mod datum;
pub mod document;
pub mod glob;
pub mod spec;
