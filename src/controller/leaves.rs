//! The matches of an input's glob in a tree, all of them or what changed.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt as _;

use super::error::Result;
use crate::model::TreePath;
use crate::pipeline::datum::{Delta, Match};
use crate::pipeline::spec::Leaf;
use crate::tree::{Entry, EntryKind, Root, Totals, Tree, diff};

/// How many entries of a directory are listed at a time.
const PAGE: usize = 1000;

/// All matches of `leaf` in `tree`, in path order within each directory.
///
/// Touches only directories that can hold a match.
pub async fn scan(tree: &Tree, leaf: Leaf<'_>) -> Result<Vec<Arc<Match>>> {
    let glob = leaf.glob();
    if let Some(path) = glob.literal() {
        return Ok(match_at(tree, leaf, &path).await?.into_iter().collect());
    }
    let mut found = Vec::new();
    if !glob.base().is_root() && !tree.get(glob.base()).await?.is_some_and(|e| e.is_dir()) {
        return Ok(found);
    }
    let mut dirs = vec![glob.base().clone()];
    while let Some(dir) = dirs.pop() {
        let mut after: Option<String> = None;
        loop {
            let page = tree.list(&dir, after.as_deref(), PAGE).await?;
            let full = page.len() == PAGE;
            after = page.last().map(|(name, _)| name.clone());
            for (name, entry) in page {
                // Every name came out of a tree, so it is valid.
                let Ok(path) = dir.join(&name) else { continue };
                if glob.selects(&path, entry.is_dir()) {
                    found.push(matched(tree, leaf, &path, &entry).await?);
                }
                if entry.is_dir() && glob.may_contain(&path) {
                    dirs.push(path);
                }
            }
            if !full {
                break;
            }
        }
    }
    Ok(found)
}

/// How the matches of `leaf` differ between two trees. Costs what changed.
pub async fn changes(old: &Tree, new: &Tree, leaf: Leaf<'_>) -> Result<Delta<Arc<Match>>> {
    let mut delta = Delta::default();
    if old.root().hash() == new.root().hash() {
        return Ok(delta);
    }
    for path in candidates(old, new, leaf).await? {
        let before = match_at(old, leaf, &path).await?;
        let after = match_at(new, leaf, &path).await?;
        if before != after {
            delta.removed.extend(before);
            delta.added.extend(after);
        }
    }
    Ok(delta)
}

/// The paths at which a match may have changed.
async fn candidates(old: &Tree, new: &Tree, leaf: Leaf<'_>) -> Result<BTreeSet<TreePath>> {
    let glob = leaf.glob();
    if let Some(path) = glob.literal() {
        return Ok([path].into());
    }
    let mut paths = BTreeSet::new();
    let mut changed = diff(new.nodes(), old.root(), new.root(), glob.base());
    while let Some(change) = changed.next().await {
        let path = change?.path;
        for candidate in path.ancestors().chain([path.clone()]) {
            if glob.matches(&candidate) {
                paths.insert(candidate);
            }
        }
    }
    Ok(paths)
}

/// The match of `leaf` at `path`, if what is there is selected.
///
/// An empty repo has no datum even for the pattern of the root.
pub async fn match_at(tree: &Tree, leaf: Leaf<'_>, path: &TreePath) -> Result<Option<Arc<Match>>> {
    if path.is_root() {
        let (root, totals) = (tree.root(), tree.root().totals());
        let is_match = leaf.glob().is_root() && !root.is_empty();
        let found = || Match::new(leaf, path.clone(), true, *root.hash().as_bytes(), totals.bytes);
        return Ok(is_match.then(|| Arc::new(found())));
    }
    match tree.get(path).await? {
        Some(entry) if leaf.glob().selects(path, entry.is_dir()) => {
            Ok(Some(matched(tree, leaf, path, &entry).await?))
        }
        Some(_) | None => Ok(None),
    }
}

async fn matched(
    tree: &Tree,
    leaf: Leaf<'_>,
    path: &TreePath,
    entry: &Entry,
) -> Result<Arc<Match>> {
    let (hash, size) = match &entry.kind {
        EntryKind::File(content) => {
            (file_hash(content.hash().as_bytes(), entry.mode), entry.size())
        }
        EntryKind::Symlink(target) => {
            (blake3::derive_key("pfs symlink match v1", target.as_bytes()), entry.size())
        }
        EntryKind::Dir => {
            let hash = tree.subtree_hash(path).await?.map_or([0; 32], |hash| *hash.as_bytes());
            let bytes = tree.totals(path).await?.unwrap_or(Totals::default()).bytes;
            (hash, bytes)
        }
    };
    Ok(Arc::new(Match::new(leaf, path.clone(), entry.is_dir(), hash, size)))
}

/// The content's hash; another where the file may be executed.
fn file_hash(content: &[u8; 32], mode: u32) -> [u8; 32] {
    match mode & 0o111 {
        0 => *content,
        _ => blake3::derive_key("pfs executable match v1", content),
    }
}

/// The tree of a commit's stored root.
pub fn root_of(stored: &crate::catalog::StoredRoot) -> Result<Root> {
    match stored.encoded.is_empty() {
        true => Ok(Root::empty()),
        false => Ok(Root::decode(&stored.encoded)?),
    }
}
