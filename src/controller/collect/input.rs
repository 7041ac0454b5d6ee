//! An input as its program left it: what the datum sees of the trees, and the
//! program's own changes.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use super::directory::{Directory, Thing, ThingKind};
use crate::controller::error::Result;
use crate::controller::views::ViewSource;
use crate::model::{Timestamp, TreePath};
use crate::tree::{Entry, EntryKind, Nodes, Root, Tree};
use crate::vfs::Filter;

/// How many names of a directory are read at a time.
const PAGE: usize = 1000;

/// An input of a datum, for links that lead into it.
pub struct Input {
    /// Its directory under `/pfs`.
    pub name: String,
    /// What the datum sees of which trees, later ones over earlier ones.
    pub sources: Vec<ViewSource>,
    /// Where its files are on this machine.
    pub files: Files,
}

/// What of an input is on this machine.
pub enum Files {
    /// The program's changes to what is in the trees.
    Changes(PathBuf),
    /// All of it.
    Copies(PathBuf),
    /// All of it; an empty file stands for the one in the trees.
    StandIns(PathBuf),
}

impl Files {
    fn dir(&self) -> &Path {
        match self {
            Self::Changes(dir) | Self::Copies(dir) | Self::StandIns(dir) => dir,
        }
    }
}

/// What a program saw at a path at its end.
pub(super) enum Seen {
    Nothing,
    /// A file of the program's own, or a directory of which part is.
    Own(Thing),
    /// What the tree of this source has there.
    Tree(usize, Entry),
}

/// An input that can be read.
pub(super) struct Reader<'a> {
    pub input: &'a Input,
    shown: Vec<(Tree, Filter)>,
    own: Directory,
}

impl<'a> Reader<'a> {
    pub fn new(input: &'a Input, nodes: &Nodes) -> io::Result<Self> {
        let shown = |source: &ViewSource| {
            (Tree::new(nodes, source.root), Filter::new(source.paths.clone()))
        };
        let shown = input.sources.iter().map(shown).collect();
        Ok(Self { input, shown, own: Directory::open(input.files.dir())? })
    }

    pub fn own(&self) -> &Directory {
        &self.own
    }

    pub fn root(&self, source: usize) -> Root {
        *self.shown[source].0.root()
    }

    pub async fn seen(&self, path: &Path) -> Result<Seen, Fault> {
        match self.input.files {
            Files::Changes(_) => match self.changed(path)? {
                Changed::Not => self.in_trees(path).await,
                Changed::Gone => Ok(Seen::Nothing),
                Changed::Into(thing) => Ok(Seen::Own(thing)),
            },
            Files::Copies(_) => Ok(self.own.look(path)?.map_or(Seen::Nothing, Seen::Own)),
            Files::StandIns(_) => match self.own.look(path)? {
                None => Ok(Seen::Nothing),
                Some(thing) => match (&thing.kind, thing.size) {
                    (ThingKind::File, 0) => match self.in_trees(path).await? {
                        Seen::Nothing => Ok(Seen::Own(thing)),
                        found => Ok(found),
                    },
                    _ => Ok(Seen::Own(thing)),
                },
            },
        }
    }

    /// What the program made of a path.
    fn changed(&self, path: &Path) -> io::Result<Changed> {
        let mut hidden = false;
        let mut prefixes: Vec<&Path> = path.ancestors().collect();
        prefixes.reverse();
        for prefix in prefixes {
            let Some(thing) = self.own.look(prefix)? else {
                return Ok(if hidden { Changed::Gone } else { Changed::Not });
            };
            match thing.kind {
                ThingKind::Whiteout => return Ok(Changed::Gone),
                _ if prefix == path => return Ok(Changed::Into(thing)),
                ThingKind::Dir => hidden |= self.own.is_opaque(prefix)?,
                ThingKind::File | ThingKind::Link(_) | ThingKind::Other(_) => {
                    return Ok(Changed::Gone);
                }
            }
        }
        Ok(Changed::Not)
    }

    async fn in_trees(&self, path: &Path) -> Result<Seen, Fault> {
        let Some(path) = tree_path(path) else { return Ok(Seen::Nothing) };
        for (source, (tree, filter)) in self.shown.iter().enumerate().rev() {
            if !filter.covers(&path) && !filter.leads(&path) {
                continue;
            }
            let entry = match path.is_root() {
                true => Some(Entry::dir(Timestamp::default())),
                false => tree.get(&path).await?,
            };
            if let Some(entry) = entry {
                return Ok(Seen::Tree(source, entry));
            }
        }
        Ok(Seen::Nothing)
    }

    /// Whether a directory that only trees have is seen whole, in one tree.
    pub async fn is_whole(&self, path: &TreePath) -> Result<bool, Fault> {
        let mut found = 0;
        for (tree, filter) in &self.shown {
            if filter.leads(path) && !filter.covers(path) {
                return Ok(false);
            }
            if filter.covers(path) && (path.is_root() || tree.get(path).await?.is_some()) {
                found += 1;
            }
        }
        Ok(found == 1)
    }

    /// Names in a directory; some may turn out to be of nothing.
    pub async fn names(&self, path: &Path) -> Result<BTreeSet<OsString>, Fault> {
        let mut names = BTreeSet::new();
        let mut hidden = false;
        if self.own.look(path)?.is_some() {
            names.extend(self.own.names(path)?);
            hidden = match self.input.files {
                Files::Changes(_) => self.hides(path)?,
                Files::Copies(_) | Files::StandIns(_) => true,
            };
        }
        let Some(path) = tree_path(path).filter(|_| !hidden) else { return Ok(names) };
        for (tree, filter) in &self.shown {
            if !filter.covers(&path) {
                names.extend(filter.names(&path, None, usize::MAX).into_iter().map(OsString::from));
                continue;
            }
            let mut after: Option<String> = None;
            loop {
                let page = tree.list(&path, after.as_deref(), PAGE).await?;
                let full = page.len() == PAGE;
                after = page.last().map(|(name, _)| name.clone());
                names.extend(page.into_iter().map(|(name, _)| OsString::from(name)));
                if !full {
                    break;
                }
            }
        }
        Ok(names)
    }

    /// Whether a directory of the program's or one above it hides the trees.
    fn hides(&self, path: &Path) -> io::Result<bool> {
        for prefix in path.ancestors() {
            if self.own.is_opaque(prefix)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

enum Changed {
    Not,
    Gone,
    Into(Thing),
}

/// What kept an input from being read.
pub(super) enum Fault {
    /// The machine.
    Io(io::Error),
    /// The trees.
    Tree(crate::tree::TreeError),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<crate::tree::TreeError> for Fault {
    fn from(error: crate::tree::TreeError) -> Self {
        Self::Tree(error)
    }
}

/// The path as one of a tree, if a tree can have it.
pub(super) fn tree_path(path: &Path) -> Option<TreePath> {
    path.to_str()?.parse().ok()
}

impl Seen {
    /// Where it leads, if it is a symbolic link.
    pub fn target(&self) -> Option<OsString> {
        match self {
            Self::Own(Thing { kind: ThingKind::Link(target), .. }) => Some(target.clone()),
            Self::Tree(_, Entry { kind: EntryKind::Symlink(target), .. }) => Some(target.into()),
            Self::Nothing | Self::Own(_) | Self::Tree(..) => None,
        }
    }

    pub fn is_dir(&self) -> bool {
        match self {
            Self::Nothing => false,
            Self::Own(thing) => matches!(thing.kind, ThingKind::Dir),
            Self::Tree(_, entry) => entry.is_dir(),
        }
    }
}
