//! Commits.

use super::{Words, commit, slashed};

/// Start a commit and print its id
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl start-commit images master")]
pub struct Start {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// The branch; master when not given
    #[arg(value_name = "BRANCH")]
    branch: Option<String>,
    /// The parent
    #[arg(short, long, value_name = "COMMIT")]
    parent: Option<String>,
    /// What the commit is about
    #[arg(short, long, alias = "description", value_name = "TEXT")]
    message: Option<String>,
}

impl Start {
    pub(super) fn words(self) -> Words {
        Words::new("start commit")
            .option("--parent", self.parent)
            .option("--message", self.message)
            .arg(commit(&self.repo, self.branch.as_deref().unwrap_or("master")))
    }
}

/// Finish a commit
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl finish-commit images master")]
pub struct Finish {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    commit: String,
    /// What the commit is about
    #[arg(short, long, alias = "description", value_name = "TEXT")]
    message: Option<String>,
}

impl Finish {
    pub(super) fn words(self) -> Words {
        Words::new("finish commit")
            .option("--message", self.message)
            .arg(commit(&self.repo, &self.commit))
    }
}

/// Show one commit, with everything it was derived from
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl inspect-commit images master")]
pub struct Inspect {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    commit: String,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Inspect {
    pub(super) fn words(self) -> Words {
        Words::new("inspect commit").flag("--raw", self.raw).arg(commit(&self.repo, &self.commit))
    }
}

/// List commits, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl list-commit images master -n 5")]
pub struct List {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// Where to go back from
    #[arg(value_name = "COMMIT")]
    commit: Option<String>,
    /// Stop before this commit
    #[arg(short, long, value_name = "COMMIT")]
    from: Option<String>,
    /// Show at most this many
    #[arg(short, long, value_name = "N")]
    number: Option<String>,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl List {
    pub(super) fn words(self) -> Words {
        Words::new("list commit")
            .option("--from", self.from)
            .option("--number", self.number)
            .flag("--raw", self.raw)
            .arg(match &self.commit {
                Some(reference) => commit(&self.repo, reference),
                None => self.repo.clone(),
            })
    }
}

/// Wait for everything derived from commits
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl flush-commit images/master")]
pub struct Flush {
    /// The commits
    #[arg(value_name = "REPO/COMMIT", required = true)]
    commits: Vec<String>,
    /// Wait only for commits of these repos
    #[arg(short, long, value_name = "REPO")]
    repos: Vec<String>,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Flush {
    pub(super) fn words(self) -> Words {
        Words::new("flush commit")
            .option("--repos", self.repos)
            .flag("--raw", self.raw)
            .args(self.commits.iter().map(|text| slashed(text)))
    }
}

/// Print the commits of a branch as they finish
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl subscribe-commit images master --new")]
pub struct Subscribe {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// The branch
    #[arg(value_name = "BRANCH")]
    branch: String,
    /// Begin after this commit
    #[arg(long, value_name = "COMMIT")]
    from: Option<String>,
    /// Begin with the next commit
    #[arg(long)]
    new: bool,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Subscribe {
    pub(super) fn words(self) -> Words {
        Words::new("subscribe commit")
            .option("--from", self.from)
            .flag("--new", self.new)
            .flag("--raw", self.raw)
            .arg(commit(&self.repo, &self.branch))
    }
}

/// Delete a commit and everything derived from it
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl delete-commit images master")]
pub struct Delete {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    commit: String,
}

impl Delete {
    pub(super) fn words(self) -> Words {
        Words::new("delete commit").flag("--recursive", true).arg(commit(&self.repo, &self.commit))
    }
}
