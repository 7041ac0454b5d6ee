//! Inode numbers made from what an inode is, and the table of those in use.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::InodeNo;

/// What an inode is: equal identities are one inode, others never are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Identity([u8; 32]);

impl Identity {
    /// Hashes `parts`; `purpose` separates kinds of inodes from each other.
    pub(super) fn of(purpose: &str, parts: &[&[u8]]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(purpose);
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        Self(*hasher.finalize().as_bytes())
    }

    /// The number to try at the `attempt`-th collision; never 0 nor the root.
    fn number(&self, attempt: u64) -> InodeNo {
        let mut word = [0; 8];
        if attempt == 0 {
            word.copy_from_slice(&self.0[..8]);
        } else {
            let again = Self::of("pfs inode again v1", &[&self.0, &attempt.to_le_bytes()]);
            word.copy_from_slice(&again.0[..8]);
        }
        InodeNo(u64::from_le_bytes(word).max(2))
    }
}

/// The inodes a kernel holds, with how often it looked each of them up.
#[derive(Debug)]
pub(super) struct InodeTable<N> {
    records: Mutex<HashMap<InodeNo, Record<N>>>,
    number: fn(&Identity, u64) -> InodeNo,
}

#[derive(Debug)]
struct Record<N> {
    identity: Identity,
    lookups: u64,
    node: N,
}

impl<N: Clone> InodeTable<N> {
    /// A table with nothing in it but the root, which is never forgotten.
    pub(super) fn new(root: N) -> Self {
        Self::with_numbering(root, Identity::number)
    }

    /// The same with another numbering, so that tests can make it collide.
    pub(super) fn with_numbering(root: N, number: fn(&Identity, u64) -> InodeNo) -> Self {
        let identity = Identity::of("pfs inode root v1", &[]);
        let root = Record { identity, lookups: 1, node: root };
        Self { records: Mutex::new(HashMap::from([(InodeNo::ROOT, root)])), number }
    }

    /// Counts one more lookup of `identity` and answers its number, one that
    /// no other identity has. `node` is kept when the inode is new.
    pub(super) fn remember(&self, identity: Identity, node: impl FnOnce() -> N) -> InodeNo {
        let mut records = self.lock();
        for attempt in 0.. {
            let ino = (self.number)(&identity, attempt);
            match records.get_mut(&ino) {
                Some(record) if record.identity == identity => {
                    record.lookups += 1;
                    return ino;
                }
                Some(_) => {}
                None => {
                    records.insert(ino, Record { identity, lookups: 1, node: node() });
                    return ino;
                }
            }
        }
        InodeNo::ROOT // 2^64 collisions do not happen
    }

    /// What the inode is.
    pub(super) fn get(&self, ino: InodeNo) -> Option<N> {
        self.lock().get(&ino).map(|record| record.node.clone())
    }

    /// The number under which `identity` is in use.
    pub(super) fn find(&self, identity: &Identity) -> Option<InodeNo> {
        let records = self.lock();
        for attempt in 0.. {
            let ino = (self.number)(identity, attempt);
            match records.get(&ino) {
                Some(record) if record.identity == *identity => return Some(ino),
                Some(_) => {}
                None => return None,
            }
        }
        None
    }

    /// Takes back `count` lookups; answers the node when it is in the table.
    pub(super) fn forget(&self, ino: InodeNo, count: u64) -> Option<N> {
        let mut records = self.lock();
        let record = records.get_mut(&ino)?;
        let node = record.node.clone();
        if ino != InodeNo::ROOT {
            record.lookups = record.lookups.saturating_sub(count);
            if record.lookups == 0 {
                records.remove(&ino);
            }
        }
        Some(node)
    }

    /// How many inodes are in use.
    pub(super) fn len(&self) -> usize {
        self.lock().len()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<InodeNo, Record<N>>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
