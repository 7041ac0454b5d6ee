//! The BLAKE3 tree of a large chunk, down to groups of its bytes.
//!
//! A chunk's id is the root of that tree. The chaining values of its groups, a
//! five hundredth of its size, are merged to the id, so they may come from
//! anywhere; a part of the chunk is then compared with the values of the groups
//! it lies in.

use std::ops::Range;

use blake3::hazmat::{self, HasherExt as _, Mode};
use bytes::Bytes;

use super::fetch::LARGE;
use super::{ChunkRef, reference};
use crate::model::ChunkId;

/// Bytes of a group; a power of two times BLAKE3's own chunks, and enough of
/// them to hash side by side.
pub(super) const GROUP: usize = 16 << 10;

/// Bytes of a chaining value.
pub(super) const VALUE: usize = 32;

type Value = [u8; VALUE];

/// How many bytes of chaining values belong to a chunk: none unless it is
/// large and lies in its frame as it is.
pub(super) fn values_len(place: &ChunkRef) -> usize {
    let plain = place.stored == place.len.saturating_add(1);
    let groups = (place.len as usize).div_ceil(GROUP);
    if plain && place.stored >= LARGE { groups * VALUE } else { 0 }
}

/// The id of a chunk, and the chaining values of its groups one after the other.
pub(super) fn outboard(plain: &[u8]) -> (ChunkId, Bytes) {
    if plain.len() <= GROUP {
        return (reference::chunk_id(plain), Bytes::new());
    }
    let groups = plain.chunks(GROUP).enumerate();
    let mut values = Vec::with_capacity(plain.len().div_ceil(GROUP) * VALUE);
    groups.for_each(|(number, bytes)| values.extend_from_slice(&group(bytes, number)));
    (root(&values), values.into())
}

/// The chaining value of a group.
fn group(plain: &[u8], number: usize) -> Value {
    let offset = (number * GROUP) as u64;
    blake3::Hasher::new().set_input_offset(offset).update(plain).finalize_non_root()
}

/// Whether these are the chaining values of a chunk.
pub(super) fn are_values(values: &[u8], place: &ChunkRef) -> bool {
    !values.is_empty() && values.len() == values_len(place) && root(values) == place.id
}

/// The id of the chunk with these values, two at least.
fn root(values: &[u8]) -> ChunkId {
    let (left, right) = halves(values);
    let root = hazmat::merge_subtrees_root(&merged(left), &merged(right), Mode::Hash);
    ChunkId::new(*root.as_bytes())
}

fn merged(values: &[u8]) -> Value {
    if let Ok(value) = values.try_into() {
        return value;
    }
    let (left, right) = halves(values);
    hazmat::merge_subtrees_non_root(&merged(left), &merged(right), Mode::Hash)
}

/// Cuts as BLAKE3 does: a power of two to the left, as large as can be.
fn halves(values: &[u8]) -> (&[u8], &[u8]) {
    values.split_at((values.len() / VALUE).next_power_of_two() / 2 * VALUE)
}

/// Whether groups read from a disk are those of the chunk.
pub(super) fn is_intact(bytes: &[u8], groups: Range<usize>, values: &[u8]) -> bool {
    groups.zip(bytes.chunks(GROUP)).all(|(number, plain)| {
        let value = values.get(number * VALUE..number * VALUE + VALUE);
        value == Some(&group(plain, number))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::PackId;

    fn place(id: ChunkId, len: usize) -> ChunkRef {
        let len = len as u32;
        ChunkRef { id, pack: PackId::new([1; 16]), offset: 9, stored: len + 1, len }
    }

    #[test]
    fn the_tree_of_groups_has_the_id_for_root() {
        let bytes: Vec<u8> = (0..21 * GROUP + 17).map(|at| (at * 31 % 251) as u8).collect();
        let few = [0, 1, GROUP, GROUP + 1, 2 * GROUP, 3 * GROUP + 1024];
        for len in few.into_iter().chain([16 * GROUP, 17 * GROUP, bytes.len()]) {
            let (id, values) = outboard(&bytes[..len]);
            assert_eq!(id, reference::chunk_id(&bytes[..len]), "{len} bytes");
            let groups = if len <= GROUP { 0 } else { len.div_ceil(GROUP) };
            assert_eq!(values.len(), groups * VALUE, "{len} bytes");
            assert!(is_intact(&bytes[..len], 0..groups, &values));
        }
    }

    #[test]
    fn values_are_those_of_a_chunk_or_refused() {
        let bytes = vec![5; 20 * GROUP + 3];
        let (id, values) = outboard(&bytes);
        let place = place(id, bytes.len());
        assert!(are_values(&values, &place));
        for at in 0..values.len() {
            let mut changed = values.to_vec();
            changed[at] ^= 1;
            assert!(!are_values(&changed, &place), "at {at}");
        }
        assert!(!are_values(&values[VALUE..], &place));
        assert!(!are_values(&[], &place));
        let packed = ChunkRef { stored: place.stored - 1, ..place };
        assert!(!are_values(&values, &packed), "it does not lie there as it is");
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
