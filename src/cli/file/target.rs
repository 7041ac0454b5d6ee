//! Which path in the repo a source is put to. Pure: looks at names only.

use std::path::Path;

use crate::cli::failure::{Failure, Outcome};

/// What was named with `-f`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// `-`.
    Stdin,
    /// Fetched by the server.
    Url(String),
    /// A file or directory on this machine.
    Local(String),
}

impl Source {
    /// What `text` names.
    #[must_use]
    pub fn new(text: &str) -> Self {
        match text {
            "-" => Self::Stdin,
            _ if is_url(text) => Self::Url(text.to_owned()),
            _ => Self::Local(text.to_owned()),
        }
    }
}

const SCHEMES: [&str; 9] = ["http", "https", "s3", "gs", "gcs", "as", "az", "azure", "wasb"];

/// Whether `text` has the form of a URL that a server can fetch.
#[must_use]
pub fn is_url(text: &str) -> bool {
    let scheme = text.split_once("://").map(|(scheme, _)| scheme);
    scheme.is_some_and(|scheme| SCHEMES.contains(&scheme))
}

/// The place for `source`, given the path that was typed after the branch and
/// whether it has to be shared with other sources.
pub fn target(
    typed: Option<&str>,
    source: &Source,
    several: bool,
    full_path: bool,
) -> Outcome<String> {
    let typed = typed.filter(|path| !path.is_empty());
    let is_dir = |path: &str| several || path.ends_with('/');
    match typed {
        Some(path) if !is_dir(path) => Ok(path.to_owned()),
        Some(path) => Ok(join(path, &own_name(source, full_path)?)),
        None => own_name(source, full_path),
    }
}

/// The place for a directory that is put with everything in it: the path
/// typed, else the directory's own name.
pub fn directory(
    typed: Option<&str>,
    source: &Source,
    several: bool,
    full_path: bool,
) -> Outcome<String> {
    match typed.filter(|path| !path.is_empty()) {
        Some(path) if several => Ok(join(path, &own_name(source, full_path)?)),
        Some(path) => Ok(path.to_owned()),
        None => own_name(source, full_path),
    }
}

/// What a source is called by itself.
fn own_name(source: &Source, full_path: bool) -> Outcome<String> {
    match source {
        Source::Stdin => Err(Failure::usage("a path is needed to put standard input to")
            .hint("write the path after the branch, as in repo@master:/path")),
        Source::Url(url) => url_name(url),
        Source::Local(path) if full_path => Ok(clean(path)),
        Source::Local(path) => {
            let name = Path::new(path).file_name().and_then(|name| name.to_str());
            match name {
                Some(name) => Ok(name.to_owned()),
                // `.`, `..` and `/` have no name; their content goes to the root.
                None => Ok(String::new()),
            }
        }
    }
}

/// The path of a URL, without host or bucket.
fn url_name(url: &str) -> Outcome<String> {
    let parsed = url::Url::parse(url)
        .map_err(|error| Failure::usage(format!("invalid URL {url:?}: {error}")))?;
    let path = percent_encoding::percent_decode_str(parsed.path()).decode_utf8_lossy();
    match clean(&path) {
        path if path.is_empty() && matches!(parsed.scheme(), "http" | "https") => {
            Err(Failure::usage(format!("the URL {url:?} has no path to name the file by"))
                .hint("write the path after the branch, as in repo@master:/path"))
        }
        path => Ok(path),
    }
}

/// Without leading, trailing and repeated slashes and without `.`.
#[must_use]
pub fn clean(path: &str) -> String {
    let parts: Vec<_> = path.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    parts.join("/")
}

/// `name` below `dir`; what is odd in `dir` stays, to be refused.
#[must_use]
pub fn join(dir: &str, name: &str) -> String {
    match dir {
        "" => name.to_owned(),
        dir => format!("{}/{name}", dir.strip_suffix('/').unwrap_or(dir)),
    }
}
