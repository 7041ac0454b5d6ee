//! `get file`.

use std::fs;
use std::io::{self, IsTerminal as _, Write};
use std::path::{Path, PathBuf};

use futures::StreamExt as _;

use super::packs::{LARGE, NODES};
use super::stored::copy;
use super::target::clean;
use super::unpack::unpack;
use crate::api::client::Client;
use crate::chunk::{Blobs, Content};
use crate::cli::direct;
use crate::cli::mount::wire;
use crate::cli::output::{Named, STDOUT, bytes_bar};
use crate::cli::prelude::*;
use crate::model::TreePath;
use crate::tree::{Entry, EntryKind, NodeCache, Nodes, Root, Tree};

/// Get a file, or with -r a directory
///
/// A file goes to standard output unless -o says where to.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs get file images@master:/cat.png > cat.png
  pfs get file images@master~2:/labels.csv -o old.csv
  pfs get file -r images@master:/2024 -o holidays/")]
pub struct Args {
    /// The file, directory or pattern
    #[arg(value_name = "REPO@REF:PATH")]
    file: String,
    /// Get a directory with everything in it
    #[arg(short, long)]
    recursive: bool,
    /// Write to this file or directory; '-' is standard output
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Begin at this byte
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    #[arg(conflicts_with = "recursive")]
    offset: i64,
    /// Continue where an interrupted download ended
    #[arg(long, requires = "output", conflicts_with_all = ["recursive", "offset"])]
    retry: bool,
    /// Show progress even for little
    #[arg(long)]
    progress: bool,
    /// Accepted; files are always written in parallel
    #[arg(short, long, value_name = "N", hide = true)]
    parallelism: Option<u32>,
}

impl Args {
    /// Gets the file or directory.
    pub async fn run(self, cx: &Context) -> Outcome {
        let file = cx.file(&self.file)?;
        let output = self.output.as_deref().filter(|path| *path != Path::new("-"));
        match (self.recursive, output) {
            (true, Some(dir)) => tree(cx, file, dir).await,
            (true, None) => Err(Failure::usage("a directory needs a place to be written to")
                .hint("name a directory with -o")),
            (false, Some(path)) => self.to_file(cx, file, path).await,
            (false, None) => {
                // Flushed before the process ends, so that errors show.
                let mut out = Named::new(STDOUT, io::stdout());
                content(cx, file, self.offset, &mut out).await?;
                Ok(out.flush()?)
            }
        }
    }

    async fn to_file(&self, cx: &Context, file: pfs::File, path: &Path) -> Outcome {
        let path = match path.is_dir() {
            true => path.join(file.path.rsplit('/').next().unwrap_or("file")),
            false => path.to_owned(),
        };
        let failed =
            |error: io::Error| Failure::new(format!("cannot write {}: {error}", path.display()));
        if self.retry && path.exists() {
            let file_there = fs::OpenOptions::new().append(true).open(&path).map_err(failed)?;
            let have = file_there.metadata().map_err(failed)?.len();
            let mut out = Named::new(path.display().to_string(), file_there);
            return content(cx, file, i64::try_from(have).unwrap_or(i64::MAX), &mut out).await;
        }
        // Opened with the first bytes, so that a file that cannot be read
        // leaves nothing behind.
        let on_demand = OnDemand { path: path.clone(), file: None };
        let mut out = Named::new(path.display().to_string(), on_demand);
        content(cx, file, self.offset, &mut out).await?;
        Ok(out.flush()?)
    }
}

/// A file that is made when it is first written to or flushed.
struct OnDemand {
    path: PathBuf,
    file: Option<fs::File>,
}

impl OnDemand {
    fn file(&mut self) -> io::Result<&mut fs::File> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(fs::File::create(&self.path)?)),
        }
    }
}

impl Write for OnDemand {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file()?.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file()?.flush()
    }
}

/// Writes what one file holds: through the server at first, and when there is
/// more of it, the rest from the store itself.
async fn content(
    cx: &Context,
    file: pfs::File,
    offset: i64,
    out: &mut (impl Write + Send),
) -> Outcome {
    let client = cx.client().await?;
    let (file, root) = pinned(client, file).await;
    let request = pfs::GetFileRequest { file: Some(file.clone()), offset, ..Default::default() };
    let mut stream = client.pfs().get_file(request).await?.into_inner();
    let bar = bytes_bar("get", None, io::stderr().is_terminal() && !io::stdout().is_terminal());
    let mut at = u64::try_from(offset).unwrap_or(0);
    let mut direct = root;
    while let Some(bytes) = stream.message().await? {
        out.write_all(&bytes)?;
        at += bytes.len() as u64;
        bar.inc(bytes.len() as u64);
        if at < LARGE {
            continue;
        }
        if let Some((blobs, content)) = stored(client, direct.take(), &file.path).await? {
            drop(stream);
            copy(&blobs, &content, at, out, &bar).await?;
            break;
        }
    }
    bar.finish_and_clear();
    Ok(())
}

/// The file at exactly one commit, with the root of its tree; as it was where
/// the commit is still open.
async fn pinned(client: &Client, mut file: pfs::File) -> (pfs::File, Option<Root>) {
    let Some(commit) = &mut file.commit else { return (file, None) };
    let repo = commit.repo.clone().unwrap_or_default();
    let repo = v1::RepoName {
        project: repo.project.unwrap_or_default().name,
        repo: repo.name,
        kind: repo.r#type,
    };
    let reference = match (&commit.branch, commit.id.as_str()) {
        (Some(branch), "") => branch.name.clone(),
        (_, id) => id.to_owned(),
    };
    let request = v1::ResolveRefRequest { repo: Some(repo), r#ref: reference, exact: true };
    // What does not resolve is refused by the call that follows, in its words.
    let Ok(found) = client.native().resolve_ref(request).await else { return (file, None) };
    let found = found.into_inner();
    let (Ok(root), Ok(id)) = (wire::root(&found.root), wire::commit(&found.commit)) else {
        return (file, None);
    };
    (commit.id, commit.branch) = (id.to_string(), None);
    (file, Some(root))
}

/// What a file holds and where; `None` when the store cannot be reached from
/// here, or the path is a pattern.
async fn stored(
    client: &Client,
    root: Option<Root>,
    path: &str,
) -> Outcome<Option<(Blobs, Content)>> {
    let (Some(root), Ok(path)) = (root, path.parse::<TreePath>()) else { return Ok(None) };
    let Some(blobs) = direct::blobs(client).await? else { return Ok(None) };
    let tree = Tree::new(&Nodes::new(blobs.clone(), NodeCache::new(NODES)), root);
    let found = tree.get(&path).await.map_err(|error| Failure::new(error.to_string()))?;
    match found {
        Some(Entry { kind: EntryKind::File(content), .. }) => Ok(Some((blobs, content))),
        Some(Entry { kind: EntryKind::Dir | EntryKind::Symlink(_), .. }) | None => Ok(None),
    }
}

/// Writes everything below a directory, or everything a pattern matches.
async fn tree(cx: &Context, file: pfs::File, dir: &Path) -> Outcome {
    let base = base(&file.path);
    let request = pfs::GetFileRequest { file: Some(file), ..Default::default() };
    let stream = cx.client().await?.pfs().get_file_tar(request).await?.into_inner();
    let bar = bytes_bar("get", None, io::stderr().is_terminal());
    let counted = {
        let bar = bar.clone();
        stream.map(move |piece| piece.inspect(|bytes| bar.inc(bytes.len() as u64)))
    };
    let done = unpack(counted, dir, &base).await;
    bar.finish_and_clear();
    done
}

/// What to take off the front of paths: the directory asked for, or the one
/// that a pattern starts from.
fn base(path: &str) -> String {
    let path = clean(path);
    match path.find(['*', '?', '[', '{', '(']) {
        None => path,
        Some(at) => path[..at].rsplit_once('/').map_or("", |(dir, _)| dir).to_owned(),
    }
}
