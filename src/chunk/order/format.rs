//! The file that an order is kept in.
//!
//! Behind the magic and a version byte: how many packs, and their ids; then one
//! entry after the other: the pack's number, where the part starts, how long it
//! is, its kind, and for a large chunk its length and id; at the end a hash of
//! all before it. Numbers are little endian, of four bytes.

use std::collections::HashMap;

use super::super::ChunkRef;
use super::super::disk::Extent;
use super::super::fetch::LARGE;
use super::super::segments::SEGMENT;
use super::history::Unit;
use crate::model::{ChunkId, PackId};

const MAGIC: &[u8] = b"pfs order";
const VERSION: u8 = 1;
const HASH: usize = 16;

const SEGMENT_KIND: u8 = 0;
const ALONE_KIND: u8 = 1;
const LARGE_KIND: u8 = 2;

/// The most bytes that an entry takes, the id of its pack included.
pub(in crate::chunk) const ENTRY_MOST: u64 = 16 + 13 + 36;

pub(super) fn encode(units: impl Iterator<Item = Unit>) -> Vec<u8> {
    let (mut packs, mut ids, mut entries) = (HashMap::new(), Vec::new(), Vec::new());
    for unit in units {
        let extent = unit.extent();
        let number = *packs.entry(extent.pack).or_insert_with(|| {
            ids.extend_from_slice(extent.pack.as_bytes());
            (ids.len() / 16 - 1) as u32
        });
        for part in [number, extent.start, extent.len] {
            entries.extend_from_slice(&part.to_le_bytes());
        }
        match unit {
            Unit::Segment(_) => entries.push(SEGMENT_KIND),
            Unit::Alone(_) => entries.push(ALONE_KIND),
            Unit::Large(place) => {
                entries.push(LARGE_KIND);
                entries.extend_from_slice(&place.len.to_le_bytes());
                entries.extend_from_slice(place.id.as_bytes());
            }
        }
    }
    let count = (packs.len() as u32).to_le_bytes();
    let mut file = [MAGIC, &[VERSION], &count, &ids[..], &entries[..]].concat();
    file.extend_from_slice(&blake3::hash(&file).as_bytes()[..HASH]);
    file
}

/// What a file holds; `None` when it is damaged, or of another version.
pub(super) fn decode(file: &[u8]) -> Option<Vec<Unit>> {
    let (body, hash) = file.split_at_checked(file.len().checked_sub(HASH)?)?;
    if blake3::hash(body).as_bytes()[..HASH] != *hash {
        return None;
    }
    parse(body)
}

/// [`decode`] of what lies before the hash.
pub(super) fn parse(body: &[u8]) -> Option<Vec<Unit>> {
    let mut rest = body.strip_prefix(MAGIC)?.strip_prefix(&[VERSION])?;
    let count = number(&mut rest)? as usize;
    let ids;
    (ids, rest) = rest.split_at_checked(count.checked_mul(16)?)?;
    let (packs, _) = ids.as_chunks::<16>();
    let mut units = Vec::new();
    while !rest.is_empty() {
        let pack = PackId::new(*packs.get(number(&mut rest)? as usize)?);
        let extent = Extent { pack, start: number(&mut rest)?, len: number(&mut rest)? };
        extent.start.checked_add(extent.len)?;
        units.push(unit(extent, &mut rest)?);
    }
    Some(units)
}

fn unit(extent: Extent, rest: &mut &[u8]) -> Option<Unit> {
    let (kind, behind) = rest.split_first()?;
    *rest = behind;
    Some(match *kind {
        SEGMENT_KIND => {
            let sound = extent.len == SEGMENT && extent.start.is_multiple_of(SEGMENT);
            sound.then_some(Unit::Segment(extent))?
        }
        ALONE_KIND => (1..LARGE).contains(&extent.len).then_some(Unit::Alone(extent))?,
        LARGE_KIND => {
            let len = number(rest)?;
            let (id, behind) = rest.split_first_chunk::<32>()?;
            *rest = behind;
            let place =
                ChunkRef::checked(ChunkId::new(*id), extent.pack, (extent.start, extent.len), len)?;
            (extent.len >= LARGE).then_some(Unit::Large(place))?
        }
        _ => return None,
    })
}

fn number(rest: &mut &[u8]) -> Option<u32> {
    let (bytes, behind) = rest.split_first_chunk::<4>()?;
    *rest = behind;
    Some(u32::from_le_bytes(*bytes))
}
