//! Where this user's transactions are staged.

use std::path::{Path, PathBuf};

use crate::vfs::transaction::Area;

/// Below the cache directory when there is one, else below the state
/// directory, where all are found.
pub fn area(cache: Option<&Path>) -> Area {
    let known = known();
    let own = cache.map_or_else(|| known.clone(), |cache| cache.join("mounts"));
    Area::new(own, known)
}

/// In the state directory, which is found as for the server.
fn known() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = match set("PFS_ROOT") {
        Some(root) => root,
        None if nix::unistd::geteuid().is_root() => PathBuf::from("/var/lib/pfs"),
        None => set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .unwrap_or_else(std::env::temp_dir)
            .join("pfs"),
    };
    state.join("mounts")
}
