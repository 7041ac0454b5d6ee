//! Bringing what will be read into the caches before it is asked for.

use futures::StreamExt as _;

use super::VfsError;
use super::view::content;
use crate::chunk::{ChunkRef, WarmStats, Warming};
use crate::model::TreePath;
use crate::pipeline::glob::Glob;
use crate::tree::{Change, Entry, Root, Tree, diff, diff_stats};

/// How many chunks, and how many of their bytes, are looked at together.
const CHUNKS: usize = 64 << 10;
const BYTES: u64 = 512 << 20;

/// How many entries are read until it is told how far that is.
const TOLD: u64 = 4096;

/// What is to be warm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Warmth {
    /// Names and attributes.
    Metadata,
    /// These, and the content of files that match, or lie in a directory that
    /// does.
    Content(Glob),
}

/// How far it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Warmed {
    /// Entries seen.
    pub entries: u64,
    /// Files that were wanted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What that took.
    pub stats: WarmStats,
}

/// Warms what lies at and below `path`; `told` hears how far it is.
///
/// What was read of the tree is in the caches by that; content is fetched in
/// the order it lies in packs, into the cache directory alone.
pub async fn warm(
    tree: &Tree,
    path: &TreePath,
    warmth: &Warmth,
    warming: &Warming,
    told: &(dyn Fn(&Warmed) + Sync),
) -> Result<Warmed, VfsError> {
    let mut warmed = Warmed::default();
    match warmth {
        Warmth::Metadata => {
            let mut entries = tree.walk_stats(path, None);
            while let Some(entry) = entries.next().await {
                entry?;
                warmed.entries += 1;
                if warmed.entries.is_multiple_of(TOLD) {
                    told(&warmed);
                }
            }
        }
        Warmth::Content(glob) => {
            let mut batch = Batch::new(tree, glob, warming, told);
            if let Some(entry) = tree.get(path).await?.filter(|entry| !entry.is_dir()) {
                batch.add(&mut warmed, path.clone(), entry).await?;
            }
            let mut entries = tree.walk(path, None);
            while let Some(entry) = entries.next().await {
                let (path, entry) = entry?;
                batch.add(&mut warmed, path, entry).await?;
                if warmed.stats.full {
                    break;
                }
            }
            batch.fetch(&mut warmed).await?;
        }
    }
    // What was read of the tree is kept beside.
    tree.nodes().blobs().settle().await;
    told(&warmed);
    Ok(warmed)
}

/// Warms what at and below `path` is another in `tree` than in `old`; see
/// [`warm`]. Costs what the change does.
pub async fn warm_changes(
    (old, tree): (&Root, &Tree),
    path: &TreePath,
    warmth: &Warmth,
    warming: &Warming,
) -> Result<Warmed, VfsError> {
    let mut warmed = Warmed::default();
    match warmth {
        Warmth::Metadata => {
            let mut changes = diff_stats(tree.nodes(), old, tree.root(), path);
            while let Some(change) = changes.next().await {
                warmed.entries += u64::from(change?.new.is_some());
            }
        }
        Warmth::Content(glob) => {
            let mut batch = Batch::new(tree, glob, warming, &|_| {});
            let mut changes = diff(tree.nodes(), old, tree.root(), path);
            while let Some(change) = changes.next().await {
                let Change { path, new: Some(entry), .. } = change? else { continue };
                batch.inside = path.ancestors().find(|dir| glob.matches(dir));
                batch.add(&mut warmed, path, entry).await?;
                if warmed.stats.full {
                    break;
                }
            }
            batch.fetch(&mut warmed).await?;
        }
    }
    tree.nodes().blobs().settle().await;
    Ok(warmed)
}

/// Chunks that are wanted and not looked at yet.
struct Batch<'a> {
    tree: &'a Tree,
    glob: &'a Glob,
    warming: &'a Warming,
    told: &'a (dyn Fn(&Warmed) + Sync),
    /// The directory that matches, of those that lead to the last entry.
    inside: Option<TreePath>,
    gathered: Vec<ChunkRef>,
    weight: u64,
}

impl<'a> Batch<'a> {
    fn new(
        tree: &'a Tree,
        glob: &'a Glob,
        warming: &'a Warming,
        told: &'a (dyn Fn(&Warmed) + Sync),
    ) -> Self {
        Self { tree, glob, warming, told, inside: None, gathered: Vec::new(), weight: 0 }
    }

    async fn add(
        &mut self,
        warmed: &mut Warmed,
        path: TreePath,
        entry: Entry,
    ) -> Result<(), VfsError> {
        warmed.entries += 1;
        let inside = self.inside.as_ref().is_some_and(|dir| path.starts_with(dir));
        let wanted = inside || self.glob.is_root() || self.glob.matches(&path);
        if !wanted {
            return Ok(());
        }
        let Some(content) = content(&entry) else {
            if !inside && entry.is_dir() {
                self.inside = Some(path);
            }
            return Ok(());
        };
        warmed.files += 1;
        warmed.bytes += content.size();
        self.gathered.extend_from_slice(content.chunks());
        self.weight += content.chunks().iter().map(|chunk| u64::from(chunk.stored)).sum::<u64>();
        match self.gathered.len() >= CHUNKS || self.weight >= BYTES {
            true => self.fetch(warmed).await,
            false => Ok(()),
        }
    }

    async fn fetch(&mut self, warmed: &mut Warmed) -> Result<(), VfsError> {
        let chunks = std::mem::take(&mut self.gathered);
        self.weight = 0;
        if chunks.is_empty() || warmed.stats.full {
            return Ok(());
        }
        warmed.stats += self.tree.nodes().blobs().warm(&chunks, self.warming).await?;
        (self.told)(warmed);
        Ok(())
    }
}
