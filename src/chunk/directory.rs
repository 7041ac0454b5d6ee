//! Packs that are files of this machine, read where they lie.

use std::borrow::Cow;
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use super::pack::pack_key;
use super::reference::chunk_id;
use super::{ChunkRef, codec};
use crate::model::PackId;

/// Reads chunks out of the packs of a directory store; for a thread that may
/// block.
///
/// It reads into one buffer over and over: the bytes are still in a core's
/// cache when they are verified, and when the caller passes them on.
#[derive(Debug)]
pub struct PackReader {
    root: PathBuf,
    open: Option<(PackId, File)>,
    buffer: Vec<u8>,
}

impl PackReader {
    /// Reads from the store in the directory `root`.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self { root, open: None, buffer: Vec::new() }
    }

    /// The plain bytes of a chunk, verified; `None` when they cannot be had
    /// this way. [`super::Blobs::read`] knows others, and says what is wrong.
    pub fn read(&mut self, place: &ChunkRef) -> Option<Cow<'_, [u8]>> {
        if self.open.as_ref().is_none_or(|(pack, _)| *pack != place.pack) {
            let file = File::open(self.root.join(pack_key(place.pack))).ok()?;
            self.open = Some((place.pack, file));
        }
        let (_, file) = self.open.as_ref()?;
        self.buffer.resize(place.stored as usize, 0);
        file.read_exact_at(&mut self.buffer, u64::from(place.offset)).ok()?;
        let plain = codec::decode_slice(&self.buffer, place.len as usize).ok()?;
        (chunk_id(&plain) == place.id).then_some(plain)
    }
}
