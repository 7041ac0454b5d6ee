//! Random operations against a model, with crashes in between.

mod copies;
mod endings;
mod model;
mod naming;
mod power;
mod small;
mod stored;
mod takeover;

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use futures::TryStreamExt as _;
use proptest::prelude::*;

use super::*;
use crate::chunk::{BlobConfig, Blobs, Content, FileWriter};
use crate::model::{Branch, ProjectName, Repo, SystemClock, Timestamp, TransactionId, TreePath};
use crate::store::Store;
use crate::tree::{ApplyOptions, Edit, Entry, EntryKind, NodeCache, Nodes, Root, apply};
use crate::vfs::types::{Kind, NewBody, NewEntry, RenameMode, SetAttr};

#[derive(Debug, Clone)]
enum Op {
    Create(String),
    Mkdir(String),
    Symlink(String),
    Link(String, String),
    Remove(String),
    Rename(String, String),
    Exchange(String, String),
    Write(String, u64, Vec<u8>),
    Truncate(String, u64),
    Chmod(String, u32),
    Crash,
    Abort,
}

/// What an inode of the model holds.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Dir,
    File(Vec<u8>),
    Symlink,
}

#[derive(Debug, Clone, Default)]
struct Model {
    names: BTreeMap<TreePath, u32>,
    inodes: HashMap<u32, (Body, u32)>,
    next: u32,
}

impl Model {
    fn add(&mut self, path: TreePath, body: Body, mode: u32) {
        self.next += 1;
        self.names.insert(path, self.next);
        self.inodes.insert(self.next, (body, mode));
    }

    fn body(&self, path: &TreePath) -> Option<&Body> {
        match path.is_root() {
            true => Some(&Body::Dir),
            false => self.names.get(path).map(|id| &self.inodes[id].0),
        }
    }

    fn is_dir(&self, path: &TreePath) -> bool {
        self.body(path) == Some(&Body::Dir)
    }

    fn is_free(&self, path: &TreePath) -> bool {
        self.body(path).is_none() && self.is_dir(&path.parent().unwrap())
    }

    fn is_empty(&self, dir: &TreePath) -> bool {
        !self.names.keys().any(|path| path != dir && path.starts_with(dir))
    }

    /// Takes a subtree out, with paths relative to its top.
    fn take(&mut self, from: &TreePath) -> Vec<(TreePath, u32)> {
        let below: Vec<_> =
            self.names.keys().filter(|path| path.starts_with(from)).cloned().collect();
        let taken = below.into_iter();
        taken.map(|p| (p.strip_prefix(from).unwrap(), self.names.remove(&p).unwrap())).collect()
    }

    fn put(&mut self, to: &TreePath, taken: Vec<(TreePath, u32)>) {
        self.names.extend(taken.into_iter().map(|(p, id)| (to.join_path(&p).unwrap(), id)));
    }

    fn rename(&mut self, from: &TreePath, to: &TreePath) -> bool {
        let (Some(source), true) = (self.body(from), self.is_dir(&to.parent().unwrap())) else {
            return false;
        };
        let source_dir = *source == Body::Dir;
        match self.body(to) {
            Some(Body::Dir) if !source_dir || (from != to && !self.is_empty(to)) => return false,
            Some(Body::File(_) | Body::Symlink) if source_dir => return false,
            Some(_) if self.names[from] == self.names[to] => return true,
            Some(_) | None => {}
        }
        if source_dir && to.starts_with(from) {
            return false;
        }
        let taken = self.take(from);
        self.take(to);
        self.put(to, taken);
        true
    }

    fn exchange(&mut self, one: &TreePath, other: &TreePath) -> bool {
        let both = self.body(one).is_some() && self.body(other).is_some();
        if !both || one == other || one.starts_with(other) || other.starts_with(one) {
            return false;
        }
        let (a, b) = (self.take(one), self.take(other));
        self.put(one, b);
        self.put(other, a);
        true
    }

    /// Whether the operation is allowed; done if so.
    fn run(&mut self, op: &Op) -> bool {
        let p = |text: &str| text.parse::<TreePath>().unwrap();
        match op {
            Op::Create(path) | Op::Mkdir(path) | Op::Symlink(path) if !self.is_free(&p(path)) => {
                return false;
            }
            Op::Create(path) => self.add(p(path), Body::File(Vec::new()), 0o644),
            Op::Mkdir(path) => self.add(p(path), Body::Dir, 0o755),
            Op::Symlink(path) => self.add(p(path), Body::Symlink, 0o777),
            Op::Link(path, new) => {
                let known = self.body(&p(path)).is_some_and(|body| *body != Body::Dir);
                if !known || !self.is_free(&p(new)) {
                    return false;
                }
                self.names.insert(p(new), self.names[&p(path)]);
            }
            Op::Remove(path) => {
                let path = p(path);
                if self.body(&path).is_none() || (self.is_dir(&path) && !self.is_empty(&path)) {
                    return false;
                }
                self.names.remove(&path);
            }
            Op::Rename(from, to) => return self.rename(&p(from), &p(to)),
            Op::Exchange(one, other) => return self.exchange(&p(one), &p(other)),
            Op::Write(path, at, data) => {
                let Some(Body::File(_)) = self.body(&p(path)) else { return false };
                let inode = self.inodes.get_mut(&self.names[&p(path)]).unwrap();
                let Body::File(bytes) = &mut inode.0 else { unreachable!() };
                let end = *at as usize + data.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*at as usize..end].copy_from_slice(data);
            }
            Op::Truncate(path, size) => {
                let Some(Body::File(_)) = self.body(&p(path)) else { return false };
                let inode = self.inodes.get_mut(&self.names[&p(path)]).unwrap();
                let Body::File(bytes) = &mut inode.0 else { unreachable!() };
                bytes.resize(*size as usize, 0);
            }
            Op::Chmod(path, mode) => {
                let Some(id) = self.names.get(&p(path)) else { return false };
                if self.inodes[id].0 == Body::Symlink {
                    return true; // nobody can
                }
                self.inodes.get_mut(id).unwrap().1 = *mode;
            }
            Op::Crash | Op::Abort => {}
        }
        true
    }

    fn seen(&self) -> BTreeMap<TreePath, (Body, u32)> {
        self.names.iter().map(|(path, id)| (path.clone(), self.inodes[id].clone())).collect()
    }
}

async fn base() -> (Tree, Model) {
    base_in(Store::memory()).await
}

/// The same, with everything that is stored in `store`.
async fn base_in(store: Store) -> (Tree, Model) {
    let mut edits = Vec::new();
    let mut model = Model::default();
    let mut add = |path: &str, entry: Entry, body: Body| {
        let path: TreePath = path.parse().unwrap();
        let mode = entry.mode;
        edits.push((path.clone(), Edit::Put(entry)));
        model.add(path, body, mode);
    };
    for dir in ["a", "a/b", "b", "b/a"] {
        add(dir, Entry::dir(Timestamp::default()), Body::Dir);
    }
    for file in ["a/c", "a/b/c", "b/b", "c"] {
        let bytes = file.repeat(5).into_bytes();
        let content = Content::Inline(bytes.clone().into());
        add(file, Entry::file(content, Timestamp::default()), Body::File(bytes));
    }
    edits.sort_by(|a, b| a.0.cmp(&b.0));
    let blobs = Blobs::new(store, Arc::new(SystemClock), BlobConfig::default());
    let nodes = Nodes::new(blobs, NodeCache::new(1 << 20));
    (edited(&Tree::new(&nodes, Root::empty()), edits).await, model)
}

async fn edited(tree: &Tree, edits: Vec<(TreePath, Edit)>) -> Tree {
    let writer = tree.nodes().blobs().writer();
    let edits = futures::stream::iter(edits.into_iter().map(Ok::<_, VfsError>));
    let options = ApplyOptions::default();
    let root = apply(tree.nodes(), &writer, tree.root(), edits, options).await.unwrap();
    writer.flush().await.unwrap();
    Tree::new(tree.nodes(), root)
}

fn started() -> Started {
    let repo = Repo::user(ProjectName::default_project(), "r".parse().unwrap());
    Started {
        version: 1,
        id: TransactionId::new([7; 16]),
        branch: Branch { repo, name: "master".parse().unwrap() },
        base: None,
        root: String::new(),
        at: Timestamp::default(),
        server: "tests".to_owned(),
        place: String::new(),
        mounted: String::new(),
        replaces: None,
        ended: None,
        ended_at: None,
    }
}

fn new_entry(body: NewBody, mode: u32) -> NewEntry {
    NewEntry { body, mode, uid: 0, gid: 0 }
}

impl TransactionView {
    async fn create_at(&self, path: &str, body: NewBody, mode: u32) -> Result<(), VfsError> {
        let path = path.parse().unwrap();
        let (dir, name) = self.above(&path).await?;
        let (id, _) = self.create(dir.id, name, new_entry(body, mode)).await?;
        self.forget(id, 1);
        Ok(())
    }

    async fn run(&self, op: &Op) -> Result<(), VfsError> {
        let p = |text: &str| text.parse::<TreePath>().unwrap();
        match op {
            Op::Create(path) => self.create_at(path, NewBody::File, 0o644).await,
            Op::Mkdir(path) => self.create_at(path, NewBody::Directory, 0o755).await,
            Op::Symlink(path) => self.create_at(path, NewBody::Symlink("x".into()), 0o777).await,
            Op::Link(path, new) => {
                let (file, new) = (self.at(&p(path)).await?, p(new));
                let (dir, name) = self.above(&new).await?;
                self.link(file.id, dir.id, name).await?;
                self.forget(file.id, 1);
                Ok(())
            }
            Op::Remove(path) => {
                let path = p(path);
                let is_dir = self.attr(self.at(&path).await?.id)?.kind == Kind::Directory;
                let (dir, name) = self.above(&path).await?;
                match is_dir {
                    true => self.rmdir(dir.id, name).await,
                    false => self.unlink(dir.id, name).await,
                }
            }
            Op::Rename(from, to) => {
                let (from, to) = (p(from), p(to));
                let (a, b) = (self.above(&from).await?, self.above(&to).await?);
                self.rename((a.0.id, a.1), (b.0.id, b.1), RenameMode::Replace).await
            }
            Op::Exchange(one, other) if one == other => Err(VfsError::Invalid("the same")),
            Op::Exchange(one, other) => {
                let (from, to) = (p(one), p(other));
                let (a, b) = (self.above(&from).await?, self.above(&to).await?);
                self.rename((a.0.id, a.1), (b.0.id, b.1), RenameMode::Exchange).await
            }
            Op::Write(path, at, data) => self.write(self.at(&p(path)).await?.id, *at, data).await,
            Op::Truncate(path, size) => {
                let set = SetAttr { size: Some(*size), ..SetAttr::default() };
                self.set_attr(self.at(&p(path)).await?.id, set).await.map(drop)
            }
            Op::Chmod(path, mode) => {
                let node = self.at(&p(path)).await?;
                if self.attr(node.id)?.kind == Kind::Symlink {
                    return Ok(());
                }
                let set = SetAttr { mode: Some(*mode), ..SetAttr::default() };
                self.set_attr(node.id, set).await.map(drop)
            }
            Op::Crash | Op::Abort => Ok(()),
        }
    }

    /// Everything in the view, by listing it in pages of three.
    async fn seen(&self) -> BTreeMap<TreePath, (Body, u32)> {
        let mut seen = BTreeMap::new();
        let mut dirs = vec![(TreePath::root(), NodeId::ROOT)];
        while let Some((dir, id)) = dirs.pop() {
            let mut after: Option<Arc<str>> = None;
            loop {
                let page = self.list(id, after.as_deref(), 3).await.unwrap();
                let Some((last, ..)) = page.last() else { break };
                after = Some(Arc::clone(last));
                for (name, id, attr) in page {
                    let path = dir.join(&name).unwrap();
                    let body = match attr.kind {
                        Kind::Directory => Body::Dir,
                        Kind::Symlink => Body::Symlink,
                        Kind::File => Body::File(self.read(id, 0, 1 << 30).await.unwrap().into()),
                    };
                    if body == Body::Dir {
                        dirs.push((path.clone(), id));
                    }
                    seen.insert(path, (body, attr.mode));
                }
            }
        }
        seen
    }

    /// The base with the changes applied, as a commit would.
    async fn applied(&self, base: &Tree) -> BTreeMap<TreePath, (Body, u32)> {
        let writer = base.nodes().blobs().writer();
        let edits: Vec<_> = self.edits(&writer, Stored::default()).try_collect().await.unwrap();
        let tree = edited(base, edits).await;
        let walk = tree.walk(&TreePath::root(), None);
        let body = |kind| match kind {
            EntryKind::Dir => Body::Dir,
            EntryKind::File(Content::Inline(bytes)) => Body::File(bytes.into()),
            EntryKind::File(Content::Chunks(_)) => unreachable!("small files"),
            EntryKind::Symlink(_) => Body::Symlink,
        };
        let found: Vec<(TreePath, Entry)> = walk.try_collect().await.unwrap();
        found.into_iter().map(|(path, e)| (path, (body(e.kind), e.mode))).collect()
    }
}

fn path() -> impl Strategy<Value = String> {
    prop::collection::vec("[abc]", 1..4).prop_map(|names| names.join("/"))
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => path().prop_map(Op::Create),
        2 => path().prop_map(Op::Mkdir),
        1 => path().prop_map(Op::Symlink),
        2 => (path(), path()).prop_map(|(a, b)| Op::Link(a, b)),
        4 => path().prop_map(Op::Remove),
        6 => (path(), path()).prop_map(|(a, b)| Op::Rename(a, b)),
        2 => (path(), path()).prop_map(|(a, b)| Op::Exchange(a, b)),
        4 => (path(), 0..40u64, prop::collection::vec(any::<u8>(), 1..20))
            .prop_map(|(path, at, data)| Op::Write(path, at, data)),
        2 => (path(), 0..40u64).prop_map(|(path, size)| Op::Truncate(path, size)),
        1 => (path(), prop::sample::select(vec![0o600u32, 0o755, 0o644]))
            .prop_map(|(path, mode)| Op::Chmod(path, mode)),
        1 => Just(Op::Crash),
        1 => Just(Op::Abort),
    ]
}

/// The transaction as another process finds it.
async fn recovered(view: TransactionView, base: &Tree) -> TransactionView {
    let dir = view.dir();
    drop(view);
    let started = inspect(&dir).unwrap();
    TransactionView::recover(&dir, started, base.clone(), Arc::new(SystemClock)).await.unwrap()
}

async fn check(ops: Vec<Op>, dir: &Path) {
    let (tree, before) = base().await;
    let (mut model, source) = (before.clone(), endings::OneBranch::new(&tree));
    let clock = || Arc::new(SystemClock);
    let mut view = TransactionView::start(dir, started(), tree.clone(), clock()).unwrap();
    for op in &ops {
        match op {
            Op::Crash => view = recovered(view, &tree).await,
            Op::Abort => {
                let (seen, kept) = (view.seen().await, view.dir());
                view.abort(&source, "").await.unwrap();
                let started = inspect(&kept).unwrap();
                let again = TransactionView::recover(&kept, started, tree.clone(), clock()).await;
                assert_eq!(again.unwrap().seen().await, seen);
                model = before.clone();
            }
            _ => {}
        }
        let (wanted, done) = (model.run(op), view.run(op).await);
        assert_eq!(wanted, done.is_ok(), "{op:?}: {done:?}");
    }
    assert_eq!(view.seen().await, model.seen());
    assert_eq!(view.applied(&tree).await, model.seen());
    let view = recovered(view, &tree).await;
    assert_eq!(view.applied(&tree).await, model.seen());
    assert_eq!(view.seen().await, model.seen());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn a_transaction_does_what_a_file_system_does(ops in prop::collection::vec(op(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check(ops, &dir.path().join("txn")));
    }
}

/// A base with one file of several blocks, and its bytes.
async fn large_base() -> (Tree, Vec<u8>) {
    let (tree, _) = base().await;
    let bytes: Vec<u8> =
        (0..(5 << 20) / 4 + 77_u32).flat_map(|i| (i / 300).to_le_bytes()).collect();
    let writer = tree.nodes().blobs().writer();
    let mut file = FileWriter::new(&writer, &[]);
    file.write(bytes.clone().into()).await.unwrap();
    let content = file.finish().await.unwrap();
    writer.flush().await.unwrap();
    let entry = Entry::file(content, Timestamp::default());
    (edited(&tree, vec![("large".parse().unwrap(), Edit::Put(entry))]).await, bytes)
}

async fn check_large(changes: Vec<(u64, Option<Vec<u8>>)>, dir: &Path) {
    let (tree, mut wanted) = large_base().await;
    let path: TreePath = "large".parse().unwrap();
    let clock = || Arc::new(SystemClock);
    let mut view = TransactionView::start(dir, started(), tree.clone(), clock()).unwrap();
    for (at, data) in changes {
        let large = view.at(&path).await.unwrap();
        match data {
            Some(data) => {
                view.write(large.id, at, &data).await.unwrap();
                let end = at as usize + data.len();
                wanted.resize(wanted.len().max(end), 0);
                wanted[at as usize..end].copy_from_slice(&data);
            }
            None => {
                let set = SetAttr { size: Some(at), ..SetAttr::default() };
                view.set_attr(large.id, set).await.unwrap();
                wanted.resize(at as usize, 0);
            }
        }
        drop(large);
        drop(view);
        view = TransactionView::recover(dir, started(), tree.clone(), clock()).await.unwrap();
        let large = view.at(&path).await.unwrap();
        assert!(view.read(large.id, 0, 1 << 30).await.unwrap() == wanted);
    }
    let writer = tree.nodes().blobs().writer();
    let edits: Vec<_> = view.edits(&writer, Stored::default()).try_collect().await.unwrap();
    let committed = edited(&tree, edits).await.get(&path).await.unwrap().unwrap();
    let EntryKind::File(content) = committed.kind else { panic!("a file") };
    assert!(content.read_range(tree.nodes().blobs(), 0..1 << 30).await.unwrap() == wanted);
}

#[tokio::test]
async fn a_commit_reads_only_what_changed_of_a_large_file() {
    let (tree, wanted) = large_base().await;
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("txn");
    let view = TransactionView::start(&at, started(), tree.clone(), Arc::new(SystemClock)).unwrap();
    let large = view.at(&"large".parse().unwrap()).await.unwrap();
    view.write(large.id, 5, b"five").await.unwrap();
    let blobs = tree.nodes().blobs();
    let (writer, before) = (blobs.writer(), blobs.store().stats());
    let edits: Vec<_> = view.edits(&writer, Stored::default()).try_collect().await.unwrap();
    writer.flush().await.unwrap();
    let read = blobs.store().stats().bytes_in - before.bytes_in;
    assert_eq!(edits.len(), 1);
    assert!(read < wanted.len() as u64 / 2, "{read} bytes were read");
}

fn large_change() -> impl Strategy<Value = (u64, Option<Vec<u8>>)> {
    let at = || prop_oneof![0..6_u64 << 20, (0..6_u64).prop_map(|block| block << 20)];
    let size = prop_oneof![4 => 1..100_usize, 1 => (1_usize << 20)..(5 << 19)];
    let data = size.prop_map(|size| vec![0xab; size]);
    prop_oneof![3 => (at(), data.prop_map(Some)), 1 => at().prop_map(|size| (size, None))]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn blocks_of_a_large_file_survive_crashes(
        changes in prop::collection::vec(large_change(), 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check_large(changes, &dir.path().join("txn")));
    }
}
