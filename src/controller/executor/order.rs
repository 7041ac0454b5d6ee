//! What the executor tells its runner; JSON on the runner's standard input.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A program to run and what it gets to see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunOrder {
    /// The directories under `/pfs`.
    pub inputs: Vec<InputMount>,
    /// The directory that becomes `/pfs/out`.
    pub out: PathBuf,
    /// An empty directory to assemble mounts in.
    pub stage: PathBuf,
    /// Where to write why the program could not be started.
    pub failure: PathBuf,
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// All of its environment; later ones win.
    pub env: Vec<(String, String)>,
    /// Its standard input; `None` for none at all.
    pub stdin: Option<String>,
    /// Where it starts; empty for `/`.
    pub working_dir: String,
    /// `user`, `uid`, or either with `:group`; empty for the server's.
    pub user: String,
    /// Directories with a file per key of a secret.
    pub secrets: Vec<SecretDirectory>,
}

/// A directory under `/pfs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputMount {
    /// Its name.
    pub name: String,
    /// Where its files are.
    pub files: InputFiles,
}

/// Where the files of an input are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum InputFiles {
    /// Shared, read-only directories; changes go elsewhere. A later one wins
    /// where paths are equal.
    Shared {
        /// The directories.
        lowers: Vec<PathBuf>,
        /// Takes the program's changes.
        upper: PathBuf,
        /// For the file system's own use, beside `upper`.
        work: PathBuf,
    },
    /// A directory of the program's own.
    Private(PathBuf),
}

/// A secret as files.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretDirectory {
    /// Where the program sees it; absolute.
    pub path: PathBuf,
    /// File names and contents.
    pub files: BTreeMap<String, Vec<u8>>,
}

impl std::fmt::Debug for SecretDirectory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let keys: Vec<&String> = self.files.keys().collect();
        f.debug_struct("SecretDirectory").field("path", &self.path).field("keys", &keys).finish()
    }
}
