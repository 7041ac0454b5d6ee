//! What agents and keepers say to each other.

use serde::{Deserialize, Serialize};

/// The version of the messages. A keeper is replaced more rarely than agents
/// are: what is added to a message has to be one that may be missing.
pub(super) const VERSION: u32 = 1;

/// What an agent says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToKeeper {
    /// First of all.
    Hello { version: u32 },
    /// A session is about to be served. With its connection and its table of
    /// inodes. Takes the place of one of the same id, and is answered.
    Hold { id: String, init: Vec<u8>, answer: Vec<u8>, note: serde_json::Value },
    /// What a successor has to know, in place of what was said before.
    Note { id: String, note: serde_json::Value },
    /// With a descriptor, to be kept under this name.
    Keep { id: String, name: String },
    /// What was kept is no longer needed.
    Release { id: String, name: String },
    /// Nor is the session.
    Forget { id: String },
}

/// What a keeper says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ToAgent {
    /// Nobody else serves. So many sessions follow.
    Welcome { version: u32, sessions: usize },
    /// With some of what the next session keeps, by name.
    Kept { names: Vec<String> },
    /// With the connection, the table, and the rest, by name.
    Session {
        id: String,
        init: Vec<u8>,
        answer: Vec<u8>,
        note: serde_json::Value,
        names: Vec<String>,
    },
    /// What was to be held is.
    Held,
    /// It is not.
    Refused { reason: String },
}
