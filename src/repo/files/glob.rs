//! Files by pattern.

use async_stream::try_stream;
use futures::{StreamExt as _, TryStreamExt as _};

use super::read::{FileStream, info};
use crate::catalog::CommitRow;
use crate::model::TreePath;
use crate::pipeline::glob::Glob;
use crate::repo::{RepoError, Repos, Result};
use crate::tree::Tree;

/// How many entries of a directory are read at a time.
const PAGE: usize = 1000;

impl Repos {
    /// The files and directories that match a pattern, in path order; those
    /// after the path `after` where one is given.
    ///
    /// Reads only directories in which something can match. No match is no
    /// error.
    pub async fn glob_files(
        &self,
        commit: &CommitRow,
        pattern: &Glob,
        after: Option<&TreePath>,
    ) -> Result<FileStream> {
        let tree = self.tree(commit)?;
        let after = after.cloned();
        let skipped = move |path: &TreePath| after.as_ref().is_some_and(|after| path <= after);
        if let Some(path) = pattern.literal() {
            let found = match self.inspect_file(commit, &path).await {
                Ok(found) if !skipped(&found.path) => Some(Ok(found)),
                Ok(_) | Err(RepoError::NotFound { .. }) => None,
                Err(error) => return Err(error),
            };
            return Ok(futures::stream::iter(found).boxed());
        }
        let found = matches(tree.clone(), pattern.clone());
        let fresh = found.try_filter(move |path| std::future::ready(!skipped(path)));
        let named = fresh.and_then(move |path| {
            let tree = tree.clone();
            async move {
                match tree.get(&path).await? {
                    Some(entry) => info(&tree, path, entry).await,
                    None => Err(RepoError::NotFound {
                        kind: "file",
                        name: path.absolute(),
                        nearest: None,
                    }),
                }
            }
        });
        Ok(named.boxed())
    }
}

/// A directory being searched: where, and the last name seen.
struct Search {
    dir: TreePath,
    after: Option<String>,
}

/// The paths that match, depth first and so in path order.
fn matches(tree: Tree, pattern: Glob) -> futures::stream::BoxStream<'static, Result<TreePath>> {
    let start = Search { dir: pattern.base().clone(), after: None };
    try_stream! {
        let is_dir = match start.dir.is_root() {
            true => true,
            false => tree.get(&start.dir).await?.is_some_and(|entry| entry.is_dir()),
        };
        let mut open = if is_dir { vec![start] } else { Vec::new() };
        while let Some(search) = open.pop() {
            let page = tree.list(&search.dir, search.after.as_deref(), PAGE).await?;
            let full = page.len() == PAGE;
            let mut rest = page.into_iter();
            while let Some((name, entry)) = rest.next() {
                let path = search.dir.join(&name)?;
                if pattern.selects(&path, entry.is_dir()) {
                    yield path.clone();
                }
                if entry.is_dir() && pattern.may_contain(&path) {
                    // What follows in this directory comes after what is below.
                    if full || rest.len() > 0 {
                        open.push(Search { dir: search.dir.clone(), after: Some(name) });
                    }
                    open.push(Search { dir: path, after: None });
                    break;
                }
                if full && rest.len() == 0 {
                    open.push(Search { dir: search.dir.clone(), after: Some(name) });
                }
            }
        }
    }
    .boxed()
}
