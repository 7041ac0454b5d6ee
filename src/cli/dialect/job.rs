//! Jobs, datums and logs.

use super::{Words, slashed};

/// List jobs, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl list-job -p train")]
pub struct List {
    /// Only jobs that read these commits
    #[arg(value_name = "REPO/COMMIT")]
    commits: Vec<String>,
    /// Only jobs of this pipeline
    #[arg(short, long, value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// Only jobs that read this commit; may be repeated
    #[arg(short, long, value_name = "REPO/COMMIT")]
    input: Vec<String>,
    /// Only the job that wrote this commit
    #[arg(short, long, value_name = "REPO/COMMIT")]
    output: Option<String>,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl List {
    pub(super) fn words(self) -> Words {
        Words::new("list job")
            .flag("--expand", true)
            .option("--history", Some("all"))
            .option("--pipeline", self.pipeline)
            .option("--input", self.commits.iter().chain(&self.input).map(|text| slashed(text)))
            .option("--output-commit", self.output.as_deref().map(slashed))
            .flag("--raw", self.raw)
    }
}

/// Show one job
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl inspect-job 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Inspect {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    /// Wait until the job has ended
    #[arg(short, long)]
    block: bool,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Inspect {
    pub(super) fn words(self) -> Words {
        Words::new("inspect job").flag("--wait", self.block).flag("--raw", self.raw).arg(self.job)
    }
}

/// Wait for the jobs that commits set off
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl flush-job images/master")]
pub struct Flush {
    /// The commits
    #[arg(value_name = "REPO/COMMIT", required = true)]
    commits: Vec<String>,
    /// Only jobs of this pipeline; may be repeated
    #[arg(short, long, value_name = "PIPELINE")]
    pipeline: Vec<String>,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Flush {
    pub(super) fn words(self) -> Words {
        Words::new("flush job")
            .option("--pipeline", self.pipeline)
            .flag("--raw", self.raw)
            .args(self.commits.iter().map(|text| slashed(text)))
    }
}

/// Delete a job
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl delete-job 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Delete {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
}

impl Delete {
    pub(super) fn words(self) -> Words {
        Words::new("delete job").arg(self.job)
    }
}

/// Stop a job
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl stop-job 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Stop {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
}

impl Stop {
    pub(super) fn words(self) -> Words {
        Words::new("stop job").arg(self.job)
    }
}

/// List the datums of a job
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl list-datum 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct ListDatum {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    /// Which page to show, from 0
    #[arg(long, value_name = "N")]
    page: Option<String>,
    /// How many datums make a page
    #[arg(long = "pageSize", value_name = "N")]
    page_size: Option<String>,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl ListDatum {
    pub(super) fn words(self) -> Words {
        Words::new("list datum")
            .option("--page", self.page)
            .option("--page-size", self.page_size)
            .flag("--raw", self.raw)
            .arg(self.job)
    }
}

/// Show one datum of a job
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl inspect-datum 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11 1c2d3e")]
pub struct InspectDatum {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    /// The datum
    #[arg(value_name = "DATUM")]
    datum: String,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl InspectDatum {
    pub(super) fn words(self) -> Words {
        Words::new("inspect datum").flag("--raw", self.raw).arg(self.job).arg(self.datum)
    }
}

/// Start datums of a running job afresh
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  pachctl restart-datum 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11 /a.csv,/b.csv"
)]
pub struct RestartDatum {
    /// The job
    #[arg(value_name = "JOB")]
    job: String,
    /// The input files of the datum
    #[arg(value_name = "PATH,…")]
    paths: String,
}

impl RestartDatum {
    pub(super) fn words(self) -> Words {
        Words::new("restart datum").arg(self.job).arg(self.paths)
    }
}

/// Print what the programs of a pipeline wrote
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl get-logs --pipeline train")]
pub struct Logs {
    /// Logs of this pipeline
    #[arg(short, long, value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// Logs of this job
    #[arg(long, value_name = "JOB")]
    job: Option<String>,
    /// Logs of this datum
    #[arg(long, value_name = "DATUM")]
    datum: Option<String>,
    /// Logs of datums that have these input files
    #[arg(long, value_name = "PATH,…")]
    inputs: Option<String>,
    /// Logs of the planner
    #[arg(long)]
    master: bool,
    /// Go on as more is written
    #[arg(short, long)]
    follow: bool,
    /// Begin with the last lines
    #[arg(short, long, value_name = "LINES")]
    tail: Option<String>,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Logs {
    pub(super) fn words(self) -> Words {
        Words::new("logs")
            .option("--pipeline", self.pipeline)
            .option("--job", self.job)
            .option("--datum", self.datum)
            .option("--inputs", self.inputs)
            .flag("--master", self.master)
            .flag("--follow", self.follow)
            .option("--tail", self.tail)
            .flag("--raw", self.raw)
    }
}
