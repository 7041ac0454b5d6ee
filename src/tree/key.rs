//! The order of entries, as plain byte strings.

use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use crate::model::{InvalidPath, TreePath};

/// A path with `/` written as NUL, so that byte order is directory order.
///
/// A position between entries is a key too: see [`Key::below`] and
/// [`Key::after_subtree`]. The empty key sorts before every entry.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Key(Arc<[u8]>);

impl Key {
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// The key of `path`; the empty key for the root.
    pub fn of(path: &TreePath) -> Self {
        let separated = |b: u8| if b == b'/' { 0 } else { b };
        Self(path.as_str().bytes().map(separated).collect())
    }

    /// Sorts before every entry.
    pub fn start() -> Self {
        Self(Arc::default())
    }

    /// Sorts after every entry: no UTF-8 text holds the byte 0xff.
    pub fn end() -> Self {
        Self([0xff].into())
    }

    /// The first position below `path`, after `path` itself.
    pub fn below(path: &TreePath) -> Self {
        match path.is_root() {
            true => Self::start(),
            false => Self::of(path).successor(),
        }
    }

    /// The first position after `path` and everything below it.
    pub fn after_subtree(path: &TreePath) -> Self {
        match path.is_root() {
            true => Self::end(),
            false => Self::of(path).extended(1),
        }
    }

    /// The first position after the child `name`, and everything below it, of
    /// the directory whose first position is `below`.
    pub fn after_child(below: &Self, name: &str) -> Self {
        Self(below.0.iter().chain(name.as_bytes()).copied().chain([1]).collect())
    }

    /// This key with more bytes at its end.
    pub fn join(&self, rest: &[u8]) -> Self {
        Self(self.0.iter().chain(rest).copied().collect())
    }

    /// The next position: sorts after `self`, and before all that is below it.
    pub fn successor(&self) -> Self {
        self.extended(0)
    }

    fn extended(&self, byte: u8) -> Self {
        Self(self.0.iter().copied().chain([byte]).collect())
    }

    /// The first position after this and everything below it.
    pub fn after_all(&self) -> Self {
        self.extended(1)
    }

    /// The component that follows the first `prefix` bytes and is the last;
    /// `None` where there is more, or less.
    pub fn last_after(&self, prefix: usize) -> Option<&str> {
        let name = self.0.get(prefix..).filter(|name| !name.contains(&0))?;
        std::str::from_utf8(name).ok()
    }

    /// The path this is the key of.
    pub fn to_path(&self) -> Result<TreePath, InvalidPath> {
        path_of(&self.0)
    }
}

/// The path whose key is `bytes`; an error where no path has this key.
pub(super) fn path_of(bytes: &[u8]) -> Result<TreePath, InvalidPath> {
    let separated = bytes.iter().map(|&b| if b == 0 { b'/' } else { b }).collect();
    let exact = |text: &String| {
        !text.is_empty() && !text.starts_with('/') && !text.ends_with('/') && !bytes.contains(&b'/')
    };
    match String::from_utf8(separated).ok().filter(exact) {
        Some(text) => TreePath::from_str(&text),
        None => Err(InvalidPath {
            text: String::from_utf8_lossy(&bytes[..bytes.len().min(80)]).into_owned(),
            rule: "it is no stored path",
        }),
    }
}

/// How many leading bytes two keys share.
pub(super) fn shared_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

impl Deref for Key {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(&self.0))
    }
}
