//! Volumes as the node agent serves them.

use std::os::fd::AsFd as _;
use std::sync::Arc;

use async_trait::async_trait;
use pfs_daemonset::{Code, Device, Held, Keep, Key, Mounting, Pods, Prepared, Publish, Refusal};

use super::attributes::{Attributes, Shown};
use super::note::Note;
use super::refuse;
use super::session::{Served, Volume};
use super::shared::Shared;
use super::{backing, earlier, ending, writing};
use crate::model::{Ref, Repo};
use crate::mount::{Mounted, Standby};
use crate::vfs::{Files, Memory, Shown as Place, Source as _, TransactionView};

/// All that volumes have in common, and how each begins.
pub struct Volumes(pub Arc<Shared>);

/// A volume that has no connection yet.
pub struct Ready {
    attributes: Attributes,
    place: Option<Place>,
    files: Arc<Files>,
    /// Whether the kernel may read files by itself.
    passthrough: bool,
}

impl Ready {
    fn view(&self) -> Option<&Arc<TransactionView>> {
        self.place.as_ref()?.transaction.as_ref()
    }

    /// What a successor has to know of it.
    fn note(&self, publish: &Publish, connection: u32, shared: &Shared) -> Note {
        let reference = self.place.as_ref().and_then(|place| place.reference.as_ref());
        let transaction = self.view().map(|view| view.key());
        Note::new(
            (publish, &self.attributes.shown),
            self.passthrough,
            connection,
            (reference.map(ToString::to_string), transaction),
            (shared.identity(), shared.store.clone()),
        )
    }
}

/// Fails when the pod that `publish` is for may not have `repo`, or all repos.
async fn authorise(
    shared: &Shared,
    publish: &Publish,
    (repo, write): (Option<&Repo>, bool),
) -> Result<(), Refusal> {
    let what = repo.map_or("all repos".to_owned(), |repo| format!("repo {repo}"));
    let token = publish.token.as_ref().map(|token| token.reveal().to_owned());
    let checked = shared.source.authorize(repo, write, publish.pod.as_ref(), token).await;
    checked.map_err(|status| refuse::status(&what, &status))
}

async fn authorise_shown(shared: &Shared, publish: &Publish, shown: &Shown) -> Result<(), Refusal> {
    let asked = match shown {
        Shown::All => (None, false),
        Shown::Read { repo, .. } => (Some(repo), false),
        Shown::Written { branch, .. } => (Some(&branch.repo), true),
    };
    authorise(shared, publish, asked).await
}

fn attributes(publish: &Publish) -> Result<Attributes, Refusal> {
    Attributes::parse(&publish.attributes, publish.read_only, publish.ephemeral)
}

impl Volumes {
    /// What `shown` is in a mount.
    async fn place(&self, publish: &Publish, shown: &Shown) -> Result<Option<Place>, Refusal> {
        let following = self.0.following();
        Ok(match shown {
            Shown::All => None,
            Shown::Read { repo, reference, follow, .. } => {
                let name = reference.as_ref().map_or("master".to_owned(), ToString::to_string);
                let what = format!("{repo}@{name}");
                let resolved = following.resolve(repo, reference.as_ref()).await;
                let resolved = resolved.map_err(|error| refuse::vfs(&what, &error))?;
                let pinned = match (follow, resolved) {
                    (true, _) => reference.clone(),
                    (false, Some(resolved)) => Some(Ref::commit(resolved.commit)),
                    (false, None) => {
                        let what = format!(
                            "{what} has no commit yet to show; with follow: true it appears once \
                             it has"
                        );
                        return Err(Refusal::new(Code::FailedPrecondition, what));
                    }
                };
                Some(Place { repo: repo.clone(), reference: pinned, transaction: None })
            }
            Shown::Written { branch, .. } => {
                let view = writing::begin(&self.0, publish, branch).await?;
                let reference = Some(Ref::branch(branch.name.clone()));
                Some(Place { repo: branch.repo.clone(), reference, transaction: Some(view) })
            }
        })
    }

    /// The files of a volume that nobody has seen yet.
    async fn files(&self, shown: &Shown, place: Option<&Place>) -> Result<Arc<Files>, Refusal> {
        let shared = &self.0;
        let source = Arc::new(shared.following());
        let only = place.map(|place| vec![place.clone()]);
        let files = Files::of_repos(source, only, shared.clock.now());
        let files = match (place, shown) {
            (Some(place), Shown::Read { path, .. } | Shown::Written { path, .. }) => {
                let rooted = files.rooted(&place.name(), path).await;
                let what = format!("{} of {}", path.absolute(), place.repo);
                rooted.map_err(|error| refuse::vfs(&what, &error))?
            }
            (_, _) => files,
        };
        Ok(Arc::new(files))
    }

    /// Serves over `device` what is ready.
    async fn serve(
        &self,
        publish: &Publish,
        ready: &Ready,
        (device, keep): (Device, Keep),
    ) -> Result<Volume, Refusal> {
        let note = ready.note(publish, device.connection, &self.0);
        let failed = |error: std::io::Error| refuse::system("the volume cannot be served", &error);
        let served = tokio::task::block_in_place(|| {
            let table = ready.files.memory().ok_or_else(|| std::io::Error::other("no memory"))?;
            let table = table.as_fd().try_clone_to_owned()?;
            let hold = |init: &[u8], answer: &[u8]| {
                let mut held = Held {
                    init: init.to_vec(),
                    answer: answer.to_vec(),
                    note: note.value(),
                    device: device.fd.try_clone()?,
                    table,
                    kept: Default::default(),
                };
                if let Some(view) = ready.view() {
                    held.kept.insert(MEMORY.to_owned(), view.mirror()?);
                }
                keep.hold(held)?;
                if let Some(view) = ready.view() {
                    keep_lock(view, &keep);
                }
                Ok(())
            };
            let (files, options) = (&ready.files, note.options(&self.0));
            let at = (&*publish.key.target, files);
            Mounted::attached(at, &options, &device.fd, &self.0.runtime, hold)
        });
        let mounted = served.map_err(failed)?;
        let (files, view) = (Arc::clone(&ready.files), ready.view().cloned());
        let (attributes, device) = (ready.attributes.clone(), device.fd);
        Ok(Volume::begin(&self.0, (note, attributes), Served { mounted, device, files, view }))
    }
}

/// What keepers call what a transaction needs.
const MEMORY: &str = "memory";
const LOCK: &str = "lock";

/// Has its staging directory held for a successor, whichever it is.
fn keep_lock(view: &TransactionView, keep: &Keep) {
    let keep = keep.clone();
    view.tell_held(move |lock| match lock.try_clone() {
        Ok(lock) => keep.keep(LOCK, lock.into()),
        Err(error) => tracing::warn!(%error, "a staging directory is not held for a successor"),
    });
}

#[async_trait]
impl pfs_daemonset::Volumes for Volumes {
    type Prepared = Ready;
    type Session = Volume;

    async fn prepare(
        &self,
        publish: &Publish,
        pods: &dyn Pods,
    ) -> Result<Prepared<Ready>, Refusal> {
        let attributes = attributes(publish)?;
        self.0.check_prefetch(&attributes.prefetch)?;
        authorise_shown(&self.0, publish, &attributes.shown).await?;
        if let Some(branch) = attributes.shown.begins_with() {
            earlier::wait(&self.0, &branch, pods).await?;
        }
        let place = self.place(publish, &attributes.shown).await?;
        let files = match self.files(&attributes.shown, place.as_ref()).await {
            Ok(files) => files,
            Err(error) => {
                if let Some(view) = place.and_then(|place| place.transaction) {
                    writing::take_back(&self.0, &view).await;
                }
                return Err(error);
            }
        };
        let passthrough = self.0.has_cache() && backing::is_for(&attributes.shown, &files).await;
        let volume = Ready { attributes, place, files, passthrough };
        let source = volume.note(publish, 0, &self.0).source().to_owned();
        let read_only = volume.view().is_none();
        Ok(Prepared { volume, mounting: Mounting { source, read_only, connection: None } })
    }

    async fn authorise(&self, publish: &Publish) -> Result<(), Refusal> {
        authorise_shown(&self.0, publish, &attributes(publish)?.shown).await
    }

    async fn give_up(&self, _publish: &Publish, prepared: Ready) {
        if let Some(view) = prepared.view() {
            writing::take_back(&self.0, view).await;
        }
    }

    async fn attach(
        &self,
        publish: &Publish,
        prepared: Ready,
        attach: (Device, Keep),
    ) -> Result<Volume, Refusal> {
        let served = self.serve(publish, &prepared, attach).await;
        if served.is_err() {
            self.give_up(publish, prepared).await;
        }
        served
    }

    async fn attach_again(
        &self,
        publish: &Publish,
        session: &Volume,
        attach: (Device, Keep),
    ) -> Result<Volume, Refusal> {
        let attributes = attributes(publish)?;
        // The same commit, and the same transaction.
        let place = session.place();
        let files = self.files(&attributes.shown, place.as_ref()).await?;
        session.leave();
        let passthrough = session.passes_through();
        self.serve(publish, &Ready { attributes, place, files, passthrough }, attach).await
    }

    async fn resume(&self, held: Held, keep: Keep) -> Result<(Publish, Volume), Refusal> {
        let note = Note::read(&held.note)?;
        let attributes = attributes(&note.publish)?;
        let Held { init, answer, device, table, mut kept, .. } = held;
        let runtime = self.0.runtime.clone();
        let (options, written) = (note.options(&self.0), note.transaction.is_some());
        let begin = || Standby::new(&init, &options, written, &runtime);
        let standby = tokio::task::block_in_place(begin);
        let standby = standby.map_err(|error| refuse::system("a volume of before", &error))?;
        if standby.answer() != answer {
            tracing::error!("a version before this one has asked the kernel for other options");
        }
        let view = match note.transaction {
            Some(key) => {
                let (mirror, lock) = (kept.remove(MEMORY), kept.remove(LOCK));
                let view = writing::attach(&self.0, &note.publish, key, (mirror, lock)).await?;
                keep_lock(&view, &keep);
                Some(view)
            }
            None => None,
        };
        let reference = note.reference.as_ref().and_then(|text| text.parse().ok());
        let place =
            |repo: &Repo| Place { repo: repo.clone(), reference, transaction: view.clone() };
        let only = match &attributes.shown {
            Shown::All => None,
            Shown::Read { repo, .. } => Some(vec![place(repo)]),
            Shown::Written { branch, .. } => Some(vec![place(&branch.repo)]),
        };
        let failed = |error| refuse::vfs("a volume of before", &error);
        let system = |error| refuse::system("a volume of before", &error);
        let memory = Memory::of(table).map_err(system)?;
        let source = Arc::new(self.0.following());
        let files = Arc::new(Files::resumed(source, only, memory).map_err(failed)?);
        if let Some(view) = &view {
            writing::settle(&self.0, view).await;
        }
        let mounted = standby.serve(note.publish.key.target.clone(), &files, &device);
        let mounted = mounted.map_err(system)?;
        let publish = note.publish.clone();
        let served = Served { mounted, device, files, view };
        Ok((publish, Volume::begin(&self.0, (note, attributes), served)))
    }

    async fn end_lost(&self, key: &Key, pods: &dyn Pods) -> Result<(), Refusal> {
        ending::end_lost(&self.0, key, pods).await
    }
}
