//! The persisted form of nodes and chunk lists.
//!
//! ```text
//! node  = version level pack-table count item*
//! item  = shared-prefix suffix-length suffix value
//! value = record (level 0) or child (above)
//! list  = version pack-table count ref*
//! ```
//!
//! Numbers are varints; the pack table names each pack once.

use bytes::Bytes;

use super::key::{Key, shared_prefix};
use super::node::{Child, Item, LEVEL_MAX, LongFile, Node, Record, RecordKind, Value};
use super::wire::{Malformed, PackTable, REF_MIN, Reader, put_int, put_uint};
use super::{LINK_MAX, MODE_MASK, Totals};
use crate::chunk::{ChunkRef, Content, INLINE_MAX};
use crate::model::{ContentHash, NodeHash, PATH_MAX, Timestamp};

/// The version byte of nodes.
const NODE_VERSION: u8 = 1;
/// The version byte of chunk lists.
const LIST_VERSION: u8 = 1;
/// The most chunk references a leaf holds for one file.
pub(super) const REFS_MAX: usize = 16;
/// The deepest nesting of chunk lists: far beyond any file's size.
pub(super) const DEPTH_MAX: u8 = 4;

const DIR: u8 = 0;
const INLINE: u8 = 1;
const CHUNKS: u8 = 2;
const LONG: u8 = 3;
const SYMLINK: u8 = 4;

/// The fewest bytes an item takes.
const ITEM_MIN: usize = 5;

/// The bytes of a node.
pub(super) fn encode_node(node: &Node) -> Bytes {
    let mut packs = PackTable::default();
    let mut items = Vec::new();
    let (mut key, mut time): (&[u8], i64) = (&[], 0);
    for item in &node.items {
        put_key(&mut items, key, &item.key);
        key = &item.key;
        match &item.value {
            Value::Record(record) => {
                put_record(&mut items, &mut packs, record, time);
                time = record.mtime.as_nanos();
            }
            Value::Child(child) => put_child(&mut items, &mut packs, child),
        }
    }
    let mut out = vec![NODE_VERSION, node.level];
    packs.encode(&mut out);
    put_uint(&mut out, node.items.len() as u64);
    out.append(&mut items);
    out.into()
}

fn put_key(out: &mut Vec<u8>, previous: &[u8], key: &[u8]) {
    let shared = shared_prefix(previous, key);
    put_uint(out, shared as u64);
    put_uint(out, (key.len() - shared) as u64);
    out.extend_from_slice(&key[shared..]);
}

fn put_record(out: &mut Vec<u8>, packs: &mut PackTable, record: &Record, time: i64) {
    let (tag, mtime) = (tag_of(&record.kind), record.mtime.as_nanos());
    out.push(tag);
    put_uint(out, record.mode.into());
    put_int(out, mtime.wrapping_sub(time));
    match &record.kind {
        RecordKind::Dir => {}
        RecordKind::File(Content::Inline(bytes)) => put_bytes(out, bytes),
        RecordKind::File(Content::Chunks(chunks)) => put_refs(out, packs, chunks),
        RecordKind::Long(long) => {
            out.extend_from_slice(long.hash.as_bytes());
            put_uint(out, long.size);
            out.push(long.depth);
            put_refs(out, packs, &long.parts);
        }
        RecordKind::Symlink(target) => put_bytes(out, target.as_bytes()),
    }
}

fn tag_of(kind: &RecordKind) -> u8 {
    match kind {
        RecordKind::Dir => DIR,
        RecordKind::File(Content::Inline(_)) => INLINE,
        RecordKind::File(Content::Chunks(_)) => CHUNKS,
        RecordKind::Long(_) => LONG,
        RecordKind::Symlink(_) => SYMLINK,
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_uint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_refs(out: &mut Vec<u8>, packs: &mut PackTable, refs: &[ChunkRef]) {
    put_uint(out, refs.len() as u64);
    for chunk in refs {
        packs.put_ref(out, chunk);
    }
}

pub(super) fn put_child(out: &mut Vec<u8>, packs: &mut PackTable, child: &Child) {
    packs.put_ref(out, &child.blob);
    out.extend_from_slice(child.hash.as_bytes());
    put_uint(out, child.totals.files);
    put_uint(out, child.totals.dirs);
    put_uint(out, child.totals.bytes);
}

/// The node that `bytes` hold; refuses all that [`encode_node`] cannot write.
pub(super) fn decode_node(bytes: Bytes) -> Result<Node, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != NODE_VERSION {
        return Err(Malformed("its version is unknown"));
    }
    let level = reader.byte()?;
    if level > LEVEL_MAX {
        return Err(Malformed("its level is too high"));
    }
    let packs = PackTable::decode(&mut reader)?;
    let count = reader.count(ITEM_MIN)?;
    let mut items: Vec<Item> = Vec::with_capacity(count);
    let (mut key, mut time) = (Vec::new(), 0);
    for _ in 0..count {
        read_key(&mut reader, &mut key)?;
        if items.last().is_some_and(|last| *last.key >= *key) {
            return Err(Malformed("its keys are out of order"));
        }
        let value = match level {
            0 => Value::Record(read_record(&mut reader, &packs, &mut time)?),
            _ => Value::Child(read_child(&mut reader, &packs)?),
        };
        items.push(Item { key: Key::new(&key), value });
    }
    reader.end()?;
    match items.is_empty() {
        true => Err(Malformed("it is empty")),
        false => Ok(Node { level, items }),
    }
}

/// Turns the previous key into the next one.
fn read_key(reader: &mut Reader, key: &mut Vec<u8>) -> Result<(), Malformed> {
    let shared = usize::try_from(reader.uint()?).unwrap_or(usize::MAX);
    let len = reader.count(1)?;
    if shared > key.len() {
        return Err(Malformed("a key shares more than there is"));
    }
    if len == 0 || shared + len > PATH_MAX {
        return Err(Malformed("a key is too short or too long"));
    }
    key.truncate(shared);
    key.extend_from_slice(&reader.take(len)?);
    Ok(())
}

fn read_record(
    reader: &mut Reader,
    packs: &PackTable,
    time: &mut i64,
) -> Result<Record, Malformed> {
    let tag = reader.byte()?;
    let mode = reader.uint32()?;
    if mode & !MODE_MASK != 0 {
        return Err(Malformed("a mode has unknown bits"));
    }
    *time = time.wrapping_add(reader.int()?);
    let kind = match tag {
        DIR => RecordKind::Dir,
        INLINE => RecordKind::File(Content::Inline(read_bytes(reader, INLINE_MAX)?)),
        CHUNKS => RecordKind::File(Content::Chunks(read_refs(reader, packs, REFS_MAX)?.into())),
        LONG => RecordKind::Long(read_long(reader, packs)?),
        SYMLINK => RecordKind::Symlink(read_target(reader)?),
        _ => return Err(Malformed("an entry is of unknown kind")),
    };
    Ok(Record { kind, mode, mtime: Timestamp::from_nanos(*time) })
}

fn read_bytes(reader: &mut Reader, max: usize) -> Result<Bytes, Malformed> {
    match reader.count(1)? {
        len if len <= max => reader.take(len),
        _ => Err(Malformed("a value is too long")),
    }
}

fn read_target(reader: &mut Reader) -> Result<String, Malformed> {
    let bytes = read_bytes(reader, LINK_MAX)?;
    String::from_utf8(bytes.into()).map_err(|_| Malformed("a link's target is no text"))
}

fn read_refs(
    reader: &mut Reader,
    packs: &PackTable,
    max: usize,
) -> Result<Vec<ChunkRef>, Malformed> {
    match reader.count(REF_MIN)? {
        0 => Err(Malformed("a chunk list is empty")),
        count if count > max => Err(Malformed("a chunk list is too long")),
        count => (0..count).map(|_| packs.read_ref(reader)).collect(),
    }
}

fn read_long(reader: &mut Reader, packs: &PackTable) -> Result<LongFile, Malformed> {
    let hash = ContentHash::new(reader.array()?);
    let (size, depth) = (reader.uint()?, reader.byte()?);
    if depth > DEPTH_MAX {
        return Err(Malformed("a chunk list is nested too deep"));
    }
    Ok(LongFile { hash, size, depth, parts: read_refs(reader, packs, REFS_MAX)? })
}

pub(super) fn read_child(reader: &mut Reader, packs: &PackTable) -> Result<Child, Malformed> {
    let blob = packs.read_ref(reader)?;
    let hash = NodeHash::new(reader.array()?);
    let totals = Totals { files: reader.uint()?, dirs: reader.uint()?, bytes: reader.uint()? };
    Ok(Child { blob, hash, totals })
}

/// The bytes of one blob of a long file's chunk list.
pub(super) fn encode_list(refs: &[ChunkRef]) -> Bytes {
    let (mut packs, mut list) = (PackTable::default(), Vec::new());
    put_refs(&mut list, &mut packs, refs);
    let mut out = vec![LIST_VERSION];
    packs.encode(&mut out);
    out.append(&mut list);
    out.into()
}

/// The references in one blob of a long file's chunk list.
pub(super) fn decode_list(bytes: Bytes) -> Result<Vec<ChunkRef>, Malformed> {
    let mut reader = Reader::new(bytes);
    if reader.byte()? != LIST_VERSION {
        return Err(Malformed("its version is unknown"));
    }
    let packs = PackTable::decode(&mut reader)?;
    let refs = read_refs(&mut reader, &packs, usize::MAX)?;
    reader.end()?;
    Ok(refs)
}

/// Decodes `bytes` as every persisted form there is, and checks that what
/// decodes is written back the same: the body of the fuzz target.
#[doc(hidden)]
pub fn fuzz_decode(bytes: &[u8]) {
    if let Ok(node) = decode_node(Bytes::copy_from_slice(bytes)) {
        let again = decode_node(encode_node(&node));
        assert_eq!(again.as_ref(), Ok(&node));
        let _ = (node.hash(), node.totals(), node.weight());
    }
    if let Ok(list) = decode_list(Bytes::copy_from_slice(bytes)) {
        assert_eq!(decode_list(encode_list(&list)), Ok(list));
    }
    if let Ok(root) = super::Root::decode(bytes) {
        assert_eq!(super::Root::decode(&root.encode()).ok(), Some(root));
    }
}
