//! Large files go into packs here, and straight to the store.
//!
//! The server learns their chunk lists only, so that a gigabyte crosses no
//! connection. Only where the store is a directory this user may write to:
//! whether other stores take writes shows too late to go back.

use std::io::Read;

use tokio::runtime::Handle;

use super::upload::{PIECE, read_piece};
use crate::api::client::Client;
use crate::chunk::{ChunkError, ChunkRef, Content, FileWriter, PackWriter};
use crate::cli::mount::wire;
use crate::cli::prelude::*;
use crate::cli::{direct, mount};
use crate::model::TreePath;
use crate::store::directory_of;
use crate::tree::{EntryKind, NodeCache, Nodes, Tree};

/// Files of at least so many bytes are worth it.
pub const LARGE: u64 = 8 << 20;

/// Bytes of files that wait to become durable together.
const HELD: u64 = 256 << 20;

/// Bytes of decoded nodes of the tree that is put to.
pub const NODES: usize = 8 << 20;

/// What packs large files; for threads that may block.
pub struct Packs {
    handle: Handle,
    writer: PackWriter,
    before: Tree,
    held: Vec<v1::PutFile>,
    weight: u64,
}

impl Packs {
    /// `None` when the store cannot be written to from here.
    pub async fn open(client: &Client, target: &v1::PutTarget) -> Outcome<Option<Self>> {
        let Some(blobs) = direct::blobs(client).await? else { return Ok(None) };
        if directory_of(&blobs.store().to_string()).is_none() {
            return Ok(None);
        }
        let request = v1::ResolveRefRequest {
            repo: target.repo.clone(),
            r#ref: target.r#ref.clone(),
            exact: false,
        };
        // Without a commit there is nothing whose chunks could be used again.
        let root = match client.native().resolve_ref(request).await {
            Ok(found) => mount::wire::root(&found.into_inner().root).unwrap_or_default(),
            Err(_) => Default::default(),
        };
        let writer = blobs.writer();
        let before = Tree::new(&Nodes::new(blobs, NodeCache::new(NODES)), root);
        let handle = Handle::current();
        Ok(Some(Self { handle, writer, before, held: Vec::new(), weight: 0 }))
    }

    /// Packs one file. `file` says all about it but what it holds.
    pub fn put(&mut self, from: &mut dyn Read, file: v1::PutFile) -> Outcome {
        let known = self.known(&file.path);
        let mut packed = FileWriter::new(&self.writer, &known);
        loop {
            let piece = read_piece(from)?;
            let last = piece.len() < PIECE;
            self.weight += piece.len() as u64;
            self.handle.block_on(packed.write(piece)).map_err(failed)?;
            if last {
                break;
            }
        }
        let content = self.handle.block_on(packed.finish()).map_err(failed)?;
        let source = Some(v1::put_file::Source::Content(wire::content(content)));
        self.held.push(v1::PutFile { source, ..file });
        Ok(())
    }

    /// Whether what waits should be taken now.
    pub fn is_full(&self) -> bool {
        self.weight >= HELD
    }

    /// The files packed since the last call, by now durable.
    pub fn take(&mut self) -> Outcome<Vec<v1::PutFile>> {
        self.weight = 0;
        self.handle.block_on(self.writer.flush()).map_err(failed)?;
        Ok(std::mem::take(&mut self.held))
    }

    /// The chunks that the file had before.
    fn known(&self, path: &str) -> Vec<ChunkRef> {
        let Ok(path) = path.parse::<TreePath>() else { return Vec::new() };
        match self.handle.block_on(self.before.get(&path)) {
            Ok(Some(entry)) => match entry.kind {
                EntryKind::File(Content::Chunks(chunks)) => chunks.to_vec(),
                EntryKind::File(Content::Inline(_)) | EntryKind::Dir | EntryKind::Symlink(_) => {
                    Vec::new()
                }
            },
            Ok(None) | Err(_) => Vec::new(),
        }
    }
}

fn failed(error: ChunkError) -> Failure {
    Failure::new(error.to_string())
}
