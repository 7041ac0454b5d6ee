//! Parts of large chunks, verified without reading the rest.
//!
//! They are read from the local disk, and compared with the chaining values of
//! the groups they lie in (see `groups`). A pack has those of its chunks before
//! its index, a file of the cache directory behind its frame; where they are
//! not, they are kept once the whole chunk was seen.

use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use lru::LruCache;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::blobs::Inner;
use super::buffers::Buffer;
use super::cache::ByteLru;
use super::disk::Extent;
use super::fetch::frame_extent;
use super::groups::{GROUP, are_values, is_intact, values_len};
use super::pack::{Footer, pack_key, parse_footer};
use super::{ChunkRef, lock};
use crate::model::{ChunkId, PackId};

/// A part up to such a share of its chunk is read by itself even while the
/// chunk is on its way.
const SHARE: usize = 4;

/// How many packs are held open.
const OPEN: NonZeroUsize = NonZeroUsize::new(256).expect("is not zero");

/// How much of the end of a pack is read for its chaining values: as much as
/// they and the index of a pack of large chunks take.
const END: usize = 80 << 10;

/// What a thread that answers requests waits for itself, in bytes: passing it on
/// would take as long.
const HERE: usize = 256 << 10;

/// How many threads wait so at a time; others are left for other requests.
const WAITING: usize = 3;

/// What is known of chunks, and packs to read them from.
pub(super) struct Parts {
    /// Chaining values by chunk; none where its pack has none.
    values: Mutex<ByteLru<ChunkId>>,
    packs: Mutex<LruCache<Local, Arc<File>>>,
    /// Threads that wait for a disk before they take the next request.
    waiting: AtomicUsize,
}

/// A pack on the local disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Local {
    Pack(PackId),
    /// Of which the kernel reads no more than it is asked for.
    Scattered(PackId),
}

/// A frame in a file.
struct Framed {
    file: Arc<File>,
    at: u64,
}

impl Parts {
    pub fn new(memory: usize) -> Self {
        Self {
            values: Mutex::new(ByteLru::new(memory)),
            packs: Mutex::new(LruCache::new(OPEN)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Notes the chaining values of a chunk that lies in its frame as it is.
    pub fn learn(&self, place: &ChunkRef, values: &Bytes) {
        if values_len(place) > 0 {
            lock(&self.values).put(place.id, values.clone());
        }
    }

    /// The chaining values of a chunk, or nothing.
    pub fn known(&self, place: &ChunkRef) -> Bytes {
        lock(&self.values).get(&place.id).unwrap_or_default()
    }

    /// Whether the chaining values of a chunk may lie behind its frame in `file`,
    /// which is not looked at for that: there is room, and nobody has looked in
    /// vain.
    pub fn may_lie_in(&self, place: &ChunkRef, file: &File) -> bool {
        let whole = u64::from(place.stored) + values_len(place) as u64;
        let missing = lock(&self.values).get(&place.id).is_some_and(|values| values.is_empty());
        !missing && file.metadata().is_ok_and(|found| found.len() >= whole)
    }

    /// Does what may wait for a disk, on this thread if it is one that answers
    /// requests and can be spared.
    async fn on_disk<T: Send + 'static>(
        &self,
        bytes: usize,
        work: impl FnOnce() -> Option<T> + Send + 'static,
    ) -> Option<T> {
        // Tasks run on threads that never wait.
        if bytes <= HERE && tokio::task::try_id().is_none() {
            let others = self.waiting.fetch_add(1, Ordering::Relaxed);
            let _turn = Turn(&self.waiting);
            if others < WAITING {
                return work();
            }
        }
        tokio::task::spawn_blocking(work).await.ok().flatten()
    }
}

/// A thread's place among those that wait.
struct Turn<'a>(&'a AtomicUsize);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    /// Bytes `part` of a large chunk, without the rest of it where that can be
    /// had and verified; `None` where it takes the whole chunk.
    pub(super) async fn read_part(&self, place: &ChunkRef, part: &Range<usize>) -> Option<Bytes> {
        if values_len(place) == 0 || part.len() >= place.len as usize {
            return None;
        }
        let extent = frame_extent(place);
        let wide = part.len() > place.len as usize / SHARE;
        if wide && lock(&self.fetcher.flights).contains_key(&extent) {
            return None;
        }
        let framed = self.local(place)?;
        let values = self.values(place, &framed).await?;
        let groups = part.start / GROUP..part.end.div_ceil(GROUP);
        let span = groups.start * GROUP..(groups.end * GROUP).min(place.len as usize);
        // One more: the frame's codec byte.
        let (file, at) = (framed.file, framed.at + 1 + span.start as u64);
        let bytes = self.read_groups(file, at, span.len(), (groups, values)).await?;
        Some(bytes.slice(part.start - span.start..part.end - span.start))
    }

    /// Whole groups of a chunk, `len` bytes from `at` of a file, if they match
    /// the values.
    async fn read_groups(
        &self,
        file: Arc<File>,
        at: u64,
        len: usize,
        (groups, values): (Range<usize>, Bytes),
    ) -> Option<Bytes> {
        let mut bytes = Buffer::new(len);
        if len <= HERE && read_cached(&file, &mut bytes, at).ok()? {
            return is_intact(&bytes, groups, &values).then(|| Bytes::from_owner(bytes));
        }
        let read = move || {
            file.read_exact_at(&mut bytes, at).ok()?;
            is_intact(&bytes, groups, &values).then(|| Bytes::from_owner(bytes))
        };
        self.fetcher.parts.on_disk(len, read).await
    }

    /// The chaining values of a chunk, as far as they are known or lie with its
    /// frame.
    async fn values(&self, place: &ChunkRef, framed: &Framed) -> Option<Bytes> {
        let known = lock(&self.fetcher.parts.values).get(&place.id);
        if let Some(values) = known {
            return (!values.is_empty()).then_some(values);
        }
        let (file, wanted) = (Arc::clone(&framed.file), *place);
        // In the cache directory a frame has a file of its own.
        let alone = framed.at == 0;
        let load = move || match alone {
            true => Some(values_behind(&file, &wanted).into_iter().collect()),
            false => Some(values_of_pack(&file, wanted.pack).unwrap_or_default()),
        };
        let found: Vec<(ChunkRef, Bytes)> = self.fetcher.parts.on_disk(END, load).await?;
        let mut kept = lock(&self.fetcher.parts.values);
        let none = (wanted, Bytes::new());
        let here = found.iter().find(|(place, _)| place.id == wanted.id).unwrap_or(&none).clone();
        for (place, values) in found.into_iter().chain([here.clone()]) {
            kept.put(place.id, values);
        }
        (!here.1.is_empty()).then_some(here.1)
    }

    /// The file that a pack is on this machine.
    pub(super) fn local_pack(&self, pack: PackId) -> Option<Arc<File>> {
        self.open_pack(pack, Local::Pack(pack))
    }

    fn open_pack(&self, pack: PackId, local: Local) -> Option<Arc<File>> {
        let mut packs = lock(&self.fetcher.parts.packs);
        if let Some(file) = packs.get(&local) {
            return Some(Arc::clone(file));
        }
        let file = Arc::new(File::open(self.store.local_path(&pack_key(pack))?).ok()?);
        if let Local::Scattered(_) = local {
            read_no_more(&file);
        }
        packs.put(local, Arc::clone(&file));
        Some(file)
    }

    /// A local file with the frame of a chunk, to read parts of it.
    fn local(&self, place: &ChunkRef) -> Option<Framed> {
        if let Some(file) = self.open_pack(place.pack, Local::Scattered(place.pack)) {
            return Some(Framed { file, at: u64::from(place.offset) });
        }
        Some(Framed { file: self.cached(frame_extent(place))?, at: 0 })
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

/// Has the kernel read what it is asked for and nothing around it. Only speed
/// depends on it.
pub(super) fn read_no_more(file: &File) {
    let _ = posix_fadvise(file.as_fd(), 0, 0, PosixFadviseAdvice::POSIX_FADV_RANDOM);
}

/// The chaining values of all large chunks of a pack, as far as they match.
fn values_of_pack(file: &File, pack: PackId) -> Option<Vec<(ChunkRef, Bytes)>> {
    let mut end = read_end(file, END)?;
    let index = loop {
        match parse_footer(pack, &end).ok()? {
            Footer::Whole(index) => break index,
            Footer::Longer(needed) if needed > end.len() => end = read_end(file, needed)?,
            Footer::Longer(_) => return None,
        }
    };
    let len = index.len_with_values()?;
    if len > end.len() {
        end = read_end(file, len)?;
    }
    let section = &end[end.len().checked_sub(len)?..];
    let found = index.values(section).filter(|(place, values)| are_values(values, place));
    Some(found.map(|(place, values)| (*place, Bytes::copy_from_slice(values))).collect())
}

/// The chaining values behind a frame that a file begins with.
fn values_behind(file: &File, place: &ChunkRef) -> Option<(ChunkRef, Bytes)> {
    let mut values = vec![0; values_len(place)];
    file.read_exact_at(&mut values, u64::from(place.stored)).ok()?;
    are_values(&values, place).then(|| (*place, values.into()))
}

/// The last bytes of a file, as many as it has of them.
fn read_end(file: &File, len: usize) -> Option<Vec<u8>> {
    let size = file.metadata().ok()?.len();
    let mut end = vec![0; usize::try_from(size).map_or(len, |size| size.min(len))];
    let at = size - end.len() as u64;
    file.read_exact_at(&mut end, at).ok()?;
    Some(end)
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
