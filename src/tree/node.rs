//! Nodes in memory, and their logical hash.

use super::Totals;
use super::boundary::Boundary;
use super::key::Key;
use crate::chunk::{ChunkRef, Content};
use crate::model::{ContentHash, NodeHash, Timestamp};

/// The highest level a node can have; 2^32 entries stay far below it.
pub(super) const LEVEL_MAX: u8 = 32;

/// One node: items in strictly increasing key order, never none.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// 0 for a leaf; one more than its children otherwise.
    pub level: u8,
    pub items: Vec<Item>,
}

/// A key with what a leaf or an inner node holds under it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    pub key: Key,
    pub value: Value,
}

/// Records in leaves, children in inner nodes, never mixed.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Record(Record),
    Child(Child),
}

/// An entry as the leaf stores it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Record {
    pub kind: RecordKind,
    pub mode: u32,
    pub mtime: Timestamp,
}

/// What a record is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum RecordKind {
    Dir,
    File(Content),
    /// A file whose chunk list is too long for a leaf.
    Long(LongFile),
    Symlink(String),
}

/// A file whose chunk list lies in blobs of its own.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct LongFile {
    pub hash: ContentHash,
    pub size: u64,
    /// 0: `parts` are lists of chunks; n: lists of parts of depth n - 1.
    pub depth: u8,
    pub parts: Vec<ChunkRef>,
}

/// A node as its parent knows it; its key is the first one below it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Child {
    pub blob: ChunkRef,
    pub hash: NodeHash,
    pub totals: Totals,
}

impl Record {
    pub fn is_dir(&self) -> bool {
        match self.kind {
            RecordKind::Dir => true,
            RecordKind::File(_) | RecordKind::Long(_) | RecordKind::Symlink(_) => false,
        }
    }

    /// What the record adds to the totals.
    pub fn totals(&self) -> Totals {
        let file = |bytes| Totals { files: 1, dirs: 0, bytes };
        match &self.kind {
            RecordKind::Dir => Totals { files: 0, dirs: 1, bytes: 0 },
            RecordKind::File(content) => file(content.size()),
            RecordKind::Long(long) => file(long.size),
            RecordKind::Symlink(_) => file(0),
        }
    }

    /// Logical size beside the key: what a place needs counts as a constant.
    fn cost(&self) -> usize {
        const META: usize = 8;
        const REF: usize = 44;
        META + match &self.kind {
            RecordKind::Dir => 0,
            RecordKind::File(Content::Inline(bytes)) => bytes.len(),
            RecordKind::File(Content::Chunks(chunks)) => chunks.len() * REF,
            RecordKind::Long(long) => 40 + long.parts.len() * REF,
            RecordKind::Symlink(target) => target.len(),
        }
    }

    fn hash_into(&self, hasher: &mut blake3::Hasher) {
        let (tag, content): (u8, &[u8]) = match &self.kind {
            RecordKind::Dir => (b'd', &[]),
            RecordKind::File(content) => return self.hash_file(content.hash(), hasher),
            RecordKind::Long(long) => return self.hash_file(long.hash, hasher),
            RecordKind::Symlink(target) => (b'l', target.as_bytes()),
        };
        hash_bytes(hasher.update(&[tag]).update(&self.mode.to_le_bytes()), content);
    }

    fn hash_file(&self, content: ContentHash, hasher: &mut blake3::Hasher) {
        hasher.update(b"f").update(&self.mode.to_le_bytes()).update(content.as_bytes());
    }

    /// Whether both say the same, whatever their places and times.
    pub fn same_content(&self, other: &Self) -> bool {
        let hash = |record: &Self| {
            let mut hasher = blake3::Hasher::new();
            record.hash_into(&mut hasher);
            hasher.finalize()
        };
        hash(self) == hash(other)
    }
}

/// Feeds bytes of any length so that what follows cannot be mistaken for them.
fn hash_bytes(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}

/// The hash of a sequence of records under their keys; neither places nor
/// times count.
pub(super) struct RecordHasher(blake3::Hasher);

impl RecordHasher {
    /// `context` keeps hashes of different meaning apart.
    pub fn new(context: &str) -> Self {
        Self(blake3::Hasher::new_derive_key(context))
    }

    pub fn push(&mut self, key: &[u8], record: &Record) {
        hash_bytes(&mut self.0, key);
        record.hash_into(&mut self.0);
    }

    pub fn finish(self) -> NodeHash {
        NodeHash::new(*self.0.finalize().as_bytes())
    }
}

impl Item {
    /// Whether the node ends with this item.
    fn ends(&self, level: u8, previous: &[u8], boundary: &mut Boundary) -> bool {
        let cost = match &self.value {
            Value::Record(record) => record.cost(),
            Value::Child(_) => 100,
        };
        boundary.push(level, previous, &self.key, cost)
    }
}

impl Node {
    pub fn first(&self) -> &Key {
        // Decoding and building both refuse empty nodes.
        &self.items[0].key
    }

    /// Everything below the node.
    pub fn totals(&self) -> Totals {
        self.items.iter().map(|item| item.value.totals()).sum()
    }

    /// The logical hash: keys, kinds, modes and contents.
    pub fn hash(&self) -> NodeHash {
        let mut hasher = RecordHasher::new("pfs tree node v1");
        hasher.0.update(&[self.level]);
        for item in &self.items {
            match &item.value {
                Value::Record(record) => hasher.push(&item.key, record),
                Value::Child(child) => {
                    hash_bytes(&mut hasher.0, &item.key);
                    hasher.0.update(child.hash.as_bytes());
                }
            }
        }
        hasher.finish()
    }

    /// The index of the first item at or after `key`.
    pub fn lower_bound(&self, key: &[u8]) -> usize {
        self.items.partition_point(|item| &*item.key < key)
    }

    /// The index of the child that holds `key`; the first one for keys
    /// before all.
    pub fn child_at(&self, key: &[u8]) -> usize {
        self.items.partition_point(|item| &*item.key <= key).saturating_sub(1)
    }

    /// Bytes of memory the decoded node takes, roughly.
    pub fn weight(&self) -> usize {
        let heap = |item: &Item| {
            item.key.len()
                + 16
                + match &item.value {
                    Value::Record(record) => record.cost() * 2,
                    Value::Child(_) => 0,
                }
        };
        size_of::<Self>() + self.items.iter().map(|i| size_of::<Item>() + heap(i)).sum::<usize>()
    }
}

impl Value {
    pub fn totals(&self) -> Totals {
        match self {
            Self::Record(record) => record.totals(),
            Self::Child(child) => child.totals,
        }
    }
}

/// Collects the items of one node after another.
pub(super) struct NodeBuilder {
    level: u8,
    items: Vec<Item>,
    boundary: Boundary,
}

impl NodeBuilder {
    pub fn new(level: u8) -> Self {
        Self { level, items: Vec::new(), boundary: Boundary::default() }
    }

    pub fn items(&self) -> &[Item] {
        &self.items
    }

    /// Adds an item; whether the node ends here and must be taken.
    pub fn push(&mut self, item: Item) -> bool {
        let previous = self.items.last().map_or(&[][..], |last| &last.key);
        let ends = item.ends(self.level, previous, &mut self.boundary);
        self.items.push(item);
        ends
    }

    /// The node so far; the builder starts anew.
    pub fn take(&mut self) -> Node {
        self.boundary = Boundary::default();
        Node { level: self.level, items: std::mem::take(&mut self.items) }
    }
}
