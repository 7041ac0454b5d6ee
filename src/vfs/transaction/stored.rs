//! Content stored before the commit that needs it, while writing goes on.
//!
//! Writers wait while a commit is published. Most of what that would take is
//! reading, hashing and uploading, so it is done before: for all that has
//! changed, then for what has changed meanwhile. What is left once writers wait
//! is what they changed last.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::changes::{Held, SmallFile, StagedFile, What};
use super::holes::data_in;
use super::small::Small;
use super::{TransactionView, data};
use crate::chunk::{Content, INLINE_MAX, PackWriter};
use crate::tree::Tree;
use crate::vfs::VfsError;

/// A shorter hole of a staged file is read as the zeros it stands for.
const HOLE: u64 = 8 << 20;

/// Fewer bytes are stored while writers wait rather than before; none in tests.
const WORTHWHILE: u64 = if cfg!(test) { 1 } else { 8 << 20 };

/// Content that is stored already.
#[derive(Default)]
pub(super) struct Stored {
    writer: Option<PackWriter>,
    /// By the number of the staged file, as of when its change was last taken
    /// note of.
    staged: HashMap<u64, Content>,
    /// By the address of what is kept with it.
    small: HashMap<usize, (Arc<Small>, Content)>,
}

impl Stored {
    /// What the content was written with; a writer of its own when none was.
    pub(super) fn take_writer(&mut self, base: &Tree) -> PackWriter {
        self.writer.take().unwrap_or_else(|| base.nodes().blobs().writer())
    }

    /// The content of a staged file, stored once for all its names. Of a file
    /// that was copied up in part, or stored before, only what differs is read.
    pub(super) async fn staged(
        &mut self,
        file: &StagedFile,
        base: &Tree,
        writer: &PackWriter,
    ) -> Result<Content, VfsError> {
        // What fails below is stored whole the next time.
        let before = self.staged.remove(&file.number());
        let from = file.0.take_changed();
        let under = file.0.under.read().await;
        let size = file.size();
        let (below, changed) = match before {
            Some(content) if from.is_none() && content.size() == size => {
                self.staged.insert(file.number(), content.clone());
                return Ok(content);
            }
            Some(content) => {
                let from = from.unwrap_or(size).min(content.size()).min(size);
                (content, Vec::from_iter(std::iter::once(from..size)))
            }
            None => match &under.content {
                Some(content) => (content.clone(), under.dirty(size)),
                // A file without base is one that changed throughout.
                None => (Content::default(), Vec::from_iter(std::iter::once(0..size))),
            },
        };
        let opened = file.0.open()?;
        let changed = changed.into_iter().filter(|range| !range.is_empty()).collect();
        let changed = without_holes(&opened, changed, below.size())?;
        // Owned: a future that borrows from a closure is not `Send` for the compiler.
        let source = (base.clone(), opened, Arc::new(under.clone()));
        drop(under);
        let read = move |range| {
            let (base, opened, under) = source.clone();
            async move { data::read_blocks(&base, &opened, &under, range).await }
        };
        let content = below.splice(writer, &changed, size, read).await?;
        self.staged.insert(file.number(), content.clone());
        Ok(content)
    }

    /// The content of a small file.
    pub(super) async fn small(
        &mut self,
        file: &SmallFile,
        writer: &PackWriter,
    ) -> Result<Content, VfsError> {
        let address = Arc::as_ptr(&file.0).addr();
        if let Some((_, content)) = self.small.get(&address) {
            return Ok(content.clone());
        }
        let (small, size) = (Arc::clone(&file.0), file.0.size());
        let read = move |range: Range<u64>| {
            let small = Arc::clone(&small);
            async move { Ok::<_, VfsError>(small.read(range.start, range.end - range.start)?) }
        };
        let all = std::iter::once(0..size).filter(|all| !all.is_empty());
        let content = Content::default().splice(writer, &Vec::from_iter(all), size, read).await?;
        // What the tree itself holds is not worth keeping.
        if size > INLINE_MAX as u64 {
            self.small.insert(address, (Arc::clone(&file.0), content.clone()));
        }
        Ok(content)
    }

    /// Whether `file` would have to be read.
    fn lacks(&self, file: &StagedFile) -> bool {
        !file.0.is_unchanged() || !self.staged.contains_key(&file.number())
    }
}

impl TransactionView {
    /// Stores the content of what has changed, so that the next commit has less
    /// to do. Writers go on. What fails here the commit finds out again.
    pub async fn store_ahead(&self) {
        let mut stored = self.stored.lock().await;
        self.store_now(&mut stored).await;
    }

    /// The same, with what is stored already.
    pub(super) async fn store_now(&self, stored: &mut Stored) {
        if let Err(error) = self.store_in_rounds(stored).await {
            tracing::debug!(%error, "a commit stores what could not be stored ahead of it");
            *stored = Stored::default();
        }
    }

    async fn store_in_rounds(&self, stored: &mut Stored) -> Result<(), VfsError> {
        let mut before = u64::MAX;
        loop {
            let (missing, bytes) = self.missing(stored)?;
            // A program may write as fast as this stores: not much more than
            // twice all there is.
            if bytes < WORTHWHILE || bytes > before / 2 {
                return Ok(());
            }
            before = bytes;
            let base = self.base();
            let writer = stored.take_writer(&base);
            for held in missing {
                self.store_one(held, &base, &writer, stored).await?;
            }
            writer.flush().await?;
            stored.writer = Some(writer);
        }
    }

    /// What is not stored as it is now, and how many bytes that is.
    fn missing(&self, stored: &Stored) -> Result<(Vec<Held>, u64), VfsError> {
        let (mut missing, mut bytes) = (Vec::new(), 0);
        for change in self.changes()? {
            let What::File { content, .. } = change.what else { continue };
            let size = match &content {
                Held::Stored(_) => continue,
                Held::Small(file) if stored.small.contains_key(&Arc::as_ptr(&file.0).addr()) => {
                    continue;
                }
                Held::Staged(file) if !stored.lacks(file) => continue,
                Held::Small(file) => file.0.size(),
                Held::Staged(file) => file.size(),
            };
            // What goes into the tree is stored with it.
            if size > INLINE_MAX as u64 {
                bytes += size;
                missing.push(content);
            }
        }
        Ok((missing, bytes))
    }

    async fn store_one(
        &self,
        held: Held,
        base: &Tree,
        writer: &PackWriter,
        stored: &mut Stored,
    ) -> Result<(), VfsError> {
        let done = match &held {
            Held::Stored(_) => return Ok(()),
            Held::Small(file) => stored.small(file, writer).await,
            Held::Staged(file) => stored.staged(file, base, writer).await,
        };
        match done {
            Ok(_) => Ok(()),
            // Removed since.
            Err(VfsError::Staging(error)) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// `changed` without the holes of `file` behind `covered`; what is before it
/// must be said to be zero.
fn without_holes(
    file: &File,
    changed: Vec<Range<u64>>,
    covered: u64,
) -> io::Result<Vec<Range<u64>>> {
    let mut kept = Vec::with_capacity(changed.len());
    for range in changed {
        let middle = covered.clamp(range.start, range.end);
        let behind = match range.end - middle < HOLE {
            true => Vec::from_iter(std::iter::once(middle..range.end)),
            false => data_in(file, middle..range.end, HOLE)?,
        };
        let parts = std::iter::once(range.start..middle).chain(behind);
        kept.extend(parts.filter(|part| !part.is_empty()));
    }
    Ok(kept)
}
