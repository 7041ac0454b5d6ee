//! Small chunks that lie near each other in a pack on this machine.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

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
