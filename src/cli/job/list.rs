//! `list job`.

use super::super::pipeline::{self, list::history};
use crate::cli::prelude::*;

/// List jobs, newest first
///
/// Without arguments lists job sets: the jobs that one commit set off in all
/// pipelines. With an id lists the jobs of that set; with a pipeline the jobs
/// of that pipeline.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs list job
  pfs list job -p train
  pfs list job 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Args {
    /// The id of a job set
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Only jobs of this pipeline
    #[arg(short, long, value_name = "PIPELINE")]
    pipeline: Option<String>,
    /// Only jobs that read this commit; may be repeated
    #[arg(short, long, value_name = "REPO@REF")]
    input: Vec<String>,
    /// Only the job that wrote this commit
    #[arg(long = "output-commit", value_name = "REPO@REF")]
    written: Option<String>,
    /// Show every job of every set
    #[arg(short = 'x', long)]
    expand: bool,
    /// Also show jobs of this many earlier versions of the pipeline
    #[arg(long, value_name = "N|all", default_value = "none", hide_default_value = true)]
    history: String,
    /// Only jobs in this state; may be repeated
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Show at most this many; 0 shows all
    #[arg(short, long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    number: i64,
    /// List the jobs of every project
    #[arg(short = 'A', long)]
    all_projects: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per job or set.
    pub async fn run(self, cx: &Context) -> Outcome {
        show::check_states(&self.state, show::job_states())?;
        if let Some(text) = &self.id {
            let mut printer = cx.printer(&self.format, columns(cx));
            for info in super::fetch(cx, text, false).await? {
                self.print(cx, &mut printer, &info)?;
            }
            return printer.finish();
        }
        let one_by_one = self.expand
            || self.pipeline.is_some()
            || !self.input.is_empty()
            || self.written.is_some()
            || !self.state.is_empty();
        match one_by_one {
            true => self.jobs(cx).await,
            false => self.sets(cx).await,
        }
    }

    fn projects(&self, cx: &Context) -> Outcome<Vec<pfs::Project>> {
        match self.all_projects {
            true => Ok(Vec::new()),
            false => Ok(vec![cx.project()?]),
        }
    }

    async fn jobs(&self, cx: &Context) -> Outcome {
        let written = self.written.as_deref().map(|text| cx.commit(text)).transpose()?;
        let wrote = written.as_ref().and_then(|commit| commit.repo.clone());
        let name = self.pipeline.clone().or_else(|| wrote.as_ref().map(show::repo));
        let input = self.input.iter().map(|text| cx.commit(text)).collect::<Outcome<_>>()?;
        let request = pps::ListJobRequest {
            projects: self.projects(cx)?,
            pipeline: name.as_deref().map(|name| pipeline::named(cx, name)).transpose()?,
            input_commit: input,
            history: history(&self.history)?,
            details: true,
            number: self.number,
            ..Default::default()
        };
        let mut stream = cx.client().await?.pps().list_job(request).await?.into_inner();
        let mut printer = cx.printer(&self.format, columns(cx));
        while let Some(info) = stream.message().await? {
            let made = info.output_commit.as_ref().map_or("", |commit| commit.id.as_str());
            if written.as_ref().is_none_or(|commit| commit.id == made || commit.id.is_empty()) {
                self.print(cx, &mut printer, &info)?;
            }
        }
        printer.finish()
    }

    fn print(&self, cx: &Context, printer: &mut Printer, info: &pps::JobInfo) -> Outcome {
        let state = show::job_state(info.state);
        match self.state.is_empty() || self.state.iter().any(|wanted| wanted == state) {
            true => printer.entity(info, || row(cx, &self.format, info)),
            false => Ok(()),
        }
    }

    async fn sets(&self, cx: &Context) -> Outcome {
        let request = pps::ListJobSetRequest {
            details: true,
            projects: self.projects(cx)?,
            number: self.number,
            ..Default::default()
        };
        let stream = cx.client().await?.pps().list_job_set(request).await?.into_inner();
        let columns = ["ID", "SUBJOBS", "PROGRESS", "CREATED", "MODIFIED"];
        cx.print_all(&self.format, &columns, stream, |set| set_row(cx, &self.format, set)).await
    }
}

fn set_row(cx: &Context, format: &Format, set: &pps::JobSetInfo) -> Vec<Cell> {
    let id = set.job_set.as_ref().map_or("", |set| set.id.as_str());
    let moment = |time: &&prost_types::Timestamp| (time.seconds, time.nanos);
    let done = set.jobs.iter().filter(|info| info.finished.is_some()).count();
    let created = set.jobs.iter().filter_map(|info| info.created.as_ref()).min_by_key(moment);
    let modified = set
        .jobs
        .iter()
        .flat_map(|info| [&info.finished, &info.started, &info.created])
        .filter_map(Option::as_ref)
        .max_by_key(moment);
    vec![
        id.into(),
        set.jobs.len().to_string().into(),
        show::bar(done, set.jobs.len()).into(),
        cx.age(format, created).into(),
        cx.age(format, modified).into(),
    ]
}

/// The columns of a list of jobs.
pub fn columns(cx: &Context) -> &'static [&'static str] {
    match cx.era {
        Era::Dash => &[
            "ID",
            "OUTPUT COMMIT",
            "STARTED",
            "DURATION",
            "RESTART",
            "PROGRESS",
            "DL",
            "UL",
            "STATE",
        ],
        Era::Native => &[
            "PROJECT", "PIPELINE", "ID", "STARTED", "DURATION", "RESTART", "PROGRESS", "DL", "UL",
            "STATE",
        ],
    }
}

/// One job in a list.
pub fn row(cx: &Context, format: &Format, info: &pps::JobInfo) -> Vec<Cell> {
    let job = info.job.clone().unwrap_or_default();
    let pipeline = job.pipeline.unwrap_or_default();
    let stats = info.stats.unwrap_or_default();
    let started = super::started(cx, info);
    let mut cells: Vec<Cell> = match cx.era {
        Era::Dash => {
            let commit = info.output_commit.as_ref().map_or("-".to_owned(), show::dash_commit);
            vec![job.id.into(), commit.into()]
        }
        Era::Native => vec![
            pipeline.project.unwrap_or_default().name.into(),
            pipeline.name.into(),
            job.id.into(),
        ],
    };
    cells.extend([
        cx.age(format, started).into(),
        show::took(started, info.finished.as_ref()).into(),
        info.restart.to_string().into(),
        show::progress(info).into(),
        size(unsigned(stats.download_bytes)).into(),
        size(unsigned(stats.upload_bytes)).into(),
        state(cx, info),
    ]);
    cells
}

/// The state of a job, since 2.x with the start of the reason.
fn state(cx: &Context, info: &pps::JobInfo) -> Cell {
    const REASON: usize = 25;
    if cx.era == Era::Dash {
        return Cell::state(show::dash_job_state(info.state));
    }
    let word = show::job_state(info.state);
    let reason: String = info.reason.chars().take(REASON).collect();
    match (word, reason.is_empty()) {
        ("success", true) if info.data_total == info.data_skipped => {
            Cell::state(word).tail(": there were no datums to process")
        }
        (_, true) => Cell::state(word),
        (_, false) if reason.len() < info.reason.len() => {
            Cell::state(word).tail(&format!(": {reason}..."))
        }
        (_, false) => Cell::state(word).tail(&format!(": {reason}")),
    }
}
