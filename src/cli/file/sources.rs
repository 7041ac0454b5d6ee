//! From what was typed to the files to send.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead as _};
use std::path::{Path, PathBuf};

use super::target::{Source, directory, is_url, join, target};
use crate::cli::failure::{Failure, Outcome};
use crate::model::TreePath;

/// What to send, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Where the bytes come from.
    pub from: From,
    /// The path in the repo; the root only for directories.
    pub path: String,
}

/// Where the bytes of an [`Item`] come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum From {
    /// Standard input.
    Stdin,
    /// A local file.
    File(PathBuf),
    /// A local directory with everything in it.
    Dir(PathBuf),
    /// A URL the server fetches; with everything below it when `true`.
    Url(String, bool),
    /// What a tar file holds, or with `None` a tar stream on standard input.
    Tar(Option<PathBuf>),
}

/// How sources are turned into items.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The path after the branch.
    pub path: Option<String>,
    /// Take directories with everything in them.
    pub recursive: bool,
    /// Keep the whole local path, not only its last component.
    pub full_path: bool,
    /// Take what tar files hold instead of the files.
    pub untar: bool,
}

/// One item per source; fails when two would go to one place.
pub fn items(sources: &[String], rules: &Rules) -> Outcome<Vec<Item>> {
    let several = sources.len() > 1;
    let mut taken = HashSet::new();
    let mut items = Vec::with_capacity(sources.len());
    for text in sources {
        let item = item(&Source::new(text), rules, several)?;
        if !taken.insert(item.path.clone()) && !matches!(item.from, From::Dir(_) | From::Tar(_)) {
            let path = &item.path;
            return Err(Failure::usage(format!("multiple files put with the path {path:?}")));
        }
        items.push(item);
    }
    Ok(items)
}

fn item(source: &Source, rules: &Rules, several: bool) -> Outcome<Item> {
    let typed = rules.path.as_deref();
    let file = |from| {
        let path = target(typed, source, several, rules.full_path)?;
        Ok(Item { from, path: checked(&path)? })
    };
    let below = checked_dir(typed.unwrap_or_default());
    match source {
        Source::Stdin if rules.untar => Ok(Item { from: From::Tar(None), path: below? }),
        Source::Local(text) if rules.untar => {
            let from = From::Tar(Some(PathBuf::from(text)));
            Ok(Item { from, path: below? })
        }
        Source::Stdin if rules.recursive => {
            Err(Failure::usage("--recursive makes no sense with standard input"))
        }
        Source::Stdin => file(From::Stdin),
        Source::Url(url) if rules.recursive => {
            let path = directory(typed, source, several, rules.full_path)?;
            Ok(Item { from: From::Url(url.clone(), true), path: checked_dir(&path)? })
        }
        Source::Url(url) => file(From::Url(url.clone(), false)),
        Source::Local(text) => {
            let place = PathBuf::from(text);
            let metadata = match fs::metadata(&place) {
                Err(_) if text.contains("://") => return Err(unknown_scheme(text)),
                found => found.map_err(|error| missing(&place, &error))?,
            };
            if !metadata.is_dir() {
                return file(From::File(place));
            }
            if !rules.recursive {
                return Err(Failure::new(format!("{text:?} is a directory"))
                    .hint("add -r to put it with everything in it"));
            }
            let path = directory(typed, source, several, rules.full_path)?;
            Ok(Item { from: From::Dir(place), path: checked_dir(&path)? })
        }
    }
}

fn checked(path: &str) -> Outcome<String> {
    let path: TreePath = path.parse()?;
    match path.is_root() {
        true => Err(Failure::usage("a file needs a path, not the root of the repo")),
        false => Ok(path.as_str().to_owned()),
    }
}

fn checked_dir(path: &str) -> Outcome<String> {
    Ok(path.parse::<TreePath>()?.as_str().to_owned())
}

fn unknown_scheme(url: &str) -> Failure {
    Failure::usage(format!("cannot put {url}: there is no such file, and no such kind of URL"))
        .hint("URLs may begin with http://, https://, s3://, gs:// or az://")
}

fn missing(path: &Path, error: &io::Error) -> Failure {
    Failure::new(format!("cannot read {}: {error}", path.display()))
}

/// The sources that a list names: one path or URL per line.
pub async fn listed(list: &str) -> Outcome<Vec<String>> {
    let text = match list {
        "-" => io::read_to_string(io::stdin())?,
        _ if is_url(list) => fetch(list).await?,
        _ => fs::read_to_string(list).map_err(|error| missing(Path::new(list), &error))?,
    };
    let lines = text.as_bytes().lines().collect::<Result<Vec<_>, _>>()?;
    Ok(lines.into_iter().map(|line| line.trim().to_owned()).filter(|l| !l.is_empty()).collect())
}

/// Text behind a URL.
pub async fn fetch(url: &str) -> Outcome<String> {
    let failed = |error: reqwest::Error| Failure::new(format!("cannot fetch {url:?}: {error}"));
    let answer = reqwest::get(url).await.map_err(failed)?;
    answer.error_for_status().map_err(failed)?.text().await.map_err(failed)
}

/// Calls `visit` with every file and symlink below `dir`, in path order, with
/// its path in the repo below `path`.
pub fn walk(
    dir: &Path,
    path: &str,
    visit: &mut impl FnMut(&Path, &str, &fs::Metadata) -> Outcome,
) -> Outcome {
    let failed = |error| missing(dir, &error);
    let mut entries: Vec<_> =
        fs::read_dir(dir).map_err(failed)?.collect::<Result<_, _>>().map_err(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let place = entry.path();
        let name = entry.file_name();
        let name = name.to_str().ok_or_else(|| {
            Failure::new(format!("the name of {} is not valid UTF-8", place.display()))
        })?;
        let metadata = entry.metadata().map_err(|error| missing(&place, &error))?;
        let path = join(path, name);
        match metadata.is_dir() {
            true => walk(&place, &path, visit)?,
            false => visit(&place, &path, &metadata)?,
        }
    }
    Ok(())
}
