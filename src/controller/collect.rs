//! Taking in what a program left in `/pfs/out`.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use bytes::BytesMut;
use nix::errno::Errno;
use tokio::io::AsyncReadExt as _;

use super::error::{ControllerError, Result};
use crate::chunk::{FileWriter, PackWriter};
use crate::model::{Timestamp, TreePath};
use crate::tree::{Edit, Entry, EntryKind, MODE_MASK, Root, Tree};

/// Symbolic links followed one after another before they count as a loop.
const LINKS_MAX: usize = 40;

/// How much of a file is read at a time.
const PIECE: usize = 1 << 20;

/// Where an input's files come from, for links that point into it.
pub struct LinkTarget {
    /// The input's directory under `/pfs`.
    pub name: String,
    /// The trees shown there, later ones over earlier ones.
    pub trees: Vec<Root>,
    /// Where the program's own changes to it are on this machine, and whether
    /// a file that is not there is as it is in the trees.
    pub changes: PathBuf,
}

/// Collects outputs into edits of a tree.
pub struct Collector<'a> {
    /// The directory that was `/pfs/out`.
    pub out: &'a Path,
    /// The inputs.
    pub inputs: &'a [LinkTarget],
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
}

impl Collector<'_> {
    /// Collects everything.
    ///
    /// # Errors
    /// [`ControllerError::Job`] for an output that no repo can hold; it names
    /// the output.
    pub async fn collect(&self) -> Result<Collected> {
        let mut collected = Collected::default();
        let mut dirs = vec![(self.out.to_owned(), TreePath::root(), 0)];
        while let Some((dir, path, links)) = dirs.pop() {
            let mut entries = tokio::fs::read_dir(&dir).await.map_err(unreadable(&path, &dir))?;
            while let Some(entry) = entries.next_entry().await.map_err(ControllerError::io(&dir))? {
                let name = entry.file_name();
                let Some(name) = name.to_str() else {
                    return refuse(
                        &path,
                        &format!("a name in it is not UTF-8: {}", name.display()),
                    );
                };
                let to = path.join(name).map_err(|e| ControllerError::Job(e.to_string()))?;
                let from = entry.path();
                if let Some(dir) = self.entry(from, &to, links, &mut collected).await? {
                    dirs.push((dir.0, to, dir.1));
                }
            }
        }
        Ok(collected)
    }

    /// Takes one output; answers the directory to go on in, if it is one.
    async fn entry(
        &self,
        mut from: PathBuf,
        to: &TreePath,
        mut links: usize,
        collected: &mut Collected,
    ) -> Result<Option<(PathBuf, usize)>> {
        loop {
            let found = match tokio::fs::symlink_metadata(&from).await {
                Ok(found) => found,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && links > 0 => {
                    return refuse(to, "it is a symbolic link to nothing");
                }
                Err(error) => return Err(unreadable(to, &from)(error)),
            };
            let kind = found.file_type();
            if kind.is_dir() {
                let dir = Entry { mode: found.mode() & MODE_MASK, ..Entry::dir(mtime(&found)) };
                collected.edits.insert(to.clone(), Edit::Put(dir));
                return Ok(Some((from, links)));
            }
            if kind.is_file() {
                self.file(&from, to, &found, collected).await?;
                return Ok(None);
            }
            if !kind.is_symlink() {
                let what = match () {
                    () if kind.is_fifo() => "a named pipe",
                    () if kind.is_socket() => "a socket",
                    () => "a device",
                };
                return refuse(to, &format!("it is {what}"));
            }
            links += 1;
            if links > LINKS_MAX {
                return refuse(to, "its symbolic links form a loop");
            }
            let target = tokio::fs::read_link(&from).await.map_err(unreadable(to, &from))?;
            match self.follow(&from, &target).await? {
                Followed::Here(path) => from = path,
                Followed::Input(edit, bytes) => {
                    collected.edits.insert(to.clone(), edit);
                    collected.bytes += bytes;
                    return Ok(None);
                }
            }
        }
    }

    async fn file(
        &self,
        from: &Path,
        to: &TreePath,
        found: &Metadata,
        collected: &mut Collected,
    ) -> Result<()> {
        let mut file = tokio::fs::File::open(from).await.map_err(unreadable(to, from))?;
        let mut content = FileWriter::new(self.writer, &[]);
        loop {
            let mut piece = BytesMut::with_capacity(PIECE.min(capacity(found)));
            let count = file.read_buf(&mut piece).await.map_err(ControllerError::io(from))?;
            if count == 0 {
                break;
            }
            content.write(piece.freeze()).await?;
        }
        let content = content.finish().await?;
        collected.bytes += content.size();
        let mode = found.permissions().mode() & MODE_MASK;
        let entry = Entry { mode, ..Entry::file(content, mtime(found)) };
        collected.edits.insert(to.clone(), Edit::Put(entry));
        Ok(())
    }

    /// Where a link leads: into an input it is taken by reference, unless the
    /// program changed that file.
    async fn follow(&self, link: &Path, target: &Path) -> Result<Followed> {
        let inside = match target.is_absolute() {
            true => normal(target),
            false => match link.strip_prefix(self.out) {
                Ok(place) => {
                    let parent = place.parent().unwrap_or(Path::new(""));
                    normal(&Path::new("/pfs/out").join(parent).join(target))
                }
                // A link met outside of /pfs/out leads on from there.
                Err(_) => normal(&link.parent().unwrap_or(Path::new("/")).join(target)),
            },
        };
        if let Ok(rest) = inside.strip_prefix("/pfs/out") {
            return Ok(Followed::Here(self.out.join(rest)));
        }
        for input in self.inputs {
            if let Ok(rest) = inside.strip_prefix(Path::new("/pfs").join(&input.name)) {
                return self.by_reference(input, rest).await;
            }
        }
        Ok(Followed::Here(inside))
    }

    async fn by_reference(&self, input: &LinkTarget, rest: &Path) -> Result<Followed> {
        let changed = input.changes.join(rest);
        let path = rest.to_str().and_then(|text| text.parse::<TreePath>().ok());
        let Some(path) = path.filter(|_| !changed.exists() || changed.is_dir()) else {
            return Ok(Followed::Here(changed));
        };
        for root in input.trees.iter().rev() {
            let tree = Tree::new(self.nodes, *root);
            let entry = match path.is_root() {
                true => Some(Entry::dir(Timestamp::default())),
                false => tree.get(&path).await?,
            };
            match entry.map(|entry| entry.kind) {
                None | Some(EntryKind::Symlink(_)) => {}
                Some(EntryKind::File(_) | EntryKind::Dir) => {
                    let bytes = tree.totals(&path).await?.map_or(0, |totals| totals.bytes);
                    return Ok(Followed::Input(Edit::Graft { source: *root, path }, bytes));
                }
            }
        }
        Ok(Followed::Here(changed))
    }
}

enum Followed {
    /// To a path of this machine.
    Here(PathBuf),
    /// Into an input, with how many bytes.
    Input(Edit, u64),
}

/// The path without `.` and `..`, as far as that can be told from its text.
fn normal(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => {
                clean.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    clean
}

/// Room for a whole small file and the read that finds its end.
fn capacity(found: &Metadata) -> usize {
    usize::try_from(found.len()).unwrap_or(PIECE).saturating_add(1)
}

fn mtime(found: &Metadata) -> Timestamp {
    // The kernel's nanoseconds lie in 0..10^9.
    Timestamp::from_parts(found.mtime(), found.mtime_nsec() as u32)
}

fn refuse<T>(path: &TreePath, why: &str) -> Result<T> {
    Err(not_kept(path, why))
}

fn not_kept(path: &TreePath, why: &str) -> ControllerError {
    ControllerError::Job(format!("output /pfs/out{path} cannot be kept: {why}"))
}

/// An output that cannot be read: the program's fault where it is because of
/// what the program made, else this machine's.
fn unreadable(to: &TreePath, from: &Path) -> impl FnOnce(std::io::Error) -> ControllerError {
    move |error| match error.raw_os_error().map(Errno::from_raw) {
        Some(
            Errno::ENOENT
            | Errno::EACCES
            | Errno::EPERM
            | Errno::ENOTDIR
            | Errno::ELOOP
            | Errno::ENAMETOOLONG,
        ) => not_kept(to, &format!("{}: {error}", from.display())),
        Some(_) | None => ControllerError::io(from)(error),
    }
}
