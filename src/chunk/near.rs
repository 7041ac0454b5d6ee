//! Small chunks in a pack on this machine.
//!
//! The kernel caches the pack, so nothing of it is kept here: a first touch has
//! the kernel fetch the segment around it, which later ones find there.

use std::fs::File;
use std::ops::Range;
use std::os::fd::AsFd as _;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;
use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};

use super::blobs::Inner;
use super::parts::read_cached;
use super::segments::{SEGMENT, numbers, segment_extent};
use super::{Blobs, ChunkRef, codec, reference};

/// How far apart chunks may lie to be read together, in bytes.
const GAP: u32 = 64 << 10;

/// How much is read together, in bytes.
const RUN: u32 = 4 << 20;

impl Blobs {
    /// Reads chunks on the calling thread, those that lie near each other by
    /// one call, and passes the plain bytes of each, verified, to `take` with
    /// its number in `places`; `buffer` is used for reading.
    ///
    /// Leaves out what is not in a pack on this machine, and what is damaged:
    /// [`Blobs::read`] has the last word on those.
    pub fn read_near(
        &self,
        places: &[ChunkRef],
        buffer: &mut Vec<u8>,
        mut take: impl FnMut(usize, &[u8]),
    ) {
        for run in runs(places) {
            let first = places[run.start];
            let Some(file) = self.inner.local_pack(first.pack) else { continue };
            let end = places[run.clone()].iter().map(|p| p.offset + p.stored).max();
            let len = end.unwrap_or(first.offset) - first.offset;
            if !read(&file, buffer, u64::from(first.offset), len as usize) {
                continue;
            }
            for (number, place) in run.clone().zip(&places[run]) {
                let start = (place.offset - first.offset) as usize;
                let frame = &buffer[start..start + place.stored as usize];
                match codec::decode_slice(frame, place.len as usize) {
                    Ok(plain) if reference::chunk_id(&plain) == place.id => take(number, &plain),
                    Ok(_) | Err(_) => {}
                }
            }
        }
    }
}

impl Inner {
    /// The frame of a small chunk, not verified, out of a pack on this machine.
    pub(super) async fn local_frame(&self, place: &ChunkRef) -> Option<Bytes> {
        let file = self.local_pack(place.pack)?;
        let (mut frame, at) = (vec![0; place.stored as usize], u64::from(place.offset));
        if !read_cached(&file, &mut frame, at).ok()? {
            let read = move || {
                fetch_around(&file, at);
                file.read_exact_at(&mut frame, at).map(|()| frame)
            };
            frame = tokio::task::spawn_blocking(read).await.ok()?.ok()?;
        }
        Some(frame.into())
    }

    /// The frame of a small chunk, not verified, out of the cache directory:
    /// not the whole of the segments it lies in.
    pub(super) async fn disk_frame(&self, place: &ChunkRef) -> Option<Bytes> {
        let files = numbers(place).map(|number| self.cached(segment_extent(place.pack, number)));
        let files = files.collect::<Option<Vec<_>>>()?;
        let (mut frame, at) = (vec![0; place.stored as usize], place.offset % SEGMENT);
        let here =
            |file: &File, part: &mut [u8], at| matches!(read_cached(file, part, at), Ok(true));
        if read_parts(&files, &mut frame, at, here) {
            return Some(frame.into());
        }
        let read = move || {
            let read = |file: &File, part: &mut [u8], at| {
                fetch_around(file, at);
                file.read_exact_at(part, at).is_ok()
            };
            read_parts(&files, &mut frame, at, read).then_some(frame)
        };
        tokio::task::spawn_blocking(read).await.ok()?.map(Bytes::from)
    }
}

/// Reads a frame that begins at `at` of the first segment and goes on in those
/// behind it; tells whether `read` did for each.
fn read_parts(
    segments: &[Arc<File>],
    frame: &mut [u8],
    at: u32,
    read: impl Fn(&File, &mut [u8], u64) -> bool,
) -> bool {
    let (mut rest, mut at) = (frame, at);
    segments.iter().all(|segment| {
        let len = rest.len().min((SEGMENT - at) as usize);
        let (part, behind) = std::mem::take(&mut rest).split_at_mut(len);
        rest = behind;
        read(segment, part, u64::from(std::mem::take(&mut at)))
    })
}

/// Has the kernel begin to read the segment around `at`; nothing but speed
/// depends on it.
fn fetch_around(file: &File, at: u64) {
    let start = at - at % u64::from(SEGMENT);
    let advice = PosixFadviseAdvice::POSIX_FADV_WILLNEED;
    let _ = posix_fadvise(file.as_fd(), start.cast_signed(), i64::from(SEGMENT), advice);
}

fn read(file: &File, buffer: &mut Vec<u8>, at: u64, len: usize) -> bool {
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    file.read_exact_at(&mut buffer[..len], at).is_ok()
}

/// Cuts places, as they come, into what one call reads.
fn runs(places: &[ChunkRef]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (at, place) in places.iter().enumerate() {
        if let Some(run) = runs.last_mut() {
            let (first, last) = (&places[run.start], &places[at - 1]);
            let end = last.offset + last.stored;
            let near = (end..=end.saturating_add(GAP)).contains(&place.offset);
            let fits =
                place.offset.saturating_add(place.stored) <= first.offset.saturating_add(RUN);
            if last.pack == place.pack && near && fits {
                run.end = at + 1;
                continue;
            }
        }
        runs.push(at..at + 1);
    }
    runs
}
