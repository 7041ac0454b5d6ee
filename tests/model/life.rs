//! What becomes of a file system in memory: commits, aborts, crashes.

use std::collections::{BTreeMap, HashSet};

use super::memory::{Body, Id, Inode, Memory, Name, Seen, Tree, UNKNOWN, parent, within};

impl Memory {
    fn count(&self, id: Id) -> usize {
        self.names.values().filter(|name| name.id == id).count()
    }

    fn describe(&self, id: Id) -> Seen {
        let Inode { body, mode, mtime, xattrs, .. } = self.inodes[&id].clone();
        Seen { body, mode, mtime, xattrs, links: self.count(id) }
    }

    /// Everything there is.
    pub fn seen(&self) -> Tree {
        self.names.iter().map(|(path, name)| (path.clone(), self.describe(name.id))).collect()
    }

    /// What every open file holds.
    pub fn handles(&self) -> BTreeMap<u8, Vec<u8>> {
        let bytes = |id: &Id| match &self.inodes[id].body {
            Body::File(bytes) => bytes.clone(),
            Body::Dir | Body::Symlink(_) => unreachable!("files are opened"),
        };
        self.open.iter().map(|(slot, id)| (*slot, bytes(id))).collect()
    }

    /// The process dies: files that are open are not any more.
    pub fn crash(&mut self) {
        self.open.clear();
    }

    /// A commit: every name is a file of its own, without extended attributes.
    pub fn commit(&mut self) {
        let mut names: Vec<_> = self.names.iter().map(|(p, n)| (n.since, p.clone())).collect();
        names.sort();
        let mut seen = HashSet::new();
        for (_, path) in names {
            let id = self.names[&path].id;
            let own = if seen.insert(id) { id } else { self.tick() };
            let inode = Inode {
                origin: Some(path.clone()),
                touched: false,
                xattrs: BTreeMap::new(),
                ..self.inodes[&id].clone()
            };
            self.inodes.insert(own, inode);
            self.names.get_mut(&path).unwrap().id = own;
        }
    }

    /// Whether the last commit has exactly what is at `path`, there.
    fn is_clean(&self, path: &str) -> bool {
        let inode = self.at(path).unwrap();
        let in_place = inode.origin.as_deref() == Some(path);
        let above = path.is_empty() || self.is_clean(parent(path));
        in_place && above && (inode.body == Body::Dir || !inode.touched)
    }

    /// Every change is given up, and `head` shows. What was changed stays with
    /// whoever has it open.
    pub fn abort(&mut self, head: &Tree) {
        let (names, below) = (self.names.clone(), self.names.keys().cloned().collect::<Vec<_>>());
        let clean: Vec<_> = below.into_iter().filter(|path| self.is_clean(path)).collect();
        self.names = clean.into_iter().map(|path| (path.clone(), names[&path])).collect();
        self.show(head);
        self.commit();
    }

    /// Nobody knows the time of a file.
    pub fn untimed(&mut self, path: &str) {
        self.inodes.get_mut(&self.names[path].id).unwrap().mtime = Some(UNKNOWN);
    }

    /// The times of what was changed are those that are found.
    pub fn learn(&mut self, found: &Tree) {
        for (path, seen) in found {
            let inode = self.names.get(path).and_then(|name| self.inodes.get_mut(&name.id));
            if let Some(inode) = inode.filter(|inode| inode.mtime.is_none()) {
                inode.mtime = seen.mtime;
            }
        }
    }

    /// Others have changed what is there, which nobody has changed here, to
    /// `head`. Files that are open are what they are there.
    pub fn show(&mut self, head: &Tree) {
        let gone = self.names.keys().filter(|path| !head.contains_key(*path));
        for path in gone.cloned().collect::<Vec<_>>() {
            self.names.remove(&path);
        }
        for (path, seen) in head {
            let known = self.names.get(path).map(|name| name.id);
            // What lay below something else is something else.
            let same = known.is_some_and(|id| self.inodes.get_mut(&id).unwrap().replace(seen));
            if !same {
                self.names.retain(|known, _| !within(known, path));
                let since = self.tick();
                let mut inode = Inode::new(seen.body.clone(), seen.mode);
                (inode.mtime, inode.origin) = (seen.mtime, Some(path.clone()));
                inode.touched = false;
                self.inodes.insert(since, inode);
                self.names.insert(path.clone(), Name { id: since, since });
            }
        }
    }
}
