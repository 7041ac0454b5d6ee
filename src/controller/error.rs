//! What can stand in the way of a job.

use std::path::PathBuf;

use crate::catalog::CatalogError;
use crate::chunk::ChunkError;
use crate::pipeline::output::OutputConflict;
use crate::pipeline::spec::{InvalidSpec, SpecError};
use crate::repo::RepoError;
use crate::store::StoreError;
use crate::tree::TreeError;

/// The controller's result type.
pub type Result<T, E = ControllerError> = std::result::Result<T, E>;

/// Why the controller could not do something.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The catalog failed, or somebody else got on.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A use case was refused.
    #[error(transparent)]
    Repo(#[from] RepoError),
    /// A tree could not be read or written.
    #[error(transparent)]
    Tree(#[from] TreeError),
    /// File contents could not be read or written.
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file of this machine could not be used.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: std::io::Error,
    },
    /// The job cannot succeed, however often it is tried; the text says why.
    #[error("{0}")]
    Job(String),
    /// A spec breaks a rule.
    #[error(transparent)]
    Invalid(#[from] InvalidSpec),
    /// A spec cannot be run by this server.
    #[error("pipeline {pipeline} cannot run here: {reason}")]
    Refused {
        /// The pipeline.
        pipeline: String,
        /// Why not.
        reason: String,
    },
    /// There is no such job, datum or log.
    #[error("{kind} {name} not found")]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// Somebody else has some of the job's datums; it is looked at again.
    #[error("{0} datums are not finished")]
    Unfinished(u64),
    /// It was stopped.
    #[error("stopped")]
    Cancelled,
}

impl ControllerError {
    /// An error of the file at `path`.
    pub(super) fn io(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { path, source }
    }

    /// Why the job failed, when trying it again would not help.
    #[must_use]
    pub fn verdict(&self) -> Option<String> {
        match self {
            Self::Job(reason) => Some(reason.clone()),
            Self::Invalid(_) | Self::Refused { .. } | Self::NotFound { .. } => {
                Some(self.to_string())
            }
            Self::Tree(error) => stays_in_tree(error).then(|| error.to_string()),
            Self::Chunk(error) => stays(error).then(|| error.to_string()),
            Self::Repo(error) => {
                matches!(error, RepoError::Damaged { .. }).then(|| error.to_string())
            }
            Self::Catalog(_)
            | Self::Store(_)
            | Self::Io { .. }
            | Self::Unfinished(_)
            | Self::Cancelled => None,
        }
    }
}

/// Whether an error of content will be there the next time: damage does not
/// heal, a store that is away comes back.
fn stays(error: &ChunkError) -> bool {
    match error {
        ChunkError::Missing { .. }
        | ChunkError::Corrupt { .. }
        | ChunkError::CorruptPack { .. }
        | ChunkError::ShortRead { .. }
        | ChunkError::TooLarge { .. } => true,
        ChunkError::Store(_) | ChunkError::Interrupted => false,
    }
}

fn stays_in_tree(error: &TreeError) -> bool {
    match error {
        TreeError::Chunk(error) => stays(error),
        TreeError::Corrupt { .. }
        | TreeError::CorruptRoot { .. }
        | TreeError::NotADirectory { .. }
        | TreeError::IsADirectory { .. }
        | TreeError::IsAFile { .. }
        | TreeError::NotFound { .. }
        | TreeError::InvalidEntry { .. }
        | TreeError::Unordered { .. }
        | TreeError::Path(_) => true,
    }
}

impl From<OutputConflict> for ControllerError {
    fn from(conflict: OutputConflict) -> Self {
        Self::Job(conflict.to_string())
    }
}

impl From<SpecError> for ControllerError {
    fn from(error: SpecError) -> Self {
        Self::Job(error.to_string())
    }
}
