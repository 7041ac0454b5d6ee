//! The node agent, as the driver sees it: whoever serves what the kernel asks.
//!
//! The driver validates requests, mounts and unmounts; the agent knows what a
//! volume holds. The driver keeps nothing between calls: what it has to
//! remember of a publish is in the agent's sessions, which outlive both.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use async_trait::async_trait;

use crate::refusal::Result;
use crate::token::Token;

/// The node agent.
///
/// Every call may be repeated, also by a driver that has been started anew,
/// and two calls for one session do not overlap.
#[async_trait]
pub trait Agent: Send + Sync + 'static {
    /// Makes a volume ready to be mounted: understands its attributes, has the
    /// pod authorised, opens what is to be shown.
    ///
    /// For a session that is there already this authorises with the token given
    /// now and answers as before; the driver has compared the arguments. A
    /// kernel connection that has ended is not what makes a session end: it is
    /// prepared still, and [`attach`](Self::attach) may follow again.
    async fn prepare(&self, publication: &Publication) -> Result<Prepared>;

    /// Serves a prepared session's file system; returns once the kernel's first
    /// request has been answered and the session outlives this process. A
    /// connection that the session had before is given up.
    async fn attach(&self, place: &Place, device: Device) -> Result<()>;

    /// Ends a session. The mount has been detached before; a kernel that still
    /// writes back is waited for, bounded. Returns when what was written is
    /// safe on this node; uploading may take longer. Without such a session
    /// there is nothing to do.
    async fn unpublish(&self, place: &Place) -> Result<()>;

    /// What a session holds and how it is, from memory: asks neither the kernel
    /// nor the server.
    async fn stats(&self, place: &Place) -> Result<Stats>;

    /// All sessions, those without kernel connection included.
    async fn sessions(&self) -> Result<Vec<Session>>;

    /// Whether sessions can be prepared now; false while earlier ones are
    /// being taken over.
    async fn is_ready(&self) -> Result<bool>;
}

/// One volume at one place: what a session is known by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The volume.
    pub volume_id: String,
    /// Where it is mounted, in the mount namespace of the driver, without
    /// symbolic links.
    pub target: PathBuf,
}

/// A volume to be shown at a place.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Which, and where.
    pub place: Place,
    /// The attributes of the volume, as its author wrote them; those that the
    /// orchestrator adds are taken out.
    pub attributes: BTreeMap<String, String>,
    /// The pod it is for; `None` from an orchestrator that does not say.
    pub pod: Option<Pod>,
    /// What proves that pod's identity. Changes from call to call.
    pub token: Option<Token>,
    /// Whether the volume is written in the pod's own specification.
    pub is_ephemeral: bool,
    /// Whether nothing may be written, whatever the attributes say.
    pub read_only: bool,
    /// Who else may use the volume.
    pub access: Access,
    /// The group that all files belong to and may be written by.
    pub fs_group: Option<u32>,
    /// A digest of everything above but the token, to be kept with the session.
    pub fingerprint: String,
}

/// A pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its unique id.
    pub uid: String,
    /// The service account it runs as.
    pub service_account: String,
}

/// Who may use a volume at the same time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Access {
    /// One place of one node, for writing; what older orchestrators say for
    /// any single node.
    SingleNodeWriter,
    /// One place of one node, for reading.
    SingleNodeReader,
    /// One place of one node, for writing, and nobody else anywhere.
    SingleWriter,
    /// Many places of one node, for writing.
    SingleNodeWriters,
    /// Many nodes, for reading.
    Readers,
    /// Many nodes, one of which writes.
    ManyNodesOneWriter,
    /// Many nodes, all of which write.
    Writers,
}

impl Access {
    /// All there are.
    const ALL: [Self; 7] = [
        Self::SingleNodeWriter,
        Self::SingleNodeReader,
        Self::SingleWriter,
        Self::SingleNodeWriters,
        Self::Readers,
        Self::ManyNodesOneWriter,
        Self::Writers,
    ];

    /// How an agent may note it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SingleNodeWriter => "single-node-writer",
            Self::SingleNodeReader => "single-node-reader",
            Self::SingleWriter => "single-writer",
            Self::SingleNodeWriters => "single-node-writers",
            Self::Readers => "readers",
            Self::ManyNodesOneWriter => "many-nodes-one-writer",
            Self::Writers => "writers",
        }
    }

    /// What was noted so; `None` for what no version has ever noted.
    #[must_use]
    pub fn noted(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|access| access.as_str() == text)
    }
}

/// A session that is ready to be mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Whether it is to be mounted read-only.
    pub read_only: bool,
    /// What the table of mounts shows as its source.
    pub source: String,
    /// The kernel connection that is being served now, if there is one.
    pub connection: Option<u32>,
}

/// The kernel's side of a mount.
#[derive(Debug)]
pub struct Device {
    /// `/dev/fuse`, mounted; nothing has been read from it.
    pub fd: OwnedFd,
    /// The connection's number, by which the kernel lists it in
    /// `/sys/fs/fuse/connections`: the minor number of the mount's device.
    pub connection: u32,
}

/// A session of the agent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// What is shown, and where.
    pub place: Place,
    /// As in its publication.
    pub access: Access,
    /// As in its publication.
    pub fingerprint: String,
    /// The kernel connection that is being served now, if there is one.
    pub connection: Option<u32>,
}

/// What a session holds, and how it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Bytes.
    pub bytes: Usage,
    /// Files and directories.
    pub inodes: Usage,
    /// What is wrong with it, for people; `None` when nothing is.
    pub trouble: Option<String>,
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// At most.
    pub total: u64,
    /// In use.
    pub used: u64,
    /// Still to be had.
    pub available: u64,
}
