//! What the catalog tells consumers: the outbox of every write.

use serde::{Deserialize, Serialize};

use super::rows::{Job, Pipeline};
use crate::model::{Branch, Commit, ProjectName, Repo, Timestamp, TransactionId};

/// Something that happened, for consumers that react to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    /// Its place in the order of all events, from 1.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What happened. Consumers are level-triggered: an event says where to look,
/// not what to find there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A project was created, changed or deleted.
    Project(ProjectName),
    /// A repo was created, changed or deleted.
    Repo(Repo),
    /// A branch was created or deleted, or its head or provenance moved.
    Branch(Branch),
    /// A commit was opened, finished, changed or deleted.
    Commit(Commit),
    /// A pipeline was created, changed or deleted.
    Pipeline(Pipeline),
    /// A job was created, changed state or was deleted.
    Job(Job),
    /// A write transaction was opened, changed state or was dropped.
    Transaction(TransactionId),
    /// A secret was put or deleted.
    Secret(String),
}
