//! A file system in memory, as plain as it can be: what views and mounts are
//! compared with.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use super::operations::{Op, Over, Target};

/// What an inode holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    Dir,
    File(Vec<u8>),
    Symlink(String),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dir => f.write_str("dir"),
            Self::File(bytes) if bytes.len() <= 64 => {
                write!(f, "file {:?}", String::from_utf8_lossy(bytes))
            }
            Self::File(bytes) => write!(f, "file of {} bytes", bytes.len()),
            Self::Symlink(target) => write!(f, "link to {target}"),
        }
    }
}

/// What can be told of one path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    pub body: Body,
    pub mode: u32,
    /// As somebody has set it; `None` is the time of the last change.
    pub mtime: Option<i64>,
    pub xattrs: BTreeMap<String, Vec<u8>>,
    pub links: usize,
}

/// A time that nobody knows.
pub const UNKNOWN: i64 = i64::MIN;

impl Seen {
    /// Whether this is what was `wanted`, which last changed after `start`. How
    /// many names a directory has does not count.
    pub fn is_as(&self, wanted: &Self, start: i64) -> bool {
        let Self { body, mode, mtime, xattrs, links } = wanted;
        let same_time = match mtime {
            None => self.mtime.is_some_and(|found| found >= start),
            Some(UNKNOWN) => true,
            Some(known) => self.mtime == Some(*known),
        };
        let same_links = *body == Body::Dir || *links == self.links;
        let same = (&self.body, self.mode, &self.xattrs) == (body, *mode, xattrs);
        same && same_time && same_links
    }
}

/// Everything there is, by path.
pub type Tree = BTreeMap<String, Seen>;

pub type Id = u64;

#[derive(Debug, Clone)]
pub(super) struct Inode {
    pub(super) body: Body,
    pub(super) mode: u32,
    pub(super) mtime: Option<i64>,
    pub(super) xattrs: BTreeMap<String, Vec<u8>>,
    /// Where the last commit has it.
    pub(super) origin: Option<String>,
    /// Whether it, or a name of it, was changed since.
    pub(super) touched: bool,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Name {
    pub(super) id: Id,
    /// Orders the names of one inode.
    pub(super) since: u64,
}

const ROOT: Id = 0;

/// The file system.
#[derive(Debug, Clone)]
pub struct Memory {
    pub(super) names: BTreeMap<String, Name>,
    pub(super) inodes: HashMap<Id, Inode>,
    pub(super) open: BTreeMap<u8, Id>,
    next: u64,
}

impl Default for Memory {
    fn default() -> Self {
        let root = Inode { origin: Some(String::new()), ..Inode::new(Body::Dir, 0o755) };
        Self {
            names: BTreeMap::new(),
            inodes: HashMap::from([(ROOT, root)]),
            open: BTreeMap::new(),
            next: 1,
        }
    }
}

impl Inode {
    pub(super) fn new(body: Body, mode: u32) -> Self {
        let (mtime, xattrs) = (None, BTreeMap::new());
        Self { body, mode, mtime, xattrs, origin: None, touched: true }
    }

    /// Takes over what can be told; `false` when it is something else. A time
    /// that others have set, and nothing else, may show or not.
    pub(super) fn replace(&mut self, seen: &Seen) -> bool {
        let same = (&self.body, self.mode) == (&seen.body, seen.mode);
        if same && self.mtime != seen.mtime {
            self.mtime = Some(UNKNOWN);
        }
        if same {
            return true;
        }
        match (&mut self.body, &seen.body) {
            (Body::File(old), Body::File(new)) => old.clone_from(new),
            (Body::Dir, Body::Dir) => {}
            (Body::Symlink(old), Body::Symlink(new)) if old == new => {}
            (Body::Dir | Body::File(_) | Body::Symlink(_), _) => return false,
        }
        // A directory may have been what it is now but for its time.
        let same_time = self.body != Body::Dir || self.mtime == seen.mtime;
        self.mode = seen.mode;
        self.mtime = if same_time { seen.mtime } else { Some(UNKNOWN) };
        true
    }
}

pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// Whether `path` is `dir` or lies below it.
pub fn within(path: &str, dir: &str) -> bool {
    dir.is_empty() || path.strip_prefix(dir).is_some_and(|r| r.is_empty() || r.starts_with('/'))
}

impl Memory {
    pub fn id(&self, path: &str) -> Option<Id> {
        if path.is_empty() { Some(ROOT) } else { self.names.get(path).map(|name| name.id) }
    }

    pub(super) fn at(&self, path: &str) -> Option<&Inode> {
        self.id(path).map(|id| &self.inodes[&id])
    }

    pub fn body(&self, path: &str) -> Option<&Body> {
        self.at(path).map(|inode| &inode.body)
    }

    pub fn is_dir(&self, path: &str) -> bool {
        self.body(path) == Some(&Body::Dir)
    }

    fn is_free(&self, path: &str) -> bool {
        self.id(path).is_none() && self.is_dir(parent(path))
    }

    fn is_empty_dir(&self, dir: &str) -> bool {
        !self.names.keys().any(|path| path != dir && within(path, dir))
    }

    pub(super) fn tick(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Gives `id` the name `path`.
    fn attach(&mut self, path: &str, id: Id) {
        let since = self.tick();
        self.names.insert(path.to_owned(), Name { id, since });
        self.named(path, id);
    }

    fn named(&mut self, path: &str, id: Id) {
        self.inodes.get_mut(&id).unwrap().touched = true;
        if let Some(dir) = self.id(parent(path)) {
            self.inodes.get_mut(&dir).unwrap().mtime = None;
        }
    }

    fn detach(&mut self, path: &str) {
        let id = self.names.remove(path).unwrap().id;
        self.named(path, id);
    }

    /// Adds an entry as it is.
    pub fn add(&mut self, path: &str, body: Body, mode: u32) {
        let id = self.tick();
        self.inodes.insert(id, Inode::new(body, mode));
        self.attach(path, id);
    }

    fn create(&mut self, path: &str, body: Body, mode: u32) -> bool {
        let free = self.is_free(path);
        if free {
            self.add(path, body, mode);
        }
        free
    }

    fn link(&mut self, path: &str, new: &str) -> bool {
        let able = self.body(path).is_some_and(|body| *body != Body::Dir) && self.is_free(new);
        if able {
            self.attach(new, self.names[path].id);
        }
        able
    }

    fn remove(&mut self, path: &str) -> bool {
        let able = self.id(path).is_some() && (!self.is_dir(path) || self.is_empty_dir(path));
        if able {
            self.detach(path);
        }
        able
    }

    /// Moves what is below a directory along with it.
    fn carry(&mut self, from: &str, to: &str) {
        let below = self.names.keys().filter(|path| *path != from && within(path, from));
        for path in below.cloned().collect::<Vec<_>>() {
            let name = self.names.remove(&path).unwrap();
            self.names.insert(format!("{to}{}", &path[from.len()..]), name);
        }
    }

    fn rename(&mut self, from: &str, to: &str, over: Over) -> bool {
        let (Some(source), true) = (self.id(from), self.is_dir(parent(to))) else { return false };
        if over == Over::Exchange {
            return self.exchange(from, to);
        }
        let is_dir = self.is_dir(from);
        match self.body(to) {
            Some(_) if over == Over::Refuse => return false,
            Some(Body::Dir) if !is_dir || (from != to && !self.is_empty_dir(to)) => return false,
            Some(Body::File(_) | Body::Symlink(_)) if is_dir => return false,
            Some(_) if self.id(to) == Some(source) => return true,
            Some(_) | None => {}
        }
        if is_dir && within(to, from) {
            return false;
        }
        if self.id(to).is_some() {
            self.detach(to);
        }
        self.detach(from);
        self.attach(to, source);
        self.carry(from, to);
        true
    }

    fn exchange(&mut self, one: &str, other: &str) -> bool {
        let (Some(a), Some(b)) = (self.id(one), self.id(other)) else { return false };
        if within(one, other) || within(other, one) {
            return false;
        }
        self.detach(one);
        self.detach(other);
        // A path that no operation names.
        self.carry(one, "\0");
        self.carry(other, one);
        self.carry("\0", other);
        self.attach(other, a);
        self.attach(one, b);
        true
    }

    /// The inode that an operation is about.
    pub fn target(&self, target: &Target) -> Option<Id> {
        match target {
            Target::Path(path) => self.id(path),
            Target::Open(slot) => self.open.get(slot).copied(),
        }
    }

    /// Changes the content of a file.
    fn change(&mut self, target: &Target, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let Some(inode) = self.target(target).and_then(|id| self.inodes.get_mut(&id)) else {
            return false;
        };
        let Body::File(bytes) = &mut inode.body else { return false };
        change(bytes);
        (inode.mtime, inode.touched) = (None, true);
        true
    }

    /// The content of a file.
    pub fn content(&self, target: &Target) -> Option<&Vec<u8>> {
        match &self.inodes[&self.target(target)?].body {
            Body::File(bytes) => Some(bytes),
            Body::Dir | Body::Symlink(_) => None,
        }
    }

    fn attributes(&mut self, target: &Target, change: impl FnOnce(&mut Inode) -> bool) -> bool {
        let Some(inode) = self.target(target).and_then(|id| self.inodes.get_mut(&id)) else {
            return false;
        };
        let done = change(inode);
        inode.touched |= done;
        done
    }

    /// Copies bytes of one file to another, as far as there are any.
    fn copy(&mut self, from: &str, to: &Target, (at, into, count): (u64, u64, u64)) -> bool {
        if self.id(from) == self.target(to) {
            return false;
        }
        let Some(bytes) = self.content(&Target::Path(from.to_owned())) else { return false };
        let end = at.saturating_add(count).min(bytes.len() as u64);
        let bytes = bytes.get(at as usize..end as usize).unwrap_or_default().to_vec();
        match bytes.is_empty() {
            true => self.content(to).is_some(),
            false => self.change(to, |old| put(old, into, &bytes)),
        }
    }

    /// Whether the operation is allowed; done if so.
    pub fn run(&mut self, op: &Op) -> bool {
        match op {
            Op::Create(path, mode) => self.create(path, Body::File(Vec::new()), *mode),
            Op::Mkdir(path, mode) => self.create(path, Body::Dir, *mode),
            Op::Symlink(path, to) => self.create(path, Body::Symlink(to.clone()), 0o777),
            Op::Link(path, new) => self.link(path, new),
            Op::Remove(path) => self.remove(path),
            Op::Rename(from, to, over) => self.rename(from, to, *over),
            Op::Open(slot, path) => match (self.body(path), self.id(path)) {
                (Some(Body::File(_)), Some(id)) => {
                    self.open.insert(*slot, id);
                    true
                }
                _ => false,
            },
            Op::Close(slot) => self.open.remove(slot).is_some(),
            Op::Write(target, at, data) => self.change(target, |bytes| put(bytes, *at, data)),
            Op::Append(target, data) => self.change(target, |bytes| bytes.extend(data)),
            Op::Truncate(target, size) => {
                self.change(target, |bytes| bytes.resize(*size as usize, 0))
            }
            // Nothing is zeroed past the end.
            Op::Zero(target, range) => match self.content(target) {
                Some(bytes) if range.start < range.end.min(bytes.len() as u64) => {
                    self.change(target, |bytes| clear(bytes, range))
                }
                Some(_) => true,
                None => false,
            },
            Op::Extend(target, end) => match self.content(target) {
                Some(bytes) if (bytes.len() as u64) < *end => {
                    self.change(target, |bytes| bytes.resize(*end as usize, 0))
                }
                Some(_) => true,
                None => false,
            },
            Op::Copy(from, to, range) => self.copy(from, to, *range),
            Op::Chmod(..) | Op::SetTime(..) | Op::SetXattr(..) | Op::RemoveXattr(..) => {
                self.set(op)
            }
            Op::Sync(target) => self.target(target).is_some(),
        }
    }

    /// Changes what is not content.
    fn set(&mut self, op: &Op) -> bool {
        match op {
            Op::Chmod(target, mode) => self.attributes(target, |inode| {
                let able = !matches!(inode.body, Body::Symlink(_));
                inode.mode = if able { *mode } else { inode.mode };
                able
            }),
            Op::SetTime(target, nanos) => self.attributes(target, |inode| {
                inode.mtime = Some(*nanos);
                true
            }),
            Op::SetXattr(target, name, value) => self.attributes(target, |inode| {
                let able = !matches!(inode.body, Body::Symlink(_));
                if able {
                    inode.xattrs.insert(name.clone(), value.clone());
                }
                able
            }),
            Op::RemoveXattr(target, name) => {
                self.attributes(target, |inode| inode.xattrs.remove(name).is_some())
            }
            _ => unreachable!("not an attribute"),
        }
    }
}

fn put(bytes: &mut Vec<u8>, at: u64, data: &[u8]) {
    let end = at as usize + data.len();
    bytes.resize(bytes.len().max(end), 0);
    bytes[at as usize..end].copy_from_slice(data);
}

fn clear(bytes: &mut [u8], range: &Range<u64>) {
    let len = bytes.len();
    let (start, end) = ((range.start as usize).min(len), (range.end as usize).min(len));
    bytes[start..end.max(start)].fill(0);
}
