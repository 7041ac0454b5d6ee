//! Mounts that end while the kernel still has something to tell.

use std::fs::File;

use super::Mount;
use super::fake::Fake;
use crate::machine::has_fuse;

/// How often. On a busy machine a few rounds are enough to meet it.
const ROUNDS: usize = 100;

#[test]
fn a_mount_whose_files_were_just_closed_ends_well() {
    if !has_fuse("a_mount_whose_files_were_just_closed_ends_well") {
        return;
    }
    let fake = Fake::new();
    fake.create("r");
    for _ in 0..ROUNDS {
        let mut mount = Mount::writable(&fake, "r");
        let files: Vec<_> = (0..32).map(|n| File::create(mount.path(&format!("r/{n}")))).collect();
        assert!(files.iter().all(Result::is_ok));
        // The kernel tells of each, and waits for no answer.
        drop(files);
        mount.unmount();
    }
}
