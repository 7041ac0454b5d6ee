//! What the layers below answer, in this layer's terms.

use crate::chunk::ChunkError;
use crate::store::StoreError;
use crate::tree::TreeError;

use super::VfsError;

impl From<StoreError> for VfsError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NoSpace { .. } => Self::NoSpace(error.to_string()),
            StoreError::NotFound { .. } => Self::Damaged(error.to_string()),
            StoreError::AlreadyExists { .. }
            | StoreError::Denied { .. }
            | StoreError::Unavailable { .. }
            | StoreError::InvalidUrl { .. }
            | StoreError::Format { .. } => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<ChunkError> for VfsError {
    fn from(error: ChunkError) -> Self {
        match error {
            ChunkError::Store(error) => error.into(),
            ChunkError::Missing { .. }
            | ChunkError::Corrupt { .. }
            | ChunkError::CorruptPack { .. }
            | ChunkError::ShortRead { .. } => Self::Damaged(error.to_string()),
            ChunkError::TooLarge { .. } => Self::TooLarge,
            ChunkError::Interrupted => Self::Unavailable(error.to_string()),
        }
    }
}

impl From<TreeError> for VfsError {
    fn from(error: TreeError) -> Self {
        match error {
            TreeError::Chunk(error) => error.into(),
            TreeError::Corrupt { .. } | TreeError::CorruptRoot { .. } => {
                Self::Damaged(error.to_string())
            }
            TreeError::NotADirectory { .. } => Self::NotDirectory,
            TreeError::IsADirectory { .. } => Self::IsDirectory,
            TreeError::IsAFile { .. } => Self::NotDirectory,
            TreeError::NotFound { .. } => Self::NotFound,
            TreeError::InvalidEntry { rule, .. } => Self::Invalid(rule),
            TreeError::Unordered { .. } => Self::Invalid("edits are out of order"),
            TreeError::Path(_) => Self::NameTooLong,
        }
    }
}
