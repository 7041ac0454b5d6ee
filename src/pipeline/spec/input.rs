//! Where datums come from: a tree of inputs.

use serde_json::{Map, Value as Json};

use super::Notice;
use super::fields::{Fields, ReadError, fail};
use super::{inert, trigger};
use crate::catalog::Trigger;
use crate::model::{BranchName, ProjectName, Repo, RepoKind, RepoName};
use crate::pipeline::document::Node;
use crate::pipeline::glob::Glob;

/// A tree of inputs; its value is a list of datums.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// The matches of a glob in a repo.
    Pfs(Box<PfsInput>),
    /// Every combination of one datum of each member.
    Cross(Vec<Input>),
    /// The datums of all members.
    Union(Vec<Input>),
    /// Datums of the members with equal keys, combined.
    Join(Vec<Input>),
    /// One datum per key, with every match that has it.
    Group(Vec<Input>),
    /// A commit per tick of a schedule.
    Cron(Box<CronInput>),
}

/// The matches of a glob in a branch of a repo.
#[derive(Debug, Clone, PartialEq)]
pub struct PfsInput {
    /// The directory under `/pfs`, and the environment variable.
    pub name: String,
    /// The repo.
    pub repo: Repo,
    /// The branch.
    pub branch: BranchName,
    /// The commit a job read, where the spec was taken from one; without
    /// effect.
    pub commit: String,
    /// What is one datum.
    pub glob: Glob,
    /// The join key, a template over the glob's captures; empty for none.
    pub join_on: String,
    /// Whether matches without a partner are kept in a join.
    pub outer_join: bool,
    /// The group key, a template over the glob's captures; empty for none.
    pub group_by: String,
    /// Whether the files appear without their contents.
    pub empty_files: bool,
    /// Whether the content is left out of the datum's hash.
    pub reference: bool,
    /// What moves the branch, if it is one that waits.
    pub trigger: Option<Trigger>,
    /// Known fields that have no effect here.
    pub inert: Map<String, Json>,
}

impl PfsInput {
    /// An input with every optional field at its default.
    #[must_use]
    pub fn new(repo: Repo, glob: Glob) -> Self {
        Self {
            name: repo.name.as_str().to_owned(),
            repo,
            branch: BranchName::master(),
            commit: String::new(),
            glob,
            join_on: String::new(),
            outer_join: false,
            group_by: String::new(),
            empty_files: false,
            reference: false,
            trigger: None,
            inert: Map::new(),
        }
    }
}

/// A schedule whose ticks are commits to a repo of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct CronInput {
    /// The directory under `/pfs`, and the environment variable.
    pub name: String,
    /// The repo ticks go to; `<pipeline>_<name>` unless named.
    pub repo: Repo,
    /// Five fields, or `@daily` and the like, or `@every 30s`.
    pub spec: String,
    /// When the schedule starts, RFC 3339; empty for now.
    pub start: String,
    /// Whether a tick replaces the one before.
    pub overwrite: bool,
}

impl CronInput {
    /// The repo its ticks go to unless it names one.
    #[must_use]
    pub fn own_repo(&self, pipeline: &str) -> Option<Repo> {
        let name = format!("{pipeline}_{}", self.name).parse().ok()?;
        Some(Repo::user(self.repo.project.clone(), name))
    }
}

impl Input {
    /// The inputs of which datums are made, in a fixed order.
    #[must_use]
    pub fn leaves(&self) -> Vec<Leaf<'_>> {
        match self {
            Self::Pfs(pfs) => vec![Leaf::Pfs(pfs)],
            Self::Cron(cron) => vec![Leaf::Cron(cron)],
            Self::Cross(members)
            | Self::Union(members)
            | Self::Join(members)
            | Self::Group(members) => members.iter().flat_map(Self::leaves).collect(),
        }
    }

    /// The one-line form that listings print.
    #[must_use]
    pub fn shorthand(&self) -> String {
        let all = |members: &[Self], between: &str| -> String {
            members.iter().map(Self::shorthand).collect::<Vec<_>>().join(between)
        };
        match self {
            Self::Pfs(pfs) => format!("{}:{}", pfs.repo.name, pfs.glob),
            Self::Cron(cron) => format!("{}:{}", cron.name, cron.spec),
            Self::Cross(members) => format!("({})", all(members, " ⨯ ")),
            Self::Union(members) => format!("({})", all(members, " ∪ ")),
            Self::Join(members) => format!("({})", all(members, " ⋈ ")),
            Self::Group(members) => format!("(Group: {})", all(members, ", ")),
        }
    }
}

/// One of the inputs of which datums are made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Leaf<'s> {
    /// Matches in a repo.
    Pfs(&'s PfsInput),
    /// Ticks of a schedule.
    Cron(&'s CronInput),
}

impl<'s> Leaf<'s> {
    /// The directory under `/pfs`.
    #[must_use]
    pub fn name(self) -> &'s str {
        match self {
            Self::Pfs(pfs) => &pfs.name,
            Self::Cron(cron) => &cron.name,
        }
    }

    /// The repo the files are in.
    #[must_use]
    pub fn repo(self) -> &'s Repo {
        match self {
            Self::Pfs(pfs) => &pfs.repo,
            Self::Cron(cron) => &cron.repo,
        }
    }

    /// The branch of that repo.
    #[must_use]
    pub fn branch(self) -> BranchName {
        match self {
            Self::Pfs(pfs) => pfs.branch.clone(),
            Self::Cron(_) => BranchName::master(),
        }
    }

    /// The branch whose commits set it off: the watched one of an input with
    /// a trigger.
    #[must_use]
    pub fn watched(self) -> BranchName {
        let watched = match self {
            Self::Pfs(pfs) => pfs.trigger.as_ref().and_then(|trigger| trigger.branch.parse().ok()),
            Self::Cron(_) => None,
        };
        watched.unwrap_or_else(|| self.branch())
    }

    /// What is one datum: ticks are files at the root.
    #[must_use]
    pub fn glob(self) -> Glob {
        match self {
            Self::Pfs(pfs) => pfs.glob.clone(),
            Self::Cron(_) => Glob::top_level(),
        }
    }
}

/// What the reading of inputs needs to know of the spec around them.
pub(super) struct Around<'a> {
    pub project: &'a ProjectName,
    pub pipeline: &'a str,
    /// Inputs with a trigger read so far.
    pub triggers: usize,
    pub notices: &'a mut Vec<Notice>,
}

const KINDS: &str = "pfs, atom, cross, union, join, group or cron";

pub(super) fn read(node: &Node, around: &mut Around<'_>) -> Result<Input, ReadError> {
    let mut fields = Fields::of(node, "input")?;
    let mut found = Vec::new();
    for kind in ["pfs", "atom", "cross", "union", "join", "group", "cron", "git"] {
        if let Some(node) = fields.take(kind) {
            found.push((kind, node));
        }
    }
    let at = fields.at();
    fields.finish()?;
    let (kind, node) = match found.as_slice() {
        [one] => *one,
        [] => return fail(at, format!("input is empty: give one of {KINDS}")),
        [_, (second, node), ..] => {
            return fail(node.at, format!("input has a second kind, {second:?}: give only one"));
        }
    };
    match kind {
        "cross" => members(node, kind, around).map(Input::Cross),
        "union" => members(node, kind, around).map(Input::Union),
        "join" => members(node, kind, around).map(Input::Join),
        "group" => members(node, kind, around).map(Input::Group),
        "cron" => cron(node, around).map(|cron| Input::Cron(Box::new(cron))),
        "git" => Err(ReadError {
            at: node.at,
            message: "git inputs are not supported".to_owned(),
            hint: Some("clone into a repo, e.g. with a mounted branch or put file -r".to_owned()),
        }),
        _ => pfs(node, around).map(|pfs| Input::Pfs(Box::new(pfs))),
    }
}

fn members(node: &Node, kind: &str, around: &mut Around<'_>) -> Result<Vec<Input>, ReadError> {
    let crate::pipeline::document::Value::List(nodes) = &node.value else {
        return fail(
            node.at,
            format!("{kind} must be a list of inputs, not {}", node.value.kind()),
        );
    };
    match nodes.is_empty() {
        true => fail(node.at, format!("{kind} has no members")),
        false => nodes.iter().map(|node| read(node, around)).collect(),
    }
}

fn pfs(node: &Node, around: &mut Around<'_>) -> Result<PfsInput, ReadError> {
    let mut fields = Fields::of(node, "pfs input")?;
    let name = fields.text("name")?.unwrap_or_default();
    let project = fields.parsed("project")?.unwrap_or_else(|| around.project.clone());
    let kind = repo_kind(fields.take("repo_type"))?;
    let Some(repo) = fields.parsed::<RepoName>("repo")? else {
        return Err(fields.missing("repo"));
    };
    let Some(glob) = fields.parsed::<Glob>("glob")? else {
        let missing = fields.missing("glob");
        let hint = "\"/\" makes the whole repo one datum, \"/*\" each entry".to_owned();
        return Err(ReadError { hint: missing.hint.or(Some(hint)), ..missing });
    };
    let branch = fields.parsed("branch")?;
    let (branch, trigger) = match fields.take("trigger").map(trigger::read).transpose()?.flatten() {
        None => (branch, None),
        Some(trigger) => {
            around.triggers += 1;
            let place = trigger::place(around.pipeline, around.triggers, branch, trigger);
            (place.0, Some(place.1))
        }
    };
    let pfs = PfsInput {
        branch: branch.unwrap_or_else(BranchName::master),
        trigger,
        commit: commit(&mut fields, around)?,
        join_on: fields.text("join_on")?.unwrap_or_default(),
        outer_join: fields.flag("outer_join")?,
        group_by: fields.text("group_by")?.unwrap_or_default(),
        empty_files: fields.flag("empty_files")?,
        reference: fields.flag("reference")?,
        inert: inert::take(&mut fields, inert::OF_PFS, around.notices)?,
        name: if name.is_empty() { repo.as_str().to_owned() } else { name },
        repo: Repo { project, name: repo, kind },
        glob,
    };
    fields.finish()?;
    Ok(pfs)
}

/// A commit is written into the inputs of jobs; in a spec it pins nothing.
fn commit(fields: &mut Fields<'_>, around: &mut Around<'_>) -> Result<String, ReadError> {
    let Some(node) = fields.take("commit") else { return Ok(String::new()) };
    let commit = super::fields::text(node, "commit")?;
    if !commit.is_empty() {
        let message = "commit is ignored: a pipeline reads the head of the branch".to_owned();
        around.notices.push(Notice { at: node.at, message });
    }
    Ok(commit)
}

fn repo_kind(node: Option<&Node>) -> Result<RepoKind, ReadError> {
    let Some(node) = node else { return Ok(RepoKind::User) };
    match super::fields::text(node, "repo_type")?.as_str() {
        "" | "user" => Ok(RepoKind::User),
        "spec" => Ok(RepoKind::Spec),
        "meta" => Ok(RepoKind::Meta),
        other => fail(node.at, format!("repo_type must be user, spec or meta, not {other:?}")),
    }
}

fn cron(node: &Node, around: &mut Around<'_>) -> Result<CronInput, ReadError> {
    let mut fields = Fields::of(node, "cron input")?;
    let Some(name) = fields.text("name")?.filter(|name| !name.is_empty()) else {
        return Err(fields.missing("name"));
    };
    let Some(spec) = fields.text("spec")?.filter(|spec| !spec.is_empty()) else {
        return Err(fields.missing("spec"));
    };
    let project = fields.parsed("project")?.unwrap_or_else(|| around.project.clone());
    let repo = match fields.parsed::<RepoName>("repo")? {
        Some(repo) => repo,
        None => match format!("{}_{name}", around.pipeline).parse() {
            Ok(repo) => repo,
            Err(error) => return fail(node.at, format!("the repo of the cron input: {error}")),
        },
    };
    commit(&mut fields, around)?;
    let cron = CronInput {
        start: fields.text("start")?.unwrap_or_default(),
        overwrite: fields.flag("overwrite")?,
        repo: Repo::user(project, repo),
        name,
        spec,
    };
    fields.finish()?;
    Ok(cron)
}
