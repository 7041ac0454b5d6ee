//! Whether what is below a directory still has paths that fit after a rename.

use futures::StreamExt as _;

use super::node::{Body, NodeId};
use super::state::State;
use super::{Pin, TransactionView};
use crate::model::{PATH_MAX, TreePath};
use crate::tree::Tree;
use crate::vfs::VfsError;

impl TransactionView {
    /// Refuses to make `id` the entry `to` when something below it would have
    /// a longer path than a repo can hold.
    pub(super) async fn require_room(
        &self,
        pin: &Pin<'_>,
        to: (NodeId, &str),
    ) -> Result<(), VfsError> {
        let (base, above, shown) = {
            let state = self.lock();
            let above = state.child_path(to.0, to.1)?.as_str().len();
            (state.base.clone(), above, shown(&state, pin.id)?)
        };
        let fits = |below: usize| match above + below <= PATH_MAX {
            true => Ok(()),
            false => Err(VfsError::NameTooLong),
        };
        for Shown { below, from } in shown {
            fits(below)?;
            let Some(from) = from else { continue };
            // What the base has fits in the base.
            if above + below > from.as_str().len() {
                fits(below + deepest(&base, &from).await?)?;
            }
        }
        Ok(())
    }
}

/// An entry below a directory, so many bytes of path down.
struct Shown {
    below: usize,
    /// The directory of the base that shows here.
    from: Option<TreePath>,
}

/// What in memory is below `id`, itself included, without the directories that
/// the base of another one shows anyway.
fn shown(state: &State, id: NodeId) -> Result<Vec<Shown>, VfsError> {
    let mut found = Vec::new();
    let mut next = vec![(id, 0, None)];
    while let Some((id, below, expected)) = next.pop() {
        let Body::Dir(dir) = &state.node(id)?.body else {
            found.push(Shown { below, from: None });
            continue;
        };
        let from = dir.base.clone().filter(|from| expected.as_ref() != Some(from));
        found.push(Shown { below, from });
        for (name, over) in &dir.overrides {
            let Some(child) = over.node else { continue };
            let expected = dir.base.as_ref().and_then(|base| base.join(name).ok());
            next.push((child, below + 1 + name.len(), expected));
        }
    }
    Ok(found)
}

/// The bytes that the longest path below `dir` has more than `dir`. Costs what
/// committing the directory elsewhere will: an entry each.
async fn deepest(base: &Tree, dir: &TreePath) -> Result<usize, VfsError> {
    let mut longest = 0;
    let mut below = base.walk_stats(dir, None);
    while let Some(entry) = below.next().await {
        let (path, _) = entry?;
        longest = longest.max(path.as_str().len() - dir.as_str().len());
    }
    Ok(longest)
}
