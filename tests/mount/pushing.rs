//! What the kernel is given before it asks.

use std::fs;
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

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

/// Whether the kernel holds nearly all of some files: it may drop a page at any
/// time, and one that looks for memory nobody uses drops fresh ones, too.
fn are_cached(mut paths: impl ExactSizeIterator<Item = PathBuf>) -> bool {
    let most = paths.len() / 10;
    paths.by_ref().filter(|path| !is_cached(path)).take(most + 1).count() <= most
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
    eventually("the neighbours to be cached", || are_cached((0..200).map(file)));
    for number in 0..200 {
        assert_eq!(fs::read(file(number)).unwrap(), content(number), "file {number}");
    }
    let other = mount.path("images/other/file");
    assert!(!is_cached(&other), "nobody read anything there");
}

const DIRS: usize = 12;
const EACH: usize = 24;

/// Directories beside each other, with files in each.
async fn many(fake: &Fake) {
    let mut files = Vec::new();
    for dir in 0..DIRS {
        for number in 0..EACH {
            files.push((numbered(dir, number), fake.file(content(dir + number)).await));
        }
    }
    let files = files.iter().map(|(name, edit)| (name.as_str(), edit.clone())).collect();
    fake.commit("images", files).await;
}

fn numbered(dir: usize, number: usize) -> String {
    format!("d{dir:02}/{number:02}")
}

fn read_all(root: &Path, dir: usize) {
    for number in 0..EACH {
        let read = fs::read(root.join(numbered(dir, number))).unwrap();
        assert_eq!(read, content(dir + number), "file {number} of directory {dir}");
    }
}

#[test]
fn who_reads_one_directory_after_the_other_finds_the_next_one_cached() {
    if !has_fuse("who_reads_one_directory_after_the_other_finds_the_next_one_cached") {
        return;
    }
    let fake = Fake::new();
    tokio::runtime::Runtime::new().unwrap().block_on(many(&fake));
    let mount = Mount::all(&fake);
    let root = mount.path("images");
    (0..3).for_each(|dir| read_all(&root, dir));
    let next = |number| root.join(numbered(3, number));
    eventually("the next directory to be cached", || are_cached((0..EACH).map(next)));
    assert!(!is_cached(&root.join(numbered(DIRS - 1, 0))), "that is too far ahead");
    (0..DIRS).for_each(|dir| read_all(&root, dir));
}

#[test]
fn who_lists_one_directory_after_the_other_sees_them_whole() {
    if !has_fuse("who_lists_one_directory_after_the_other_sees_them_whole") {
        return;
    }
    let fake = Fake::new();
    tokio::runtime::Runtime::new().unwrap().block_on(many(&fake));
    for _ in 0..8 {
        let mount = Mount::all(&fake);
        for dir in 0..DIRS {
            let listed = fs::read_dir(mount.path("images").join(format!("d{dir:02}"))).unwrap();
            let mut names: Vec<_> =
                listed.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort_unstable();
            let all: Vec<_> = (0..EACH).map(|number| format!("{number:02}")).collect();
            assert_eq!(names, all, "directory {dir}");
        }
    }
}

#[test]
fn many_readers_at_once_see_what_is_in_each_file() {
    if !has_fuse("many_readers_at_once_see_what_is_in_each_file") {
        return;
    }
    let fake = Fake::new();
    tokio::runtime::Runtime::new().unwrap().block_on(many(&fake));
    for round in 0..4 {
        let mount = Mount::all(&fake);
        let root = mount.path("images");
        std::thread::scope(|scope| {
            for reader in 0..8 {
                let root = &root;
                scope.spawn(move || {
                    (0..DIRS * EACH).for_each(|at| {
                        let at = (at * (5 + 2 * reader) + 31 * round + reader) % (DIRS * EACH);
                        let (dir, number) = (at % DIRS, at / DIRS);
                        let read = fs::read(root.join(numbered(dir, number))).unwrap();
                        assert_eq!(read, content(dir + number));
                    });
                });
            }
        });
    }
}
