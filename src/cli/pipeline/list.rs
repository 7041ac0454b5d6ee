//! `list pipeline`.

use super::named;
use crate::cli::prelude::*;

/// List the pipelines of a project, newest first
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs list pipeline
  pfs list pipeline --state failure
  pfs list pipeline --spec")]
pub struct Args {
    /// Only this pipeline, with --history its versions
    #[arg(value_name = "PIPELINE")]
    name: Option<String>,
    /// Print the specs
    #[arg(short, long)]
    spec: bool,
    /// Also show this many earlier versions; 'all' shows all
    #[arg(long, value_name = "N|all", default_value = "none", hide_default_value = true)]
    history: String,
    /// Show pipelines as of this commit set
    #[arg(short, long, value_name = "ID")]
    commit: Option<String>,
    /// Only pipelines in this state; may be repeated
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// List the pipelines of every project
    #[arg(short = 'A', long)]
    all_projects: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per pipeline.
    pub async fn run(self, cx: &Context) -> Outcome {
        show::check_states(&self.state, show::pipeline_states())?;
        let request = pps::ListPipelineRequest {
            pipeline: self.name.as_deref().map(|name| named(cx, name)).transpose()?,
            history: history(&self.history)?,
            details: true,
            commit_set: self.commit.clone().map(|id| pfs::CommitSet { id }),
            projects: if self.all_projects { Vec::new() } else { vec![cx.project()?] },
            ..Default::default()
        };
        let mut stream = cx.client().await?.pps().list_pipeline(request).await?.into_inner();
        let mut printer = cx.printer(&self.format, columns(cx));
        let mut specs = cx.sink();
        let mut on_host = false;
        while let Some(info) = stream.message().await? {
            let state = show::pipeline_state(info.state);
            if !self.state.is_empty() && !self.state.iter().any(|wanted| wanted == state) {
                continue;
            }
            on_host |= runs_on_host(&info);
            match self.spec {
                true => specs.line(&info.user_spec_json)?,
                false => printer.entity(&info, || row(cx, &self.format, &info))?,
            }
        }
        if self.spec {
            return Ok(specs.flush()?);
        }
        printer.finish()?;
        if on_host && self.format.encoding().is_none() {
            cx.notice("notice: programs run on the server's host, not in their images");
        }
        Ok(())
    }
}

/// Whether a pipeline names an image that is not used.
fn runs_on_host(info: &pps::PipelineInfo) -> bool {
    let image = info.details.as_ref().and_then(|details| details.transform.as_ref());
    let named = image.is_some_and(|transform| !transform.image.is_empty());
    named && info.metadata.get("executor").is_some_and(|executor| executor == "process")
}

/// How many earlier versions: `none`, a number, or `all` (-1).
pub fn history(text: &str) -> Outcome<i64> {
    match text {
        "none" => Ok(0),
        "all" => Ok(-1),
        number => number.parse().map_err(|_| {
            Failure::usage(format!("invalid --history {number:?}: expected a number or 'all'"))
        }),
    }
}

fn columns(cx: &Context) -> &'static [&'static str] {
    match cx.era {
        Era::Dash => &["NAME", "INPUT", "OUTPUT", "CREATED", "STATE"],
        Era::Native => &[
            "PROJECT",
            "NAME",
            "VERSION",
            "INPUT",
            "CREATED",
            "STATE / LAST JOB",
            "ALERTS",
            "DESCRIPTION",
        ],
    }
}

fn row(cx: &Context, format: &Format, info: &pps::PipelineInfo) -> Vec<Cell> {
    let pipeline = info.pipeline.clone().unwrap_or_default();
    let details = info.details.clone().unwrap_or_default();
    let state = show::pipeline_state(info.state);
    let input = show::input(details.input.as_ref());
    let created = cx.age(format, details.created_at.as_ref());
    match cx.era {
        Era::Dash => vec![
            pipeline.name.clone().into(),
            input.into(),
            format!("{}/{}", pipeline.name, details.output_branch).into(),
            created.into(),
            Cell::state(state),
        ],
        Era::Native => vec![
            pipeline.project.unwrap_or_default().name.into(),
            pipeline.name.into(),
            info.version.to_string().into(),
            input.into(),
            created.into(),
            Cell::state(state).tail(&format!(" / {}", show::job_state(info.last_job_state))),
            (if details.recent_error.is_empty() { "" } else { "*" }).into(),
            details.description.into(),
        ],
    }
}
