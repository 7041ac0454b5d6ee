//! Repos and branches.

use super::{Words, commit, slashed};

/// Create a repo
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl create-repo images")]
pub struct Create {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// What the repo holds
    #[arg(short, long, value_name = "TEXT")]
    description: Option<String>,
}

impl Create {
    pub(super) fn words(self) -> Words {
        Words::new("create repo").option("--description", self.description).arg(self.repo)
    }
}

/// Change the description of a repo
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl update-repo images -d photographs")]
pub struct Update {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// What the repo holds
    #[arg(short, long, value_name = "TEXT")]
    description: Option<String>,
}

impl Update {
    pub(super) fn words(self) -> Words {
        Words::new("update repo").option("--description", self.description).arg(self.repo)
    }
}

/// Show one repo
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl inspect-repo images")]
pub struct Inspect {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Inspect {
    pub(super) fn words(self) -> Words {
        Words::new("inspect repo").flag("--raw", self.raw).arg(self.repo)
    }
}

/// List the repos
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl list-repo")]
pub struct List {
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl List {
    pub(super) fn words(self) -> Words {
        Words::new("list repo").flag("--raw", self.raw)
    }
}

/// Delete a repo and its history
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl delete-repo images")]
pub struct Delete {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: Option<String>,
    /// Delete it even though others were derived from it
    #[arg(short, long)]
    force: bool,
    /// Delete every repo
    #[arg(long)]
    all: bool,
}

impl Delete {
    pub(super) fn words(self) -> Words {
        Words::new("delete repo")
            .flag("--force", self.force)
            .flag("--all", self.all)
            .args(self.repo)
    }
}

/// Create a branch, or move one
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl create-branch images staging")]
pub struct CreateBranch {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// The branch
    #[arg(value_name = "BRANCH")]
    branch: String,
    /// A branch that this one is derived from; may be repeated
    #[arg(short, long, value_name = "REPO/BRANCH", value_delimiter = ',')]
    provenance: Vec<String>,
    /// The commit that becomes the head
    #[arg(long, value_name = "COMMIT")]
    head: Option<String>,
}

impl CreateBranch {
    pub(super) fn words(self) -> Words {
        Words::new("create branch")
            .option("--provenance", self.provenance.iter().map(|text| slashed(text)))
            .option("--head", self.head)
            .arg(commit(&self.repo, &self.branch))
    }
}

/// Let a branch point to a commit
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl set-branch images staging master")]
pub struct SetBranch {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    head: String,
    /// The branch
    #[arg(value_name = "BRANCH")]
    branch: String,
}

impl SetBranch {
    pub(super) fn words(self) -> Words {
        Words::new("create branch")
            .option("--head", [self.head])
            .arg(commit(&self.repo, &self.branch))
    }
}

/// List the branches of a repo
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl list-branch images")]
pub struct ListBranch {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl ListBranch {
    pub(super) fn words(self) -> Words {
        Words::new("list branch").flag("--raw", self.raw).arg(self.repo)
    }
}

/// Delete a branch; its commits stay
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl delete-branch images staging")]
pub struct DeleteBranch {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// The branch
    #[arg(value_name = "BRANCH")]
    branch: String,
    /// Delete it even though others were derived from it
    #[arg(short, long)]
    force: bool,
}

impl DeleteBranch {
    pub(super) fn words(self) -> Words {
        Words::new("delete branch")
            .flag("--force", self.force)
            .arg(commit(&self.repo, &self.branch))
    }
}

/// Delete every pipeline, repo and commit
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl delete-all")]
pub struct DeleteAll {
    /// Do not ask
    #[arg(short, long)]
    yes: bool,
}

impl DeleteAll {
    pub(super) fn words(self) -> Words {
        Words::new("delete all").flag("--yes", self.yes)
    }
}

/// Show which installation the server is
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl inspect-cluster")]
pub struct InspectCluster {
    /// Print JSON
    #[arg(long)]
    raw: bool,
}

impl InspectCluster {
    pub(super) fn words(self) -> Words {
        Words::new("inspect cluster").flag("--raw", self.raw)
    }
}
