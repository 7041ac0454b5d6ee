//! Pushing a job's output to an object store of the user's.

use futures::StreamExt as _;

use super::Controller;
use super::error::{ControllerError, Result};
use crate::model::TreePath;
use crate::store::{StoreOptions, open};
use crate::tree::{EntryKind, Root, Tree};

/// The largest file that is pushed: one request holds it whole.
const FILE_MAX: u64 = 1 << 30;

/// Writes every file of the tree below `url`. Files that are there already
/// are replaced; none is removed.
///
/// # Errors
/// [`ControllerError::Job`] with what went wrong: the job then fails.
pub(super) async fn push(controller: &Controller, root: &Root, url: &str) -> Result<()> {
    let failed = |what: String| ControllerError::Job(format!("egress to {url} failed: {what}"));
    let store = open(url, &StoreOptions::default()).map_err(|error| failed(error.to_string()))?;
    let blobs = controller.repos().blobs();
    let mut entries = Tree::new(controller.nodes(), *root).walk(&TreePath::root(), None);
    while let Some(entry) = entries.next().await {
        let (path, entry) = entry?;
        let EntryKind::File(content) = entry.kind else { continue };
        if content.size() > FILE_MAX {
            return Err(failed(format!("{path} is larger than {FILE_MAX} bytes")));
        }
        let mut parts = Vec::new();
        let mut pieces = content.stream(blobs, 0..content.size());
        while let Some(piece) = pieces.next().await {
            parts.push(piece?);
        }
        store
            .put_parts(path.as_str(), &parts)
            .await
            .map_err(|error| failed(format!("{path}: {error}")))?;
    }
    Ok(())
}
