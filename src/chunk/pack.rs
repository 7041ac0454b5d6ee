//! The pack format: many frames in one object, with an index at the end.
//!
//! ```text
//! header   magic "pfs pack", version 2, pack id           8 + 1 + 16 bytes
//! frames   one after the other, see `codec`
//! values   per large frame of plain bytes: the chaining
//!          values of its groups, see `groups`             32 bytes per 16 KiB
//! index    per frame: chunk id, offset, stored, len       32 + 4 + 4 + 4 bytes
//! trailer  index length, first half of BLAKE3 of the
//!          version, the pack id and the index, version 2,
//!          magic                                          4 + 16 + 1 + 8 bytes
//! ```
//!
//! Numbers are little-endian. A reader with a [`ChunkRef`] needs no index; it
//! serves deduplication, checking and rebuilding, and says where the values
//! are. Those need no checksum, for they are merged to the chunk's id. Packs of
//! version 1 have no values, and no version in their checksum.

use bytes::{BufMut as _, Bytes, BytesMut};

use super::codec::Frame;
use super::groups::{outboard, values_len};
use super::{ChunkError, ChunkRef};
use crate::model::{ChunkId, PackId};

const MAGIC: &[u8; 8] = b"pfs pack";
const VERSION: u8 = 2;
/// Packs of this version have no chaining values.
const WITHOUT_VALUES: u8 = 1;
const ENTRY_LEN: usize = ChunkId::LEN + 3 * 4;
const CHECK_LEN: usize = 16;
/// How many bytes come after the index.
pub(super) const TRAILER_LEN: usize = 4 + CHECK_LEN + 1 + 8;

/// Payloads from here on are kept as they are instead of copied together.
const SEPARATE: usize = 64 << 10;
/// The copied part is closed at this size, so that it never moves much.
const PART_MAX: usize = 1 << 20;

/// A pack being filled; readable at any time.
#[derive(Debug)]
pub(super) struct PackBuilder {
    id: PackId,
    /// Finished parts with their offsets, in order.
    parts: Vec<(usize, Bytes)>,
    /// What follows the last part.
    tail: BytesMut,
    len: usize,
    refs: Vec<ChunkRef>,
    /// The chaining values of large frames, in their order.
    values: Vec<u8>,
}

impl PackBuilder {
    pub fn new(id: PackId) -> Self {
        let mut tail = BytesMut::with_capacity(PART_MAX / 16);
        tail.put_slice(MAGIC);
        tail.put_u8(VERSION);
        tail.put_slice(id.as_bytes());
        Self { id, parts: Vec::new(), len: tail.len(), tail, refs: Vec::new(), values: Vec::new() }
    }

    pub fn id(&self) -> PackId {
        self.id
    }

    /// Bytes so far, without index.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Lays a frame behind the others.
    ///
    /// The caller keeps packs far below 4 GiB, where offsets end.
    pub fn add(&mut self, id: ChunkId, len: usize, frame: Frame) -> ChunkRef {
        let place = ChunkRef {
            id,
            pack: self.id,
            offset: self.len as u32,
            stored: frame.stored() as u32,
            len: len as u32,
        };
        self.add_values(&place, &frame);
        self.len += frame.stored();
        self.tail.put_u8(frame.codec);
        if frame.payload.len() >= SEPARATE {
            self.close_part();
            self.parts.push((self.len - frame.payload.len(), frame.payload));
        } else {
            self.tail.put_slice(&frame.payload);
            if self.tail.len() >= PART_MAX {
                self.close_part();
            }
        }
        self.refs.push(place);
        place
    }

    fn add_values(&mut self, place: &ChunkRef, frame: &Frame) {
        match values_len(place) {
            0 => {}
            len if frame.values.len() == len => self.values.extend_from_slice(&frame.values),
            // Encoded where nobody needed the id any more.
            _ => self.values.extend_from_slice(&outboard(&frame.payload).1),
        }
    }

    /// Closes the copied part; `self.tail` is what precedes a pending payload.
    fn close_part(&mut self) {
        let part = self.tail.split().freeze();
        let start = self.parts.last().map_or(0, |(at, bytes)| at + bytes.len());
        self.parts.push((start, part));
    }

    /// The frame of `place`, if it lies here.
    pub fn frame(&self, place: &ChunkRef) -> Option<Bytes> {
        let (start, end) = (place.offset as usize, (place.offset + place.stored) as usize);
        if end > self.len {
            return None;
        }
        let first = self.parts.partition_point(|(at, bytes)| at + bytes.len() <= start);
        if let Some((at, bytes)) = self.parts.get(first)
            && end <= at + bytes.len()
        {
            return Some(bytes.slice(start - at..end - at));
        }
        let mut out = BytesMut::with_capacity(end - start);
        let tail_at = self.parts.last().map_or(0, |(at, bytes)| at + bytes.len());
        let parts = self.parts[first..].iter().map(|(at, bytes)| (*at, &bytes[..]));
        for (at, bytes) in parts.chain([(tail_at, &self.tail[..])]) {
            let from = start.max(at).min(at + bytes.len()) - at;
            let to = end.max(at).min(at + bytes.len()) - at;
            out.put_slice(&bytes[from..to]);
        }
        Some(out.freeze())
    }

    /// The whole object, index included, and what it holds. The builder stays
    /// readable; nothing may be added after.
    pub fn seal(&mut self) -> (Vec<Bytes>, Vec<ChunkRef>) {
        self.close_part();
        let refs = std::mem::take(&mut self.refs);
        let mut parts: Vec<Bytes> = self.parts.iter().map(|(_, bytes)| bytes.clone()).collect();
        if !self.values.is_empty() {
            parts.push(std::mem::take(&mut self.values).into());
        }
        parts.push(footer(self.id, &refs));
        (parts, refs)
    }
}

fn checksum(version: u8, pack: PackId, index: &[u8]) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new();
    if version != WITHOUT_VALUES {
        hasher.update(&[version]);
    }
    hasher.update(pack.as_bytes()).update(index);
    let mut sum = [0; CHECK_LEN];
    sum.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_LEN]);
    sum
}

/// Index and trailer of a pack with these frames.
pub(super) fn footer(pack: PackId, refs: &[ChunkRef]) -> Bytes {
    let mut out = BytesMut::with_capacity(refs.len() * ENTRY_LEN + TRAILER_LEN);
    for place in refs {
        out.put_slice(place.id.as_bytes());
        out.put_u32_le(place.offset);
        out.put_u32_le(place.stored);
        out.put_u32_le(place.len);
    }
    let (len, sum) = (out.len() as u32, checksum(VERSION, pack, &out));
    out.put_u32_le(len);
    out.put_slice(&sum);
    out.put_u8(VERSION);
    out.put_slice(MAGIC);
    out.freeze()
}

/// What the end of a pack says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Footer {
    /// What the pack holds.
    Whole(Index),
    /// The index is longer than the bytes given: this many are needed.
    Longer(usize),
}

/// The index of a pack.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Index {
    /// What the pack holds, in the order it lies there.
    pub places: Vec<ChunkRef>,
    /// How many bytes at the end are index and trailer.
    len: usize,
    version: u8,
}

impl Index {
    /// How many bytes at the end of the pack go from its chaining values to its
    /// end; `None` where it has none.
    pub fn len_with_values(&self) -> Option<usize> {
        let values: usize = self.places.iter().map(values_len).sum();
        (self.version != WITHOUT_VALUES && values > 0).then_some(self.len + values)
    }

    /// Each chunk that has chaining values, with those the section has for it.
    /// `end` begins where [`Index::len_with_values`] says. Nobody has compared
    /// them with anything.
    pub fn values<'e>(&self, end: &'e [u8]) -> impl Iterator<Item = (&ChunkRef, &'e [u8])> {
        let mut rest = end;
        let large = self.places.iter().map(|place| (place, values_len(place)));
        large.filter(|(_, len)| *len > 0).map_while(move |(place, len)| {
            let (values, behind) = rest.split_at_checked(len)?;
            rest = behind;
            Some((place, values))
        })
    }
}

/// Reads the index from the last bytes of a pack.
pub(super) fn parse_footer(pack: PackId, end: &[u8]) -> Result<Footer, ChunkError> {
    let corrupt = |reason: &str| ChunkError::CorruptPack { pack, reason: reason.to_owned() };
    let Some((before, trailer)) = end.split_last_chunk::<TRAILER_LEN>() else {
        return Err(corrupt("it is too short for a pack"));
    };
    if &trailer[TRAILER_LEN - 8..] != MAGIC {
        return Err(corrupt("it does not end like a pack"));
    }
    let version = trailer[TRAILER_LEN - 9];
    if version != VERSION && version != WITHOUT_VALUES {
        return Err(corrupt(&format!("version {version} is newer than this program")));
    }
    let len = u32::from_le_bytes([trailer[0], trailer[1], trailer[2], trailer[3]]) as usize;
    if len > before.len() {
        return Ok(Footer::Longer(len + TRAILER_LEN));
    }
    let index = &before[before.len() - len..];
    if checksum(version, pack, index) != trailer[4..4 + CHECK_LEN] || !len.is_multiple_of(ENTRY_LEN)
    {
        return Err(corrupt("its index does not match its checksum"));
    }
    let entries = index.chunks_exact(ENTRY_LEN).map(|entry| parse_entry(pack, entry));
    let places = entries.collect::<Option<Vec<_>>>();
    let places = places.ok_or_else(|| corrupt("its index names a frame that cannot be"))?;
    Ok(Footer::Whole(Index { places, len: len + TRAILER_LEN, version }))
}

/// Reads one entry of the index; `entry` has [`ENTRY_LEN`] bytes.
fn parse_entry(pack: PackId, entry: &[u8]) -> Option<ChunkRef> {
    let (id, numbers) = entry.split_at(ChunkId::LEN);
    let mut bytes = [0; ChunkId::LEN];
    bytes.copy_from_slice(id);
    let number = |at: usize| {
        u32::from_le_bytes([numbers[at], numbers[at + 1], numbers[at + 2], numbers[at + 3]])
    };
    ChunkRef::checked(ChunkId::new(bytes), pack, (number(0), number(4)), number(8))
}

/// The key of a pack in the store.
pub(super) fn pack_key(pack: PackId) -> String {
    let hex = pack.to_hex();
    format!("packs/{}/{hex}", &hex[..2])
}
