//! Where a node ends: a rule over keys and logical sizes alone.
//!
//! Whether a node ends after an item depends only on the items from the
//! node's start to that item, never on what follows, on places or on times.
//! So equal sequences of items give equal nodes, and after an edit the nodes
//! are the old ones again from the first boundary that both share.

use super::key::shared_prefix;

/// No node ends before it has this logical size, unless the level ends.
const MIN: u64 = TARGET / 4;
/// The mean logical size of a node; measured in docs/adr/0002-tree-nodes.md.
const TARGET: u64 = 16 * 1024;
/// A node ends at the latest with the item that takes it to this size.
const MAX: u64 = TARGET * 3;

/// The logical size of the items of one node so far.
///
/// An item of cost `c` in a node of size `s` ends the node with probability
/// `2cs / TARGET²` (the hazard of a Rayleigh distribution): sizes gather
/// around the target, whether items are small entries or inline files.
#[derive(Debug, Default, Clone)]
pub(super) struct Boundary {
    size: u64,
    items: usize,
}

impl Boundary {
    /// Counts an item; whether the node ends with it.
    ///
    /// `previous` is the key before it in the same node (empty at the start),
    /// `cost` its logical size without the key.
    pub fn push(&mut self, level: u8, previous: &[u8], key: &[u8], cost: usize) -> bool {
        let cost = (key.len() - shared_prefix(previous, key) + cost) as u64;
        self.size += cost;
        self.items += 1;
        // A node with one child would add height for nothing.
        if level > 0 && self.items < 2 {
            return false;
        }
        self.size >= MAX || self.size >= MIN && u128::from(draw(level, key)) < self.odds(cost)
    }

    /// The chance that the node ends here, as a part of 2^32.
    fn odds(&self, cost: u64) -> u128 {
        // π/2 makes TARGET the mean; 201/128 is π/2 to three digits.
        let scaled = (u128::from(cost) * u128::from(self.size) * 201) << 32;
        scaled / (u128::from(TARGET * TARGET) * 128)
    }
}

/// A uniform number drawn from the key, another one on each level.
fn draw(level: u8, key: &[u8]) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[level]).update(key);
    let mut word = [0; 4];
    hasher.finalize_xof().fill(&mut word);
    u32::from_le_bytes(word)
}
