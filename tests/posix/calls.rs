//! System calls, one rule of docs/SEMANTICS.md a test.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, FcntlArg, fallocate, fcntl};
use nix::sys::stat::{Mode, SFlag, mknod};

use super::{Disk, run};
use crate::machine::{has_command, is_root};
use crate::mount::errno;

fn open(path: &Path) -> File {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).unwrap()
}

#[test]
fn fifos_sockets_and_devices_are_refused() {
    let Some(disk) = Disk::new("fifos_sockets_and_devices_are_refused") else { return };
    for kind in [SFlag::S_IFIFO, SFlag::S_IFSOCK, SFlag::S_IFCHR, SFlag::S_IFBLK] {
        let made = mknod(&disk.path("special"), kind, Mode::S_IRWXU, 0);
        assert_eq!(made, Err(Errno::EPERM), "{kind:?}");
    }
    assert_eq!(errno(UnixListener::bind(disk.path("socket"))), libc::EPERM);
    mknod(&disk.path("file"), SFlag::S_IFREG, Mode::S_IRWXU, 0).unwrap();
    assert!(disk.path("file").is_file());
}

#[test]
fn a_file_without_a_name_is_one_that_was_unlinked() {
    let Some(disk) = Disk::new("a_file_without_a_name_is_one_that_was_unlinked") else { return };
    let mut unnamed = OpenOptions::new();
    let unnamed = unnamed.read(true).write(true).custom_flags(libc::O_TMPFILE);
    assert_eq!(errno(unnamed.open(disk.path(""))), libc::EOPNOTSUPP);
    let mut file = tempfile::tempfile_in(disk.path("")).unwrap();
    file.write_all(b"gone from the start").unwrap();
    file.set_len(4).unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    assert_eq!((text.as_str(), file.metadata().unwrap().nlink()), ("gone", 0));
    file.sync_all().unwrap();
    assert_eq!(fs::read_dir(disk.path("")).unwrap().count(), 0);
    drop(file);
    fs::write(disk.path("kept"), "").unwrap();
    disk.unmount();
    let listed = disk.server.pfs(&["list", "file", "data@master", "--raw"]);
    assert_eq!(listed.matches("/kept").count(), 1, "{listed}");
    assert!(!listed.contains("/.tmp"), "{listed}");
}

#[test]
fn room_is_made_and_given_back() {
    let Some(disk) = Disk::new("room_is_made_and_given_back") else { return };
    let file = open(&disk.path("f"));
    file.write_all_at(&[7; 10_000], 0).unwrap();
    let size = || file.metadata().unwrap().len();
    let (keep, zero) = (FallocateFlags::FALLOC_FL_KEEP_SIZE, FallocateFlags::FALLOC_FL_ZERO_RANGE);
    let punch = FallocateFlags::FALLOC_FL_PUNCH_HOLE | keep;
    let call = |flags, at, len| fallocate(&file, flags, at, len);
    call(FallocateFlags::empty(), 0, 20_000).unwrap();
    assert_eq!(size(), 20_000);
    call(keep, 0, 40_000).unwrap();
    assert_eq!(size(), 20_000);
    call(punch, 100, 200).unwrap();
    call(zero | keep, 1_000, 50).unwrap();
    assert_eq!(size(), 20_000);
    call(zero, 19_000, 6_000).unwrap();
    assert_eq!(size(), 25_000);
    let mut wanted = vec![7; 10_000];
    wanted[100..300].fill(0);
    wanted[1_000..1_050].fill(0);
    wanted.resize(25_000, 0);
    assert!(fs::read(disk.path("f")).unwrap() == wanted);
    for refused in
        [FallocateFlags::FALLOC_FL_COLLAPSE_RANGE, FallocateFlags::FALLOC_FL_INSERT_RANGE]
    {
        assert_eq!(call(refused, 0, 4096), Err(Errno::EOPNOTSUPP));
    }
}

#[test]
fn the_room_is_that_of_the_staging_directory() {
    let Some(disk) = Disk::new("the_room_is_that_of_the_staging_directory") else { return };
    let room = |at: &Path| nix::sys::statvfs::statvfs(at).unwrap();
    let (shown, there) = (room(&disk.path("")), room(disk.server.root()));
    assert_eq!(
        (shown.blocks(), shown.fragment_size(), shown.name_max()),
        (there.blocks(), there.fragment_size(), 255)
    );
    assert!(shown.blocks_available() <= shown.blocks_free());
    // What other programs write meanwhile counts as well.
    let near = |one: u64, other: u64| one.abs_diff(other) < there.blocks() / 10 + 100_000;
    assert!(near(shown.blocks_free(), there.blocks_free()), "{shown:?} {there:?}");
    assert!(near(shown.blocks_available(), there.blocks_available()), "{shown:?} {there:?}");
    assert!(shown.files_free() <= shown.files());
}

/// Sets an extended attribute with the flags of setxattr(2).
fn set(path: &Path, name: &str, value: &[u8], flags: i32) -> std::io::Result<()> {
    let path = std::ffi::CString::new(path.to_str().unwrap()).unwrap();
    let name = std::ffi::CString::new(name).unwrap();
    // SAFETY: strings that end in NUL, and a value as long as said.
    let done = unsafe {
        libc::setxattr(path.as_ptr(), name.as_ptr(), value.as_ptr().cast(), value.len(), flags)
    };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

fn attributes(path: &Path) -> Vec<(OsString, Vec<u8>)> {
    let mut found: Vec<_> = xattr::list(path)
        .unwrap()
        .map(|name| (name.clone(), xattr::get(path, name).unwrap().unwrap()))
        .collect();
    found.sort();
    found
}

#[test]
fn user_attributes_last_until_the_commit() {
    let prepare = |server: &crate::server::Server| {
        let file = server.dir("source").join("old");
        fs::write(&file, "old").unwrap();
        server.pfs(&["put", "file", "data@master:/old", "-f", file.to_str().unwrap()]);
    };
    let test = "user_attributes_last_until_the_commit";
    let Some(disk) = Disk::with(test, prepare, &[]) else { return };
    fs::write(disk.path("new"), "new").unwrap();
    disk.dir("dir");
    for name in ["old", "new", "dir"] {
        let at = disk.path(name);
        set(&at, "user.a", b"1", libc::XATTR_CREATE).unwrap();
        assert_eq!(errno(set(&at, "user.a", b"2", libc::XATTR_CREATE)), libc::EEXIST);
        assert_eq!(errno(set(&at, "user.b", b"2", libc::XATTR_REPLACE)), libc::ENODATA);
        set(&at, "user.a", b"two", libc::XATTR_REPLACE).unwrap();
        set(&at, "user.b", &vec![b'b'; 60_000], 0).unwrap();
        set(&at, "user.empty", b"", 0).unwrap();
        xattr::remove(&at, "user.b").unwrap();
        assert_eq!(errno(xattr::remove(&at, "user.b")), libc::ENODATA);
        let wanted = [("user.a", "two"), ("user.empty", "")];
        let wanted = wanted.map(|(name, value)| (OsString::from(name), Vec::from(value)));
        assert_eq!(attributes(&at), wanted.to_vec());
        assert_eq!(errno(set(&at, "trusted.a", b"1", 0)), libc::EOPNOTSUPP);
        assert_eq!(errno(set(&at, "user.pfs.mine", b"1", 0)), libc::EOPNOTSUPP);
    }
    fs::rename(disk.path("new"), disk.path("moved")).unwrap();
    assert_eq!(attributes(&disk.path("moved")).len(), 2);
    disk.server.pfs(&["commit", disk.mount.to_str().unwrap()]);
    for name in ["old", "moved", "dir"] {
        assert!(attributes(&disk.path(name)).is_empty(), "{name}");
    }
    assert_eq!(fs::read_to_string(disk.path("old")).unwrap(), "old");
}

#[test]
fn locks_hold_between_processes() {
    let test = "locks_hold_between_processes";
    if !has_command(test, "flock") || !has_command(test, "python3") {
        return;
    }
    let Some(disk) = Disk::new(test) else { return };
    let file = open(&disk.path("f"));
    let other = |program: &str| {
        let mut command = Command::new("python3");
        command.args(["-c", program]).arg(disk.path("f")).status().unwrap().success()
    };
    let flock = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_SH | fcntl.LOCK_NB)";
    let range = "import fcntl, sys
fcntl.lockf(open(sys.argv[1], 'r+'), fcntl.LOCK_EX | fcntl.LOCK_NB, 10, 15)";
    file.lock().unwrap();
    assert!(!other(flock), "a lock on the whole file");
    file.unlock().unwrap();
    assert!(other(flock));
    let mut lock = libc::flock {
        l_type: libc::F_WRLCK as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: 20,
        l_len: 10,
        l_pid: 0,
    };
    fcntl(&file, FcntlArg::F_SETLK(&lock)).unwrap();
    assert!(!other(range), "bytes 15 to 25 touch the lock");
    lock.l_type = libc::F_UNLCK as i16;
    fcntl(&file, FcntlArg::F_SETLK(&lock)).unwrap();
    assert!(other(range));
}

#[test]
fn times_modes_and_owners_are_kept_to_the_nanosecond() {
    let test = "times_modes_and_owners_are_kept_to_the_nanosecond";
    if !is_root(test) {
        return;
    }
    let Some(disk) = Disk::with(test, |_| {}, &["--allow-other"]) else { return };
    disk.open_to_all();
    let at = disk.path("f");
    fs::write(&at, "text").unwrap();
    let times = [
        nix::sys::time::TimeSpec::new(-5, 123_456_789),
        nix::sys::time::TimeSpec::new(4_000_000_000, 987_654_321),
    ];
    let flag = nix::sys::stat::UtimensatFlags::FollowSymlink;
    nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, &at, &times[0], &times[1], flag).unwrap();
    let found = fs::metadata(&at).unwrap();
    assert_eq!((found.atime(), found.atime_nsec()), (-5, 123_456_789));
    assert_eq!((found.mtime(), found.mtime_nsec()), (4_000_000_000, 987_654_321));
    fs::set_permissions(&at, fs::Permissions::from_mode(0o6755)).unwrap();
    assert_eq!(fs::metadata(&at).unwrap().mode() & 0o7777, 0o6755);
    std::os::unix::fs::chown(&at, Some(65534), Some(1)).unwrap();
    let found = fs::metadata(&at).unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (65534, 1, 0o755));
    let dir = disk.dir("shared");
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).unwrap();
    fs::write(dir.join("roots"), "").unwrap();
    let other = run(Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "1", "--clear-groups", "sh", "-c"])
        .arg("rm -f \"$0\" 2>/dev/null; test -e \"$0\" && echo kept")
        .arg(dir.join("roots")));
    assert_eq!(other.trim(), "kept", "a sticky directory keeps what others own");
}

#[test]
fn names_too_long_are_told_from_names_not_there() {
    let Some(disk) = Disk::new("names_too_long_are_told_from_names_not_there") else { return };
    let (fits, long) = ("n".repeat(255), "n".repeat(256));
    fs::write(disk.path(&fits), "").unwrap();
    for dir in [disk.path(""), disk.dir("new"), disk.input(""), disk.mount.clone()] {
        assert_eq!(errno(fs::metadata(dir.join(&long))), libc::ENAMETOOLONG, "{}", dir.display());
        assert_eq!(errno(fs::remove_file(dir.join(&long))), libc::ENAMETOOLONG);
    }
    assert_eq!(errno(fs::rename(disk.path(&fits), disk.path(&long))), libc::ENAMETOOLONG);
}

#[test]
fn writers_appending_to_one_file_lose_nothing() {
    let test = "writers_appending_to_one_file_lose_nothing";
    let Some(disk) = Disk::new(test) else { return };
    let at = disk.path("log");
    let script = "i=0; while [ $i -lt 200 ]; do echo \"$1 $i\" >> \"$0\"; i=$((i+1)); done";
    let start = |name: &str| Command::new("sh").args(["-c", script]).arg(&at).arg(name).spawn();
    let writers: Vec<_> = ["a", "b", "c"].map(|name| start(name).unwrap()).into_iter().collect();
    for mut writer in writers {
        assert!(writer.wait().unwrap().success());
    }
    let text = fs::read_to_string(&at).unwrap();
    for name in ["a", "b", "c"] {
        let of = text.lines().filter(|line| line.starts_with(name));
        let wanted: Vec<_> = (0..200).map(|i| format!("{name} {i}")).collect();
        assert_eq!(of.collect::<Vec<_>>(), wanted);
    }
}

#[test]
fn a_writer_and_a_mapping_see_each_other() {
    let Some(disk) = Disk::new("a_writer_and_a_mapping_see_each_other") else { return };
    let file = open(&disk.path("f"));
    file.set_len(64 << 10).unwrap();
    let len = std::num::NonZeroUsize::new(64 << 10).unwrap();
    let access = nix::sys::mman::ProtFlags::PROT_READ | nix::sys::mman::ProtFlags::PROT_WRITE;
    // SAFETY: the file is as long as the mapping for as long as that is used.
    let mapped = unsafe {
        let flags = nix::sys::mman::MapFlags::MAP_SHARED;
        let at = nix::sys::mman::mmap(None, len, access, flags, &file, 0).unwrap();
        std::slice::from_raw_parts_mut(at.cast::<u8>().as_ptr(), len.get())
    };
    // By a handle that only writes, as a shell's redirection is.
    let writer = OpenOptions::new().write(true).open(disk.path("f")).unwrap();
    writer.write_all_at(b"written", 5_000).unwrap();
    assert_eq!(&mapped[5_000..5_007], b"written");
    mapped[9_000..9_006].copy_from_slice(b"mapped");
    let mut bytes = [0; 6];
    open(&disk.path("f")).read_exact_at(&mut bytes, 9_000).unwrap();
    assert_eq!(&bytes, b"mapped");
    writer.write_all_at(b"M", 9_000).unwrap();
    assert_eq!(&mapped[9_000..9_006], b"Mapped");
}
