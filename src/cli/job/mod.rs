//! Jobs: runs of pipelines.

pub mod delete;
pub mod inspect;
pub mod list;
pub mod stop;
pub mod wait;

use super::pipeline;
use crate::cli::prelude::*;

/// `pipeline@job`, or the id alone for the jobs of that id in all pipelines.
#[derive(Debug, Clone, PartialEq)]
pub enum Jobs {
    /// One.
    One(pps::Job),
    /// All with this id.
    Set(String),
}

/// What `text` names.
pub fn named(cx: &Context, text: &str) -> Outcome<Jobs> {
    match text.split_once('@') {
        Some((name, id)) => Ok(Jobs::One(pps::Job {
            pipeline: Some(pipeline::named(cx, name)?),
            id: id.to_owned(),
        })),
        None => Ok(Jobs::Set(text.to_owned())),
    }
}

/// The jobs that `text` names; with `wait` as they end, else as they are.
pub async fn fetch(cx: &Context, text: &str, wait: bool) -> Outcome<Vec<pps::JobInfo>> {
    let mut client = cx.client().await?.pps();
    match named(cx, text)? {
        Jobs::One(job) => {
            let request = pps::InspectJobRequest { job: Some(job), wait, details: true };
            Ok(vec![client.inspect_job(request).await?.into_inner()])
        }
        Jobs::Set(id) => {
            let job_set = Some(pps::JobSet { id: id.clone() });
            let request = pps::InspectJobSetRequest { job_set, wait, details: true };
            let mut stream = client.inspect_job_set(request).await?.into_inner();
            let mut jobs = Vec::new();
            while let Some(info) = stream.message().await? {
                jobs.push(info);
            }
            match jobs.is_empty() {
                true => Err(Failure::new(format!("job {id} not found"))
                    .hint("'list job' shows the jobs there are")),
                false => Ok(jobs),
            }
        }
    }
}

/// The keys of the jobs that `text` names.
pub async fn keys(cx: &Context, text: &str) -> Outcome<Vec<pps::Job>> {
    match named(cx, text)? {
        Jobs::One(job) => Ok(vec![job]),
        Jobs::Set(_) => {
            let jobs = fetch(cx, text, false).await?;
            Ok(jobs.into_iter().filter_map(|info| info.job).collect())
        }
    }
}

/// When a job started. For the dash commands that is when its output commit
/// was opened, at the same moment in all pipelines that a commit sets off.
pub fn started<'i>(cx: &Context, info: &'i pps::JobInfo) -> Option<&'i prost_types::Timestamp> {
    let (started, created) = (info.started.as_ref(), info.created.as_ref());
    match cx.era {
        Era::Dash => created.or(started),
        Era::Native => started.or(created),
    }
}
