//! Running the program of a datum.

pub mod account;
mod init;
pub mod order;
pub mod overlay;
pub mod process;
pub mod runner;

use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use super::logs::Spool;
use crate::pipeline::job::Attempt;
use crate::pipeline::spec::Transform;
use order::RunOrder;

/// A program to run now.
pub struct Run<'a> {
    /// The program and what it sees.
    pub order: RunOrder,
    /// How long it may run.
    pub timeout: Option<Duration>,
    /// Takes what it prints.
    pub log: &'a Spool,
    /// Ends it early.
    pub cancel: &'a CancellationToken,
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunEnd {
    /// By itself, by its time limit, or before it started.
    Ended(Attempt),
    /// By cancellation.
    Cancelled,
}

/// A way to run programs.
#[async_trait]
pub trait Executor: Send + Sync {
    /// What `--executor` calls it.
    fn name(&self) -> &'static str;

    /// Why a program cannot be run this way, if it cannot.
    fn refuses(&self, transform: &Transform) -> Option<String>;

    /// Runs a program to its end. No process of it is left afterwards.
    async fn run(&self, run: Run<'_>) -> RunEnd;
}
