//! Checking a catalog against its store, and rebuilding it from there.

mod rebuild;

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;

use futures::TryStreamExt;
use lru::LruCache;

use super::{Repos, Result, object};
use crate::catalog::{CommitQuery, CommitRow};
use crate::chunk::ChunkRef;
use crate::model::{Commit, PackId, Timestamp, TreePath};
use crate::store::StoreError;
use crate::tree::{NodeCache, Nodes, Reference, Root, references};

pub use rebuild::RebuildSummary;

/// Blobs remembered as seen, so that what trees share is read once; beyond
/// that they are read again.
const SEEN: NonZeroUsize = NonZeroUsize::new(1 << 20).unwrap();

/// Chunks of one commit that are named when they cannot be read.
const NAMED: u64 = 20;

/// How much to check.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fsck {
    /// Read and verify every chunk of every commit, not only the nodes of its
    /// tree; the packs that hold chunks are looked for in any case.
    pub deep: bool,
    /// Write commit objects again that are missing or not as the catalog has
    /// them, and delete those that belong to no commit.
    pub repair: bool,
    /// Commit objects last written before this belong to no write that is
    /// still on its way.
    pub settled: Timestamp,
}

/// What was looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FsckSummary {
    /// Commits.
    pub commits: u64,
    /// Commit objects.
    pub objects: u64,
    /// Tree nodes, and chunks where those are wanted, read and verified.
    pub blobs: u64,
    /// Problems found.
    pub problems: u64,
    /// Problems repaired.
    pub repaired: u64,
}

/// Something that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The database itself is damaged.
    Catalog {
        /// What it says.
        what: String,
    },
    /// A commit's object is missing or is not what the catalog has.
    Object {
        /// The commit.
        commit: Commit,
        /// What is wrong.
        what: String,
    },
    /// A part of a commit's tree is missing or damaged.
    Tree {
        /// The commit.
        commit: Commit,
        /// What is wrong, with the object's name.
        what: String,
    },
    /// A pack that files of a commit are in is not there. Told once, with the
    /// first file found in it.
    Pack {
        /// The pack.
        pack: PackId,
        /// The commit.
        commit: Commit,
        /// The file.
        path: TreePath,
    },
    /// A finished commit derives from one that is open.
    Lineage {
        /// The commit.
        commit: Commit,
        /// The open one.
        upstream: Commit,
    },
    /// An object that belongs to no commit: a write that never finished left
    /// it. No data is lost.
    Orphan {
        /// Its key.
        key: String,
    },
}

impl Problem {
    /// Whether writing or deleting a commit object repairs it.
    #[must_use]
    pub const fn is_repairable(&self) -> bool {
        match self {
            Self::Object { .. } | Self::Orphan { .. } => true,
            Self::Catalog { .. } | Self::Tree { .. } | Self::Pack { .. } | Self::Lineage { .. } => {
                false
            }
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalog { what } => write!(f, "catalog: {what}"),
            Self::Object { commit, what } => {
                write!(f, "commit {commit}: object {}: {what}", object::key(commit))
            }
            Self::Tree { commit, what } => write!(f, "commit {commit}: tree: {what}"),
            Self::Pack { pack, commit, path } => write!(
                f,
                "pack {pack} is missing from the store: commit {commit} has content in it, \
                 first found in {}",
                path.absolute()
            ),
            Self::Lineage { commit, upstream } => {
                write!(f, "commit {commit} is finished but derives from {upstream}, which is open")
            }
            Self::Orphan { key } => write!(f, "object {key} belongs to no commit"),
        }
    }
}

impl Repos {
    /// Checks the catalog, every finished commit's object and tree, and that
    /// no object is left over. Tells of problems as it finds them; an error
    /// means that checking itself could not go on.
    pub async fn fsck(&self, how: Fsck, tell: impl FnMut(&Problem) + Send) -> Result<FsckSummary> {
        let nodes = match how.deep {
            // Past all caches: what they hold may be gone from the store. A
            // node is opened once for each place it has.
            true => Nodes::new(self.blobs.afresh(), NodeCache::new(0)),
            false => Nodes::new(self.blobs.clone(), NodeCache::new(1 << 20)),
        };
        let seen = LruCache::new(SEEN);
        let summary = FsckSummary::default();
        let packs = match how.deep {
            // Every chunk is read.
            true => HashSet::new(),
            false => self.blobs.packs().await?.into_iter().map(|(pack, _)| pack).collect(),
        };
        let lost = HashSet::new();
        let unknown = self.is_rebuildable().await?;
        let mut check = Check { repos: self, how, nodes, seen, packs, lost, summary, tell };
        if unknown {
            let what = "it is empty, but the store holds commits; stop the server and run \
                        'pfs fsck --rebuild'";
            check.found(&Problem::Catalog { what: what.to_owned() });
            return Ok(check.summary);
        }
        for what in self.catalog.check().await? {
            check.found(&Problem::Catalog { what });
        }
        for row in self.catalog.repos(None).await? {
            let mut query = CommitQuery::newest(row.repo);
            (query.oldest_first, query.limit) = (true, 1000);
            loop {
                let page = self.catalog.commits(&query).await?;
                let Some(last) = page.last() else { break };
                query.after = Some(last.seq);
                for row in &page {
                    check.commit(row).await?;
                }
            }
        }
        check.orphans().await?;
        Ok(check.summary)
    }
}

struct Check<'r, T> {
    repos: &'r Repos,
    how: Fsck,
    nodes: Nodes,
    seen: LruCache<(PackId, u32), ()>,
    /// Packs that were there when the check began.
    packs: HashSet<PackId>,
    /// Packs that are not there.
    lost: HashSet<PackId>,
    summary: FsckSummary,
    tell: T,
}

impl<T: FnMut(&Problem) + Send> Check<'_, T> {
    fn found(&mut self, problem: &Problem) {
        self.summary.problems += 1;
        (self.tell)(problem);
    }

    async fn commit(&mut self, row: &CommitRow) -> Result<()> {
        self.summary.commits += 1;
        if row.is_open() {
            return Ok(());
        }
        if let Some(what) = self.object_fault(row).await? {
            self.found(&Problem::Object { commit: row.commit.clone(), what });
            if self.how.repair {
                self.repair(&row.commit).await?;
            }
        }
        if let Err(what) = self.tree(row).await {
            // What is below was not read, though its parents were.
            self.seen.clear();
            self.found(&Problem::Tree { commit: row.commit.clone(), what });
        }
        for upstream in &row.provenance {
            let open = self.repos.catalog.commit(upstream).await?.is_some_and(|row| row.is_open());
            // A job that fails may end before its inputs do.
            if open && row.error.is_none() {
                let (commit, upstream) = (row.commit.clone(), upstream.clone());
                self.found(&Problem::Lineage { commit, upstream });
            }
        }
        Ok(())
    }

    /// Writes a commit's object as the catalog has the commit now.
    async fn repair(&mut self, commit: &Commit) -> Result<()> {
        let _rewriting = self.repos.rewriting.lock().await;
        if let Some(row) = self.repos.catalog.commit(commit).await?
            && !row.is_open()
        {
            self.repos.write_object(&row).await?;
            self.summary.repaired += 1;
        }
        Ok(())
    }

    /// An object's commit as the catalog would have it: what it came from may
    /// have been deleted since, which its object does not tell.
    async fn as_known(&self, mut row: CommitRow) -> Result<CommitRow> {
        if let Some(parent) = row.parent {
            let parent = self.repos.catalog.commit(&row.commit.repo.commit(parent)).await?;
            row.parent = parent.map(|parent| parent.commit.id);
        }
        let mut known = Vec::new();
        for upstream in row.provenance {
            if self.repos.catalog.commit(&upstream).await?.is_some() {
                known.push(upstream);
            }
        }
        row.provenance = known;
        Ok(row)
    }

    /// What is wrong with a commit's object.
    async fn object_fault(&self, row: &CommitRow) -> Result<Option<String>> {
        let stored = match self.repos.store().get(&object::key(&row.commit)).await {
            Ok(stored) => stored,
            Err(StoreError::NotFound { .. }) => return Ok(Some("it is missing".into())),
            Err(e) => return Err(e.into()),
        };
        // Encoding is canonical, so equal rows are equal bytes.
        let wanted = object::encode(row);
        let found = match object::decode(&stored) {
            Err(e) => return Ok(Some(e.to_string())),
            Ok(_) if stored == wanted => return Ok(None),
            Ok(found) => self.as_known(found).await?,
        };
        let fault = || "it is not the commit that the catalog has".into();
        Ok((object::encode(&found) != wanted).then(fault))
    }

    /// Reads the nodes that no commit before had, and where that is wanted what
    /// is in the files.
    async fn tree(&mut self, row: &CommitRow) -> Result<(), String> {
        if row.root.encoded.is_empty() {
            return Ok(());
        }
        let root = Root::decode(&row.root.encoded).map_err(|e| e.to_string())?;
        // The node before is remembered by the time the stream asks for it.
        let known = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let asked = std::sync::Arc::clone(&known);
        let (mut first, mut damaged) = (true, 0);
        let enter = move |_: &ChunkRef| {
            let top = std::mem::take(&mut first);
            top || !asked.load(std::sync::atomic::Ordering::Relaxed)
        };
        let mut blobs = references(&self.nodes, &root, enter);
        while let Some(blob) = blobs.try_next().await.map_err(|e| e.to_string())? {
            let seen = self.read(row, &blob, &mut damaged).await?;
            known.store(seen, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    }

    /// Reads what nothing else reads, and says whether it was seen before.
    /// Chunks that cannot be read are named, up to a bound, and counted.
    async fn read(
        &mut self,
        row: &CommitRow,
        blob: &Reference,
        damaged: &mut u64,
    ) -> Result<bool, String> {
        let (place, path) = match blob {
            // The walk reads these by itself.
            Reference::Node(place) | Reference::List(place) => (place, None),
            Reference::Chunk { chunk, path } => (chunk, Some(path)),
        };
        if let (false, Some(path)) = (self.how.deep, path) {
            self.look_for_pack(row, place.pack, path).await?;
            return Ok(false);
        }
        let key = (place.pack, place.offset);
        let seen = self.seen.put(key, ()).is_some();
        if seen {
            return Ok(true);
        }
        self.summary.blobs += 1;
        if let Some(path) = path
            && let Err(error) = self.nodes.blobs().read(place).await
        {
            // Every commit that has it shall say so.
            self.seen.pop(&key);
            *damaged += 1;
            if *damaged <= NAMED {
                let what = format!("file {path}: {error}");
                self.found(&Problem::Tree { commit: row.commit.clone(), what });
            }
        }
        Ok(false)
    }

    /// Tells of each pack that is not there, once.
    async fn look_for_pack(
        &mut self,
        row: &CommitRow,
        pack: PackId,
        path: &TreePath,
    ) -> Result<(), String> {
        if self.packs.contains(&pack) || self.lost.contains(&pack) {
            return Ok(());
        }
        // It may have come after the list was made.
        if self.repos.blobs.has_pack(pack).await.map_err(|e| e.to_string())? {
            self.packs.insert(pack);
            return Ok(());
        }
        self.lost.insert(pack);
        let (commit, path) = (row.commit.clone(), path.clone());
        self.found(&Problem::Pack { pack, commit, path });
        Ok(())
    }

    async fn orphans(&mut self) -> Result<()> {
        let mut objects = self.repos.store().list(object::ALL);
        while let Some(info) = objects.try_next().await? {
            self.summary.objects += 1;
            let commit = object::commit_of(&info.key);
            let row = match &commit {
                Some(commit) => self.repos.catalog.commit(commit).await?,
                None => None,
            };
            // The object of an open commit is that of a finish on its way.
            if row.is_some() || info.modified >= self.how.settled.as_nanos() {
                continue;
            }
            self.found(&Problem::Orphan { key: info.key.clone() });
            if self.how.repair && commit.is_some() {
                self.repos.store().delete(&info.key).await?;
                self.summary.repaired += 1;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
