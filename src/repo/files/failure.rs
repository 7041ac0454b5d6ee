//! What failures of content and trees mean to a user.

use crate::chunk::ChunkError;
use crate::model::{InvalidPath, InvalidRef};
use crate::repo::RepoError;
use crate::store::StoreError;
use crate::tree::TreeError;

impl From<ChunkError> for RepoError {
    fn from(error: ChunkError) -> Self {
        let what = error.to_string();
        let pack = |pack: crate::model::PackId| format!("pack {pack}");
        match error {
            ChunkError::Store(error) => Self::Store(error),
            ChunkError::Missing { pack: id, .. }
            | ChunkError::Corrupt { pack: id, .. }
            | ChunkError::CorruptPack { pack: id, .. } => Self::Damaged { key: pack(id), what },
            ChunkError::ShortRead { .. } | ChunkError::TooLarge { .. } => {
                Self::Refused { what, remedy: None }
            }
            ChunkError::Interrupted => Self::Store(StoreError::Unavailable {
                store: "content".to_owned(),
                key: "a pack".to_owned(),
                reason: what,
            }),
        }
    }
}

impl From<TreeError> for RepoError {
    fn from(error: TreeError) -> Self {
        let what = error.to_string();
        match error {
            TreeError::Chunk(error) => error.into(),
            TreeError::Corrupt { blob, .. } => Self::Damaged { key: format!("node {blob}"), what },
            TreeError::CorruptRoot { .. } => Self::Damaged { key: "root".to_owned(), what },
            TreeError::NotFound { path } => {
                Self::NotFound { kind: "file", name: path.absolute(), nearest: None }
            }
            TreeError::NotADirectory { .. }
            | TreeError::IsADirectory { .. }
            | TreeError::IsAFile { .. } => {
                Self::refused(what, "delete what is there first, or choose another path")
            }
            TreeError::InvalidEntry { .. } | TreeError::Unordered { .. } => {
                Self::Refused { what, remedy: None }
            }
            TreeError::Path(error) => error.into(),
        }
    }
}

impl From<InvalidPath> for RepoError {
    fn from(error: InvalidPath) -> Self {
        Self::InvalidRef(InvalidRef::Path(error))
    }
}
