//! What programs printed.

use std::collections::HashMap;

use async_stream::try_stream;
use futures::TryStreamExt;
use tonic::codegen::BoxStream;

use super::Pps;
use crate::api::convert::{self, time};
use crate::api::proto::pps_v2 as pb;
use crate::api::status::{Result, controller, invalid, missing, refused};
use crate::catalog::Job;
use crate::controller::LogQuery;
use crate::controller::logs::{DatumLine, LogStream};
use crate::model::{DatumId, Timestamp};
use crate::pipeline::record::DatumRecord;

/// How far back the logs of a pipeline go unless asked otherwise, in seconds.
const SINCE: i64 = 24 * 3600;

impl Pps {
    pub(super) async fn get_logs(
        &self,
        request: pb::GetLogsRequest,
    ) -> Result<BoxStream<pb::LogMessage>> {
        if request.data_filters.iter().any(String::is_empty) {
            return Err(invalid("a data filter is empty"));
        }
        let query = self.log_query(&request).await?;
        let pps = self.clone();
        let lines = try_stream! {
            let mut lines = pps.services.controller.read_logs(query);
            let mut records = HashMap::new();
            while let Some(line) = lines.try_next().await.map_err(controller)? {
                let record = pps.record_of(&line, &mut records).await;
                yield message(&line, record);
            }
        };
        Ok(self.services.while_running(lines))
    }

    async fn log_query(&self, request: &pb::GetLogsRequest) -> Result<LogQuery> {
        let datum = request.datum.as_ref().filter(|datum| !datum.id.is_empty());
        let job = datum.and_then(|datum| datum.job.as_ref()).or(request.job.as_ref());
        let mut query = LogQuery {
            datum: datum.map(|datum| convert::parse(&datum.id)).transpose()?,
            inputs: request.data_filters.clone(),
            of_server: request.master,
            follow: request.follow,
            tail: convert::limit(request.tail)?,
            ..LogQuery::default()
        };
        match (job.filter(|job| !job.id.is_empty()), request.pipeline.as_ref()) {
            (Some(job), _) => {
                let job = self.services.job(Some(job)).await?;
                self.job(&job).await?;
                query.job = Some(job);
            }
            (None, Some(pipeline)) => {
                let pipeline = convert::pipeline(Some(pipeline))?;
                self.services.repos.inspect_pipeline(&pipeline).await.map_err(refused)?;
                query.pipeline = Some(pipeline);
            }
            (None, None) => return Err(missing("pipeline or job")),
        }
        query.since = self.since(request, query.job.is_some());
        Ok(query)
    }

    fn since(&self, request: &pb::GetLogsRequest, of_job: bool) -> Option<Timestamp> {
        let asked = request.since.as_ref().map(|since| since.seconds).filter(|since| *since > 0);
        let seconds = asked.or((!of_job).then_some(SINCE))?;
        let now = self.services.repos.clock().now().to_parts().0;
        Some(Timestamp::from_parts(now.saturating_sub(seconds), 0))
    }

    /// What the datum of a line saw; read once per datum in a row.
    async fn record_of<'r>(
        &self,
        line: &DatumLine,
        records: &'r mut HashMap<(Job, DatumId), DatumRecord>,
    ) -> Option<&'r DatumRecord> {
        let key = (line.job.clone(), line.datum);
        if !records.contains_key(&key) {
            let found = self.services.controller.inspect_datum(&line.job, line.datum).await.ok()?;
            records.clear();
            records.insert(key.clone(), found.record);
        }
        records.get(&key)
    }
}

fn message(line: &DatumLine, record: Option<&DatumRecord>) -> pb::LogMessage {
    let inputs = record.map_or(&[][..], |record| &record.inputs);
    let data = inputs.iter().map(|input| pb::InputFile {
        path: input.path.absolute(),
        hash: input.hash.as_bytes().to_vec(),
    });
    pb::LogMessage {
        project_name: line.job.pipeline.project.as_str().to_owned(),
        pipeline_name: line.job.pipeline.name.as_str().to_owned(),
        job_id: line.job.id.to_string(),
        worker_id: String::new(),
        datum_id: line.datum.to_string(),
        master: false,
        data: data.collect(),
        user: line.line.stream != LogStream::Server,
        ts: Some(time(line.line.at)),
        message: line.line.text.clone(),
    }
}
