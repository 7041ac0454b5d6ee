//! Files that lie whole in the cache directory, for kernels to read without
//! asking.
//!
//! Nobody compares what a kernel reads by itself. So a file is handed out only
//! once this process has written it from chunks that it had compared, or has
//! compared all of it, and only while it was not changed since.

use std::fs::{File, Metadata};
use std::io;
use std::num::NonZeroUsize;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::sync::{Arc, Mutex};

use futures::StreamExt as _;
use lru::LruCache;

use super::disk::DiskCache;
use super::reference::chunk_id;
use super::{Blobs, ChunkError, ChunkRef, Content, lock};
use crate::model::ContentHash;

/// How many files are known to be as they should be.
const KEPT: NonZeroUsize = NonZeroUsize::new(4096).expect("is not zero");

/// How much is compared before somebody else may have the thread.
const PIECE: u64 = 16 << 20;

/// A file by what is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Whole {
    /// The hash of its bytes.
    pub hash: ContentHash,
    /// How many there are.
    pub size: u64,
}

/// Which file it is, and when it was last changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(found: &Metadata) -> Self {
        Self {
            file: (found.dev(), found.ino()),
            size: found.len(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        }
    }
}

/// The files that are what they should be, as they were then.
pub(super) struct Compared(Mutex<LruCache<Whole, Stamp>>);

impl Default for Compared {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(KEPT)))
    }
}

impl Blobs {
    /// The file `whole`, if it is in the cache directory and
    /// [`Blobs::keep_whole`] has seen that it is what it should be. Never waits
    /// for more than the local disk.
    #[must_use]
    pub fn whole(&self, whole: &Whole) -> Option<File> {
        let stamp = *lock(&self.inner.compared.0).get(whole)?;
        let file = self.inner.fetcher.disk.as_ref()?.open_whole(whole)?;
        (Stamp::of(&file.metadata().ok()?) == stamp).then_some(file)
    }

    /// Has the bytes of `content` in one file of the cache directory, compared
    /// with their hashes; answers whether [`Blobs::whole`] finds it now. Holds
    /// a few chunks in memory at a time. What the disk refuses is not kept;
    /// nothing is left of what was only begun when this is dropped.
    pub async fn keep_whole(&self, content: &Content) -> Result<bool, ChunkError> {
        let Some(disk) = self.inner.fetcher.disk.clone() else { return Ok(false) };
        let whole = Whole { hash: content.hash(), size: content.size() };
        if self.whole(&whole).is_some() {
            return Ok(true);
        }
        let found = {
            let disk = Arc::clone(&disk);
            off_thread(move || Ok(disk.open_whole(&whole))).await.ok().flatten()
        };
        if let Some(file) = found {
            let stamp = file.metadata().ok().map(|found| Stamp::of(&found));
            if let (Some(stamp), true) = (stamp, is_content(file, content.chunks()).await) {
                lock(&self.inner.compared.0).put(whole, stamp);
                return Ok(true);
            }
            tracing::warn!(hash = %whole.hash, "a file in the cache directory is not what it was");
            disk.remove_whole(&whole);
        }
        match self.assemble(&disk, whole, content).await? {
            Ok(Some(stamp)) => {
                lock(&self.inner.compared.0).put(whole, stamp);
                Ok(true)
            }
            Ok(None) => Ok(false),
            Err(error) => {
                tracing::debug!(hash = %whole.hash, %error, "a file cannot be kept whole");
                Ok(false)
            }
        }
    }

    /// Writes the file from chunks, each compared with its hash as it is read.
    async fn assemble(
        &self,
        disk: &Arc<DiskCache>,
        whole: Whole,
        content: &Content,
    ) -> Result<io::Result<Option<Stamp>>, ChunkError> {
        let disk = Arc::clone(disk);
        let mut fresh = match off_thread(move || disk.begin_whole(&whole)).await {
            Ok(Some(fresh)) => fresh,
            Ok(None) => return Ok(Ok(None)),
            Err(error) => return Ok(Err(error)),
        };
        let mut bytes = content.stream(self, 0..whole.size);
        while let Some(piece) = bytes.next().await.transpose()? {
            let written = off_thread(move || {
                fresh.write(&piece)?;
                Ok(fresh)
            });
            fresh = match written.await {
                Ok(fresh) => fresh,
                Err(error) => return Ok(Err(error)),
            };
        }
        let finish = move || Ok(Some(Stamp::of(&fresh.finish()?.metadata()?)));
        Ok(off_thread(finish).await)
    }
}

/// Does what blocks on the disk where that is no matter.
async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}

/// Whether `file` holds the bytes of `chunks`, and what can be read of it.
async fn is_content(file: File, chunks: &[ChunkRef]) -> bool {
    let (file, mut at) = (Arc::new(file), 0);
    let mut rest = chunks;
    while !rest.is_empty() {
        let mut size = 0;
        let reaches = |chunk: &ChunkRef| {
            size += u64::from(chunk.len);
            size >= PIECE
        };
        let count = rest.iter().position(reaches).map_or(rest.len(), |last| last + 1);
        let (piece, after) = rest.split_at(count);
        let (opened, piece, start) = (Arc::clone(&file), piece.to_vec(), at);
        at += piece.iter().map(|chunk| u64::from(chunk.len)).sum::<u64>();
        rest = after;
        if !off_thread(move || are_chunks(&opened, start, &piece)).await.unwrap_or(false) {
            return false;
        }
    }
    true
}

fn are_chunks(file: &File, mut at: u64, chunks: &[ChunkRef]) -> io::Result<bool> {
    let mut bytes = Vec::new();
    for chunk in chunks {
        bytes.resize(chunk.len as usize, 0);
        file.read_exact_at(&mut bytes, at)?;
        if chunk_id(&bytes) != chunk.id {
            return Ok(false);
        }
        at += u64::from(chunk.len);
    }
    Ok(true)
}
