//! What a pipeline means: specs, globs, datums, plans. Pure: no I/O here.

pub mod cron;
pub mod datum;
pub mod document;
pub mod environment;
pub mod glob;
pub mod job;
pub mod output;
pub mod plan;
pub mod record;
pub mod spec;
pub mod trigger;

#[cfg(test)]
mod tests;
