//! Where a server's state is: for the commands that open it themselves.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::api::{ServeError, binding};
use crate::catalog::{self, Catalog};
use crate::cli::prelude::*;
use crate::model::Clock;
use crate::store::{self, Store, StoreError, StoreOptions};

/// Directory, store and catalog.
#[derive(Debug, Clone, clap::Args)]
pub struct Places {
    /// Directory for state; /var/lib/pfs as root, else $XDG_DATA_HOME/pfs
    #[arg(long, value_name = "DIR", env = "PFS_ROOT", hide_env_values = true)]
    root: Option<PathBuf>,
    /// Object store: file://, memory://, s3://, gs://, az://; ROOT/objects
    /// unless given
    #[arg(long, value_name = "URL", env = "PFS_STORE", hide_env_values = true)]
    store: Option<String>,
    /// Catalog: sqlite://; ROOT/catalog.db unless given
    #[arg(long, value_name = "URL", env = "PFS_CATALOG", hide_env_values = true)]
    catalog: Option<String>,
}

impl Places {
    /// The directory for state, made where it is missing.
    pub fn root(&self) -> Outcome<PathBuf> {
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let root = match &self.root {
            Some(root) => Some(root.clone()),
            None if nix::unistd::geteuid().is_root() => Some(PathBuf::from("/var/lib/pfs")),
            None => set("XDG_DATA_HOME")
                .or_else(|| set("HOME").map(|home| home.join(".local/share")))
                .map(|dir| dir.join("pfs")),
        };
        let root = root
            .ok_or_else(|| Failure::new("there is no directory for state").hint("give --root"))?;
        // What is in it is nobody else's business; where it was made by others,
        // what is secret of it is private all the same.
        let mut make = fs::DirBuilder::new();
        let made = make.recursive(true).mode(0o700).create(&root);
        let made = made.and_then(|()| fs::canonicalize(&root));
        made.map_err(|error| {
            Failure::new(format!("cannot use the directory {}: {error}", root.display()))
                .hint("name another with --root or PFS_ROOT")
        })
    }

    /// Opens the catalog, and keeps other servers out.
    pub async fn catalog(&self, root: &Path, clock: &Arc<dyn Clock>) -> Outcome<Arc<dyn Catalog>> {
        let url = self.catalog.clone();
        let url = url.unwrap_or_else(|| format!("sqlite://{}/catalog.db", root.display()));
        let opened = catalog::open(&url, Arc::clone(clock)).await;
        opened.map_err(|error| Failure::new(error.to_string()))
    }

    /// Opens the store.
    pub fn store(&self, root: &Path) -> Outcome<Store> {
        let url = match &self.store {
            Some(url) => url.clone(),
            None => directory_url(&root.join("objects"))?,
        };
        store::open(&url, &StoreOptions::default()).map_err(unusable)
    }

    /// Opens both, which must belong to each other.
    pub async fn open(
        &self,
        root: &Path,
        clock: &Arc<dyn Clock>,
    ) -> Outcome<(Arc<dyn Catalog>, Store)> {
        let (catalog, store) = (self.catalog(root, clock).await?, self.store(root)?);
        let bound = binding::check(catalog.as_ref(), &store).await;
        bound.map_err(|error| unserved(&error))?;
        store.check_format().await.map_err(unusable)?;
        Ok((catalog, store))
    }
}

fn directory_url(dir: &Path) -> Outcome<String> {
    let url = url::Url::from_directory_path(dir)
        .map_err(|()| Failure::new(format!("{} is no absolute path", dir.display())))?;
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// Why there is no server.
pub fn unserved(error: &ServeError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

fn unusable(error: StoreError) -> Failure {
    unserved(&error.into())
}
