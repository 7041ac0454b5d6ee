//! Taking in what a program left in `/pfs/out`.
//!
//! Nothing is trusted that a program left behind: what is not below `/pfs` is
//! never read, whoever the server runs as, and what cannot be read fails the
//! try of the program, not the job.

mod directory;
mod input;
mod links;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::BytesMut;
use nix::errno::Errno;
use tokio::io::AsyncReadExt as _;

use super::error::{ControllerError, Result};
use crate::chunk::{FileWriter, PackWriter};
use crate::model::TreePath;
use crate::tree::{Edit, Entry, EntryKind, LINK_MAX, Tree};
use directory::{Directory, Thing, ThingKind};
use input::{Fault, Reader, Seen, tree_path};
use links::{Area, Led, Pfs, Place};

pub use input::{Files, Input};

/// How much of a file is read at a time.
const PIECE: usize = 1 << 20;

/// Links to directories can stand for more files than anybody has: no more
/// than this many entries are taken through links.
const LINKED_MAX: u64 = 1 << 18;

/// How many remarks are made about one datum's outputs.
const REMARKS_MAX: usize = 20;

/// Collects outputs into edits of a tree.
pub struct Collector<'a> {
    /// The directory that was `/pfs/out`.
    pub out: &'a Path,
    /// The inputs.
    pub inputs: &'a [Input],
    /// Reads the inputs' trees.
    pub nodes: &'a crate::tree::Nodes,
    /// Takes contents.
    pub writer: &'a PackWriter,
}

/// What a program wrote.
#[derive(Default)]
pub struct Collected {
    /// Edits in path order.
    pub edits: BTreeMap<TreePath, Edit>,
    /// Bytes of all files.
    pub bytes: u64,
    /// What its author should know.
    pub remarks: Vec<String>,
}

impl Collector<'_> {
    /// Collects everything.
    ///
    /// # Errors
    /// [`ControllerError::Job`] for an output that cannot be kept; it names
    /// the output.
    pub async fn collect(&self) -> Result<Collected> {
        let root = TreePath::root();
        let open = |input| Reader::new(input, self.nodes).map_err(|e| failed(&root, e.into()));
        let pfs = Pfs {
            out: Directory::open(self.out).map_err(|error| failed(&root, error.into()))?,
            inputs: self.inputs.iter().map(open).collect::<Result<_>>()?,
        };
        let mut walk = Walk {
            nodes: self.nodes,
            writer: self.writer,
            pfs,
            collected: Collected::default(),
            linked: 0,
        };
        let out = Place { area: Area::Out, path: PathBuf::new() };
        let mut dirs = vec![OpenDir { place: out, to: root, through: None }];
        while let Some(dir) = dirs.pop() {
            for name in walk.names(&dir).await? {
                dirs.extend(walk.entry(&dir, &name).await?);
            }
        }
        Ok(walk.collected)
    }
}

/// A directory to take in.
struct OpenDir {
    place: Place,
    /// What becomes of it.
    to: TreePath,
    /// The link it was reached through, if any.
    through: Option<Arc<Hop>>,
}

/// A link that was followed to a directory.
struct Hop {
    from: Place,
    before: Option<Arc<Hop>>,
}

struct Walk<'a> {
    nodes: &'a crate::tree::Nodes,
    writer: &'a PackWriter,
    pfs: Pfs<'a>,
    collected: Collected,
    linked: u64,
}

impl Walk<'_> {
    async fn names(&self, dir: &OpenDir) -> Result<Vec<OsString>> {
        let names = match dir.place.area {
            Area::Out => self.pfs.out.names(&dir.place.path).map_err(Fault::from),
            Area::Input(index) => {
                let names = self.pfs.inputs[index].names(&dir.place.path).await;
                names.map(|names| names.into_iter().collect())
            }
        };
        names.map_err(|fault| failed(&dir.to, fault))
    }

    /// Takes one entry of a directory; answers the directory to go on in, if
    /// it is one.
    async fn entry(&mut self, dir: &OpenDir, name: &OsStr) -> Result<Option<OpenDir>> {
        // Others have their turn, however much there is.
        tokio::task::consume_budget().await;
        let Some(text) = name.to_str() else {
            return refuse(&dir.to, &format!("a name in it is not UTF-8: {}", name.display()));
        };
        let to = dir.to.join(text).map_err(|error| ControllerError::Job(error.to_string()))?;
        if dir.through.is_some() {
            self.linked += 1;
        }
        if self.linked > LINKED_MAX {
            return refuse(&to, "symbolic links to directories lead to too many files");
        }
        let place = dir.place.join(name);
        let seen = self.pfs.seen(&place).await.map_err(|fault| failed(&to, fault))?;
        let through = dir.through.clone();
        match (&seen, seen.target()) {
            // A link that was committed stays what it is.
            (Seen::Own(_), Some(target)) => self.link(place, to, through, &target).await,
            _ => self.take(OpenDir { place, to, through }, seen).await,
        }
    }

    /// Takes what a link of the program's stands for.
    async fn link(
        &mut self,
        link: Place,
        to: TreePath,
        through: Option<Arc<Hop>>,
        target: &OsStr,
    ) -> Result<Option<OpenDir>> {
        let led = self.pfs.follow(&link, target).await.map_err(|fault| failed(&to, fault))?;
        let (place, seen) = match led {
            Led::To(place, seen) => (place, seen),
            Led::Away => return self.keep_link(&to, target, "leads out of /pfs"),
            Led::Nowhere => return refuse(&to, "it is a symbolic link to nothing"),
            Led::Around => return refuse(&to, "its symbolic links form a loop"),
        };
        if !seen.is_dir() {
            return self.take(OpenDir { place, to, through }, seen).await;
        }
        let through = Hop { from: link, before: through };
        if through.came_from(&place) {
            return self.keep_link(&to, target, "leads to a directory it is in");
        }
        self.take(OpenDir { place, to, through: Some(Arc::new(through)) }, seen).await
    }

    /// Publishes a link as a link.
    fn keep_link(&mut self, to: &TreePath, target: &OsStr, why: &str) -> Result<Option<OpenDir>> {
        let Some(text) = target.to_str().filter(|text| text.len() <= LINK_MAX) else {
            return refuse(to, "the target of the symbolic link is not UTF-8");
        };
        if self.collected.remarks.len() < REMARKS_MAX {
            let remark = format!("/pfs/out{to} stays a symbolic link: {text} {why}");
            self.collected.remarks.push(remark);
        }
        let link = Entry::symlink(text.to_owned(), crate::model::Timestamp::default());
        self.collected.edits.insert(to.clone(), Edit::Put(link));
        Ok(None)
    }

    /// Takes what is at a place, which is no link of the program's.
    async fn take(&mut self, at: OpenDir, seen: Seen) -> Result<Option<OpenDir>> {
        match seen {
            Seen::Nothing => Ok(None),
            Seen::Own(thing) => self.take_own(at, &thing).await,
            Seen::Tree(source, entry) => self.take_from_tree(at, source, entry).await,
        }
    }

    async fn take_own(&mut self, at: OpenDir, thing: &Thing) -> Result<Option<OpenDir>> {
        match &thing.kind {
            ThingKind::Dir => {
                let dir = Entry { mode: thing.mode, ..Entry::dir(thing.mtime) };
                self.collected.edits.insert(at.to.clone(), Edit::Put(dir));
                Ok(Some(at))
            }
            ThingKind::File => self.copy(&at, thing).await.map(|()| None),
            ThingKind::Other(what) => refuse(&at.to, &format!("it is {what}")),
            // Links are followed before.
            ThingKind::Whiteout | ThingKind::Link(_) => Ok(None),
        }
    }

    async fn take_from_tree(
        &mut self,
        at: OpenDir,
        source: usize,
        entry: Entry,
    ) -> Result<Option<OpenDir>> {
        let (Area::Input(index), Some(path)) = (at.place.area, tree_path(&at.place.path)) else {
            return Ok(None);
        };
        let root = self.pfs.inputs[index].root(source);
        let whole = match &entry.kind {
            EntryKind::File(_) | EntryKind::Symlink(_) => true,
            EntryKind::Dir => {
                let whole = self.pfs.inputs[index].is_whole(&path).await;
                whole.map_err(|fault| failed(&at.to, fault))?
            }
        };
        if whole {
            let totals = Tree::new(self.nodes, root).totals(&path).await?;
            self.collected.bytes += totals.map_or(0, |totals| totals.bytes);
            self.collected.edits.insert(at.to, Edit::Graft { source: root, path });
            return Ok(None);
        }
        self.collected.edits.insert(at.to.clone(), Edit::Put(entry));
        Ok(Some(at))
    }

    async fn copy(&mut self, at: &OpenDir, thing: &Thing) -> Result<()> {
        let cannot = |error: io::Error| failed(&at.to, error.into());
        let file = self.pfs.own(at.place.area).file(&at.place.path).map_err(cannot)?;
        let mut file = tokio::fs::File::from_std(file);
        let mut content = FileWriter::new(self.writer, &[]);
        // Room for a whole small file and the read that finds its end.
        let room = usize::try_from(thing.size).unwrap_or(PIECE).saturating_add(1);
        loop {
            let mut piece = BytesMut::with_capacity(PIECE.min(room));
            if file.read_buf(&mut piece).await.map_err(cannot)? == 0 {
                break;
            }
            content.write(piece.freeze()).await?;
        }
        let content = content.finish().await?;
        self.collected.bytes += content.size();
        let entry = Entry { mode: thing.mode, ..Entry::file(content, thing.mtime) };
        self.collected.edits.insert(at.to.clone(), Edit::Put(entry));
        Ok(())
    }
}

impl Hop {
    /// Whether the way to this link led through `dir`.
    fn came_from(&self, dir: &Place) -> bool {
        let mut hops = std::iter::successors(Some(self), |hop| hop.before.as_deref());
        hops.any(|hop| dir.holds(&hop.from))
    }
}

/// What kept an output from being taken: trouble of the server's own, or
/// something about the output.
fn failed(to: &TreePath, fault: Fault) -> ControllerError {
    let error = match fault {
        Fault::Tree(error) => return error.into(),
        Fault::Io(error) => error,
    };
    match error.raw_os_error().map(Errno::from_raw) {
        Some(
            Errno::ENOSPC
            | Errno::EDQUOT
            | Errno::EIO
            | Errno::ENOMEM
            | Errno::EMFILE
            | Errno::ENFILE
            | Errno::ENOSYS,
        ) => ControllerError::io(format!("/pfs/out{to}"))(error),
        _ => cannot_keep(to, &error.to_string()),
    }
}

fn refuse<T>(path: &TreePath, why: &str) -> Result<T> {
    Err(cannot_keep(path, why))
}

fn cannot_keep(path: &TreePath, why: &str) -> ControllerError {
    ControllerError::Job(format!("output /pfs/out{path} cannot be kept: {why}"))
}
