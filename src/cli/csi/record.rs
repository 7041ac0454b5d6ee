//! What is remembered of a volume or a snapshot: the description of a repo that
//! holds nothing, in a project of its own.
//!
//! A repo can be made in the same step as the branch it tells of, is found by
//! its name, and is seen by every instance. Its kind keeps it out of listings
//! and mounts.

use std::collections::BTreeMap;

use pfs_csi::{Refusal, Result, Source};
use serde::{Deserialize, Serialize};

use crate::api::proto::{pfs_v1 as v1, pfs_v2 as pb};

/// The project of all records.
pub(super) const PROJECT: &str = "csi-volumes";

/// The kind of a repo that no listing shows unasked.
pub(super) const KIND: &str = "spec";

/// Hexadecimal digits after the prefix of an id.
const DIGITS: usize = 32;

/// What an id is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noun {
    Volume,
    Snapshot,
}

impl Noun {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Volume => "vol-",
            Self::Snapshot => "snap-",
        }
    }

    /// The id of what has that name: always the same, and of the same length.
    pub fn id(self, name: &str) -> String {
        let digest = blake3::derive_key("pfs csi id v1", name.as_bytes());
        format!("{}{}", self.prefix(), &hex::encode(digest)[..DIGITS])
    }

    /// Whether an id can be of this.
    pub fn has(self, id: &str) -> bool {
        let digits = id.strip_prefix(self.prefix());
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        digits.is_some_and(|rest| rest.len() == DIGITS && rest.bytes().all(is_digit))
    }
}

/// Where the files of a volume or snapshot are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub project: String,
    pub repo: String,
    pub branch: String,
    /// Whether the repo was made for a volume, and goes with the last of all
    /// volumes and snapshots in it.
    pub own_repo: bool,
}

impl Place {
    pub fn repo_message(&self) -> pb::Repo {
        repo(&self.project, &self.repo, "user")
    }

    pub fn repo_name(&self) -> v1::RepoName {
        let (project, repo) = (self.project.clone(), self.repo.clone());
        v1::RepoName { project, repo, kind: String::new() }
    }

    pub fn branch_message(&self) -> pb::Branch {
        pb::Branch { repo: Some(self.repo_message()), name: self.branch.clone() }
    }

    /// The repo as attributes name it.
    pub fn repo_text(&self) -> String {
        match self.project.as_str() {
            "default" => self.repo.clone(),
            project => format!("{project}/{}", self.repo),
        }
    }
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct VolumeRecord {
    pub name: String,
    pub place: Place,
    pub capacity: u64,
    /// As the class has them.
    pub parameters: BTreeMap<String, String>,
    /// What it is published with.
    pub attributes: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_snapshot: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub of_volume: Option<String>,
}

impl VolumeRecord {
    pub fn source(&self) -> Option<Source> {
        let snapshot = self.of_snapshot.clone().map(Source::Snapshot);
        snapshot.or_else(|| self.of_volume.clone().map(Source::Volume))
    }
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SnapshotRecord {
    pub name: String,
    pub volume: String,
    pub place: Place,
    /// Empty when the volume had none yet.
    pub commit: String,
    pub size: u64,
}

/// A record as it is written: a version byte comes first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "v")]
enum Written<T> {
    #[serde(rename = "1")]
    One(T),
}

/// The description that holds a record.
pub(super) fn encode<T: Serialize>(record: &T) -> Result<String> {
    serde_json::to_string(&Written::One(record))
        .map_err(|error| Refusal::Internal(format!("a record cannot be written: {error}")))
}

/// The record in a description.
pub(super) fn decode<T: for<'d> Deserialize<'d>>(id: &str, text: &str) -> Result<T> {
    match serde_json::from_str(text) {
        Ok(Written::One(record)) => Ok(record),
        Err(error) => Err(Refusal::Internal(format!("the record of {id} is damaged: {error}"))),
    }
}

/// The repo whose description is the record of `id`.
pub(super) fn record_repo(id: &str) -> pb::Repo {
    repo(PROJECT, id, KIND)
}

pub(super) fn repo(project: &str, name: &str, kind: &str) -> pb::Repo {
    pb::Repo {
        name: name.to_owned(),
        r#type: kind.to_owned(),
        project: Some(pb::Project { name: project.to_owned() }),
    }
}

#[cfg(test)]
mod tests;
