//! Pushing a job's output to an object store of the user's.

use std::time::Duration;

use futures::StreamExt as _;
use tokio_util::sync::CancellationToken;

use super::Controller;
use super::error::{ControllerError, Result};
use crate::catalog::Job;
use crate::chunk::{Blobs, Content};
use crate::model::TreePath;
use crate::store::{Store, StoreError, StoreOptions, open};
use crate::tree::{EntryKind, Root, Tree};

/// Files up to this size are pushed by one request.
const WHOLE: u64 = 8 << 20;

/// How often a larger one is tried, and the pause in between.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_secs(1);

/// A store is not waited for much longer when nobody wants the file any more.
const FAREWELL: Duration = Duration::from_secs(5);

/// Writes every file of the tree below `url`. Files that are there already
/// are replaced; none is removed. No file is held in memory.
///
/// # Errors
/// [`ControllerError::Job`] with what went wrong: the job then fails.
/// [`ControllerError::Cancelled`] when the job was stopped meanwhile.
pub(super) async fn push(controller: &Controller, job: &Job, root: &Root, url: &str) -> Result<()> {
    let failed = |what: String| ControllerError::Job(format!("egress to {url} failed: {what}"));
    let store = open(url, &StoreOptions::default()).map_err(|error| failed(error.to_string()))?;
    let cancel = controller.cancel_of(job);
    let pushing = Push { store: &store, blobs: controller.repos().blobs(), cancel: &cancel };
    let mut entries = Tree::new(controller.nodes(), *root).walk(&TreePath::root(), None);
    while let Some(entry) = entries.next().await {
        let (path, entry) = entry?;
        let EntryKind::File(content) = entry.kind else { continue };
        let pushed = match content.size() {
            ..=WHOLE => pushing.whole(&path, &content).await,
            _ => pushing.in_parts(&path, &content).await,
        };
        pushed.map_err(|error| match error {
            ControllerError::Store(error) => failed(format!("{path}: {error}")),
            error => error,
        })?;
    }
    Ok(())
}

struct Push<'a> {
    store: &'a Store,
    blobs: &'a Blobs,
    cancel: &'a CancellationToken,
}

impl Push<'_> {
    async fn unless_stopped<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        tokio::select! {
            done = work => done,
            () = self.cancel.cancelled() => Err(ControllerError::Cancelled),
        }
    }

    async fn whole(&self, path: &TreePath, content: &Content) -> Result<()> {
        let body = content.read_range(self.blobs, 0..content.size()).await?;
        self.unless_stopped(async { Ok(self.store.put(path.as_str(), body).await?) }).await
    }

    async fn in_parts(&self, path: &TreePath, content: &Content) -> Result<()> {
        let mut tries = 1;
        loop {
            match self.upload(path, content).await {
                Err(ControllerError::Store(error)) if error.is_transient() && tries < TRIES => {
                    tracing::debug!(%path, %error, "pushing it again");
                }
                outcome => return outcome,
            }
            tries += 1;
            self.unless_stopped(async { Ok(tokio::time::sleep(PAUSE).await) }).await?;
        }
    }

    async fn upload(&self, path: &TreePath, content: &Content) -> Result<()> {
        let begin = async { Ok(self.store.upload(path.as_str()).await?) };
        let mut upload = self.unless_stopped(begin).await?;
        let feed = async {
            let mut pieces = content.stream(self.blobs, 0..content.size());
            while let Some(piece) = pieces.next().await {
                upload.add(piece?).await?;
            }
            Ok(())
        };
        let error = match self.unless_stopped(feed).await {
            Ok(()) => {
                let finish = async { Ok(upload.finish().await?) };
                return self.unless_stopped(finish).await;
            }
            Err(error) => error,
        };
        // What went wrong matters more than whether its parts are removed.
        let aborted: Result<Result<(), StoreError>, _> =
            tokio::time::timeout(FAREWELL, upload.abort()).await;
        if let Ok(Err(left)) = aborted {
            tracing::debug!(%path, %left, "parts of a file are left behind");
        }
        Err(error)
    }
}
