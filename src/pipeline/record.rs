//! What is kept of a datum and of a job in the meta repo, as JSON.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::catalog::JobCounters;
use crate::model::{CommitId, DatumId, Timestamp, TreePath};
use crate::pipeline::datum::DatumHash;
use crate::pipeline::datum::{Datum, DatumInput, Identified, Match, Origins};
use crate::pipeline::job::DatumState;

/// The version written into every record.
pub const RECORD_VERSION: u32 = 1;

/// A datum as the last job that ran it left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatumRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The job that ran it.
    pub job: CommitId,
    /// The datum.
    pub id: DatumId,
    /// What it held.
    pub hash: DatumHash,
    /// How it ended.
    pub state: DatumState,
    /// Why it failed or had to be recovered; empty otherwise.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How often its program was started.
    pub tries: u32,
    /// What it saw.
    pub inputs: Vec<InputRecord>,
    /// What it took and moved.
    pub stats: DatumStats,
}

/// A file or directory a datum saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputRecord {
    /// Which leaf of the input tree it came from.
    pub leaf: usize,
    /// The directory under `/pfs`.
    pub name: String,
    /// The repo, as `[project/]repo[.kind]`.
    pub repo: String,
    /// The branch.
    pub branch: String,
    /// The commit it was read at.
    pub commit: CommitId,
    /// Where it is in the repo.
    pub path: TreePath,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Bytes in it.
    pub size: u64,
    /// Its logical hash, in hex.
    pub hash: DatumHash,
    /// Its join key; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub join_key: String,
    /// Its group key; empty for none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub group_key: String,
}

impl InputRecord {
    /// Whether a filter means it: its path, or its hash in hex or base64.
    #[must_use]
    pub fn is_named(&self, filter: &str) -> bool {
        let path = filter.trim_matches('/');
        path == self.path.as_str().trim_matches('/')
            || filter.eq_ignore_ascii_case(&self.hash.to_string())
            || filter == BASE64.encode(self.hash.as_bytes())
    }
}

impl DatumRecord {
    /// The record of a datum that is still to run in `job`; `commits` has the
    /// commit of each leaf.
    #[must_use]
    pub fn planned(
        job: CommitId,
        planned: &Identified,
        origins: &Origins,
        commits: &[CommitId],
    ) -> Self {
        let input = |input: &DatumInput| {
            let (origin, found) = (origins.get(input), &input.found);
            InputRecord {
                leaf: input.leaf,
                name: origin.name.clone(),
                repo: origin.repo.to_string(),
                branch: origin.branch.to_string(),
                commit: commits[input.leaf],
                path: found.path.clone(),
                is_dir: found.is_dir,
                size: found.size,
                hash: DatumHash::new(found.hash),
                join_key: found.join_key.to_string(),
                group_key: found.group_key.to_string(),
            }
        };
        Self {
            version: RECORD_VERSION,
            job,
            id: planned.id,
            hash: planned.hash,
            state: DatumState::Starting,
            reason: String::new(),
            tries: 0,
            inputs: planned.datum.inputs.iter().map(input).collect(),
            stats: DatumStats::default(),
        }
    }

    /// The datum it is about.
    #[must_use]
    pub fn identified(&self) -> Identified {
        let input = |input: &InputRecord| DatumInput {
            leaf: input.leaf,
            found: Arc::new(Match {
                path: input.path.clone(),
                is_dir: input.is_dir,
                hash: *input.hash.as_bytes(),
                size: input.size,
                join_key: input.join_key.as_str().into(),
                group_key: input.group_key.as_str().into(),
            }),
        };
        let datum = Datum { inputs: self.inputs.iter().map(input).collect() };
        Identified { id: self.id, hash: self.hash, datum }
    }
}

/// What a datum took and moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct DatumStats {
    /// When its last try started.
    pub started: Timestamp,
    /// Nanoseconds from there until it was presented to the program.
    pub download_nanos: u64,
    /// Nanoseconds the program ran.
    pub process_nanos: u64,
    /// Nanoseconds to take its outputs.
    pub upload_nanos: u64,
    /// Bytes of its inputs.
    pub download_bytes: u64,
    /// Bytes of its outputs.
    pub upload_bytes: u64,
}

/// A finished job, enough to plan the next one from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobRecord {
    /// [`RECORD_VERSION`].
    pub version: u32,
    /// The job.
    pub job: CommitId,
    /// The spec it ran, canonical JSON.
    pub spec: serde_json::Value,
    /// The commit each leaf of the input tree was read at.
    pub commits: Vec<CommitId>,
    /// Its datums.
    pub counters: JobCounters,
    /// Datums without outputs because they were recovered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub recovered: Vec<DatumId>,
}

/// Where a datum's record is in the meta repo.
#[must_use]
pub fn datum_path(id: DatumId) -> TreePath {
    known(&format!("meta/{id}/meta"))
}

/// Where a datum's outputs are in the meta repo.
#[must_use]
pub fn outputs_path(id: DatumId) -> TreePath {
    known(&format!("pfs/{id}/out"))
}

/// Where a datum's log is in the meta repo.
#[must_use]
pub fn log_path(id: DatumId) -> TreePath {
    known(&format!("logs/{id}"))
}

/// Where the record of the job is in the meta repo.
#[must_use]
pub fn job_path() -> TreePath {
    known("job")
}

fn known(text: &str) -> TreePath {
    // Fixed words and hex digits make a valid path.
    text.parse().expect("a path of fixed words is valid")
}
