//! Comparing the files of two commits.

use std::cmp::Ordering;

use async_stream::try_stream;
use futures::stream::{BoxStream, Peekable};
use futures::{StreamExt as _, TryStreamExt as _};

use super::FileInfo;
use super::read::info;
use super::root_of;
use crate::catalog::CommitRow;
use crate::model::TreePath;
use crate::repo::{RepoError, Repos, Result};
use crate::tree::{self, Entry, Root, Tree};

/// One side of a comparison.
#[derive(Debug, Clone)]
pub struct DiffSide {
    /// The commit; `None` is one without files.
    pub commit: Option<CommitRow>,
    /// What to compare of it.
    pub path: TreePath,
}

/// A path whose entries differ; at least one side is there.
#[derive(Debug, Clone, PartialEq)]
pub struct FileChange {
    /// The entry of the old side.
    pub old: Option<FileInfo>,
    /// The entry of the new side.
    pub new: Option<FileInfo>,
}

impl Repos {
    /// What differs from `old` to `new`, in path order. Entries that differ
    /// only in time are the same.
    ///
    /// With `shallow` only what is directly in the two directories counts, a
    /// directory as changed when anything below it is. The cost follows the
    /// changes where both sides have one path, else the files.
    pub fn diff_files(
        &self,
        old: &DiffSide,
        new: &DiffSide,
        shallow: bool,
    ) -> Result<BoxStream<'static, Result<FileChange>>> {
        let (a, b) = (self.side(old)?, self.side(new)?);
        let pairs = match old.path == new.path {
            true => shared(&a, &b, new.path.clone()),
            false => apart(a.clone(), b.clone(), old.path.clone(), new.path.clone()),
        };
        let pairs = if shallow { tops(pairs) } else { pairs };
        let (from, to) = (old.path.clone(), new.path.clone());
        let told = pairs.and_then(move |rest| {
            let (a, b) = (a.clone(), b.clone());
            let paths = (from.join_path(&rest), to.join_path(&rest));
            async move {
                let (old, new) = (look(&a, paths.0?).await?, look(&b, paths.1?).await?);
                Ok(FileChange { old, new })
            }
        });
        // The root of a side is no entry of its own.
        let told = told
            .try_filter(|change| std::future::ready(change.old.is_some() || change.new.is_some()));
        Ok(told.boxed())
    }

    fn side(&self, side: &DiffSide) -> Result<Tree> {
        let root = match &side.commit {
            Some(commit) => root_of(&commit.root)?,
            None => Root::empty(),
        };
        Ok(Tree::new(&self.nodes, root))
    }
}

async fn look(tree: &Tree, path: TreePath) -> Result<Option<FileInfo>> {
    match tree.get(&path).await? {
        Some(entry) => Ok(Some(info(tree, path, entry).await?)),
        None => Ok(None),
    }
}

type Paths = BoxStream<'static, Result<TreePath>>;

/// What differs at and below one path, relative to it.
fn shared(old: &Tree, new: &Tree, path: TreePath) -> Paths {
    let changes = tree::diff(new.nodes(), old.root(), new.root(), &path);
    changes
        .map_err(RepoError::from)
        .try_filter_map(move |change| std::future::ready(Ok(change.path.strip_prefix(&path))))
        .boxed()
}

type Entries = Peekable<BoxStream<'static, Result<(TreePath, Entry)>>>;

fn entries(tree: &Tree, path: &TreePath) -> Entries {
    let (own, at) = (tree.clone(), path.clone());
    let first = futures::stream::once(async move { Ok((TreePath::root(), own.get(&at).await?)) });
    let first = first.try_filter_map(|(path, entry)| {
        std::future::ready(Ok::<_, RepoError>(entry.map(|entry| (path, entry))))
    });
    let base = path.clone();
    let below =
        tree.walk(path, None).map_err(RepoError::from).try_filter_map(move |(at, entry)| {
            std::future::ready(Ok(at.strip_prefix(&base).map(|rest| (rest, entry))))
        });
    first.chain(below).boxed().peekable()
}

/// What differs below two different paths, relative to them.
fn apart(old: Tree, new: Tree, from: TreePath, to: TreePath) -> Paths {
    try_stream! {
        let (mut a, mut b) = (entries(&old, &from), entries(&new, &to));
        loop {
            let order = match (front(&mut a).await?, front(&mut b).await?) {
                (None, None) => break,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(a), Some(b)) => a.cmp(&b),
            };
            let left = if order.is_le() { a.try_next().await? } else { None };
            let right = if order.is_ge() { b.try_next().await? } else { None };
            match (left, right) {
                (Some((_, a)), Some((_, b))) if same(&a, &b) => {}
                (Some((path, _)), _) | (None, Some((path, _))) => yield path,
                (None, None) => break,
            }
        }
    }
    .boxed()
}

async fn front(entries: &mut Entries) -> Result<Option<TreePath>> {
    match std::pin::Pin::new(entries).peek().await {
        Some(Ok((path, _))) => Ok(Some(path.clone())),
        Some(Err(error)) => Err(error.clone()),
        None => Ok(None),
    }
}

fn same(a: &Entry, b: &Entry) -> bool {
    use tree::EntryKind as Kind;
    a.mode == b.mode
        && match (&a.kind, &b.kind) {
            (Kind::Dir, Kind::Dir) => true,
            (Kind::File(a), Kind::File(b)) => a.size() == b.size() && a.hash() == b.hash(),
            (Kind::Symlink(a), Kind::Symlink(b)) => a == b,
            (Kind::Dir | Kind::File(_) | Kind::Symlink(_), _) => false,
        }
}

/// The first component of each path, once.
fn tops(paths: Paths) -> Paths {
    let mut last: Option<String> = None;
    let first = paths.try_filter_map(move |path| {
        let name = path.components().next().unwrap_or("").to_owned();
        let fresh = last.as_ref() != Some(&name);
        last = Some(name.clone());
        std::future::ready(match fresh {
            true => TreePath::root().join(&name).or(Ok(path)).map(Some),
            false => Ok(None),
        })
    });
    first.boxed()
}
