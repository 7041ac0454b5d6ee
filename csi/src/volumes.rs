//! Where volumes come from, as the controller service sees it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use async_trait::async_trait;

use crate::refusal::Result;

/// Makes and removes volumes and their snapshots.
///
/// Every call is atomic and may be repeated; what it made is known to every
/// other instance once it returns, and outlives all of them.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// Makes a volume, or answers with the one of that name when it is as
    /// wanted; [`Exists`](crate::Refusal::Exists) when it is not.
    async fn create_volume(&self, wanted: &NewVolume) -> Result<Volume>;
    /// Removes a volume; its snapshots stay. One that is not there is removed.
    async fn delete_volume(&self, id: &str) -> Result<()>;
    /// One volume; [`NotFound`](crate::Refusal::NotFound) when there is none.
    async fn volume(&self, id: &str) -> Result<Volume>;
    /// All volumes, in any order.
    async fn volumes(&self) -> Result<Vec<Volume>>;

    /// Makes a snapshot of a volume as it is, or answers with the one of that
    /// name when it is of the same volume.
    async fn create_snapshot(&self, wanted: &NewSnapshot) -> Result<Snapshot>;
    /// Removes a snapshot; volumes made of it stay. One that is not there is
    /// removed.
    async fn delete_snapshot(&self, id: &str) -> Result<()>;
    /// One snapshot; [`NotFound`](crate::Refusal::NotFound) when there is none.
    async fn snapshot(&self, id: &str) -> Result<Snapshot>;
    /// All snapshots, in any order.
    async fn snapshots(&self) -> Result<Vec<Snapshot>>;

    /// Whether any of these calls can be answered now.
    async fn is_ready(&self) -> Result<bool>;
}

/// A volume to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewVolume {
    /// What makes a second request the same one.
    pub name: String,
    /// How large it may have to be.
    pub capacity: CapacityRange,
    /// Whether any of its users is to write.
    pub is_written: bool,
    /// The parameters of its class; those that the orchestrator adds are taken
    /// out.
    pub parameters: BTreeMap<String, String>,
    /// What it holds at first.
    pub source: Option<Source>,
}

/// Bytes that a volume must be able to hold, and may have at most; 0 is no
/// bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CapacityRange {
    /// At least.
    pub required: u64,
    /// At most.
    pub limit: u64,
}

impl CapacityRange {
    /// Whether a volume of so many bytes is what was asked for.
    #[must_use]
    pub const fn admits(self, bytes: u64) -> bool {
        bytes >= self.required && (self.limit == 0 || bytes <= self.limit)
    }
}

/// What a volume is made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A snapshot by its id.
    Snapshot(String),
    /// Another volume by its id, as it is now.
    Volume(String),
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// What it is known by; at most 128 bytes.
    pub id: String,
    /// The size it was asked to have at least; 0 when nobody said.
    pub capacity: u64,
    /// The attributes that publishing it needs.
    pub attributes: BTreeMap<String, String>,
    /// What it was made of.
    pub source: Option<Source>,
}

/// A snapshot to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// What makes a second request the same one.
    pub name: String,
    /// The volume by its id.
    pub volume_id: String,
    /// The parameters of its class; those that the orchestrator adds are taken
    /// out.
    pub parameters: BTreeMap<String, String>,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// What it is known by; at most 128 bytes.
    pub id: String,
    /// The volume it is of, which may be gone.
    pub volume_id: String,
    /// Bytes in it.
    pub size: u64,
    /// When it was made.
    pub created: SystemTime,
}
