//! Directories that removes leave empty.

use super::TreeError;
use super::key::Key;
use super::level::{Level, Rebuild};
use crate::model::TreePath;

/// Holds removes back until it is known whether they empty their directory.
///
/// Removes come in path order. As long as they take the old entries of a
/// directory one after another from its first on, they are one range; the
/// first entry that stays shows that the directory stays too. So a frame per
/// directory on the way is all the memory it takes.
pub(super) struct Emptied {
    rebuild: Rebuild,
    frames: Vec<Frame>,
}

/// A directory of which every old entry before `gone` is removed.
struct Frame {
    dir: TreePath,
    gone: Key,
}

impl Emptied {
    pub fn new(rebuild: &Rebuild) -> Self {
        Self { rebuild: rebuild.clone(), frames: Vec::new() }
    }

    /// Removes `path`, an entry of the old tree, and everything below it.
    ///
    /// The directories `staying` hold puts and are not pruned.
    pub async fn remove(
        &mut self,
        leaves: &mut Level,
        path: &TreePath,
        staying: &[TreePath],
    ) -> Result<(), TreeError> {
        self.leave(leaves, Some(path)).await?;
        let entered = self.frames.last().map_or(TreePath::root(), |frame| frame.dir.clone());
        let inside = |dir: &TreePath| dir.starts_with(&entered) && *dir != entered;
        for dir in path.ancestors().filter(inside) {
            if staying.contains(&dir) {
                continue;
            }
            if !self.is_next(&dir).await? {
                self.flush(leaves).await?;
            }
            let gone = Key::below(&dir);
            self.frames.push(Frame { dir, gone });
        }
        if !self.is_next(path).await? {
            self.flush(leaves).await?;
        }
        self.took(leaves, path).await
    }

    /// Decides about the directories that do not hold `next`, and keeps those
    /// that do, because something is put into them.
    pub async fn settle(
        &mut self,
        leaves: &mut Level,
        next: Option<&TreePath>,
    ) -> Result<(), TreeError> {
        self.leave(leaves, next).await?;
        self.flush(leaves).await
    }

    /// Decides about the directories that do not hold `next`.
    async fn leave(
        &mut self,
        leaves: &mut Level,
        next: Option<&TreePath>,
    ) -> Result<(), TreeError> {
        while let Some(frame) = self.frames.last() {
            if next.is_some_and(|next| next.starts_with(&frame.dir)) {
                break;
            }
            let left = self.rebuild.nodes.seek(&self.rebuild.old, &frame.gone).await?;
            if left.is_some_and(|item| item.key < Key::after_subtree(&frame.dir)) {
                self.flush(leaves).await?;
            } else if let Some(Frame { dir, .. }) = self.frames.pop() {
                self.took(leaves, &dir).await?;
            }
        }
        Ok(())
    }

    /// Whether `path` is the innermost directory's next old entry; also true
    /// without such a directory.
    async fn is_next(&self, path: &TreePath) -> Result<bool, TreeError> {
        let Some(frame) = self.frames.last() else { return Ok(true) };
        let next = self.rebuild.nodes.seek(&self.rebuild.old, &frame.gone).await?;
        Ok(next.is_some_and(|item| item.key == Key::of(path)))
    }

    /// Notes that `path` is gone: with its directory, or by itself.
    async fn took(&mut self, leaves: &mut Level, path: &TreePath) -> Result<(), TreeError> {
        let after = Key::after_subtree(path);
        match self.frames.last_mut() {
            Some(frame) => frame.gone = after,
            None => leaves.delete(&Key::of(path), &after).await?,
        }
        Ok(())
    }

    /// Removes what was held back: its directories stay.
    async fn flush(&mut self, leaves: &mut Level) -> Result<(), TreeError> {
        for Frame { dir, gone } in self.frames.drain(..) {
            let from = Key::below(&dir);
            if from < gone {
                leaves.delete(&from, &gone).await?;
            }
        }
        Ok(())
    }
}
