//! What a driver asks for, and why it may be refused.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::pods::PodRef;

/// Names a publish: a volume at a place.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Key {
    /// The volume.
    pub volume: String,
    /// The directory it is mounted on.
    pub target: PathBuf,
}

impl Key {
    /// As a keeper knows it.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{} {}", self.volume, self.target.display())
    }
}

/// A bearer token. Never shown, never compared, never noted for a successor.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Token(String);

impl Token {
    /// Takes the text of a token.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for whoever verifies it.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// A volume to be published. Two are equal when nothing but the token differs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Publish {
    /// What names it.
    #[serde(flatten)]
    pub key: Key,
    /// What of it is shown, and how; a driver's own attributes left out.
    pub attributes: BTreeMap<String, String>,
    /// For which pod.
    pub pod: Option<PodRef>,
    /// The pod's token.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub token: Option<Token>,
    /// Whether nothing may be written, whatever the attributes say.
    pub read_only: bool,
    /// Whether the volume ends with the pod.
    pub ephemeral: bool,
    /// The group that files belong to.
    pub fs_group: Option<u32>,
    /// What the driver wants to hear again of who else may use it.
    pub access: String,
    /// What the driver wants to hear again of all this.
    pub fingerprint: String,
}

impl Publish {
    /// The same without what nobody else may have.
    #[must_use]
    pub fn without_token(&self) -> Self {
        Self { token: None, ..self.clone() }
    }
}

impl PartialEq for Publish {
    fn eq(&self, other: &Self) -> bool {
        let Self { key, attributes, pod, token: _, read_only, ephemeral, fs_group, .. } = self;
        (&self.access, &self.fingerprint) == (&other.access, &other.fingerprint)
            && *key == other.key
            && *attributes == other.attributes
            && *pod == other.pod
            && *read_only == other.read_only
            && *ephemeral == other.ephemeral
            && *fs_group == other.fs_group
    }
}

/// The kinds of refusals, as gRPC has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// What was asked for makes no sense.
    InvalidArgument,
    /// It is not there.
    NotFound,
    /// The same was published otherwise.
    AlreadyExists,
    /// Something else has to be done first.
    FailedPrecondition,
    /// The pod may not.
    PermissionDenied,
    /// Nobody has said who asks.
    Unauthenticated,
    /// There is no room for it.
    ResourceExhausted,
    /// Somebody else is at it.
    Aborted,
    /// Somebody who is needed is away.
    Unavailable,
    /// A mistake of ours.
    Internal,
}

/// Why something is not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// What kind.
    pub code: Code,
    /// What happened to which thing.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    #[must_use]
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// What was asked for makes no sense.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    /// Somebody who is needed is away.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, message)
    }

    /// A mistake of ours.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        Self::new(Code::Internal, message)
    }
}
