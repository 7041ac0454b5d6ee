//! What programs printed.

use std::collections::VecDeque;

use async_stream::try_stream;
use futures::TryStreamExt;
use futures::stream::BoxStream as Lines;
use tonic::codegen::BoxStream;

use super::Pps;
use super::datums::{filters, hash_bytes, saw};
use crate::api::convert::{self, time};
use crate::api::proto::pps_v2 as pb;
use crate::api::status::{Result, catalog, missing, refused, tree};
use crate::catalog::{Job, JobQuery, JobRow};
use crate::controller::{LogLine, LogStream, parse_lines};
use crate::model::{DatumId, Timestamp};
use crate::pipeline::record::{DatumRecord, log_path};

/// How far back the logs of a pipeline go unless asked otherwise.
const SINCE: i64 = 24 * 3600;

/// Which lines are wanted.
#[derive(Clone)]
struct Filter {
    datum: Option<DatumId>,
    data: Vec<String>,
    /// Only what the server says, not the programs.
    server: bool,
    since: Option<Timestamp>,
}

impl Filter {
    fn keeps(&self, line: &LogLine) -> bool {
        let of_server = line.stream == LogStream::Server;
        (!self.server || of_server) && self.since.is_none_or(|since| line.at >= since)
    }
}

impl Pps {
    pub(super) async fn get_logs(
        &self,
        request: pb::GetLogsRequest,
    ) -> Result<BoxStream<pb::LogMessage>> {
        let datum = request.datum.as_ref().filter(|datum| !datum.id.is_empty());
        let job = datum.and_then(|datum| datum.job.as_ref()).or(request.job.as_ref());
        let job = job.filter(|job| !job.id.is_empty());
        let since = request.since.as_ref().map(|since| since.seconds);
        let now = self.services.repos.clock().now().to_parts().0;
        let since = match (since, job) {
            (Some(seconds), _) if seconds > 0 => Some(seconds),
            (_, Some(_)) => None,
            (_, None) => Some(SINCE),
        };
        let filter = Filter {
            datum: datum.map(|datum| convert::parse(&datum.id)).transpose()?,
            data: filters(&request.data_filters)?.to_vec(),
            server: request.master,
            since: since.map(|seconds| Timestamp::from_parts(now - seconds, 0)),
        };
        let jobs = match (job, request.pipeline.as_ref()) {
            (Some(job), _) => vec![self.job(&convert::job(Some(job))?).await?],
            (None, Some(pipeline)) => self.recent_jobs(pipeline, &filter).await?,
            (None, None) => return Err(missing("pipeline or job")),
        };
        let tail = convert::limit(request.tail)?;
        let lines = self.clone().lines(jobs, filter, request.follow);
        let lines: BoxStream<pb::LogMessage> = match tail {
            Some(tail) if !request.follow => last(lines, tail).await?,
            Some(_) | None => lines,
        };
        Ok(self.services.while_running(lines))
    }

    /// The jobs of a pipeline that may have lines since then, oldest first.
    async fn recent_jobs(&self, pipeline: &pb::Pipeline, filter: &Filter) -> Result<Vec<JobRow>> {
        let pipeline = convert::pipeline(Some(pipeline))?;
        self.services.repos.inspect_pipeline(&pipeline).await.map_err(refused)?;
        let query = JobQuery { pipeline: Some(pipeline), ..JobQuery::default() };
        let jobs = self.services.repos.catalog().jobs(&query).await.map_err(|e| catalog(&e))?;
        let recent = |row: &JobRow| {
            filter.since.is_none_or(|since| row.finished.is_none_or(|ended| ended >= since))
        };
        let mut jobs: Vec<_> = jobs.into_iter().filter(recent).collect();
        jobs.reverse();
        Ok(jobs)
    }

    /// The lines of jobs, one job after the other.
    fn lines(
        self,
        jobs: Vec<JobRow>,
        filter: Filter,
        follow: bool,
    ) -> Lines<'static, Result<pb::LogMessage>> {
        Box::pin(try_stream! {
            for row in jobs {
                if self.meta(&row).await?.is_none() {
                    let mut live = self.live_lines(&row.job, &filter, follow).await?;
                    while let Some(line) = live.try_next().await? {
                        yield line;
                    }
                    continue;
                }
                let mut kept = self.kept_lines(&row, &filter).await?;
                while let Some(line) = kept.try_next().await? {
                    yield line;
                }
            }
        })
    }

    /// The lines of a job that has ended, datum by datum.
    async fn kept_lines(
        &self,
        row: &JobRow,
        filter: &Filter,
    ) -> Result<Lines<'static, Result<pb::LogMessage>>> {
        let Some(meta) = self.meta(row).await? else {
            return Ok(Box::pin(futures::stream::empty()));
        };
        let files = self.services.repos.tree(&meta).map_err(refused)?;
        let mut records = self.records(row).await?;
        let (pps, job, filter) = (self.clone(), row.job.clone(), filter.clone());
        Ok(Box::pin(try_stream! {
            while let Some(record) = records.try_next().await? {
                let wanted = filter.datum.is_none_or(|datum| record.id == datum);
                // The log of a skipped datum belongs to the job that ran it.
                if !wanted || record.job != job.id || !saw(&record, &filter.data) {
                    continue;
                }
                let entry = files.get(&log_path(record.id)).await.map_err(|e| tree(&e))?;
                let Some(entry) = entry else { continue };
                let Some(text) = pps.bytes(&entry).await? else { continue };
                for line in parse_lines(&text) {
                    if filter.keeps(&line) {
                        yield message(&job, record.id, Some(&record), &line);
                    }
                }
            }
        }))
    }

    /// The lines of a job that runs: those so far, and when following those
    /// that come until it ends.
    async fn live_lines(
        &self,
        job: &Job,
        filter: &Filter,
        follow: bool,
    ) -> Result<Lines<'static, Result<pb::LogMessage>>> {
        let _ = (job, filter, follow);
        Ok(Box::pin(futures::stream::empty()))
    }
}

/// The last `tail` lines.
async fn last(
    mut lines: Lines<'static, Result<pb::LogMessage>>,
    tail: usize,
) -> Result<BoxStream<pb::LogMessage>> {
    let mut kept = VecDeque::new();
    while let Some(line) = lines.try_next().await? {
        if kept.len() == tail {
            kept.pop_front();
        }
        kept.push_back(line);
    }
    Ok(crate::api::service::all(kept))
}

fn message(
    job: &Job,
    datum: DatumId,
    record: Option<&DatumRecord>,
    line: &LogLine,
) -> pb::LogMessage {
    let inputs = record.map_or(&[][..], |record| &record.inputs);
    let data = inputs.iter().map(|input| pb::InputFile {
        path: input.path.absolute(),
        hash: hash_bytes(input),
    });
    pb::LogMessage {
        project_name: job.pipeline.project.as_str().to_owned(),
        pipeline_name: job.pipeline.name.as_str().to_owned(),
        job_id: job.id.to_string(),
        worker_id: String::new(),
        datum_id: datum.to_string(),
        master: false,
        data: data.collect(),
        user: line.stream != LogStream::Server,
        ts: Some(time(line.at)),
        message: line.text.clone(),
    }
}
