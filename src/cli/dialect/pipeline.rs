//! Pipelines.

use std::ffi::OsString;

use super::Words;

/// Create pipelines from their specs
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl create-pipeline -f train.json")]
pub struct Create {
    /// The spec: a file, a URL, or '-' for standard input
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<OsString>,
    /// Accepted; images are not pushed
    #[arg(short, long)]
    push_images: bool,
    /// Accepted; images are not pushed
    #[arg(short, long, value_name = "REGISTRY")]
    registry: Option<String>,
    /// Accepted; images are not pushed
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Accepted; images are not pushed
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
}

impl Create {
    pub(super) fn words(self) -> Words {
        Words::new("create pipeline")
            .option("--file", self.files)
            .flag("--push-images", self.push_images)
            .option("--registry", self.registry)
            .option("--username", self.username)
            .option("--password", self.password)
    }
}

/// Update pipelines to new specs
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl update-pipeline -f train.json")]
pub struct Update {
    /// The spec: a file, a URL, or '-' for standard input
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<OsString>,
    /// Accepted; images are not pushed
    #[arg(short, long)]
    push_images: bool,
    /// Accepted; images are not pushed
    #[arg(short, long, value_name = "REGISTRY")]
    registry: Option<String>,
    /// Accepted; images are not pushed
    #[arg(short, long, value_name = "USER")]
    username: Option<String>,
    /// Accepted; images are not pushed
    #[arg(long, value_name = "PASSWORD")]
    password: Option<String>,
    /// Run every datum again
    #[arg(long)]
    reprocess: bool,
}

impl Update {
    pub(super) fn words(self) -> Words {
        Words::new("update pipeline")
            .option("--file", self.files)
            .flag("--push-images", self.push_images)
            .option("--registry", self.registry)
            .option("--username", self.username)
            .option("--password", self.password)
            .flag("--reprocess", self.reprocess)
    }
}

/// Show one pipeline
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl inspect-pipeline train")]
pub struct Inspect {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Inspect {
    pub(super) fn words(self) -> Words {
        Words::new("inspect pipeline").flag("--raw", self.raw).arg(self.name)
    }
}

/// List the pipelines
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl list-pipeline")]
pub struct List {
    /// Print the specs
    #[arg(short, long)]
    spec: bool,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl List {
    pub(super) fn words(self) -> Words {
        Words::new("list pipeline").flag("--spec", self.spec).flag("--raw", self.raw)
    }
}

/// Print the spec that a pipeline was made from
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl extract-pipeline train")]
pub struct Extract {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
}

impl Extract {
    pub(super) fn words(self) -> Words {
        Words::new("extract pipeline").arg(self.name)
    }
}

/// Change the spec of a pipeline in an editor
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl edit-pipeline train --editor nano")]
pub struct Edit {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
    /// The editor
    #[arg(long, value_name = "COMMAND")]
    editor: Option<String>,
    /// Run every datum again
    #[arg(long)]
    reprocess: bool,
}

impl Edit {
    pub(super) fn words(self) -> Words {
        Words::new("edit pipeline")
            .option("--editor", self.editor)
            .flag("--reprocess", self.reprocess)
            .arg(self.name)
    }
}

/// Delete a pipeline, its jobs and its output repo
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl delete-pipeline train")]
pub struct Delete {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: Option<String>,
    /// Delete every pipeline
    #[arg(long)]
    all: bool,
    /// Delete it even though others read its output
    #[arg(short, long)]
    force: bool,
}

impl Delete {
    pub(super) fn words(self) -> Words {
        Words::new("delete pipeline")
            .flag("--all", self.all)
            .flag("--force", self.force)
            .args(self.name)
    }
}

/// Start a pipeline that was stopped
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl start-pipeline train")]
pub struct Start {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
}

impl Start {
    pub(super) fn words(self) -> Words {
        Words::new("start pipeline").arg(self.name)
    }
}

/// Stop a pipeline
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl stop-pipeline train")]
pub struct Stop {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
}

impl Stop {
    pub(super) fn words(self) -> Words {
        Words::new("stop pipeline").arg(self.name)
    }
}

/// Create a secret from a manifest
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl create-secret -f docker-config.yaml")]
pub struct CreateSecret {
    /// The manifest
    #[arg(short, long, value_name = "FILE")]
    file: OsString,
}

impl CreateSecret {
    pub(super) fn words(self) -> Words {
        Words::new("create secret").option("--file", [self.file])
    }
}
