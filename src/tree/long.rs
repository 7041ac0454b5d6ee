//! Files whose chunk list is too long for a leaf.
//!
//! The list is cut into blobs of [`LIST`] references; their references are a
//! list again, until it fits into the leaf. A terabyte takes about 50 MB of
//! lists and a leaf still stays small.

use futures::future::BoxFuture;

use super::TreeError;
use super::codec::{DEPTH_MAX, REFS_MAX, decode_list, encode_list};
use super::node::{LongFile, RecordKind};
use super::nodes::Nodes;
use super::wire::Malformed;
use crate::chunk::{ChunkRef, Content, PackWriter};

/// References in one blob of a chunk list.
const LIST: usize = 4096;

/// What a leaf holds for a file: its content, or where its chunk list is.
pub(super) async fn store_content(
    writer: &PackWriter,
    content: Content,
) -> Result<RecordKind, TreeError> {
    let mut parts = match &content {
        Content::Chunks(chunks) if chunks.is_empty() => {
            return Ok(RecordKind::File(Content::empty()));
        }
        Content::Chunks(chunks) if chunks.len() > REFS_MAX => chunks.to_vec(),
        Content::Chunks(_) | Content::Inline(_) => return Ok(RecordKind::File(content)),
    };
    let mut lists = 0;
    while parts.len() > REFS_MAX {
        let mut above = Vec::with_capacity(parts.len().div_ceil(LIST));
        for list in parts.chunks(LIST) {
            above.push(writer.append(encode_list(list)).await?);
        }
        (parts, lists) = (above, lists + 1);
    }
    let (hash, size) = (content.hash(), content.size());
    Ok(RecordKind::Long(LongFile { hash, size, depth: lists - 1, parts }))
}

/// The content of a long file, verified against its hash.
pub(super) async fn load_content(nodes: &Nodes, long: &LongFile) -> Result<Content, TreeError> {
    let mut chunks = Vec::new();
    let mut left = long.size;
    read_lists(nodes, &long.parts, long.depth, &mut left, &mut chunks).await?;
    let content = Content::Chunks(chunks.into());
    match content.hash() == long.hash && content.size() == long.size {
        true => Ok(content),
        false => Err(TreeError::Corrupt {
            blob: long.parts[0].id,
            what: "its chunks are not those of the file that names it",
        }),
    }
}

/// Reads the lists `parts` into `out`; no further than the file's size, of
/// which `left` bytes are not accounted for, goes.
fn read_lists<'a>(
    nodes: &'a Nodes,
    parts: &'a [ChunkRef],
    depth: u8,
    left: &'a mut u64,
    out: &'a mut Vec<ChunkRef>,
) -> BoxFuture<'a, Result<(), TreeError>> {
    debug_assert!(depth <= DEPTH_MAX, "decoding bounds the depth");
    Box::pin(async move {
        for part in parts {
            let corrupt = |Malformed(what)| TreeError::Corrupt { blob: part.id, what };
            let list = decode_list(nodes.blobs().read(part).await?).map_err(corrupt)?;
            match depth {
                0 => {
                    let bytes = list.iter().map(|chunk| u64::from(chunk.len)).sum();
                    let longer = corrupt(Malformed("its chunks are longer than the file"));
                    *left = left.checked_sub(bytes).ok_or(longer)?;
                    out.extend(list);
                }
                _ => read_lists(nodes, &list, depth - 1, left, out).await?,
            }
        }
        Ok(())
    })
}
