//! What frames hold.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::chunk::{ChunkList, ChunkRef, Content};
use crate::model::{ChunkId, PackId, Timestamp, TransactionId, TreePath};
use crate::vfs::transaction::{Standing, Started};

/// The longest body of a frame, in bytes.
const FRAME_MAX: usize = 256 << 20;

/// A file of so many chunks at most is described in full; others by where a
/// tree holds them.
const FEW: usize = 16;

/// What one request has changed, or a part of everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vfs::transaction) struct Frame {
    /// Where the journal ended then.
    pub(super) journal: u64,
    /// The numbers that the next node and the next staged file get.
    pub(super) next_node: u64,
    pub(super) next_file: u64,
    /// The requests that were carried out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) done: Vec<u64>,
    pub(super) entries: Vec<Entry>,
}

/// One change. Nodes and staged files are named by their numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::vfs::transaction) enum Entry {
    /// What the transaction is about.
    Head(Box<Head>),
    /// A node as it is now.
    Node(Box<Shown>),
    /// A node that nothing needs any more.
    Gone(u64),
    /// A name of the base that does not show.
    Hidden { dir: u64, name: String },
    /// One that does again, or in place of which something else does.
    Unhidden { dir: u64, name: String },
    /// All names of the base show again in a directory.
    Cleared(u64),
    /// A new staged file; so many bytes of what is under it show.
    Staged { file: u64, len: u64 },
    /// Blocks that it holds itself.
    Blocks { file: u64, first: u64, count: u64 },
    /// At most so many bytes of what is under it show.
    Clip { file: u64, len: u64 },
    /// So many do.
    Show { file: u64, len: u64 },
}

/// What a transaction is about, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vfs::transaction) struct Head {
    /// What its inodes are numbered by.
    pub(super) key: TransactionId,
    pub(super) dir: PathBuf,
    /// The number of the journal.
    pub(super) journal: u64,
    pub(super) started: Started,
    pub(super) standing: Standing,
    /// The description of the commit that is under way.
    pub(super) committing: Option<String>,
    /// Why something that was written may never reach the disk.
    #[serde(default)]
    pub(super) unkept: Option<String>,
    /// The roots of trees that came before the base, while names that they
    /// have may still be taken for those of the base.
    pub(super) unrefreshed: Vec<String>,
    /// Whether the kernel has yet to be told of names that are others.
    pub(super) untold: bool,
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::vfs::transaction) struct Shown {
    pub(super) id: u64,
    pub(super) mode: u32,
    pub(super) uid: Option<u32>,
    pub(super) gid: Option<u32>,
    /// Of the last change of content, of attributes, and of the last use.
    pub(super) times: [Timestamp; 3],
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) origin: Option<TreePath>,
    /// A root, in hex, and a path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) copied: Option<(String, TreePath)>,
    /// Values in hex.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) attributes: BTreeMap<String, String>,
    /// Directory, name, and whether the base has an entry of that name; `None`
    /// where the node is as in the base.
    pub(super) places: Vec<(u64, String, Option<bool>)>,
    pub(super) changed: bool,
    pub(super) timed: bool,
    pub(super) body: Body,
}

/// What a node holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::vfs::transaction) enum Body {
    /// With the directory of the base that shows through.
    Dir(Option<TreePath>),
    Symlink(String),
    /// Bytes, in hex.
    Inline(String),
    /// Chunk, pack, offset and stored size, size.
    Chunks(Vec<(ChunkId, PackId, (u32, u32), u32)>),
    /// What a tree holds where the node comes from.
    InTree,
    /// The number, the size, and the directory where it is not the present one.
    Staged(u64, u64, Option<PathBuf>),
    /// Where it begins among the small files, its size, and the directory.
    Small(u64, u64, Option<PathBuf>),
}

impl Body {
    pub(super) fn of(content: &Content) -> Self {
        match content {
            Content::Inline(bytes) => Self::Inline(hex::encode(bytes)),
            Content::Chunks(list) if list.len() <= FEW => Self::Chunks(
                list.iter().map(|c| (c.id, c.pack, (c.offset, c.stored), c.len)).collect(),
            ),
            Content::Chunks(_) => Self::InTree,
        }
    }

    /// The content that is described in full; `None` when it is not.
    pub(super) fn content(&self) -> Option<Content> {
        match self {
            Self::Inline(text) => Some(Content::Inline(Bytes::from(hex::decode(text).ok()?))),
            Self::Chunks(parts) => {
                let whole = |(id, pack, at, len): &(ChunkId, PackId, (u32, u32), u32)| {
                    ChunkRef::checked(*id, *pack, *at, *len)
                };
                let list = parts.iter().map(whole).collect::<Option<Vec<_>>>()?;
                Some(Content::Chunks(ChunkList::from(list)))
            }
            Self::Dir(_) | Self::Symlink(_) | Self::InTree | Self::Staged(..) | Self::Small(..) => {
                None
            }
        }
    }
}

pub(super) fn encode(frame: &Frame) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 8];
    serde_json::to_writer(&mut bytes, frame)?;
    let size = u32::try_from(bytes.len() - 8).map_err(io::Error::other)?;
    let check = blake3::hash(&bytes[8..]);
    bytes[..4].copy_from_slice(&size.to_le_bytes());
    bytes[4..8].copy_from_slice(&check.as_bytes()[..4]);
    Ok(bytes)
}

/// The first frame in `bytes` and its size; `None` when it is not whole.
pub(super) fn decode(bytes: &[u8]) -> Option<(Frame, usize)> {
    let size = u32::from_le_bytes(*bytes.first_chunk::<4>()?) as usize;
    let end = 8 + Some(size).filter(|size| (1..FRAME_MAX).contains(size))?;
    let (check, body) = (bytes.get(4..8)?, bytes.get(8..end)?);
    if blake3::hash(body).as_bytes()[..4] != *check {
        return None;
    }
    Some((serde_json::from_slice(body).ok()?, end))
}
