//! Every blob a tree needs: for garbage collection and for checking a store.

use async_stream::try_stream;
use futures::stream::BoxStream;

use super::codec::decode_list;
use super::key::Key;
use super::node::{Child, LongFile, RecordKind, Value};
use super::nodes::Nodes;
use super::wire::Malformed;
use super::{Root, TreeError};
use crate::chunk::ChunkRef;
use crate::model::TreePath;

/// A blob that a tree needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// A node of the tree.
    Node(ChunkRef),
    /// A part of a long file's chunk list.
    List(ChunkRef),
    /// A chunk of a file.
    Chunk {
        /// The file.
        path: TreePath,
        /// The chunk.
        chunk: ChunkRef,
    },
}

/// Something whose references were not yielded yet.
enum Pending {
    Node { child: Child, level: u8, first: Option<Key> },
    List { path: TreePath, blob: ChunkRef, depth: u8 },
}

/// Every blob `root` needs, nodes before what is in them.
///
/// `enter` is asked for each node and list before it is read; what is below
/// it is left out on `false`. So a caller that remembers what it has seen
/// visits what many trees share once.
///
/// Nodes are checked against their logical hash too; chunks are not read. An
/// error ends the stream.
pub fn references(
    nodes: &Nodes,
    root: &Root,
    mut enter: impl FnMut(&ChunkRef) -> bool + Send + 'static,
) -> BoxStream<'static, Result<Reference, TreeError>> {
    let nodes = nodes.clone();
    let top =
        |top: super::root::Top| Pending::Node { child: top.child, level: top.level, first: None };
    let mut pending: Vec<_> = root.0.map(top).into_iter().collect();
    Box::pin(try_stream! {
        while let Some(next) = pending.pop() {
            let (blob, found) = match &next {
                Pending::Node { child, .. } => (child.blob, Reference::Node(child.blob)),
                Pending::List { blob, .. } => (*blob, Reference::List(*blob)),
            };
            yield found;
            if !enter(&blob) {
                continue;
            }
            let (below, chunks) = next.open(&nodes).await?;
            for (path, chunk) in chunks {
                yield Reference::Chunk { path, chunk };
            }
            pending.extend(below.into_iter().rev());
        }
    })
}

/// Blobs to open next, and chunks of files.
type Found = (Vec<Pending>, Vec<(TreePath, ChunkRef)>);

impl Pending {
    async fn open(self, nodes: &Nodes) -> Result<Found, TreeError> {
        match self {
            Self::Node { child, level, first } => open_node(nodes, &child, level, first).await,
            Self::List { path, blob, depth } => {
                let corrupt = |Malformed(what)| TreeError::Corrupt { blob: blob.id, what };
                let list = decode_list(nodes.blobs().read(&blob).await?).map_err(corrupt)?;
                Ok(match depth.checked_sub(1) {
                    None => (Vec::new(), list.into_iter().map(|c| (path.clone(), c)).collect()),
                    Some(depth) => (lists(&path, depth, list), Vec::new()),
                })
            }
        }
    }
}

fn lists(path: &TreePath, depth: u8, parts: Vec<ChunkRef>) -> Vec<Pending> {
    let list = |blob| Pending::List { path: path.clone(), blob, depth };
    parts.into_iter().map(list).collect()
}

async fn open_node(
    nodes: &Nodes,
    child: &Child,
    level: u8,
    first: Option<Key>,
) -> Result<Found, TreeError> {
    let node = nodes.load(child, level, first.as_ref()).await?;
    if node.hash() != child.hash {
        let what = "its logical hash is not the one its parent names";
        return Err(TreeError::Corrupt { blob: child.blob.id, what });
    }
    let (mut below, mut chunks) = Found::default();
    for item in &node.items {
        match &item.value {
            Value::Child(child) => below.push(Pending::Node {
                child: *child,
                level: node.level - 1,
                first: Some(item.key.clone()),
            }),
            Value::Record(record) => match &record.kind {
                RecordKind::Dir | RecordKind::Symlink(_) => {}
                RecordKind::File(content) => {
                    for chunk in content.chunks() {
                        chunks.push((item.key.to_path()?, *chunk));
                    }
                }
                RecordKind::Long(LongFile { depth, parts, .. }) => {
                    below.extend(lists(&item.key.to_path()?, *depth, parts.clone()));
                }
            },
        }
    }
    Ok((below, chunks))
}
