//! What is staged joined with what others did meanwhile.

use std::collections::BTreeMap;

use crate::catalog::TransactionRow;
use crate::chunk::PackWriter;
use crate::model::{CommitId, TreePath};
use crate::repo::files::root_of;
use crate::repo::{RepoError, Repos, Result};
use crate::tree::{ApplyOptions, Conflict, Edit, Merge, Root, Tree, apply, merge};

/// How many times conflicts are looked for that are to be replaced.
const REPLACED_MAX: u32 = 1000;

impl Repos {
    /// What is staged, with what others changed since, durable. `replace`
    /// makes what is staged win wherever the two exclude each other.
    pub(super) async fn merged(
        &self,
        row: &TransactionRow,
        newest: Option<CommitId>,
        theirs: &Root,
        replace: bool,
    ) -> Result<Merge> {
        let staged = root_of(&row.root)?;
        if newest == row.base {
            return Ok(Merge::Merged(staged));
        }
        let base = root_of(&self.transaction_base(row).await?)?;
        let (writer, mut theirs) = (self.blobs.writer(), *theirs);
        let mut merged = merge(&self.nodes, &writer, &base, &staged, &theirs).await?;
        for _ in 0..REPLACED_MAX {
            let Merge::Conflicts(conflicts) = &merged else { break };
            if !replace {
                break;
            }
            // Conflicts are named so many at a time.
            theirs = self.replaced(&writer, &staged, &theirs, conflicts).await?;
            merged = merge(&self.nodes, &writer, &base, &staged, &theirs).await?;
        }
        writer.flush().await?;
        Ok(merged)
    }

    /// `theirs` with what `ours` has where the two exclude each other.
    async fn replaced(
        &self,
        writer: &PackWriter,
        ours: &Root,
        theirs: &Root,
        conflicts: &[Conflict],
    ) -> Result<Root> {
        let tree = Tree::new(&self.nodes, *ours);
        let other = Tree::new(&self.nodes, *theirs);
        let mut edits: BTreeMap<TreePath, Edit> = BTreeMap::new();
        for Conflict { path, against } in conflicts {
            let top = if path.starts_with(against) { against } else { path };
            let is_dir = other.get(top).await?.is_some_and(|there| there.is_dir());
            let edit = match tree.get(top).await? {
                None => Edit::Remove,
                Some(entry) if entry.is_dir() && is_dir => Edit::Put(entry),
                Some(_) => Edit::Graft { source: *ours, path: top.clone() },
            };
            edits.insert(top.clone(), edit);
        }
        // Nothing comes below what was taken over as a whole.
        let mut whole: Option<TreePath> = None;
        edits.retain(|path, edit| {
            let below = whole.as_ref().is_some_and(|whole| path.starts_with(whole));
            if !below && !matches!(edit, Edit::Put(_)) {
                whole = Some(path.clone());
            }
            !below
        });
        let edits = futures::stream::iter(edits.into_iter().map(Ok::<_, RepoError>));
        apply(&self.nodes, writer, theirs, edits, ApplyOptions { prune_parents: false }).await
    }
}
