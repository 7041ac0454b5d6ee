//! What a successor of this process has to know of a volume.

use std::sync::Arc;
use std::time::Duration;

use pfs_daemonset::{Publish, Refusal};
use serde::{Deserialize, Serialize};

use super::attributes::Shown;
use super::shared::Shared;
use crate::model::TransactionId;
use crate::mount::MountOptions;

/// The version of [`Note`].
const VERSION: u32 = 1;

/// What a volume is gone on with. What is frozen for as long as it is mounted is
/// told, not found out anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Note {
    version: u32,
    pub publish: Publish,
    /// The kernel's number of the connection.
    pub connection: u32,
    /// The ref that is shown, once it was resolved.
    pub reference: Option<String>,
    /// The transaction, when it is written: what its inodes are numbered by.
    pub transaction: Option<TransactionId>,
    /// Which server, and where its objects are, unless read through it.
    pub identity: String,
    pub store: Option<String>,
    options: Options,
}

/// [`MountOptions`], as far as a volume decides them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Options {
    source: String,
    gid: u32,
    files: u32,
    directories: u32,
    threads: usize,
    write: u32,
    /// Whether the kernel may read files by itself.
    #[serde(default)]
    passthrough: bool,
}

/// Threads of a volume. Whatever has to be waited for is waited for elsewhere.
const THREADS: usize = 2;

/// Bytes that programs write at once: there is memory for them in each thread.
const WRITE: u32 = 256 << 10;

/// Operations that take as long are logged.
const SLOW: Duration = Duration::from_secs(5);

impl Note {
    pub fn new(
        (publish, shown): (&Publish, &Shown),
        passthrough: bool,
        connection: u32,
        (reference, transaction): (Option<String>, Option<TransactionId>),
        (identity, store): (String, Option<String>),
    ) -> Self {
        let options = Options::of(publish, shown, passthrough);
        let publish = publish.without_token();
        let version = VERSION;
        Self { version, publish, connection, reference, transaction, identity, store, options }
    }

    /// As a keeper keeps it.
    pub fn value(&self) -> serde_json::Value {
        // A value of this type always has a text.
        serde_json::to_value(self).unwrap_or_default()
    }

    pub fn read(value: &serde_json::Value) -> Result<Self, Refusal> {
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            return Err(Refusal::internal("it was published by a version that notes other things"));
        }
        let read = serde_json::from_value(value.clone());
        read.map_err(|error| Refusal::internal(format!("what was noted of it: {error}")))
    }

    pub fn source(&self) -> &str {
        &self.options.source
    }

    pub fn passes_through(&self) -> bool {
        self.options.passthrough
    }

    pub fn options(&self, shared: &Shared) -> MountOptions {
        let options = self.options.clone();
        let Options { source, gid, files, directories, threads, write, passthrough } = options;
        MountOptions {
            source,
            allow_other: true,
            uid: 0,
            gid,
            umask: 0,
            files,
            directories,
            threads,
            write,
            // Nobody in this process may use a mount of its own.
            push: false,
            passthrough: passthrough.then(|| Arc::clone(&shared.backing)),
            slow: SLOW,
        }
    }
}

impl Options {
    /// A volume's files belong to root and to the group that was asked for. Who
    /// may have the volume may read all of it; who may write to it may write
    /// everywhere, as that group where there is one.
    fn of(publish: &Publish, shown: &Shown, passthrough: bool) -> Self {
        let (files, directories) = match (shown.is_written(), publish.fs_group) {
            (false, _) => (0o444, 0o555),
            (true, Some(_)) => (0o664, 0o775),
            (true, None) => (0o666, 0o777),
        };
        Self {
            source: source(shown),
            gid: publish.fs_group.unwrap_or(0),
            files,
            directories,
            threads: THREADS,
            write: WRITE,
            passthrough,
        }
    }
}

/// What the table of mounts shows.
fn source(shown: &Shown) -> String {
    match shown {
        Shown::All => "pfs".to_owned(),
        Shown::Read { repo, reference, .. } => match reference {
            Some(reference) => format!("{repo}@{reference}"),
            None => format!("{repo}@master"),
        },
        Shown::Written { branch, .. } => branch.to_string(),
    }
}
