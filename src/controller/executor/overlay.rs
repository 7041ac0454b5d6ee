//! Overlays: what a program sees of directories that it must not change.

use std::fs;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Mounts `lowers` with `upper` over them, a later one over an earlier one.
pub(super) fn mount_overlay(
    lowers: &[PathBuf],
    upper: &Path,
    work: &Path,
    at: &Path,
) -> nix::Result<()> {
    let mut options = String::from("lowerdir=");
    // The first of overlayfs's lower directories is the topmost.
    let lowers: Vec<String> = lowers.iter().rev().map(|dir| escaped(dir, true)).collect();
    options.push_str(&lowers.join(":"));
    options.push_str(&format!(",upperdir={}", escaped(upper, false)));
    options.push_str(&format!(",workdir={}", escaped(work, false)));
    // What was changed is read back from `upper` alone: it must have all of it.
    match nix::unistd::geteuid().is_root() {
        true => options.push_str(",metacopy=off,redirect_dir=off"),
        false => options.push_str(",userxattr"),
    }
    mount(Some("pfs"), at, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
}

/// Tries an overlay whose changes go to `dir`, and takes it away again.
///
/// # Errors
/// When there cannot be one: below another overlay, such as the root of most
/// containers, or without the rights to mount.
pub fn probe(dir: &Path) -> std::io::Result<()> {
    let dir = dir.join("probe");
    let paths = ["lower", "upper", "work", "merged"].map(|name| dir.join(name));
    paths.iter().try_for_each(fs::create_dir_all)?;
    let [lower, upper, work, merged] = &paths;
    let tried = mount_overlay(std::slice::from_ref(lower), upper, work, merged);
    if tried.is_ok() {
        umount2(merged, MntFlags::MNT_DETACH)?;
    }
    fs::remove_dir_all(&dir)?;
    tried.map_err(Into::into)
}

/// A path as overlayfs's options take it.
fn escaped(path: &Path, in_list: bool) -> String {
    let mut text = String::new();
    for c in path.to_string_lossy().chars() {
        if matches!(c, '\\' | ',') || in_list && c == ':' {
            text.push('\\');
        }
        text.push(c);
    }
    text
}
