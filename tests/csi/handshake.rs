//! A node agent whose mounts are real and hold nothing: it answers the kernel
//! just enough for an empty directory.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::sync::Mutex;
use std::thread::JoinHandle;

use async_trait::async_trait;
use pfs_csi::{
    Agent, Device, Place, Prepared, Publication, Refusal, Result, Session, Stats, Usage,
};

/// The agent.
#[derive(Default)]
pub struct Handshake {
    sessions: Mutex<BTreeMap<Place, Session>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Handshake {
    /// How many sessions there are.
    pub fn count(&self) -> usize {
        self.sessions.lock().unwrap().len()
    }

    /// Waits until the kernel has let go of every connection.
    pub fn join(&self) {
        for thread in std::mem::take(&mut *self.threads.lock().unwrap()) {
            thread.join().unwrap();
        }
    }
}

#[async_trait]
impl Agent for Handshake {
    async fn prepare(&self, publication: &Publication) -> Result<Prepared> {
        let mut sessions = self.sessions.lock().unwrap();
        let session = sessions.entry(publication.place.clone()).or_insert_with(|| Session {
            place: publication.place.clone(),
            access: publication.access,
            fingerprint: publication.fingerprint.clone(),
            connection: None,
        });
        let source = publication.attributes.get("repo").cloned().unwrap_or_default();
        Ok(Prepared { read_only: false, source, connection: session.connection })
    }

    async fn attach(&self, place: &Place, device: Device) -> Result<()> {
        let mut kernel = File::from(device.fd);
        answer(&mut kernel).map_err(|error| Refusal::Internal(error.to_string()))?;
        let serving = std::thread::spawn(move || while answer(&mut kernel).is_ok() {});
        self.threads.lock().unwrap().push(serving);
        let mut sessions = self.sessions.lock().unwrap();
        sessions.get_mut(place).unwrap().connection = Some(device.connection);
        Ok(())
    }

    async fn unpublish(&self, place: &Place) -> Result<()> {
        self.sessions.lock().unwrap().remove(place);
        Ok(())
    }

    async fn stats(&self, place: &Place) -> Result<Stats> {
        let usage = Usage { total: 1, used: 0, available: 1 };
        match self.sessions.lock().unwrap().contains_key(place) {
            true => Ok(Stats { bytes: usage, inodes: usage, trouble: None }),
            false => Err(Refusal::NotFound("there is no such session".to_owned())),
        }
    }

    async fn sessions(&self) -> Result<Vec<Session>> {
        Ok(self.sessions.lock().unwrap().values().cloned().collect())
    }

    async fn is_ready(&self) -> Result<bool> {
        Ok(true)
    }
}

const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const INIT: u32 = 26;
const BATCH_FORGET: u32 = 42;

/// Answers one request; an error when there will be no more.
fn answer(kernel: &mut File) -> std::io::Result<()> {
    let mut request = vec![0; 1 << 20];
    let length = loop {
        match kernel.read(&mut request) {
            // A request that was withdrawn before it was read.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            length => break length?,
        }
    };
    let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
    assert!(length >= 40);
    let (error, body) = match word(4) {
        FORGET | BATCH_FORGET => return Ok(()),
        INIT => (0, init()),
        GETATTR => (0, attributes()),
        _ => (-libc::ENOSYS, Vec::new()),
    };
    let size = u32::try_from(16 + body.len()).unwrap();
    let head = [&size.to_ne_bytes()[..], &error.to_ne_bytes(), &request[8..16], &body].concat();
    match kernel.write_all(&head) {
        // Whoever asked does not wait any more.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        written => written,
    }
}

/// `fuse_init_out`: version 7.31, writes of 128 KiB.
fn init() -> Vec<u8> {
    let mut body = Vec::new();
    for word in [7_u32, 31, 0, 0] {
        body.extend(word.to_ne_bytes());
    }
    for half in [12_u16, 9] {
        body.extend(half.to_ne_bytes());
    }
    for word in [128 << 10, 1_u32] {
        body.extend(word.to_ne_bytes());
    }
    body.resize(64, 0);
    body
}

/// `fuse_attr_out`: a directory.
fn attributes() -> Vec<u8> {
    let mut body = vec![0; 104];
    body[16] = 1;
    body[76..80].copy_from_slice(&(libc::S_IFDIR | 0o755).to_ne_bytes());
    body[80..84].copy_from_slice(&2_u32.to_ne_bytes());
    body
}
