//! What users write to name a commit or a file: `[project/]repo@ref:path`.

use std::fmt;
use std::str::FromStr;

use super::{
    BranchName, CommitId, InvalidName, InvalidPath, ProjectName, Repo, RepoKind, RepoName,
};

/// A ref, repo ref or file ref that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRef {
    /// The text has not the form of a ref.
    #[error("invalid reference {text:?}: {rule}")]
    Syntax {
        /// The rejected text.
        text: String,
        /// What was expected.
        rule: &'static str,
    },
    /// A name in it is outside the rules.
    #[error(transparent)]
    Name(#[from] InvalidName),
    /// The path in it is outside the rules.
    #[error(transparent)]
    Path(#[from] InvalidPath),
}

/// Where a ref starts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RefBase {
    /// A branch, or failing that a unique prefix (8 digits or more) of a
    /// commit id when the name has that form.
    Branch(BranchName),
    /// A full commit id.
    Commit(CommitId),
    /// A moment: the newest commit finished on `master` at or before it. Text
    /// as typed (RFC 3339 or a date), interpreted where the clock is known.
    Time(String),
}

/// A step from one commit to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Move {
    /// `~N`: N parents back.
    Ancestor(u32),
    /// `^N`: the same, spelled differently.
    Parent(u32),
    /// `.N`: the N-th commit counted from the branch's start, from 1.
    FromStart(u32),
}

/// A commit named relative to a repo: a base and steps from there.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ref {
    /// Where to start.
    pub base: RefBase,
    /// Steps to take, in order.
    pub moves: Vec<Move>,
}

impl Ref {
    /// The head of `branch`.
    #[must_use]
    pub fn branch(branch: BranchName) -> Self {
        Self { base: RefBase::Branch(branch), moves: Vec::new() }
    }

    /// Exactly the commit `id`.
    #[must_use]
    pub fn commit(id: CommitId) -> Self {
        Self { base: RefBase::Commit(id), moves: Vec::new() }
    }

    /// The branch named, when the ref is nothing but a branch.
    #[must_use]
    pub fn as_branch(&self) -> Option<&BranchName> {
        match (&self.base, self.moves.is_empty()) {
            (RefBase::Branch(name), true) => Some(name),
            _ => None,
        }
    }
}

fn syntax(text: &str, rule: &'static str) -> InvalidRef {
    InvalidRef::Syntax { text: text.to_owned(), rule }
}

/// Whether `text` starts like a date, `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let b = text.as_bytes();
    let digit = |at: usize| b.get(at).is_some_and(u8::is_ascii_digit);
    [0, 1, 2, 3, 5, 6, 8, 9].into_iter().all(digit) && b[4] == b'-' && b[7] == b'-'
}

fn parse_move(text: &str) -> Option<(Move, &str)> {
    let (kind, rest) = text.split_at_checked(1)?;
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = rest.split_at(digits);
    let count = if number.is_empty() { Some(1) } else { number.parse().ok() }?;
    match kind {
        "^" => Some((Move::Parent(count), rest)),
        "~" => Some((Move::Ancestor(count), rest)),
        "." if !number.is_empty() => Some((Move::FromStart(count), rest)),
        _ => None,
    }
}

impl FromStr for Ref {
    type Err = InvalidRef;

    fn from_str(text: &str) -> Result<Self, InvalidRef> {
        if is_date(text) {
            return Ok(Self { base: RefBase::Time(text.to_owned()), moves: Vec::new() });
        }
        let end = text.find(['^', '~', '.']).unwrap_or(text.len());
        let (name, mut rest) = text.split_at(end);
        if name.is_empty() {
            return Err(syntax(text, "expected a branch or commit id before '^', '~' or '.'"));
        }
        let base = match name.parse() {
            Ok(id) => RefBase::Commit(id),
            Err(_) => RefBase::Branch(name.parse()?),
        };
        let mut moves = Vec::new();
        while !rest.is_empty() {
            let (step, tail) = parse_move(rest)
                .ok_or_else(|| syntax(text, "expected '^', '^N', '~N' or '.N' after the base"))?;
            moves.push(step);
            rest = tail;
        }
        Ok(Self { base, moves })
    }
}

impl fmt::Display for Ref {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.base {
            RefBase::Branch(name) => write!(f, "{name}")?,
            RefBase::Commit(id) => write!(f, "{id}")?,
            RefBase::Time(text) => write!(f, "{text}")?,
        }
        self.moves.iter().try_for_each(|step| match step {
            Move::Ancestor(n) => write!(f, "~{n}"),
            Move::Parent(1) => write!(f, "^"),
            Move::Parent(n) => write!(f, "^{n}"),
            Move::FromStart(n) => write!(f, ".{n}"),
        })
    }
}

/// `[project/]repo[.kind]@ref`; the ref is optional where the grammar says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepoRef {
    /// The repo.
    pub repo: Repo,
    /// The ref after `@`, when one was given.
    pub reference: Option<Ref>,
}

impl RepoRef {
    /// Parses `text`, with `project` where it names none.
    pub fn parse(text: &str, project: &ProjectName) -> Result<Self, InvalidRef> {
        let (repo, reference) = match text.split_once('@') {
            Some((_, "")) => return Err(syntax(text, "nothing follows '@'")),
            Some((repo, reference)) => (repo, Some(reference.parse()?)),
            None => (text, None),
        };
        Ok(Self { repo: parse_repo(repo, project)?, reference })
    }
}

/// `[project/]repo[.spec|.meta|.user]`.
fn parse_repo(text: &str, project: &ProjectName) -> Result<Repo, InvalidRef> {
    let (project, name) = match text.split_once('/') {
        Some((project, name)) => (project.parse()?, name),
        None => (project.clone(), text),
    };
    let (name, kind) = match name.rsplit_once('.') {
        Some((name, "spec")) => (name, RepoKind::Spec),
        Some((name, "meta")) => (name, RepoKind::Meta),
        Some((name, "user")) => (name, RepoKind::User),
        _ => (name, RepoKind::User),
    };
    Ok(Repo { project, name: RepoName::from_str(name)?, kind })
}

/// `[project/]repo@ref:path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRef {
    /// The repo.
    pub repo: Repo,
    /// The ref after `@`; `None` means `master`.
    pub reference: Option<Ref>,
    /// The text after `:`, when there is a colon: a path, or a glob pattern
    /// where the command takes one.
    pub path: Option<String>,
}

impl FileRef {
    /// Parses `text`, with `project` where it names none.
    pub fn parse(text: &str, project: &ProjectName) -> Result<Self, InvalidRef> {
        let at = text.find('@').unwrap_or(text.len());
        // A time has colons of its own; the path then starts after ":/" .
        let (head, path) = match text[at..].strip_prefix('@').is_some_and(is_date) {
            true => split_once_keep(text, at, ":/", 1),
            false => split_once_keep(text, at, ":", 1),
        };
        let RepoRef { repo, reference } = RepoRef::parse(head, project)?;
        Ok(Self { repo, reference, path: path.map(str::to_owned) })
    }
}

fn split_once_keep<'t>(
    text: &'t str,
    from: usize,
    mark: &str,
    drop: usize,
) -> (&'t str, Option<&'t str>) {
    // Without '@' a colon may still follow the repo: `repo:path`.
    let from = if from == text.len() { 0 } else { from };
    match text[from..].find(mark) {
        Some(at) => (&text[..from + at], Some(&text[from + at + drop..])),
        None => (text, None),
    }
}
