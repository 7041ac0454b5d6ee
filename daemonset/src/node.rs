//! The sessions of all volumes of a node.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::OwnedMutexGuard;

use crate::keeper::hands::{Found, Held, Keep, Keeping};
use crate::pods::Pods;
use crate::publish::{Code, Key, Publish, Refusal};

/// How a volume is to be mounted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounting {
    /// What the mount table is to show as the source.
    pub source: String,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// The number of the connection that is served, if one is. Another takes
    /// its place when it is attached.
    pub connection: Option<u32>,
}

/// A connection to the kernel.
#[derive(Debug)]
pub struct Device {
    /// `/dev/fuse`, mounted; nothing was read from it.
    pub fd: OwnedFd,
    /// How the kernel numbers it.
    pub connection: u32,
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// At most.
    pub total: u64,
    /// In use.
    pub used: u64,
    /// Still to be had.
    pub available: u64,
}

/// What a volume uses, in O(1), and whether it is well.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Bytes.
    pub bytes: Usage,
    /// Files and directories.
    pub inodes: Usage,
    /// What is wrong, for people; empty when nothing is.
    pub problem: String,
}

/// A published volume, for whoever looks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Listed {
    /// What was asked for.
    pub publish: Publish,
    /// The number of the connection that is served, if one is.
    pub connection: Option<u32>,
}

/// A volume that could be attached.
#[derive(Debug)]
pub struct Prepared<P> {
    /// The volume.
    pub volume: P,
    /// How to mount it.
    pub mounting: Mounting,
}

/// Who knows what volumes show.
#[async_trait]
pub trait Volumes: Send + Sync + 'static {
    /// A volume that nobody sees yet.
    type Prepared: Send + 'static;
    /// A volume that is served.
    type Session: Session;

    /// Checks what is asked for, and brings it to where only a connection is
    /// missing. Asked again for the same, does not begin anew what was begun.
    async fn prepare(
        &self,
        publish: &Publish,
        pods: &dyn Pods,
    ) -> Result<Prepared<Self::Prepared>, Refusal>;

    /// Fails when the pod of `publish`, which was prepared before, may not have
    /// it any more.
    async fn authorise(&self, publish: &Publish) -> Result<(), Refusal>;

    /// Undoes what was prepared.
    async fn give_up(&self, publish: &Publish, prepared: Self::Prepared);

    /// Serves a volume over `device`, of which nothing was read yet. It is kept
    /// by `keep` before anybody is answered.
    async fn attach(
        &self,
        publish: &Publish,
        prepared: Self::Prepared,
        attach: (Device, Keep),
    ) -> Result<Self::Session, Refusal>;

    /// Serves over another connection what `session` has served, whose mount is
    /// gone.
    async fn attach_again(
        &self,
        publish: &Publish,
        session: &Self::Session,
        attach: (Device, Keep),
    ) -> Result<Self::Session, Refusal>;

    /// Goes on with what a predecessor has left.
    async fn resume(&self, held: Held, keep: Keep) -> Result<(Publish, Self::Session), Refusal>;

    /// Unpublishes what no session is known of: something may have been written
    /// before.
    async fn end_lost(&self, key: &Key, pods: &dyn Pods) -> Result<(), Refusal>;
}

/// A volume that is served.
#[async_trait]
pub trait Session: Send + Sync + 'static {
    /// Ends it: nothing can be written any more, and what was is published, or
    /// is not, whatever becomes of this process afterwards. May be done again
    /// after an error.
    async fn end(&self, pods: &dyn Pods) -> Result<(), Refusal>;

    /// What it uses.
    async fn stats(&self) -> Result<Stats, Refusal>;

    /// How it is mounted, and whether it still is.
    fn mounting(&self) -> Mounting;
}

/// Where a publish stands.
enum Stand<V: Volumes> {
    Prepared(Publish, V::Prepared, Mounting),
    Serving(Publish, Arc<V::Session>),
}

type Slot<V> = Arc<tokio::sync::Mutex<Option<Stand<V>>>>;
type Alone<V> = OwnedMutexGuard<Option<Stand<V>>>;

/// All publishes of a node. What is done about one of them is done one after the
/// other; who comes meanwhile is told so.
pub struct Node<V: Volumes> {
    volumes: V,
    keeping: Arc<Keeping>,
    pods: Arc<dyn Pods>,
    slots: Mutex<HashMap<Key, Slot<V>>>,
    ready: AtomicBool,
}

impl<V: Volumes> Node<V> {
    /// A node without volumes.
    #[must_use]
    pub fn new(volumes: V, keeping: Arc<Keeping>, pods: Arc<dyn Pods>) -> Arc<Self> {
        let (slots, ready) = (Mutex::default(), AtomicBool::new(false));
        Arc::new(Self { volumes, keeping, pods, slots, ready })
    }

    /// What it was made of.
    #[must_use]
    pub fn volumes(&self) -> &V {
        &self.volumes
    }

    /// Goes on with all that a predecessor has left.
    pub async fn resume(self: &Arc<Self>, found: Found) {
        let mut resuming = tokio::task::JoinSet::new();
        for (id, held) in found {
            let this = Arc::clone(self);
            resuming.spawn(async move {
                let keep = this.keeping.of(id.clone());
                match this.volumes.resume(held, keep).await {
                    Ok((publish, session)) => {
                        let slot = this.slot(&publish.key);
                        *slot.lock().await = Some(Stand::Serving(publish, Arc::new(session)));
                    }
                    // It stays with the keeper: a version may follow that can.
                    Err(error) => tracing::error!(%error, id, "a volume cannot be gone on with"),
                }
            });
        }
        while resuming.join_next().await.is_some() {}
    }

    fn slot(&self, key: &Key) -> Slot<V> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(slots.entry(key.clone()).or_default())
    }

    fn alone(&self, key: &Key) -> Result<Alone<V>, Refusal> {
        let busy = || {
            let what = format!("volume {} is being published or unpublished", key.volume);
            Refusal::new(Code::Aborted, what)
        };
        self.slot(key).try_lock_owned().map_err(|_| busy())
    }

    /// Drops the slot of `key` when there is nothing in it.
    fn tidy(&self, key: &Key, slot: Alone<V>) {
        let empty = slot.is_none();
        drop(slot);
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody else may have it by now.
        if empty && slots.get(key).is_some_and(|slot| Arc::strong_count(slot) == 1) {
            slots.remove(key);
        }
    }

    /// Prepares a volume; answers how it is to be mounted.
    pub async fn prepare(&self, publish: Publish) -> Result<Mounting, Refusal> {
        if !self.is_ready() {
            let what = "volumes of before are being taken over";
            return Err(Refusal::unavailable(what));
        }
        let key = publish.key.clone();
        let mut slot = self.alone(&key)?;
        match &*slot {
            Some(Stand::Serving(known, session)) if *known == publish => {
                self.volumes.authorise(&publish).await?;
                return Ok(session.mounting());
            }
            Some(Stand::Prepared(known, _, mounting)) if *known == publish => {
                self.volumes.authorise(&publish).await?;
                return Ok(mounting.clone());
            }
            Some(Stand::Prepared(..) | Stand::Serving(..)) => {
                let (volume, target) = (&key.volume, key.target.display());
                let what = format!("volume {volume} is published otherwise at {target}");
                return Err(Refusal::new(Code::AlreadyExists, what));
            }
            None => {}
        }
        let prepared = self.volumes.prepare(&publish, &*self.pods).await;
        let outcome = prepared.map(|Prepared { volume, mounting }| {
            *slot = Some(Stand::Prepared(publish.without_token(), volume, mounting.clone()));
            mounting
        });
        self.tidy(&key, slot);
        outcome
    }

    /// Serves a prepared volume over `device`.
    pub async fn attach(&self, key: &Key, device: Device) -> Result<(), Refusal> {
        let mut slot = self.alone(key)?;
        let keep = self.keeping.of(key.id());
        let served = match slot.take() {
            Some(Stand::Prepared(publish, volume, _)) => {
                let session = self.volumes.attach(&publish, volume, (device, keep)).await;
                session.map(|session| (publish, session))
            }
            // Asked for again: an agent before this one has not come to answer.
            Some(Stand::Serving(publish, session))
                if session.mounting().connection == Some(device.connection) =>
            {
                *slot = Some(Stand::Serving(publish, session));
                return Ok(());
            }
            Some(Stand::Serving(publish, session)) => {
                let again = self.volumes.attach_again(&publish, &session, (device, keep)).await;
                match again {
                    Ok(session) => Ok((publish, session)),
                    Err(error) => {
                        *slot = Some(Stand::Serving(publish, session));
                        return Err(error);
                    }
                }
            }
            None => {
                let what = format!("volume {} is not prepared any more; try again", key.volume);
                Err(Refusal::new(Code::Aborted, what))
            }
        };
        let outcome = served.map(|(publish, session)| {
            *slot = Some(Stand::Serving(publish, Arc::new(session)));
        });
        if outcome.is_err() {
            self.keeping.forget(&key.id());
        }
        self.tidy(key, slot);
        outcome
    }

    /// Ends a volume, whose mount was taken away before. One that is not known
    /// is over.
    pub async fn unpublish(&self, key: &Key) -> Result<(), Refusal> {
        let mut slot = self.alone(key)?;
        let outcome = match slot.take() {
            Some(Stand::Serving(publish, session)) => match session.end(&*self.pods).await {
                Ok(()) => {
                    self.keeping.forget(&key.id());
                    Ok(())
                }
                Err(error) => {
                    *slot = Some(Stand::Serving(publish, session));
                    Err(error)
                }
            },
            Some(Stand::Prepared(publish, volume, _)) => {
                self.volumes.give_up(&publish, volume).await;
                Ok(())
            }
            None => self.volumes.end_lost(key, &*self.pods).await,
        };
        self.tidy(key, slot);
        outcome
    }

    /// What a volume uses.
    pub async fn stats(&self, key: &Key) -> Result<Stats, Refusal> {
        let session = match &*self.alone(key)? {
            Some(Stand::Serving(_, session)) => Some(Arc::clone(session)),
            Some(Stand::Prepared(..)) | None => None,
        };
        let (volume, target) = (&key.volume, key.target.display());
        let absent = || Refusal::new(Code::NotFound, format!("no volume {volume} at {target}"));
        session.ok_or_else(absent)?.stats().await
    }

    /// All that there are, but those that something is being done about.
    pub fn list(&self) -> Vec<Listed> {
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let found = slots.values().filter_map(|slot| match slot.try_lock().ok()?.as_ref()? {
            Stand::Serving(publish, session) => {
                let connection = session.mounting().connection;
                Some(Listed { publish: publish.clone(), connection })
            }
            Stand::Prepared(publish, ..) => {
                Some(Listed { publish: publish.clone(), connection: None })
            }
        });
        let mut found: Vec<_> = found.collect();
        found.sort_by(|a, b| a.publish.key.cmp(&b.publish.key));
        found
    }

    /// Whether a keeper has all that a successor needs.
    #[must_use]
    pub fn is_kept(&self) -> bool {
        self.keeping.is_kept()
    }

    /// Whether what a predecessor has left was taken over.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }

    /// Says that it was.
    pub fn ready(&self) {
        self.ready.store(true, Ordering::Release);
    }
}
