//! Parts of large chunks, verified without reading the rest.
//!
//! A chunk's id is the root of a BLAKE3 tree. Whoever has seen the whole chunk
//! once keeps the chaining values of its groups, a five hundredth of its size;
//! from then on a small part of it is read from the local disk and compared
//! with the values of the groups it lies in.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex};

use blake3::hazmat::{self, HasherExt as _, Mode};
use bytes::Bytes;
use lru::LruCache;

use super::blobs::Inner;
use super::cache::ByteLru;
use super::disk::Extent;
use super::fetch::frame_extent;
use super::pack::pack_key;
use super::{ChunkRef, lock};
use crate::model::{ChunkId, PackId};

/// Bytes of a group; a power of two times BLAKE3's own chunks, and enough of
/// them to hash side by side.
const GROUP: usize = 16 << 10;

/// A part is read by itself when it is at most such a share of its chunk.
const SHARE: usize = 4;

/// How many packs are held open.
const OPEN: NonZeroUsize = NonZeroUsize::new(256).expect("is not zero");

type Value = [u8; 32];

/// The id of a chunk, and the chaining values of its groups one after the other.
pub(super) fn outboard(plain: &[u8]) -> (ChunkId, Bytes) {
    if plain.len() <= GROUP {
        return (super::reference::chunk_id(plain), Bytes::new());
    }
    let mut values = Vec::with_capacity(plain.len().div_ceil(GROUP) * 32);
    let split = hazmat::left_subtree_len(plain.len() as u64);
    let (left, right) = plain.split_at(split as usize);
    let (left, right) = (subtree(left, 0, &mut values), subtree(right, split, &mut values));
    let root = hazmat::merge_subtrees_root(&left, &right, Mode::Hash);
    (ChunkId::new(*root.as_bytes()), values.into())
}

/// The chaining value of what begins at `offset`; adds those of its groups.
fn subtree(plain: &[u8], offset: u64, values: &mut Vec<u8>) -> Value {
    if plain.len() <= GROUP {
        let value = group(plain, offset);
        values.extend_from_slice(&value);
        return value;
    }
    let split = hazmat::left_subtree_len(plain.len() as u64);
    let (left, right) = plain.split_at(split as usize);
    let left = subtree(left, offset, values);
    hazmat::merge_subtrees_non_root(&left, &subtree(right, offset + split, values), Mode::Hash)
}

fn group(plain: &[u8], offset: u64) -> Value {
    blake3::Hasher::new().set_input_offset(offset).update(plain).finalize_non_root()
}

/// What is known of chunks that were verified, and packs to read them from.
pub(super) struct Parts {
    values: Mutex<ByteLru<Extent>>,
    packs: Mutex<LruCache<PackId, Arc<File>>>,
}

impl Parts {
    pub fn new(memory: usize) -> Self {
        Self { values: Mutex::new(ByteLru::new(memory)), packs: Mutex::new(LruCache::new(OPEN)) }
    }

    /// Notes the chaining values of a chunk that lies in its frame as it is.
    pub fn learn(&self, place: &ChunkRef, values: Bytes) {
        if place.stored == place.len.saturating_add(1) && !values.is_empty() {
            lock(&self.values).put(frame_extent(place), values);
        }
    }
}

impl Inner {
    /// Bytes `part` of a large chunk, without the rest of it where that can be
    /// had and verified; `None` where it takes the whole chunk.
    pub(super) async fn read_part(&self, place: &ChunkRef, part: &Range<usize>) -> Option<Bytes> {
        if part.len() > place.len as usize / SHARE {
            return None;
        }
        let values = lock(&self.fetcher.parts.values).get(&frame_extent(place))?;
        let groups = part.start / GROUP..part.end.div_ceil(GROUP);
        let span = groups.start * GROUP..(groups.end * GROUP).min(place.len as usize);
        let (file, frame) = self.local(place)?;
        let mut bytes = vec![0; span.len()];
        // One more: the frame's codec byte.
        let at = frame + 1 + span.start as u64;
        match read_cached(&file, &mut bytes, at) {
            Ok(true) => {}
            Ok(false) => bytes = read_on_disk(file, bytes, at).await?,
            Err(_) => return None,
        }
        if !is_intact(&bytes, groups, &values) {
            return None;
        }
        let bytes = Bytes::from(bytes);
        Some(bytes.slice(part.start - span.start..part.end - span.start))
    }

    /// The file that a pack is on this machine.
    pub(super) fn local_pack(&self, pack: PackId) -> Option<Arc<File>> {
        let mut packs = lock(&self.fetcher.parts.packs);
        if let Some(file) = packs.get(&pack) {
            return Some(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.store.local_path(&pack_key(pack))?).ok()?);
        packs.put(pack, Arc::clone(&file));
        Some(file)
    }

    /// A local file with the frame of a chunk, and where the frame begins.
    fn local(&self, place: &ChunkRef) -> Option<(Arc<File>, u64)> {
        if let Some(pack) = self.local_pack(place.pack) {
            return Some((pack, u64::from(place.offset)));
        }
        Some((self.cached(frame_extent(place))?, 0))
    }

    /// The file of the cache directory that holds `extent`.
    pub(super) fn cached(&self, extent: Extent) -> Option<Arc<File>> {
        // Asked for each time, so that it counts as used.
        self.fetcher.disk.as_ref()?.open_file(&extent)
    }

    /// Removes from the cache directory what turned out to be damaged.
    pub(super) fn drop_cached(&self, extent: &Extent) {
        if let Some(disk) = &self.fetcher.disk {
            disk.remove(extent);
        }
    }
}

/// Whether groups read from a disk are those of the chunk.
fn is_intact(bytes: &[u8], groups: Range<usize>, values: &[u8]) -> bool {
    groups.zip(bytes.chunks(GROUP)).all(|(number, plain)| {
        let value = values.get(number * 32..number * 32 + 32);
        value == Some(&group(plain, (number * GROUP) as u64))
    })
}

/// Reads what the kernel has in memory; `false` when it would have to wait.
pub(super) fn read_cached(file: &File, bytes: &mut [u8], at: u64) -> io::Result<bool> {
    let vector = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let offset = i64::try_from(at).map_err(io::Error::other)?;
    // SAFETY: the vector is of memory that is ours alone, and the descriptor
    // is open for as long as `file` is borrowed.
    let read =
        unsafe { libc::preadv2(file.as_raw_fd(), &raw const vector, 1, offset, libc::RWF_NOWAIT) };
    Ok(usize::try_from(read).is_ok_and(|read| read == bytes.len()))
}

async fn read_on_disk(file: Arc<File>, mut bytes: Vec<u8>, at: u64) -> Option<Vec<u8>> {
    let read = move || file.read_exact_at(&mut bytes, at).map(|()| bytes);
    tokio::task::spawn_blocking(read).await.ok()?.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tree_of_groups_has_the_id_for_root() {
        let bytes: Vec<u8> = (0..5 * GROUP + 17).map(|at| (at * 31 % 251) as u8).collect();
        for len in [0, 1, GROUP, GROUP + 1, 2 * GROUP, 3 * GROUP + 1024, bytes.len()] {
            let (id, values) = outboard(&bytes[..len]);
            assert_eq!(id, super::super::reference::chunk_id(&bytes[..len]), "{len} bytes");
            let groups = if len <= GROUP { 0 } else { len.div_ceil(GROUP) };
            assert_eq!(values.len(), groups * 32, "{len} bytes");
            assert!(is_intact(&bytes[..len], 0..groups, &values));
        }
    }

    #[test]
    fn a_changed_byte_is_noticed_in_its_group_alone() {
        let mut bytes = vec![7; 4 * GROUP];
        let (_, values) = outboard(&bytes);
        bytes[GROUP + 5] ^= 1;
        assert!(is_intact(&bytes[..GROUP], 0..1, &values));
        assert!(!is_intact(&bytes[GROUP..2 * GROUP], 1..2, &values));
        assert!(is_intact(&bytes[2 * GROUP..], 2..4, &values));
        assert!(!is_intact(&bytes[..GROUP], 4..5, &values), "beyond the end");
    }
}
