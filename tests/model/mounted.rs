//! Operations done to a mounted directory with the system's own calls, and all
//! that it shows.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CString, OsStr};
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::num::NonZeroUsize;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, copy_file_range, renameat2};
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use nix::sys::stat::{UtimensatFlags, futimens, utimensat};
use nix::sys::time::TimeSpec;

use super::memory::{Body, Seen, Tree};
use super::operations::{Op, Over, Target};

/// A directory, and the files in it that are open.
pub struct Mounted {
    dir: PathBuf,
    open: HashMap<u8, File>,
    /// Counts writes: every third goes through a mapping where it can.
    writes: u64,
    /// Whether any may: who reads a mapping when its mount dies dies with it.
    pub maps: bool,
}

impl Mounted {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir, open: HashMap::new(), writes: 0, maps: true }
    }

    /// Closes everything, and goes on at `dir`.
    pub fn move_to(&mut self, dir: PathBuf) {
        self.open.clear();
        self.dir = dir;
    }

    pub fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// The file that `target` names, to be written to.
    fn file(&self, target: &Target) -> io::Result<File> {
        match target {
            Target::Path(path) => OpenOptions::new()
                .read(true)
                .write(true)
                .custom_flags(libc::O_NOFOLLOW)
                .open(self.at(path)),
            Target::Open(slot) => self.slot(*slot)?.try_clone(),
        }
    }

    fn slot(&self, slot: u8) -> io::Result<&File> {
        self.open.get(&slot).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn write(&mut self, target: &Target, at: u64, data: &[u8]) -> io::Result<()> {
        let file = self.file(target)?;
        self.writes += 1;
        let inside = at + data.len() as u64 <= file.metadata()?.len();
        match self.maps && inside && self.writes.is_multiple_of(3) {
            true => write_mapped(&file, at, data),
            false => file.write_all_at(data, at),
        }
    }

    fn append(&self, target: &Target, data: &[u8]) -> io::Result<()> {
        match target {
            Target::Path(path) => {
                let mut options = OpenOptions::new();
                let options = options.append(true).custom_flags(libc::O_NOFOLLOW);
                options.open(self.at(path))?.write_all(data)
            }
            Target::Open(slot) => {
                let file = self.slot(*slot)?;
                file.write_all_at(data, file.metadata()?.len())
            }
        }
    }

    fn rename(&self, from: &str, to: &str, over: Over) -> io::Result<()> {
        let flags = match over {
            Over::Replace => RenameFlags::empty(),
            Over::Refuse => RenameFlags::RENAME_NOREPLACE,
            Over::Exchange => RenameFlags::RENAME_EXCHANGE,
        };
        if over == Over::Exchange && from == to {
            // Allowed, and nothing.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        Ok(renameat2(AT_FDCWD, &self.at(from), AT_FDCWD, &self.at(to), flags)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.at(path);
        match fs::symlink_metadata(&path)?.is_dir() {
            true => fs::remove_dir(path),
            false => fs::remove_file(path),
        }
    }

    fn open(&mut self, slot: u8, path: &str) -> io::Result<()> {
        let file = self.file(&Target::Path(path.to_owned()))?;
        self.open.insert(slot, file);
        Ok(())
    }

    fn copy(&self, from: &str, to: &Target, range: (u64, u64, u64)) -> io::Result<()> {
        let mut options = OpenOptions::new();
        let from = options.read(true).custom_flags(libc::O_NOFOLLOW).open(self.at(from))?;
        let to = self.file(to)?;
        let id = |file: &File| file.metadata().map(|found| (found.dev(), found.ino()));
        if id(&from)? == id(&to)? || from.metadata()?.is_dir() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (at, into, mut count) = range;
        let (mut at, mut into) = (at.cast_signed(), into.cast_signed());
        while count > 0 {
            let asked = usize::try_from(count).unwrap();
            let copied = copy_file_range(&from, Some(&mut at), &to, Some(&mut into), asked)?;
            if copied == 0 {
                break;
            }
            count -= copied as u64;
        }
        Ok(())
    }

    fn set_time(&self, target: &Target, nanos: i64) -> io::Result<()> {
        let billion = 1_000_000_000;
        let time = TimeSpec::new(nanos.div_euclid(billion), nanos.rem_euclid(billion));
        match target {
            Target::Path(path) => {
                let flags = UtimensatFlags::NoFollowSymlink;
                Ok(utimensat(AT_FDCWD, &self.at(path), &time, &time, flags)?)
            }
            Target::Open(slot) => Ok(futimens(self.slot(*slot)?, &time, &time)?),
        }
    }

    fn chmod(&self, target: &Target, mode: u32) -> io::Result<()> {
        let mode = fs::Permissions::from_mode(mode);
        match target {
            Target::Path(path) => fs::set_permissions(self.at(path), mode),
            Target::Open(slot) => self.slot(*slot)?.set_permissions(mode),
        }
    }

    /// A path by which attributes of `target` can be had.
    fn named(&self, target: &Target) -> io::Result<CString> {
        let path = match target {
            Target::Path(path) => self.at(path),
            Target::Open(slot) => format!("/proc/self/fd/{}", self.slot(*slot)?.as_raw_fd()).into(),
        };
        Ok(CString::new(path.as_os_str().as_bytes())?)
    }

    fn xattr(&self, target: &Target, name: &str, value: Option<&[u8]>) -> io::Result<()> {
        if let Target::Path(path) = target
            && fs::symlink_metadata(self.at(path))?.is_symlink()
        {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let (path, name) = (self.named(target)?, CString::new(name)?);
        // SAFETY: both strings end with a zero and, as the value, outlive the call.
        let done = unsafe {
            match value {
                Some(value) => {
                    let (at, len) = (value.as_ptr().cast(), value.len());
                    libc::setxattr(path.as_ptr(), name.as_ptr(), at, len, 0)
                }
                None => libc::removexattr(path.as_ptr(), name.as_ptr()),
            }
        };
        if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    fn sync(&self, target: &Target) -> io::Result<()> {
        match target {
            Target::Path(path) if fs::symlink_metadata(self.at(path))?.is_symlink() => Ok(()),
            Target::Path(path) => File::open(self.at(path))?.sync_all(),
            Target::Open(slot) => self.slot(*slot)?.sync_all(),
        }
    }

    pub fn run(&mut self, op: &Op) -> io::Result<()> {
        match op {
            Op::Create(path, mode) => {
                let mut options = OpenOptions::new();
                let options = options.write(true).create_new(true).mode(*mode);
                options.open(self.at(path)).map(drop)
            }
            Op::Mkdir(path, mode) => DirBuilder::new().mode(*mode).create(self.at(path)),
            Op::Symlink(path, to) => std::os::unix::fs::symlink(to, self.at(path)),
            Op::Link(path, new) => fs::hard_link(self.at(path), self.at(new)),
            Op::Remove(path) => self.remove(path),
            Op::Rename(from, to, over) => self.rename(from, to, *over),
            Op::Open(slot, path) => self.open(*slot, path),
            Op::Close(slot) => {
                self.open.remove(slot).map(drop).ok_or_else(|| io::ErrorKind::NotFound.into())
            }
            Op::Write(to, at, data) => self.write(to, *at, data),
            Op::Append(to, data) => self.append(to, data),
            Op::Truncate(to, size) => self.file(to)?.set_len(*size),
            Op::Zero(to, range) => {
                let hole = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
                fallocate(&self.file(to)?, hole, range.start, range.end - range.start)
            }
            Op::Extend(to, end) => fallocate(&self.file(to)?, 0, 0, (*end).max(1)),
            Op::Copy(from, to, range) => self.copy(from, to, *range),
            Op::Chmod(to, mode) => self.chmod(to, *mode),
            Op::SetTime(to, nanos) => self.set_time(to, *nanos),
            Op::SetXattr(to, name, value) => self.xattr(to, name, Some(value)),
            Op::RemoveXattr(to, name) => self.xattr(to, name, None),
            Op::Sync(to) => self.sync(to),
        }
    }

    /// What the open files hold.
    pub fn handles(&self) -> BTreeMap<u8, Vec<u8>> {
        let read = |file: &File| {
            let mut bytes = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
            file.read_exact_at(&mut bytes, 0).unwrap();
            bytes
        };
        self.open.iter().map(|(slot, file)| (*slot, read(file))).collect()
    }

    pub fn tree(&self) -> Tree {
        tree(&self.dir)
    }
}

/// Everything below `dir`.
pub fn tree(dir: &Path) -> Tree {
    let (mut shown, mut dirs) = (Tree::new(), vec![dir.to_owned()]);
    while let Some(next) = dirs.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            let seen = seen(&path);
            if seen.body == Body::Dir {
                dirs.push(path.clone());
            }
            let below = path.strip_prefix(dir).unwrap().to_str().unwrap().to_owned();
            assert!(shown.insert(below, seen).is_none(), "{} is listed twice", path.display());
        }
    }
    shown
}

fn seen(path: &Path) -> Seen {
    let found = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let body = match found.file_type() {
        kind if kind.is_dir() => Body::Dir,
        kind if kind.is_symlink() => {
            Body::Symlink(fs::read_link(path).unwrap().to_str().unwrap().to_owned())
        }
        _ => {
            let mut bytes = Vec::new();
            File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, found.len(), "{}: stat and read", path.display());
            Body::File(bytes)
        }
    };
    let xattrs = if matches!(body, Body::Symlink(_)) { BTreeMap::new() } else { xattrs(path) };
    let mtime = Some(found.mtime() * 1_000_000_000 + found.mtime_nsec());
    let (mode, links) = (found.mode() & 0o7777, usize::try_from(found.nlink()).unwrap());
    Seen { body, mode, mtime, xattrs, links }
}

/// The attributes that programs have set.
fn xattrs(path: &Path) -> BTreeMap<String, Vec<u8>> {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    let mut names = vec![0_u8; 4096];
    // SAFETY: the string ends with a zero, and the buffer is as long as said.
    let len = unsafe { libc::listxattr(path.as_ptr(), names.as_mut_ptr().cast(), names.len()) };
    names.truncate(usize::try_from(len).unwrap_or(0));
    let own = |name: &&[u8]| !name.is_empty() && !name.starts_with(b"user.pfs.");
    let value = |name: &[u8]| {
        let (mut value, name) = (vec![0_u8; 4096], CString::new(name).unwrap());
        // SAFETY: as above.
        let len = unsafe {
            let (at, len) = (value.as_mut_ptr().cast(), value.len());
            libc::getxattr(path.as_ptr(), name.as_ptr(), at, len)
        };
        value.truncate(usize::try_from(len).unwrap());
        value
    };
    let text = |name: &[u8]| OsStr::from_bytes(name).to_str().unwrap().to_owned();
    names.split(|b| *b == 0).filter(own).map(|name| (text(name), value(name))).collect()
}

fn write_mapped(file: &File, at: u64, data: &[u8]) -> io::Result<()> {
    let end = usize::try_from(at).unwrap() + data.len();
    let Some(length) = NonZeroUsize::new(end) else { return Ok(()) };
    let kind = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: the mapping is new, is not longer than the file, and ends below.
    let mapped = unsafe { mmap(None, length, kind, MapFlags::MAP_SHARED, file, 0)? };
    // SAFETY: the range lies in the mapping, which nothing else refers to.
    unsafe {
        let to = mapped.cast::<u8>().as_ptr().add(at as usize);
        std::ptr::copy_nonoverlapping(data.as_ptr(), to, data.len());
        munmap(mapped, end)?;
    }
    file.sync_data()
}

fn fallocate(file: &File, mode: i32, at: u64, count: u64) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    let done =
        unsafe { libc::fallocate(file.as_raw_fd(), mode, at.cast_signed(), count.cast_signed()) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
