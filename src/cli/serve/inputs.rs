//! The server's one FUSE mount: what datums see of their inputs.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use tokio::runtime::Handle;

use crate::controller::{InputViews, MountedViews};
use crate::mount::{MountError, MountOptions, Mounted, unmount};
use crate::repo::Repos;
use crate::vfs::{DatumViews, Files};

/// The mount; unmounted when dropped.
pub struct Inputs(Mounted);

impl Inputs {
    /// Mounts views at `dir`. Without FUSE there is no mount, and datums get
    /// copies of their inputs instead.
    pub fn mount(repos: &Repos, dir: &Path) -> Option<(Self, Arc<dyn InputViews>)> {
        match try_mount(repos, dir) {
            Ok(mounted) => Some(mounted),
            Err(error) => {
                tracing::warn!(%error, "inputs of datums will be copied, not mounted");
                None
            }
        }
    }
}

fn try_mount(repos: &Repos, dir: &Path) -> Result<(Inputs, Arc<dyn InputViews>), MountError> {
    match unmount(dir) {
        Ok(()) => tracing::info!(dir = %dir.display(), "unmounted what a killed server left"),
        Err(MountError::NotMounted { .. }) => {}
        Err(error) => return Err(error),
    }
    fs::create_dir_all(dir)?;
    let clock = Arc::clone(repos.clock());
    let views = DatumViews::new(repos.nodes().clone());
    let files = Arc::new(Files::of_datums(views.clone(), clock.now()));
    let options = MountOptions {
        source: "pfs-inputs".to_owned(),
        // Programs may run as other users than the server.
        allow_other: nix::unistd::geteuid().is_root(),
        ..MountOptions::default()
    };
    let mounted = Mounted::new(dir, files, options, Handle::current())?;
    let shown = MountedViews::new(views, mounted.dir().to_owned(), clock);
    Ok((Inputs(mounted), Arc::new(shown)))
}

impl Drop for Inputs {
    fn drop(&mut self) {
        if let Err(error) = self.0.unmount() {
            tracing::warn!(%error, "the inputs of datums stay mounted");
        }
    }
}
