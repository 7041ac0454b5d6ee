//! The handle of a whole tree.

use bytes::Bytes;

use super::codec::{put_child, read_child};
use super::node::{Child, LEVEL_MAX};
use super::wire::{Malformed, PackTable, Reader};
use super::{Totals, TreeError};
use crate::model::NodeHash;

/// The version byte of encoded roots.
const VERSION: u8 = 1;
const EMPTY: u8 = 0;
const NODE: u8 = 1;

/// Names one immutable tree; cheap to copy.
///
/// Equality compares places too; use [`Root::hash`] to compare contents.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Root(pub(super) Option<Top>);

/// The topmost node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Top {
    pub level: u8,
    pub child: Child,
}

impl Root {
    /// The tree without entries.
    #[must_use]
    pub const fn empty() -> Self {
        Self(None)
    }

    /// Whether the tree has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Equal for trees of equal entries, whatever their places, times and
    /// history. Modes count.
    #[must_use]
    pub fn hash(&self) -> NodeHash {
        match &self.0 {
            Some(top) => top.child.hash,
            None => NodeHash::new(blake3::derive_key("pfs empty tree v1", &[])),
        }
    }

    /// Sums over all entries.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.0.map_or(Totals::default(), |top| top.child.totals)
    }

    /// The persisted form, at most 256 bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Some(top) = &self.0 else { return vec![VERSION, EMPTY] };
        let (mut packs, mut child) = (PackTable::default(), Vec::new());
        put_child(&mut child, &mut packs, &top.child);
        let mut out = vec![VERSION, NODE, top.level];
        packs.encode(&mut out);
        out.append(&mut child);
        out
    }

    /// The root that `bytes` hold.
    pub fn decode(bytes: &[u8]) -> Result<Self, TreeError> {
        Self::read(Bytes::copy_from_slice(bytes))
            .map_err(|Malformed(what)| TreeError::CorruptRoot { what })
    }

    fn read(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        if reader.byte()? != VERSION {
            return Err(Malformed("its version is unknown"));
        }
        let top = match reader.byte()? {
            EMPTY => None,
            NODE => Some(Self::read_top(&mut reader)?),
            _ => return Err(Malformed("it is of unknown kind")),
        };
        reader.end()?;
        Ok(Self(top))
    }

    fn read_top(reader: &mut Reader) -> Result<Top, Malformed> {
        let level = reader.byte()?;
        if level > LEVEL_MAX {
            return Err(Malformed("its level is too high"));
        }
        let packs = PackTable::decode(reader)?;
        Ok(Top { level, child: read_child(reader, &packs)? })
    }
}
