//! Paths of files inside a repo.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest path, in bytes.
pub const PATH_MAX: usize = 4096;

/// The longest component of a path, in bytes: what Linux file systems take.
pub const NAME_MAX: usize = 255;

/// A path that no repo can hold; says which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("path {text:?} is invalid: {rule}")]
pub struct InvalidPath {
    /// The rejected text, shortened when very long.
    pub text: String,
    /// The rule it breaks.
    pub rule: &'static str,
}

/// A path relative to the root of a repo, without leading or trailing slash.
///
/// The root itself is the empty path. Components are neither empty nor `.`
/// nor `..`, hold no NUL, and are at most 255 bytes; the whole is at most
/// 4096. Text is UTF-8.
///
/// The order is *directory order*: component by component, so that everything
/// below a directory is contiguous and follows the directory itself.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TreePath(Arc<str>);

impl TreePath {
    /// The root of the repo.
    #[must_use]
    pub fn root() -> Self {
        Self("".into())
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The path as text, without leading slash; empty for the root.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The path with a leading slash; `/` for the root.
    #[must_use]
    pub fn absolute(&self) -> String {
        format!("/{}", self.0)
    }

    /// The last component; empty for the root.
    #[must_use]
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or("")
    }

    /// The directory this path is in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        match self.0.rfind('/') {
            Some(at) => Some(Self(self.0[..at].into())),
            None if self.is_root() => None,
            None => Some(Self::root()),
        }
    }

    /// Every proper ancestor from the root downwards, the root included.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let root = (!self.is_root()).then(Self::root);
        let inner = self.0.match_indices('/').map(|(at, _)| Self(self.0[..at].into()));
        root.into_iter().chain(inner)
    }

    /// The components, outermost first; none for the root.
    pub fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').filter(|c| !c.is_empty())
    }

    /// Whether `name` can be a component of a path.
    pub fn check_name(name: &str) -> Result<(), InvalidPath> {
        check_component(name).map_err(|rule| invalid(name, rule))
    }

    /// This path with one more component.
    pub fn join(&self, name: &str) -> Result<Self, InvalidPath> {
        check_component(name).map_err(|rule| invalid(name, rule))?;
        let mut text = String::with_capacity(self.0.len() + 1 + name.len());
        if !self.is_root() {
            text.push_str(&self.0);
            text.push('/');
        }
        text.push_str(name);
        bounded(&text)?;
        Ok(Self(text.into()))
    }

    /// This path with all of `rest` below it.
    pub fn join_path(&self, rest: &Self) -> Result<Self, InvalidPath> {
        let text = match (self.is_root(), rest.is_root()) {
            (true, _) => return Ok(rest.clone()),
            (_, true) => return Ok(self.clone()),
            (false, false) => format!("{}/{}", self.0, rest.0),
        };
        bounded(&text)?;
        Ok(Self(text.into()))
    }

    /// Whether `self` is `dir` or lies below it.
    #[must_use]
    pub fn starts_with(&self, dir: &Self) -> bool {
        self.strip_prefix(dir).is_some()
    }

    /// The rest of this path below `dir`; the root when they are equal.
    #[must_use]
    pub fn strip_prefix(&self, dir: &Self) -> Option<Self> {
        if dir.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(&*dir.0)? {
            "" => Some(Self::root()),
            rest => rest.strip_prefix('/').map(|rest| Self(rest.into())),
        }
    }
}

/// The rule a component breaks, if any.
fn check_component(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err("it has an empty component"),
        "." | ".." => Err("it has a '.' or '..' component"),
        _ if name.len() > NAME_MAX => Err("a component is longer than 255 bytes"),
        _ if name.contains('\0') => Err("it holds a NUL byte"),
        _ if name.contains('/') => Err("a name holds a '/'"),
        _ => Ok(()),
    }
}

fn bounded(text: &str) -> Result<(), InvalidPath> {
    match text.len() > PATH_MAX {
        true => Err(invalid(text, "it is longer than 4096 bytes")),
        false => Ok(()),
    }
}

fn invalid(text: &str, rule: &'static str) -> InvalidPath {
    let shown = match text.char_indices().nth(80) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    };
    InvalidPath { text: shown, rule }
}

impl FromStr for TreePath {
    type Err = InvalidPath;

    /// Accepts one leading slash and one trailing slash, both dropped.
    fn from_str(text: &str) -> Result<Self, InvalidPath> {
        bounded(text)?;
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = inner.strip_suffix('/').unwrap_or(inner);
        if inner.is_empty() {
            return Ok(Self::root());
        }
        match inner.split('/').try_for_each(check_component) {
            Ok(()) => Ok(Self(inner.into())),
            Err(rule) => Err(invalid(text, rule)),
        }
    }
}

impl Ord for TreePath {
    fn cmp(&self, other: &Self) -> Ordering {
        // '/' must sort below every other byte for directory order.
        let key = |b: u8| if b == b'/' { 0 } else { b };
        self.0.bytes().map(key).cmp(other.0.bytes().map(key))
    }
}

impl PartialOrd for TreePath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "/{}", self.0)
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl serde::Serialize for TreePath {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TreePath {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}
