//! Stand-in for `tree` and `chunk` until they land.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::VfsError;
use crate::model::{ContentHash, Timestamp, TreePath};

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub kind: EntryKind,
    pub mode: u32,
    pub mtime: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    Dir,
    File(Content),
    Symlink(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    Inline(Bytes),
}

impl Default for Content {
    fn default() -> Self {
        Self::Inline(Bytes::new())
    }
}

impl Content {
    pub fn size(&self) -> u64 {
        match self {
            Self::Inline(b) => b.len() as u64,
        }
    }
    pub fn hash(&self) -> ContentHash {
        match self {
            Self::Inline(b) => ContentHash::new(*blake3::hash(b).as_bytes()),
        }
    }
}

#[derive(Debug, Clone, Default)]
pub struct Tree(pub Arc<BTreeMap<TreePath, Entry>>);

impl Tree {
    pub async fn get(&self, path: &TreePath) -> Result<Option<Entry>, VfsError> {
        Ok(self.0.get(path).cloned())
    }
    pub async fn list(
        &self,
        dir: &TreePath,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<(String, Entry)>, VfsError> {
        Ok(self
            .0
            .iter()
            .filter(|(p, _)| p.parent().as_ref() == Some(dir))
            .filter(|(p, _)| after.is_none_or(|a| p.file_name() > a))
            .take(limit)
            .map(|(p, e)| (p.file_name().to_owned(), e.clone()))
            .collect())
    }
    pub async fn read(&self, content: &Content, range: Range<u64>) -> Result<Bytes, VfsError> {
        match content {
            Content::Inline(b) => {
                let end = range.end.min(b.len() as u64) as usize;
                Ok(b.slice((range.start as usize).min(end)..end))
            }
        }
    }
}
