//! The tree against an ordinary map, and its faults.

mod codec;
mod diff;
mod edit;
mod measure;
mod property;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};

use super::*;
use crate::chunk::{BlobConfig, Blobs, ChunkRef, PackWriter};
use crate::model::{ChunkId, PackId, SystemClock, TreePath};
use crate::store::Store;

/// What a tree should hold.
type Model = BTreeMap<TreePath, Entry>;

/// A store in memory with everything a tree needs.
struct Bench {
    blobs: Blobs,
    nodes: Nodes,
    writer: PackWriter,
}

impl Bench {
    fn new() -> Self {
        Self::on(Store::memory(), 16 << 20)
    }

    fn on(store: Store, cache: usize) -> Self {
        let blobs = Blobs::new(store, Arc::new(SystemClock), BlobConfig::default());
        let nodes = Nodes::new(blobs.clone(), NodeCache::new(cache));
        let writer = blobs.writer();
        Self { blobs, nodes, writer }
    }

    /// The same blobs with nothing cached.
    fn cold(&self) -> Nodes {
        Nodes::new(self.blobs.clone(), NodeCache::new(0))
    }

    async fn try_apply(&self, old: &Root, edits: Vec<(TreePath, Edit)>) -> Result<Root, TreeError> {
        self.apply_with(old, edits, ApplyOptions::default()).await
    }

    async fn apply_with(
        &self,
        old: &Root,
        edits: Vec<(TreePath, Edit)>,
        options: ApplyOptions,
    ) -> Result<Root, TreeError> {
        let edits = futures::stream::iter(edits.into_iter().map(Ok));
        apply(&self.nodes, &self.writer, old, edits, options).await
    }

    async fn apply(&self, old: &Root, edits: Vec<(TreePath, Edit)>) -> Root {
        self.try_apply(old, edits).await.unwrap()
    }

    /// The tree of these files, parents added.
    async fn files(&self, files: &[(&str, &str)]) -> Root {
        let mut edits: Vec<_> = files.iter().map(|(p, text)| put(p, text)).collect();
        edits.sort_by(|a, b| a.0.cmp(&b.0));
        self.apply(&Root::empty(), edits).await
    }

    /// The tree of a model, built at once.
    async fn build(&self, model: &Model) -> Root {
        let put = |(path, entry): (&TreePath, &Entry)| (path.clone(), Edit::Put(entry.clone()));
        self.apply(&Root::empty(), model.iter().map(put).collect()).await
    }

    fn tree(&self, root: Root) -> Tree {
        Tree::new(&self.nodes, root)
    }

    async fn walk(&self, root: Root) -> Model {
        self.tree(root).walk(&TreePath::root(), None).try_collect().await.unwrap()
    }

    /// All paths, directories with a trailing slash.
    async fn paths(&self, root: Root) -> Vec<String> {
        let shown = |(path, entry): (&TreePath, &Entry)| {
            format!("{}{}", path.as_str(), if entry.is_dir() { "/" } else { "" })
        };
        self.walk(root).await.iter().map(shown).collect()
    }

    async fn diff(&self, old: &Root, new: &Root) -> Vec<Change> {
        diff(&self.nodes, old, new, &TreePath::root()).map(Result::unwrap).collect().await
    }

    /// Checks a tree against its model in every way there is.
    async fn check(&self, root: Root, model: &Model) {
        assert_eq!(self.walk(root).await, *model);
        let fresh = self.build(model).await;
        assert_eq!(root.hash(), fresh.hash(), "history shows in the nodes");
        assert_eq!(root.totals(), fresh.totals());
        assert_eq!(Root::decode(&root.encode()).unwrap(), root);
        assert!(root.encode().len() <= 256);
    }
}

const TIME: Timestamp = Timestamp::from_nanos(1_700_000_000_000_000_000);

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn file(text: &str) -> Entry {
    Entry::file(Content::Inline(Bytes::copy_from_slice(text.as_bytes())), TIME)
}

fn put(at: &str, text: &str) -> (TreePath, Edit) {
    (path(at), Edit::Put(file(text)))
}

fn remove(at: &str) -> (TreePath, Edit) {
    (path(at), Edit::Remove)
}

/// A chunk that is nowhere.
fn chunk(seed: u64) -> ChunkRef {
    let id = ChunkId::new(*blake3::hash(&seed.to_le_bytes()).as_bytes());
    let pack = PackId::new([(seed % 3) as u8; 16]);
    ChunkRef { id, pack, offset: seed as u32, stored: 900, len: 1000 }
}

fn chunks(count: u64) -> Content {
    Content::Chunks((0..count).map(chunk).collect())
}
