//! A volume that is served.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use pfs_daemonset::{Mounting, Pods, Publish, Refusal, Stats, Usage};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::attributes::{Attributes, Shown, When};
use super::ending;
use super::note::Note;
use super::refuse;
use super::shared::Shared;
use crate::cli::mount::fetch;
use crate::model::TreePath;
use crate::mount::{Mounted, is_connected};
use crate::vfs::xattr::COMMIT;
use crate::vfs::{Files, InodeNo, Shown as Place, TransactionView, XattrMode};

/// How long the kernel may take to end a mount that was taken away.
const DETACHING: Duration = Duration::from_secs(5);

/// What a volume is made of.
pub struct Served {
    pub mounted: Mounted,
    pub device: OwnedFd,
    pub files: Arc<Files>,
    pub view: Option<Arc<TransactionView>>,
}

/// A volume that is served.
pub struct Volume {
    shared: Arc<Shared>,
    note: Note,
    attributes: Attributes,
    /// Its connection, to see whether it still is one.
    device: OwnedFd,
    files: Arc<Files>,
    pub(super) view: Option<Arc<TransactionView>>,
    connected: watch::Receiver<bool>,
    /// What goes on beside it.
    beside: Mutex<Vec<JoinHandle<()>>>,
}

impl Drop for Volume {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Volume {
    /// Looks after what is served from now on.
    pub fn begin(
        shared: &Arc<Shared>,
        (note, attributes): (Note, Attributes),
        Served { mut mounted, device, files, view }: Served,
    ) -> Self {
        let (tell, connected) = watch::channel(true);
        let volume = note.publish.key.volume.clone();
        shared.begun();
        let counted = Arc::clone(shared);
        tokio::spawn(async move {
            mounted.ended().await;
            counted.ended();
            // Nobody need be listening.
            tell.send_replace(false);
            let joined = tokio::task::spawn_blocking(move || mounted.join()).await;
            match joined {
                Ok(Ok(())) => tracing::debug!(volume, "a mount has ended"),
                Ok(Err(error)) => tracing::warn!(%error, volume, "a mount has ended"),
                Err(error) => tracing::warn!(%error, volume, "a mount has ended"),
            }
        });
        let shared = Arc::clone(shared);
        let beside = Mutex::default();
        let this = Self { shared, note, attributes, device, files, view, connected, beside };
        this.fetch_ahead();
        this.commit_now_and_then();
        this
    }

    fn beside(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.beside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends what goes on beside it.
    pub fn leave(&self) {
        self.beside().drain(..).for_each(|task| task.abort());
    }

    pub fn publish(&self) -> &Publish {
        &self.note.publish
    }

    /// What it shows, in a mount.
    pub fn place(&self) -> Option<Place> {
        let reference = self.note.reference.as_ref().and_then(|text| text.parse().ok());
        let transaction = self.view.clone();
        let repo = match &self.attributes.shown {
            Shown::All => return None,
            Shown::Read { repo, .. } => repo.clone(),
            Shown::Written { branch, .. } => branch.repo.clone(),
        };
        Some(Place { repo, reference, transaction })
    }

    /// Whether the kernel may read files of it by itself.
    pub fn passes_through(&self) -> bool {
        self.note.passes_through()
    }

    fn fetch_ahead(&self) {
        let named: Vec<_> =
            self.place().into_iter().map(|place| (place.repo, place.reference)).collect();
        let dir = match &self.attributes.shown {
            Shown::All => TreePath::root(),
            Shown::Read { path, .. } | Shown::Written { path, .. } => path.clone(),
        };
        let prefetch = self.attributes.prefetch.clone();
        let task = fetch(prefetch, (named, dir), &self.shared.source);
        self.beside().extend(task);
    }

    fn commit_now_and_then(&self) {
        let Shown::Written { when: When::Interval(span), message, .. } = &self.attributes.shown
        else {
            return;
        };
        let (span, message) = (*span, message.clone());
        let (files, view) = (Arc::clone(&self.files), self.view.clone());
        let task = tokio::spawn(async move {
            loop {
                tokio::time::sleep(span).await;
                let changed = view.as_ref().is_some_and(|view| view.is_changed().unwrap_or(true));
                if !changed {
                    continue;
                }
                let (root, value) = (InodeNo::ROOT, message.as_bytes());
                let done = files.set_xattr(root, COMMIT, value, XattrMode::Set).await;
                if let Err(error) = done {
                    tracing::warn!(%error, "not committed; trying again");
                }
            }
        });
        self.beside().push(task);
    }

    /// Whether the root of the volume has an entry `name`.
    async fn has(&self, name: &str) -> Result<bool, Refusal> {
        let found = self.files.lookup(InodeNo::ROOT, name).await;
        let found = found.map_err(|error| refuse::vfs(name, &error))?;
        if let Some(attr) = &found.attr {
            self.files.forget(attr.ino, 1);
        }
        Ok(found.attr.is_some())
    }
}

/// The file that says that what was written is complete.
pub const MARKER: &str = "_SUCCESS";

#[async_trait]
impl pfs_daemonset::Session for Volume {
    async fn end(&self, pods: &dyn Pods) -> Result<(), Refusal> {
        self.leave();
        let (Some(view), Shown::Written { branch, when, message, .. }) =
            (&self.view, &self.attributes.shown)
        else {
            return Ok(());
        };
        let working = self.shared.work.begin(Some(branch));
        // What the kernel has yet to write it writes before it lets go.
        let mut connected = self.connected.clone();
        let ended = connected.wait_for(|connected| !connected);
        if tokio::time::timeout(DETACHING, ended).await.is_err() {
            tracing::warn!(volume = self.publish().key.volume, "somebody still uses a volume");
        }
        let marked = match when {
            When::OnMarker => self.has(MARKER).await?,
            When::OnSuccess | When::Explicit | When::OnUnmount | When::Interval(_) => false,
        };
        let ended = (self.publish(), view, working);
        ending::end(&self.shared, ended, ((*when, marked), message), pods).await
    }

    async fn stats(&self) -> Result<Stats, Refusal> {
        let used = self.files.statfs(InodeNo::ROOT).await;
        let used = used.map_err(|error| refuse::vfs("statfs", &error))?;
        let block = u64::from(used.block_size);
        let bytes = Usage {
            total: used.blocks * block,
            used: used.blocks.saturating_sub(used.free) * block,
            available: used.available * block,
        };
        let inodes = Usage {
            total: used.files,
            used: used.files.saturating_sub(used.files_free),
            available: used.files_free,
        };
        let problem = match &self.view {
            _ if !is_connected(&self.device) => "it is no longer mounted".to_owned(),
            Some(view) => match view.standing() {
                ("OPEN", _) => String::new(),
                (state, why) => format!("its transaction is {state}: {why}"),
            },
            None => String::new(),
        };
        Ok(Stats { bytes, inodes, problem })
    }

    fn mounting(&self) -> Mounting {
        let connection = is_connected(&self.device).then_some(self.note.connection);
        let source = self.note.source().to_owned();
        Mounting { source, read_only: self.view.is_none(), connection }
    }
}
