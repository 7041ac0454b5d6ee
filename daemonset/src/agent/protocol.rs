//! What is asked and answered.

use serde::{Deserialize, Serialize};

use crate::node::{Listed, Mounting, Stats};
use crate::publish::{Key, Publish, Refusal};

/// The version of the messages. What is added to one has to be such that it may
/// be missing: driver and agent are replaced one after the other.
pub(super) const VERSION: u32 = 1;

/// A request, of a version.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) version: u32,
    pub(super) request: Request,
}

/// What a driver asks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    Prepare(Box<Publish>),
    /// With the connection to the kernel.
    Attach {
        key: Key,
        connection: u32,
    },
    Unpublish(Key),
    Stats(Key),
    /// Answered one by one.
    List,
    Ready,
    /// Turns the connection round: the agent asks from now on.
    OpenFiles,
}

/// What an agent answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Answer {
    Refused(Refusal),
    Prepared(Mounting),
    Stats(Stats),
    Listed(Box<Listed>),
    Ready(bool),
    Done,
}
