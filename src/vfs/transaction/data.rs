//! Operations on content: reading, writing, truncating, syncing.

use std::fs::{File, FileTimes};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};

use super::holes::zero;
use super::journal::Record;
use super::mirror::Entry as Mirrored;
use super::node::{Body, Data, NodeId};
use super::staged::{BLOCK, Staged, Unclaimed, Under, WHOLE};
use super::{COPIES, TransactionView};
use crate::chunk::Content;
use crate::model::Timestamp;
use crate::tree::Tree;
use crate::vfs::VfsError;
use crate::vfs::types::Statfs;

/// The largest file, in bytes.
const FILE_MAX: u64 = i64::MAX as u64;

/// What fallocate(2) is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Allocate {
    /// Make the file reach to the end of the range.
    Extend,
    /// Only make room; holes take none here.
    Reserve,
    /// Make the range read as zeros, without changing the size.
    Zero,
    /// Make the range read as zeros and the file reach to its end.
    ZeroExtend,
}

impl TransactionView {
    /// Up to `count` bytes from `offset`; fewer at the end of the file only.
    pub async fn read(&self, id: NodeId, offset: u64, count: u64) -> Result<Bytes, VfsError> {
        loop {
            let (base, data) = {
                let state = self.lock();
                (state.base.clone(), state.node(id)?.data()?.clone())
            };
            let staged = match &data {
                Data::Base(content) => return read_base(&base, content, offset, count).await,
                Data::Small(small) => return Ok(small.read(offset, count)?),
                Data::Staged(staged) => staged,
            };
            match self.read_staged(&base, staged, offset, count).await {
                // Committed since, and removed: the base has it now.
                Err(VfsError::Staging(error))
                    if error.kind() == io::ErrorKind::NotFound && !self.holds(id, staged)? => {}
                read => return read,
            }
        }
    }

    /// Whether `staged` is the content of `id`.
    fn holds(&self, id: NodeId, staged: &Arc<Staged>) -> Result<bool, VfsError> {
        let state = self.lock();
        let now = state.node(id)?.data()?;
        Ok(matches!(now, Data::Staged(now) if Arc::ptr_eq(now, staged)))
    }

    async fn read_staged(
        &self,
        base: &Tree,
        staged: &Staged,
        offset: u64,
        count: u64,
    ) -> Result<Bytes, VfsError> {
        let under = staged.under.read().await;
        let end = offset.saturating_add(count).min(staged.size());
        let file = staged.open()?;
        read_blocks(base, &file, &under, offset..end).await
    }

    /// Whether a write to `id` would wait for no commit and no content of the
    /// store, as far as can be told now.
    pub fn takes_at_once(&self, id: NodeId) -> bool {
        let state = self.lock();
        let here = match state.node(id).and_then(|node| node.data()) {
            Ok(Data::Base(content)) => content.size() == 0,
            Ok(Data::Small(_)) | Err(_) => true,
            Ok(Data::Staged(staged)) => {
                staged.under.try_read().is_ok_and(|under| under.content.is_none())
            }
        };
        here && self.seal.try_read().is_ok()
    }

    /// Writes all of `data` at `offset`.
    pub async fn write(&self, id: NodeId, offset: u64, data: &[u8]) -> Result<(), VfsError> {
        let _open = self.writable().await?;
        let end = offset.checked_add(data.len() as u64).filter(|end| *end <= FILE_MAX);
        let end = end.ok_or(VfsError::TooLarge)?;
        if offset == 0 && self.write_small(id, data).await? {
            return Ok(());
        }
        let staged = self.stage(id, u64::MAX).await?;
        self.change(&staged, offset..end, |file| file.write_all_at(data, offset)).await?;
        let before = staged.size.fetch_max(end, Ordering::AcqRel);
        // Once more: whoever stored it in between has not seen the new end.
        staged.changed(before.min(offset));
        if staged.behind.wrote(data.len() as u64) {
            staged.behind.send(staged.open()?);
        }
        self.lock().modified(id, self.clock.now())
    }

    /// Copies up what `range` covers in part, runs `change` on the staged
    /// file and marks what it now holds.
    async fn change(
        &self,
        staged: &Arc<Staged>,
        range: Range<u64>,
        change: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), VfsError> {
        // Before, for whoever finds in the journal what is done here; after,
        // for whoever has synced in between.
        self.unsynced(staged);
        let start = range.start;
        let changed = self.change_blocks(staged, range, change).await;
        if changed.is_err() {
            // What was written beyond the end is not to show when it grows.
            let file = staged.open()?;
            if file.metadata()?.len() > staged.size() {
                file.set_len(staged.size())?;
            }
        }
        // What lies between the end and `start` reads as zeros from now on.
        staged.changed(start.min(staged.size()));
        self.unsynced(staged);
        changed
    }

    async fn change_blocks(
        &self,
        staged: &Staged,
        range: Range<u64>,
        change: impl FnOnce(&File) -> io::Result<()>,
    ) -> Result<(), VfsError> {
        let file = staged.open()?;
        {
            let under = staged.under.read().await;
            let covered = |block| range.start <= block * BLOCK && (block + 1) * BLOCK <= range.end;
            let blocks = range.start / BLOCK..range.end.div_ceil(BLOCK);
            if under.content.is_none() || blocks.clone().all(|block| under.has(block)) {
                return Ok(change(&file)?);
            }
            let partly = [blocks.start, blocks.end - 1].into_iter().filter(|b| !covered(*b));
            drop(under);
            self.fill(staged, &file, partly).await?;
        }
        let mut under = staged.under.write().await;
        change(&file)?;
        let (first, count) = (range.start / BLOCK, range.end.div_ceil(BLOCK) - range.start / BLOCK);
        self.lock().log(&Record::Blocks { file: staged.file, first, count })?;
        under.mark(first, count);
        Ok(())
    }

    /// Copies `blocks` up from the base unless they are there already.
    async fn fill(
        &self,
        staged: &Staged,
        file: &File,
        blocks: impl Iterator<Item = u64>,
    ) -> Result<(), VfsError> {
        let base = self.base();
        for block in blocks {
            let mut under = staged.under.write().await;
            let Some(content) = under.content.clone().filter(|_| !under.has(block)) else {
                continue;
            };
            let end = (block + 1) * BLOCK;
            let range = block * BLOCK..end.min(under.len);
            let bytes = read(&base, &content, range.clone()).await?;
            // A process may have died in a write that nobody saw since.
            let unseen = range.end..end.min(file.metadata()?.len());
            if !unseen.is_empty() {
                zero(file, unseen)?;
            }
            file.write_all_at(&bytes, range.start)?;
            self.lock().log(&Record::Blocks { file: staged.file, first: block, count: 1 })?;
            under.mark(block, 1);
        }
        Ok(())
    }

    /// The staged content of `id`, made from the first `keep` bytes of its
    /// base content when it was not staged yet.
    async fn stage(&self, id: NodeId, keep: u64) -> Result<Arc<Staged>, VfsError> {
        if let Data::Staged(staged) = self.lock().node(id)?.data()? {
            return Ok(Arc::clone(staged));
        }
        let _alone = self.copying[(id.0 % COPIES as u64) as usize].lock().await;
        let (data, base, file) = {
            let mut state = self.lock();
            let data = state.node(id)?.data()?.clone();
            (data, state.base.clone(), state.new_file())
        };
        let kept = keep.min(data.size());
        let staging = self.staging();
        let unclaimed = Unclaimed::new(&staging, file);
        let under = match data {
            // Somebody else was faster.
            Data::Staged(staged) => return Ok(staged),
            Data::Base(content) if kept > WHOLE => {
                staging.create(file)?.set_len(kept)?;
                Under::of(content, kept)
            }
            Data::Base(content) => {
                copy_up(&base, &content, kept, &*staging.create(file)?).await?;
                Under::default()
            }
            Data::Small(small) => {
                staging.create(file)?.write_all_at(&small.read(0, kept)?, 0)?;
                Under::default()
            }
        };
        let staged = Staged::new(Arc::clone(&staging), file, kept, under);
        self.commit_stage(id, &staged, kept)?;
        unclaimed.keep();
        Ok(staged)
    }

    fn commit_stage(&self, id: NodeId, staged: &Arc<Staged>, kept: u64) -> Result<(), VfsError> {
        let mut state = self.lock();
        if let Some(path) = state.path(id)? {
            // Recovery tells whole copies from others by their size.
            let base = if kept > WHOLE { kept } else { 0 };
            state.log(&Record::Stage { path, file: staged.file, base })?;
        }
        state.unsynced.push(Arc::clone(staged));
        if kept > WHOLE {
            state.note(Mirrored::Staged { file: staged.file, len: kept });
        }
        let node = state.node_mut(id)?;
        let new = Body::File(Data::Staged(Arc::clone(staged)));
        let old = std::mem::replace(&mut node.body, new);
        node.changed = true;
        state.discard_content(old);
        state.touch(id)
    }

    /// Makes the file exactly `size` bytes long; a hole reads as zeros.
    pub(super) async fn truncate(&self, id: NodeId, size: u64) -> Result<(), VfsError> {
        if size > FILE_MAX {
            return Err(VfsError::TooLarge);
        }
        let staged = self.stage(id, size).await?;
        self.unsynced(&staged);
        {
            let mut under = staged.under.write().await;
            let file = staged.open()?;
            // Under the lock: no sync may come between the two.
            let mut state = self.lock();
            if size < under.len {
                state.log(&Record::Clip { file: staged.file, base: size })?;
                under.len = size;
            }
            file.set_len(size)?;
            let before = staged.size.swap(size, Ordering::AcqRel);
            staged.changed(before.min(size));
        }
        self.unsynced(&staged);
        self.lock().modified(id, self.clock.now())
    }

    /// Makes room, or zeros, as fallocate(2).
    pub async fn allocate(
        &self,
        id: NodeId,
        how: Allocate,
        range: Range<u64>,
    ) -> Result<(), VfsError> {
        let size = self.attr(id)?.size;
        let extend = matches!(how, Allocate::Extend | Allocate::ZeroExtend) && range.end > size;
        if matches!(how, Allocate::Zero | Allocate::ZeroExtend) {
            let _open = self.writable().await?;
            let range = range.start..range.end.min(size);
            if range.start < range.end {
                let staged = self.stage(id, u64::MAX).await?;
                self.change(&staged, range.clone(), |file| zero(file, range.clone())).await?;
                self.lock().modified(id, self.clock.now())?;
            }
        }
        if extend {
            let _open = self.writable().await?;
            self.truncate(id, range.end).await?;
        }
        Ok(())
    }

    /// The room in the staging directory.
    pub fn statfs(&self) -> Result<Statfs, VfsError> {
        let found = nix::sys::statvfs::statvfs(self.staging().dir()).map_err(io::Error::from)?;
        Ok(Statfs {
            block_size: u32::try_from(found.fragment_size()).unwrap_or(4096),
            blocks: found.blocks(),
            free: found.blocks_free(),
            available: found.blocks_available(),
            files: found.files(),
            files_free: found.files_available(),
        })
    }
}

/// Copies the first `kept` bytes of `content`.
async fn copy_up(base: &Tree, content: &Content, kept: u64, target: &File) -> Result<(), VfsError> {
    let mut at = 0;
    while at < kept {
        let bytes = read(base, content, at..kept.min(at + 4 * BLOCK)).await?;
        if bytes.is_empty() {
            return Err(VfsError::Damaged("a file is shorter than its entry says".into()));
        }
        target.write_all_at(&bytes, at)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// Sets the modification time of a staged file, from which recovery takes it.
pub(super) fn set_modified(file: &File, mtime: Timestamp) -> io::Result<()> {
    let nanos = mtime.as_nanos();
    let distance = Duration::from_nanos(nanos.unsigned_abs());
    let time = match nanos < 0 {
        true => SystemTime::UNIX_EPOCH - distance,
        false => SystemTime::UNIX_EPOCH + distance,
    };
    file.set_times(FileTimes::new().set_modified(time))
}

/// Bytes `range` of content of `base`.
async fn read(base: &Tree, content: &Content, range: Range<u64>) -> Result<Bytes, VfsError> {
    Ok(content.read_range(base.nodes().blobs(), range).await?)
}

/// Bytes `range`, which ends within the file: present blocks from `file`,
/// the others from the base.
pub(super) async fn read_blocks(
    base: &Tree,
    file: &File,
    under: &Under,
    range: Range<u64>,
) -> Result<Bytes, VfsError> {
    let count = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
    let mut bytes = BytesMut::zeroed(count);
    let mut at = range.start;
    while at < range.end {
        let block = at / BLOCK;
        // A file without base is read in one go.
        let until = match &under.content {
            Some(_) => range.end.min((block + 1) * BLOCK),
            None => range.end,
        };
        let into = &mut bytes[(at - range.start) as usize..(until - range.start) as usize];
        match &under.content {
            Some(content) if !under.has(block) => {
                let read = read(base, content, at..until.min(under.len).max(at)).await?;
                into[..read.len()].copy_from_slice(&read);
            }
            Some(_) | None => read_full(file, into, at)?,
        }
        at = until;
    }
    Ok(bytes.freeze())
}

async fn read_base(
    base: &Tree,
    content: &Content,
    offset: u64,
    count: u64,
) -> Result<Bytes, VfsError> {
    let end = offset.saturating_add(count).min(content.size());
    match offset < end {
        true => Ok(read(base, content, offset..end).await?),
        false => Ok(Bytes::new()),
    }
}

/// Reads `into` from `at`; what lies past the end of the file stays zero.
fn read_full(file: &File, into: &mut [u8], at: u64) -> io::Result<()> {
    let mut done = 0;
    while done < into.len() {
        match file.read_at(&mut into[done..], at + done as u64) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
