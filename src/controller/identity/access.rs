//! What the pods of a namespace may read and write: a file of the operator's.

mod file;

use std::collections::BTreeMap;

use globset::{GlobBuilder, GlobMatcher};

pub use file::{AccessFile, UnreadableAccess};

use crate::model::{Repo, RepoKind};
use crate::pipeline::document::{self, Key, Node, Position, SyntaxError, Value};

/// Stands for every namespace, and as a pattern for every repo.
const ALL: &str = "*";

/// The rights of namespaces. What is not in there is not allowed.
#[derive(Debug, Default)]
pub struct Access {
    namespaces: BTreeMap<String, Rights>,
}

#[derive(Debug, Default)]
struct Rights {
    read: Vec<Pattern>,
    write: Vec<Pattern>,
}

/// Repos by name.
#[derive(Debug)]
enum Pattern {
    /// All there are, in every project, those of pipelines' own included.
    All,
    /// The repos of users whose `project/name` matches.
    Named(GlobMatcher),
}

impl Pattern {
    fn parse(text: &str) -> Option<Self> {
        if text == ALL {
            return Some(Self::All);
        }
        let (project, name) = text.split_once('/').unwrap_or(("default", text));
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '*');
        let is_part = |part: &str| !part.is_empty() && part.chars().all(allowed);
        if !is_part(project) || !is_part(name) {
            return None;
        }
        let full = format!("{project}/{name}");
        let glob = GlobBuilder::new(&full).literal_separator(true).build().ok()?;
        Some(Self::Named(glob.compile_matcher()))
    }

    fn matches(&self, repo: &Repo) -> bool {
        match self {
            Self::All => true,
            Self::Named(glob) => match repo.kind {
                RepoKind::User => glob.is_match(format!("{}/{}", repo.project, repo.name)),
                RepoKind::Spec | RepoKind::Meta => false,
            },
        }
    }
}

/// A file of rights that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}{}", hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default())]
pub struct InvalidAccess {
    /// Where in the text.
    pub at: Position,
    /// What is wrong there.
    pub message: String,
    /// What was meant, maybe.
    pub hint: Option<String>,
}

impl From<SyntaxError> for InvalidAccess {
    fn from(error: SyntaxError) -> Self {
        Self { at: error.at, message: error.message, hint: None }
    }
}

type Read<T> = Result<T, InvalidAccess>;

impl Access {
    /// Reads
    ///
    /// ```yaml
    /// namespaces:
    ///   team-a:
    ///     read: [training, "shared-*", "project/*"]
    ///     write: [model]
    ///   "*":
    ///     read: [public]
    /// ```
    ///
    /// A repo is `NAME` or `PROJECT/NAME`, where `*` stands for any letters; a
    /// lone `*` is every repo. The namespace `*` is every namespace. Who may
    /// write a repo may read it.
    ///
    /// # Errors
    /// The first offence, with its position.
    pub fn parse(text: &str) -> Read<Self> {
        let documents = document::parse(text)?;
        let start = Position { line: 1, column: 1 };
        let [node] = documents.as_slice() else {
            let (at, message) = match documents.get(1) {
                None => (start, "namespaces are missing: the file is empty"),
                Some(second) => (second.at, "expected one document only"),
            };
            return Err(InvalidAccess { at, message: message.to_owned(), hint: None });
        };
        let [namespaces] = fields(node, "the file", ["namespaces"])?;
        let Some(namespaces) = namespaces else {
            return fail(node.at, "namespaces are missing");
        };
        let mut access = Self::default();
        for (key, node) in entries(namespaces, "namespaces")? {
            if key.text != ALL && (!super::is_name(&key.text) || key.text.contains('.')) {
                return fail(key.at, format!("{:?} is no name of a namespace", key.text));
            }
            let what = format!("namespace {:?}", key.text);
            let [read, write] = fields(node, &what, ["read", "write"])?;
            let rights = Rights { read: patterns(read, "read")?, write: patterns(write, "write")? };
            access.namespaces.insert(key.text.clone(), rights);
        }
        Ok(access)
    }

    /// Whether `namespace` may read `repo`, or everything.
    #[must_use]
    pub fn may_read(&self, namespace: &str, repo: Option<&Repo>) -> bool {
        self.rights(namespace).any(|rights| match repo {
            None => rights.read.iter().any(|pattern| matches!(pattern, Pattern::All)),
            Some(repo) => {
                rights.read.iter().chain(&rights.write).any(|pattern| pattern.matches(repo))
            }
        })
    }

    /// Whether `namespace` may write `repo`.
    #[must_use]
    pub fn may_write(&self, namespace: &str, repo: &Repo) -> bool {
        self.rights(namespace).any(|rights| rights.write.iter().any(|one| one.matches(repo)))
    }

    fn rights(&self, namespace: &str) -> impl Iterator<Item = &Rights> {
        [namespace, ALL].into_iter().filter_map(|name| self.namespaces.get(name))
    }
}

fn fail<T>(at: Position, message: impl Into<String>) -> Read<T> {
    Err(InvalidAccess { at, message: message.into(), hint: None })
}

fn entries<'n>(node: &'n Node, what: &str) -> Read<&'n [(Key, Node)]> {
    match &node.value {
        Value::Map(entries) => Ok(entries),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) | Value::List(_) => {
            fail(node.at, format!("{what} must be an object, not {}", node.value.kind()))
        }
    }
}

/// The values of the fields that there may be, and no others.
fn fields<'n, const N: usize>(
    node: &'n Node,
    what: &str,
    known: [&str; N],
) -> Read<[Option<&'n Node>; N]> {
    let mut found = [None; N];
    for (key, node) in entries(node, what)? {
        let Some(at) = known.iter().position(|name| *name == key.text) else {
            let message = format!("unknown field {:?} in {what}", key.text);
            let hint = nearest(&key.text, &known).map(|name| format!("did you mean {name:?}?"));
            return Err(InvalidAccess { at: key.at, message, hint });
        };
        found[at] = Some(node);
    }
    Ok(found)
}

fn nearest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let text = text.to_ascii_lowercase();
    let score = |name: &str| strsim::jaro_winkler(&text, name);
    let best = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(best) > 0.7).then_some(*best)
}

fn patterns(node: Option<&Node>, name: &str) -> Read<Vec<Pattern>> {
    let Some(node) = node else { return Ok(Vec::new()) };
    let Value::List(items) = &node.value else {
        return fail(node.at, format!("{name} must be a list, not {}", node.value.kind()));
    };
    let pattern = |item: &Node| {
        let (Value::Text(text) | Value::Number(text)) = &item.value else {
            return fail(item.at, format!("a repo must be a string, not {}", item.value.kind()));
        };
        match Pattern::parse(text) {
            Some(pattern) => Ok(pattern),
            None => fail(
                item.at,
                format!("{text:?} is no pattern of repos: expected NAME or PROJECT/NAME with *"),
            ),
        }
    };
    items.iter().map(pattern).collect()
}
