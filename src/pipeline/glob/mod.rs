//! Glob patterns over the paths of a repo.
//!
//! `*` and `?` stay within a component, `**` crosses components; `[a-z]` and
//! `[!x]` are classes, `{a,b}` alternatives. `(a|b)` captures, as do the
//! extended forms `?(…)`, `*(…)`, `+(…)`, `@(…)` and `!(…)`. A backslash takes
//! the next character literally. `/` (or nothing) is the root.

mod automaton;
mod syntax;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use crate::model::TreePath;
use automaton::Automaton;
use syntax::Part;

/// A pattern that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("glob {text:?} is invalid: {rule}")]
pub struct InvalidGlob {
    /// The pattern as given.
    pub text: String,
    /// What is wrong with it.
    pub rule: String,
}

/// A compiled pattern; cheap to clone. Two are equal when written alike.
#[derive(Clone)]
pub struct Glob(Arc<Compiled>);

struct Compiled {
    text: String,
    parts: Vec<Part>,
    whole: Automaton,
    /// One automaton per leading component that can be told apart.
    components: Vec<Automaton>,
    /// Whether `components` is the whole pattern, so that a match has exactly
    /// that many components.
    complete: bool,
    /// The directory every match lies in (or is, for a literal pattern).
    base: TreePath,
}

impl Glob {
    /// The pattern of the root: a whole repo.
    #[must_use]
    pub fn root() -> Self {
        Self::known("/")
    }

    /// The pattern of every entry at the top.
    #[must_use]
    pub fn top_level() -> Self {
        Self::known("/*")
    }

    /// Compiles a pattern this module wrote itself.
    fn known(text: &'static str) -> Self {
        // Both patterns above are covered by tests.
        text.parse().expect("a built-in pattern compiles")
    }

    /// The pattern as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0.text
    }

    /// The pattern of what this one matches in the directory `dir`; that of the
    /// root stays what it is.
    pub fn below(&self, dir: &TreePath) -> Result<Self, InvalidGlob> {
        if self.is_root() || dir.is_root() {
            return Ok(self.clone());
        }
        let mut text = String::new();
        for letter in dir.as_str().chars() {
            if !letter.is_alphanumeric() && letter != '/' {
                text.push('\\');
            }
            text.push(letter);
        }
        format!("{text}/{}", self.as_str().strip_prefix('/').unwrap_or(self.as_str())).parse()
    }

    /// Whether this is the pattern of the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.parts.is_empty()
    }

    /// The path that alone can match, when the pattern has no wildcards.
    #[must_use]
    pub fn literal(&self) -> Option<TreePath> {
        match self.0.parts.as_slice() {
            [] => Some(TreePath::root()),
            [Part::Literal(text)] => text.parse().ok(),
            _ => None,
        }
    }

    /// The deepest directory that is certain to hold every match.
    ///
    /// A search starts there and touches nothing else.
    #[must_use]
    pub fn base(&self) -> &TreePath {
        &self.0.base
    }

    /// Whether `path` matches, whatever stands there.
    #[must_use]
    pub fn matches(&self, path: &TreePath) -> bool {
        match (self.is_root(), path.is_root()) {
            (true, root) => root,
            (false, true) => false,
            (false, false) => self.0.whole.matches(path.as_str()),
        }
    }

    /// Whether the entry at `path` is selected as a datum.
    ///
    /// A pattern with `**` selects files only: its directories would hold
    /// other matches.
    #[must_use]
    pub fn selects(&self, path: &TreePath, is_dir: bool) -> bool {
        !(is_dir && self.is_recursive()) && self.matches(path)
    }

    /// Whether the pattern has a `**`.
    #[must_use]
    pub fn is_recursive(&self) -> bool {
        syntax::any(&self.0.parts, &|part| matches!(part, Part::AnyDepth))
    }

    /// Whether something below the directory `dir` could match.
    ///
    /// Never false when something does; a search need not enter `dir` when it
    /// is false.
    #[must_use]
    pub fn may_contain(&self, dir: &TreePath) -> bool {
        let depth = dir.components().count();
        if self.is_root() || self.0.complete && depth >= self.0.components.len() {
            return false;
        }
        self.0.components.iter().zip(dir.components()).all(|(one, name)| one.matches(name))
    }

    /// What the groups of the pattern captured, in the order they open; `None`
    /// when `path` does not match.
    #[must_use]
    pub fn captures(&self, path: &TreePath) -> Option<Vec<String>> {
        if !self.matches(path) {
            return None;
        }
        self.0.whole.captures(path.as_str())
    }

    /// How many groups capture.
    #[must_use]
    pub fn groups(&self) -> usize {
        syntax::groups(&self.0.parts)
    }

    /// `template` with `$1`, `${2}`… replaced by what the groups captured.
    #[must_use]
    pub fn key(&self, path: &TreePath, template: &str) -> Option<String> {
        let captured = self.captures(path)?;
        Some(expand(template, &captured))
    }
}

fn expand(template: &str, captured: &[String]) -> String {
    let mut key = String::new();
    let mut rest = template;
    while let Some(at) = rest.find('$') {
        key.push_str(&rest[..at]);
        let tail = &rest[at + 1..];
        let (inner, braces) = match tail.strip_prefix('{') {
            Some(inner) => (inner, true),
            None => (tail, false),
        };
        let digits = inner.bytes().take_while(u8::is_ascii_digit).count();
        let closed = !braces || inner[digits..].starts_with('}');
        match inner[..digits].parse::<usize>() {
            Ok(group) if closed => {
                let value = group.checked_sub(1).and_then(|index| captured.get(index));
                key.push_str(value.map_or("", String::as_str));
                rest = &inner[digits + usize::from(braces)..];
            }
            Ok(_) | Err(_) => {
                key.push('$');
                rest = tail;
            }
        }
    }
    key.push_str(rest);
    key
}

impl FromStr for Glob {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        let invalid = |rule: String| InvalidGlob { text: text.to_owned(), rule };
        if text.len() > crate::model::PATH_MAX {
            return Err(invalid("it is longer than 4096 bytes".to_owned()));
        }
        let inner = text.strip_prefix('/').unwrap_or(text);
        let inner = match inner.strip_suffix('/') {
            Some(rest) if !rest.ends_with('\\') => rest,
            Some(_) | None => inner,
        };
        let parts = syntax::parse(inner).map_err(&invalid)?;
        let whole = Automaton::new(&parts).map_err(&invalid)?;
        let (split, complete) = syntax::components(&parts);
        let components = split
            .iter()
            .map(|one| Automaton::new(one))
            .collect::<Result<_, _>>()
            .map_err(&invalid)?;
        let base = base(&split, complete).map_err(invalid)?;
        Ok(Self(Arc::new(Compiled {
            text: text.to_owned(),
            parts,
            whole,
            components,
            complete,
            base,
        })))
    }
}

/// The literal components before the first that is not, the last left out.
fn base(split: &[Vec<Part>], complete: bool) -> Result<TreePath, String> {
    let mut base = TreePath::root();
    let dirs = if complete { split.len().saturating_sub(1) } else { split.len() };
    for component in split.iter().take(dirs) {
        match component.as_slice() {
            [Part::Literal(name)] => base = base.join(name).map_err(|error| error.to_string())?,
            [] => return Err("it has an empty component".to_owned()),
            _ => break,
        }
    }
    Ok(base)
}

impl PartialEq for Glob {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Glob {}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.text)
    }
}

impl fmt::Debug for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Glob({:?})", self.0.text)
    }
}
