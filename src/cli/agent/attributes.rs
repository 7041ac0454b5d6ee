//! What the attributes of a volume mean.

use std::collections::BTreeMap;
use std::time::Duration;

use pfs_daemonset::Refusal;

use crate::cli::mount::Prefetch;
use crate::model::{Branch, BranchName, ProjectName, Ref, RefBase, Repo, RepoRef, TreePath};

#[cfg(test)]
mod tests;

/// What a volume shows, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Attributes {
    pub shown: Shown,
    pub prefetch: Prefetch,
}

/// What a volume shows.
#[derive(Debug, Clone, PartialEq)]
pub enum Shown {
    /// Every repo as a directory.
    All,
    /// A directory of one state of a repo, or of each as the head moves.
    Read { repo: Repo, reference: Option<Ref>, path: TreePath, follow: bool },
    /// A directory of a transaction.
    Written { branch: Branch, path: TreePath, when: When, message: String },
}

/// When what was written is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At the end, if the pod has succeeded.
    OnSuccess,
    /// At the end, if there is a file `_SUCCESS`.
    OnMarker,
    /// When a program says so.
    Explicit,
    /// At the end.
    OnUnmount,
    /// So often, and at the end.
    Interval(Duration),
}

impl Shown {
    /// Whether anything can be written.
    pub fn is_written(&self) -> bool {
        matches!(self, Self::Written { .. })
    }

    /// The branch whose head it begins with; `None` for what follows heads, and
    /// for what no head is looked up for.
    pub fn begins_with(&self) -> Option<Branch> {
        match self {
            Self::All | Self::Read { follow: true, .. } => None,
            Self::Read { repo, reference: None, .. } => Some(repo.branch(BranchName::master())),
            Self::Read { repo, reference: Some(reference), .. } => match &reference.base {
                RefBase::Branch(name) => Some(repo.branch(name.clone())),
                RefBase::Commit(_) | RefBase::Time(_) => None,
            },
            Self::Written { branch, .. } => Some(branch.clone()),
        }
    }
}

/// The names that there are.
const NAMES: [&str; 8] = ["repo", "ref", "path", "mode", "follow", "commit", "message", "prefetch"];

/// What a commit may wait for.
const WHENS: [&str; 5] = ["onSuccess", "onMarker", "explicit", "onUnmount", "interval=10m"];

/// How alike two words are that are taken for the same one.
const ALIKE: f64 = 0.75;

impl Attributes {
    /// What `given` means; a volume that is `read_only` is not written whatever
    /// it says, and one that is `ephemeral` commits when its pod succeeds unless
    /// it says otherwise.
    pub fn parse(
        given: &BTreeMap<String, String>,
        read_only: bool,
        ephemeral: bool,
    ) -> Result<Self, Refusal> {
        if let Some(unknown) = given.keys().find(|name| !NAMES.contains(&name.as_str())) {
            let known = "the attributes of a volume are repo, ref, path, mode, follow, commit, \
                         message and prefetch";
            let hint = nearest(unknown, &NAMES)
                .map_or_else(|| known.to_owned(), |name| format!("did you mean {name:?}?"));
            return Err(Refusal::invalid(format!("unknown attribute {unknown:?}: {hint}")));
        }
        let given = Given(given);
        let prefetch = given.get("prefetch").unwrap_or("none").parse::<Prefetch>();
        let prefetch = prefetch.map_err(|error| bad("prefetch", &error))?;
        let written = match given.get("mode") {
            None | Some("ro") => false,
            Some("rw") => true,
            Some(other) => return Err(odd("mode", other, &["ro", "rw"])),
        };
        let follow = match given.get("follow") {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(other) => return Err(odd("follow", other, &["true", "false"])),
        };
        if !written {
            given.refuse(&["commit", "message"], "goes with mode: rw")?;
        }
        let Some(repo) = given.get("repo") else {
            let why = "needs a repo; without one the volume is the whole tree";
            given.refuse(&["ref", "path", "commit", "message"], why)?;
            return match (written, follow) {
                (true, _) => Err(Refusal::invalid(format!("mode rw {why}"))),
                (_, Some(false)) => Err(Refusal::invalid(format!("follow: false {why}"))),
                (false, None | Some(true)) => Ok(Self { shown: Shown::All, prefetch }),
            };
        };
        let shown = given.shown(repo, written, follow, ephemeral)?;
        let shown = match shown {
            Shown::Written { branch, path, .. } if read_only => {
                let reference = Some(Ref::branch(branch.name));
                Shown::Read { repo: branch.repo, reference, path, follow: false }
            }
            shown => shown,
        };
        let (Shown::Read { path, .. } | Shown::Written { path, .. }) = &shown else {
            return Ok(Self { shown, prefetch });
        };
        let prefetch = prefetch.below(path).map_err(|error| bad("prefetch", &error))?;
        Ok(Self { shown, prefetch })
    }
}

/// Attributes by name; what is empty is not there.
struct Given<'a>(&'a BTreeMap<String, String>);

impl<'a> Given<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn refuse(&self, names: &[&str], why: &str) -> Result<(), Refusal> {
        match names.iter().find(|name| self.get(name).is_some()) {
            Some(name) => Err(Refusal::invalid(format!("attribute {name:?} {why}"))),
            None => Ok(()),
        }
    }

    fn shown(
        &self,
        repo: &str,
        written: bool,
        follow: Option<bool>,
        ephemeral: bool,
    ) -> Result<Shown, Refusal> {
        let RepoRef { repo, reference } = RepoRef::parse(repo, &ProjectName::default_project())
            .map_err(|error| bad("repo", &error))?;
        if reference.is_some() {
            return Err(Refusal::invalid("attribute \"repo\" names a ref: write it as \"ref\""));
        }
        let reference = self.get("ref").map(str::parse::<Ref>).transpose();
        let reference = reference.map_err(|error| bad("ref", &error))?;
        let path = self.get("path").unwrap_or("").trim_matches('/').parse::<TreePath>();
        let path = path.map_err(|error| bad("path", &error))?;
        let moves = |reference: &Ref| !matches!(reference.base, RefBase::Commit(_));
        match (written, follow) {
            (true, Some(_)) => Err(Refusal::invalid(
                "attribute \"follow\" goes with mode: ro; what is written \
                                      follows its branch until something is",
            )),
            (true, None) => {
                let name = match &reference {
                    None => BranchName::master(),
                    Some(reference) => reference.as_branch().cloned().ok_or_else(|| {
                        Refusal::invalid(format!("mode rw: {reference} is no branch"))
                    })?,
                };
                let when = self.when(ephemeral)?;
                let message = self.get("message").unwrap_or("").to_owned();
                Ok(Shown::Written { branch: repo.branch(name), path, when, message })
            }
            (false, Some(true)) if !reference.as_ref().is_none_or(moves) => {
                Err(Refusal::invalid("follow: true goes with a branch; a commit never moves"))
            }
            (false, follow) => {
                Ok(Shown::Read { repo, reference, path, follow: follow.unwrap_or(false) })
            }
        }
    }

    fn when(&self, ephemeral: bool) -> Result<When, Refusal> {
        Ok(match self.get("commit") {
            None if ephemeral => When::OnSuccess,
            None | Some("onUnmount") => When::OnUnmount,
            Some("onSuccess") => When::OnSuccess,
            Some("onMarker") => When::OnMarker,
            Some("explicit") => When::Explicit,
            Some(other) => {
                let span = other.strip_prefix("interval=");
                let span = span.and_then(crate::pipeline::spec::parse_duration);
                match span.filter(|span| *span >= SHORTEST) {
                    Some(span) => When::Interval(span),
                    None => return Err(odd("commit", other, &WHENS)),
                }
            }
        })
    }
}

/// The shortest interval between commits.
const SHORTEST: Duration = Duration::from_secs(1);

fn bad(name: &str, error: &dyn std::error::Error) -> Refusal {
    Refusal::invalid(format!("attribute {name:?}: {error}"))
}

fn odd(name: &str, value: &str, known: &[&str]) -> Refusal {
    let hint = nearest(value, known).map_or_else(
        || format!("use {}", known.join(", ")),
        |known| format!("did you mean {known:?}?"),
    );
    Refusal::invalid(format!("attribute {name:?} cannot be {value:?}: {hint}"))
}

fn nearest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let alike = |known: &&'k str| {
        let (text, known) = (text.to_ascii_lowercase(), known.to_ascii_lowercase());
        strsim::jaro_winkler(&text, &known)
    };
    let best = known.iter().max_by(|a, b| alike(a).total_cmp(&alike(b)))?;
    (alike(best) > ALIKE).then_some(*best)
}
