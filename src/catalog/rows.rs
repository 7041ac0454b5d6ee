//! Rows of the catalog: what queries answer and writes insert.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::model::{
    Branch, BranchName, Commit, CommitId, DatumId, PipelineName, ProjectName, Repo, Timestamp,
    TransactionId,
};

/// A project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectRow {
    /// Its name.
    pub name: ProjectName,
    /// What the user said about it.
    pub description: String,
    /// When it was created.
    pub created: Timestamp,
}

/// A repo.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoRow {
    /// Its key.
    pub repo: Repo,
    /// What the user said about it.
    pub description: String,
    /// When it was created.
    pub created: Timestamp,
}

/// When a branch follows another: conditions on what finished there since it
/// last moved. All zero or empty means "at every commit".
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Trigger {
    /// The branch of the same repo that is watched.
    pub branch: String,
    /// Whether every condition must hold rather than one.
    pub all: bool,
    /// Cron expression: at most one move per period.
    pub rate_limit: String,
    /// Bytes by which the watched branch must have grown; 0: no condition.
    pub size: u64,
    /// Commits that must have finished; 0: no condition.
    pub commits: u64,
    /// Cron expression on which to move, whatever happened.
    pub cron: String,
}

/// A branch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BranchRow {
    /// Its key.
    pub branch: Branch,
    /// The commit it points at, open or finished.
    pub head: Option<CommitId>,
    /// The branches it is derived from, in the order they were given.
    pub provenance: Vec<Branch>,
    /// What moves it besides its own commits.
    pub trigger: Option<Trigger>,
    /// When it was created.
    pub created: Timestamp,
}

/// How a commit came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Somebody put data.
    User,
    /// Derived from commits of other repos.
    Auto,
    /// Made to keep the catalog in order, e.g. by a repair.
    Fsck,
}

impl Origin {
    /// The origin as the catalog spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Auto => "auto",
            Self::Fsck => "fsck",
        }
    }
}

/// A commit's tree: where its root is and what it sums up to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoredRoot {
    /// The encoded root handle; empty for the empty tree.
    pub encoded: Bytes,
    /// Files in the tree.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// A commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitRow {
    /// Its key.
    pub commit: Commit,
    /// Creation order over the whole catalog; 0 until inserted.
    pub seq: u64,
    /// The branch it was made on; `None` for a commit on no branch, or of a
    /// branch that is gone.
    pub branch: Option<BranchName>,
    /// The commit before it in the same repo.
    pub parent: Option<CommitId>,
    /// Its place counted along parents from the first, from 1. A squash below
    /// leaves a gap. 0 until inserted.
    pub number: u64,
    /// How it came to be.
    pub origin: Origin,
    /// What the user said about it.
    pub description: String,
    /// Who made it; empty when nobody signed in.
    pub author: String,
    /// When it was started.
    pub started: Timestamp,
    /// When it was finished; `None` while open.
    pub finished: Option<Timestamp>,
    /// Why it failed, for a commit that finished without a usable tree.
    pub error: Option<String>,
    /// Its tree; while open the tree so far.
    pub root: StoredRoot,
    /// The commits it is directly derived from, in the order of the branch's
    /// provenance.
    pub provenance: Vec<Commit>,
}

impl CommitRow {
    /// Whether it can still change.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.finished.is_none()
    }

    /// Whether it is finished with a tree that readers may use.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.finished.is_some() && self.error.is_none()
    }
}

/// A pipeline: project and name together are unique.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Pipeline {
    /// The project it lives in.
    pub project: ProjectName,
    /// Its name there, also that of its repos.
    pub name: PipelineName,
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.project.is_default() {
            true => write!(f, "{}", self.name),
            false => write!(f, "{}/{}", self.project, self.name),
        }
    }
}

macro_rules! state {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every state, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The state as the catalog spells it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// The state spelt `text`.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)* _ => None }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

state! {
    /// What a pipeline is doing.
    PipelineState {
        /// Created, not yet ready for jobs.
        Starting = "starting",
        /// Takes jobs.
        Running = "running",
        /// Comes back after a failure.
        Restarting = "restarting",
        /// Gave up; the reason says why.
        Failure = "failure",
        /// Stopped by the user.
        Paused = "paused",
        /// Waits for input without holding workers.
        Standby = "standby",
        /// Workers fail; some may still run.
        Crashing = "crashing",
    }
}

state! {
    /// What a job is doing.
    JobState {
        /// Waits for its inputs.
        Created = "created",
        /// Plans its datums.
        Starting = "starting",
        /// Runs datums.
        Running = "running",
        /// A datum failed.
        Failure = "failure",
        /// Every datum succeeded and the output is committed.
        Success = "success",
        /// Stopped by the user.
        Killed = "killed",
        /// Copies its output out.
        Egressing = "egressing",
        /// Commits its output.
        Finishing = "finishing",
        /// An input failed.
        Unrunnable = "unrunnable",
    }
}

impl JobState {
    /// Whether nothing follows this state.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Failure | Self::Success | Self::Killed | Self::Unrunnable => true,
            Self::Created | Self::Starting | Self::Running | Self::Egressing | Self::Finishing => {
                false
            }
        }
    }
}

state! {
    /// What has become of a datum that must run.
    DatumState {
        /// Nobody works on it.
        Waiting = "waiting",
        /// A worker holds it under a lease.
        Claimed = "claimed",
        /// Its program succeeded.
        Success = "success",
        /// Its program failed as often as the spec allows.
        Failed = "failed",
        /// Its program failed and the spec's error program succeeded.
        Recovered = "recovered",
    }
}

state! {
    /// What has become of a write transaction.
    TransactionState {
        /// Takes writes.
        Open = "open",
        /// Takes no more writes of programs; what they wrote is being uploaded.
        Sealing = "sealing",
        /// Everything durable, not yet published.
        Sealed = "sealed",
        /// Published.
        Committed = "committed",
        /// Another commit changed the same paths; kept.
        Conflict = "conflict",
        /// Given up by its user; kept until retention drops it.
        Aborted = "aborted",
        /// Its holder is gone; kept, can be recovered.
        Orphaned = "orphaned",
    }
}

/// The current version of a pipeline, or an older one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PipelineRow {
    /// Its key.
    pub pipeline: Pipeline,
    /// From 1, one more at every update.
    pub version: u64,
    /// The commit of its spec repo that holds this version's spec.
    pub spec_commit: CommitId,
    /// The effective spec, as the pipeline layer encodes it.
    pub spec: String,
    /// The spec as its author wrote it, before any defaults; empty where that
    /// is not known.
    pub user_spec: String,
    /// Mixed into every datum's hash; a new one reprocesses everything.
    pub salt: String,
    /// The branches it reads, in input order.
    pub inputs: Vec<Branch>,
    /// The branch of its output repo it writes.
    pub output_branch: BranchName,
    /// What it is doing.
    pub state: PipelineState,
    /// Why, for states that need a reason; else empty.
    pub reason: String,
    /// Whether the user stopped it.
    pub stopped: bool,
    /// When this version was created.
    pub created: Timestamp,
}

/// A job: one pipeline's share of one commit set.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Job {
    /// The pipeline.
    pub pipeline: Pipeline,
    /// The commit set, and so the id of the output commit.
    pub id: CommitId,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.pipeline, self.id)
    }
}

/// How far a job is; also the amounts by which it went on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobCounters {
    /// Datums of the job.
    pub total: u64,
    /// Run to success.
    pub processed: u64,
    /// Taken over unchanged.
    pub skipped: u64,
    /// Failed for good.
    pub failed: u64,
    /// Failed, then recovered.
    pub recovered: u64,
    /// Bytes read by processed datums.
    pub downloaded: u64,
    /// Bytes written by processed datums.
    pub uploaded: u64,
    /// Nanoseconds spent providing inputs.
    pub download_nanos: u64,
    /// Nanoseconds spent in programs.
    pub process_nanos: u64,
    /// Nanoseconds spent taking outputs in.
    pub upload_nanos: u64,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRow {
    /// Its key.
    pub job: Job,
    /// Creation order over the whole catalog; 0 until inserted.
    pub seq: u64,
    /// The version of the pipeline it runs.
    pub version: u64,
    /// The commit of the spec repo that holds that version.
    pub spec_commit: CommitId,
    /// The branches it reads and the commit of each, in input order.
    pub inputs: Vec<JobInput>,
    /// The commit it writes.
    pub output: Commit,
    /// The job whose datum table it started from; known once planned.
    pub base: Option<CommitId>,
    /// What it is doing.
    pub state: JobState,
    /// Why, for states that need a reason; else empty.
    pub reason: String,
    /// How far it is.
    pub counters: JobCounters,
    /// How often its execution was taken up again.
    pub restarts: u64,
    /// When the output commit was opened.
    pub created: Timestamp,
    /// When its inputs were ready and it began to plan.
    pub started: Option<Timestamp>,
    /// When it reached a terminal state.
    pub finished: Option<Timestamp>,
}

/// One input of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobInput {
    /// The branch, as the pipeline's inputs name it.
    pub branch: Branch,
    /// The commit of that branch's repo to read.
    pub commit: CommitId,
}

/// A datum that a running job must process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatumRow {
    /// Its place in the job's order, unique there.
    pub index: u64,
    /// Its id.
    pub id: DatumId,
    /// What has become of it.
    pub state: DatumState,
    /// Times a worker has claimed it.
    pub tries: u64,
    /// Who holds it; empty when nobody does.
    pub worker: String,
    /// When the holder's claim lapses.
    pub lease_until: Timestamp,
    /// What to run, as the planner encodes it.
    pub payload: Bytes,
    /// What came of it, as the worker encodes it; empty until it ends.
    pub outcome: Bytes,
}

/// A write transaction of a mount or volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransactionRow {
    /// Its id.
    pub id: TransactionId,
    /// The branch it will commit to.
    pub branch: Branch,
    /// The finished commit it shows under its changes.
    pub base: Option<CommitId>,
    /// That commit's tree, which outlives the commit; `None` in rows of
    /// versions that did not note it.
    pub base_root: Option<Bytes>,
    /// What has become of it.
    pub state: TransactionState,
    /// The host that holds its staging directory.
    pub host: String,
    /// The staging directory on that host.
    pub staging: String,
    /// The tree uploaded so far, once sealed.
    pub root: StoredRoot,
    /// The message its commit will carry.
    pub message: String,
    /// Why it is in conflict or was aborted; else empty.
    pub reason: String,
    /// The commit it became.
    pub commit: Option<CommitId>,
    /// When it was opened.
    pub created: Timestamp,
    /// When its holder counts as gone, unless renewed.
    pub lease_until: Timestamp,
}
