//! What the kernel is given before it asks.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use super::fake::Fake;
use super::{Mount, eventually};
use crate::machine::has_fuse;

/// Whether the kernel holds all pages of a file; reads nothing.
fn is_cached(path: &Path) -> bool {
    let file = fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len() as usize;
    let mut pages = vec![0_u8; size.div_ceil(4096)];
    // SAFETY: the mapping is of an open file and is removed below; the vector
    // has a byte for each of its pages.
    let asked = unsafe {
        let map = libc::mmap(
            std::ptr::null_mut(),
            size,
            libc::PROT_READ,
            libc::MAP_SHARED,
            file.as_raw_fd(),
            0,
        );
        assert_ne!(map, libc::MAP_FAILED);
        let asked = libc::mincore(map, size, pages.as_mut_ptr());
        libc::munmap(map, size);
        asked
    };
    assert_eq!(asked, 0);
    pages.iter().all(|page| page & 1 == 1)
}

fn content(number: usize) -> Vec<u8> {
    (0..3000 + number * 37).map(|at| (at * 7 + number) as u8).collect()
}

fn name(number: usize) -> String {
    format!("dir/part {number:03}")
}

async fn sample(fake: &Fake) {
    let mut files = Vec::new();
    for number in 0..200 {
        files.push((name(number), fake.file(content(number)).await));
    }
    files.push(("other/file".to_owned(), fake.file(content(1)).await));
    let files = files.iter().map(|(name, edit)| (name.as_str(), edit.clone())).collect();
    fake.commit("images", files).await;
}

#[test]
fn who_reads_a_few_small_files_of_a_directory_finds_the_others_cached() {
    if !has_fuse("who_reads_a_few_small_files_of_a_directory_finds_the_others_cached") {
        return;
    }
    let fake = Fake::new();
    tokio::runtime::Runtime::new().unwrap().block_on(sample(&fake));
    let mount = Mount::all(&fake);
    let file = |number: usize| mount.path("images").join(name(number));
    for number in [17, 150, 3, 99] {
        assert_eq!(fs::read(file(number)).unwrap(), content(number));
    }
    eventually("all neighbours to be cached", || (0..200).all(|number| is_cached(&file(number))));
    for number in 0..200 {
        assert_eq!(fs::read(file(number)).unwrap(), content(number), "file {number}");
    }
    let other = mount.path("images/other/file");
    assert!(!is_cached(&other), "nobody read anything there");
}
