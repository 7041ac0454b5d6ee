//! What a staging directory of a volume tells besides its transaction: whose it
//! is, and, once that is decided, what becomes of it. Whoever finds one goes on
//! with it, also after the machine was started anew.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use pfs_daemonset::Publish;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

const VERSION: u32 = 1;

const PUBLISH: &str = "volume.json";
const DECISION: &str = "decision.json";

/// What becomes of what was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It is committed, with this description.
    Commit(String),
    /// It is given up, for this reason, and kept to be looked at.
    Abort(String),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    version: u32,
    #[serde(flatten)]
    what: T,
}

#[derive(Serialize, Deserialize)]
struct Of {
    publish: Publish,
}

#[derive(Serialize, Deserialize)]
struct Decided {
    decision: Decision,
}

/// Notes in `dir` what it was published as.
pub fn note_publish(dir: &Path, publish: &Publish) -> io::Result<()> {
    write(dir, PUBLISH, Of { publish: publish.without_token() })
}

/// What it was published as; `None` where no volume is written.
pub fn publish(dir: &Path) -> Option<Publish> {
    read::<Of>(dir, PUBLISH).map(|of| of.publish)
}

/// Notes what becomes of it. Survives the loss of power once this returns.
pub fn decide(dir: &Path, decision: &Decision) -> io::Result<()> {
    write(dir, DECISION, Decided { decision: decision.clone() })
}

/// What was decided, and not carried out yet.
pub fn decision(dir: &Path) -> Option<Decision> {
    read::<Decided>(dir, DECISION).map(|decided| decided.decision)
}

/// Says that what was decided was carried out, or cannot be.
pub fn over(dir: &Path) {
    // Where it stays, it is found to be carried out.
    drop(fs::remove_file(dir.join(DECISION)));
}

fn read<T: DeserializeOwned>(dir: &Path, name: &str) -> Option<T> {
    let bytes = fs::read(dir.join(name)).ok()?;
    match serde_json::from_slice::<Versioned<T>>(&bytes) {
        Ok(found) if found.version == VERSION => Some(found.what),
        Ok(_) => {
            tracing::warn!(dir = %dir.display(), name, "written by another version");
            None
        }
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), name, "not understood");
            None
        }
    }
}

/// Writes a file whole or not at all.
fn write(dir: &Path, name: &str, what: impl Serialize) -> io::Result<()> {
    let new = dir.join(format!("{name}.new"));
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec_pretty(&Versioned { version: VERSION, what })?)?;
    file.sync_all()?;
    fs::rename(new, dir.join(name))?;
    File::open(dir)?.sync_all()
}
