//! A kernel and an agent whose faults the tests choose.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use async_trait::async_trait;
use nix::errno::Errno;

use crate::agent::{Agent, Device, Place, Prepared, Publication, Session, Stats, Usage};
use crate::mount::{Kernel, Mounted, Options, TYPE};
use crate::refusal::{Refusal, Result};

/// A kernel that mounts nothing, but keeps a table as if it did.
#[derive(Default)]
pub struct FakeKernel {
    pub mounts: Mutex<Vec<Mounted>>,
    pub options: Mutex<Vec<Options>>,
    pub aborted: Mutex<Vec<u32>>,
    pub mount_fails: Mutex<Option<Errno>>,
    /// While true, detaching waits for a server that does not answer.
    silent: Mutex<bool>,
    woken: Condvar,
}

impl FakeKernel {
    pub fn set_silent(&self, silent: bool) {
        *self.silent.lock().unwrap() = silent;
        self.woken.notify_all();
    }

    /// Adds a mount that nobody serves.
    pub fn leave(&self, target: &Path, fs_type: &str) {
        let (fs_type, target) = (fs_type.to_owned(), target.to_owned());
        let mounted = Mounted { target, fs_type, minor: 7, read_only: false };
        self.mounts.lock().unwrap().push(mounted);
    }
}

impl Kernel for FakeKernel {
    fn table(&self) -> io::Result<Vec<Mounted>> {
        Ok(self.mounts.lock().unwrap().clone())
    }

    fn mount(&self, target: &Path, options: &Options) -> io::Result<Device> {
        if let Some(errno) = *self.mount_fails.lock().unwrap() {
            return Err(errno.into());
        }
        assert!(target.is_dir());
        let mut all = self.options.lock().unwrap();
        let connection = 100 + u32::try_from(all.len()).unwrap();
        all.push(options.clone());
        let (fs_type, target) = (TYPE.to_owned(), target.to_owned());
        let read_only = options.read_only;
        let mounted = Mounted { target, fs_type, minor: connection, read_only };
        self.mounts.lock().unwrap().push(mounted);
        Ok(Device { fd: File::open("/dev/null").unwrap().into(), connection })
    }

    fn detach(&self, target: &Path) -> io::Result<()> {
        let mut mounts = self.mounts.lock().unwrap();
        let last = mounts.iter().rposition(|mounted| mounted.target == target);
        mounts.remove(last.ok_or(Errno::EINVAL)?);
        drop(mounts);
        let silent = self.silent.lock().unwrap();
        drop(self.woken.wait_while(silent, |silent| *silent).unwrap());
        Ok(())
    }

    fn abort(&self, connection: u32) -> io::Result<()> {
        self.aborted.lock().unwrap().push(connection);
        self.set_silent(false);
        Ok(())
    }
}

/// An agent that keeps sessions and serves none.
#[derive(Default)]
pub struct FakeAgent {
    pub sessions: Mutex<BTreeMap<Place, Session>>,
    /// The tokens it was shown, in order.
    pub tokens: Mutex<Vec<Option<String>>>,
    pub is_away: AtomicBool,
    pub attach_fails: AtomicBool,
    pub trouble: Mutex<Option<String>>,
    /// While set, attaching waits for it.
    pub gate: Mutex<Option<Arc<tokio::sync::Notify>>>,
}

impl FakeAgent {
    fn reachable(&self) -> Result<()> {
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(Refusal::Unavailable("the agent is away".to_owned())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Agent for FakeAgent {
    async fn prepare(&self, publication: &Publication) -> Result<Prepared> {
        self.reachable()?;
        let token = publication.token.as_ref().map(|token| token.reveal().to_owned());
        self.tokens.lock().unwrap().push(token);
        let mut sessions = self.sessions.lock().unwrap();
        let session = sessions.entry(publication.place.clone()).or_insert_with(|| Session {
            place: publication.place.clone(),
            access: publication.access,
            fingerprint: publication.fingerprint.clone(),
            connection: None,
        });
        let read_only = publication.attributes.get("mode").is_none_or(|mode| mode == "ro");
        let connection = session.connection;
        Ok(Prepared { read_only, source: "data@master".to_owned(), connection })
    }

    async fn attach(&self, place: &Place, device: Device) -> Result<()> {
        self.reachable()?;
        let gate = self.gate.lock().unwrap().clone();
        if let Some(gate) = gate {
            gate.notified().await;
        }
        if self.attach_fails.load(Ordering::SeqCst) {
            return Err(Refusal::Internal("no threads left".to_owned()));
        }
        let mut sessions = self.sessions.lock().unwrap();
        sessions.get_mut(place).unwrap().connection = Some(device.connection);
        Ok(())
    }

    async fn unpublish(&self, place: &Place) -> Result<()> {
        self.reachable()?;
        self.sessions.lock().unwrap().remove(place);
        Ok(())
    }

    async fn stats(&self, place: &Place) -> Result<Stats> {
        self.reachable()?;
        let usage = Usage { total: 10, used: 4, available: 6 };
        let trouble = self.trouble.lock().unwrap().clone();
        match self.sessions.lock().unwrap().contains_key(place) {
            true => Ok(Stats { bytes: usage, inodes: usage, trouble }),
            false => Err(Refusal::NotFound("no such session".to_owned())),
        }
    }

    async fn sessions(&self) -> Result<Vec<Session>> {
        self.reachable()?;
        Ok(self.sessions.lock().unwrap().values().cloned().collect())
    }

    async fn is_ready(&self) -> Result<bool> {
        self.reachable().map(|()| true)
    }
}
