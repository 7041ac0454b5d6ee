//! Datums: of running jobs from the catalog, of ended ones from the meta repo.

use async_stream::try_stream;
use bytes::BytesMut;
use futures::stream::BoxStream as Records;
use futures::{StreamExt, TryStreamExt};
use serde::Deserialize;
use tonic::Status;
use tonic::codegen::BoxStream;

use super::Pps;
use crate::api::convert::{self, commit_message, count, job_message, nanos, not_found};
use crate::api::proto::{pfs_v2, pps_v2 as pb};
use crate::api::status::{Result, catalog, invalid, missing, refused, tree};
use crate::catalog::{CommitRow, DatumRow, Job, JobRow};
use crate::model::{DatumId, ProjectName, RepoKind, RepoRef, TreePath};
use crate::pipeline::job::DatumState;
use crate::pipeline::record::{DatumRecord, InputRecord, datum_path};
use crate::tree::{Entry, EntryKind};

/// Datum rows read at once.
const PAGE: usize = 1000;

/// What a worker writes of a datum that has ended, as far as it is shown.
#[derive(Deserialize)]
struct Outcome {
    record: DatumRecord,
}

impl Pps {
    pub(super) async fn inspect_datum(
        &self,
        request: pb::InspectDatumRequest,
    ) -> Result<pb::DatumInfo> {
        let datum = request.datum.as_ref().ok_or_else(|| missing("datum"))?;
        let (job, id) = (convert::job(datum.job.as_ref())?, convert::parse(&datum.id)?);
        let row = self.job(&job).await?;
        let record = self.record(&row, id).await?;
        let record = record.ok_or_else(|| not_found(format!("datum {id} in job {job}")))?;
        Ok(datum_info(&row, &record))
    }

    pub(super) async fn list_datum(
        &self,
        request: pb::ListDatumRequest,
    ) -> Result<BoxStream<pb::DatumInfo>> {
        if request.job.is_none() && request.input.is_some() {
            return Err(Status::unimplemented("listing the datums of an input"));
        }
        let row = self.job(&convert::job(request.job.as_ref())?).await?;
        let wanted: Vec<i32> = request.filter.map(|filter| filter.state).unwrap_or_default();
        let mark: Option<DatumId> = match request.pagination_marker.as_str() {
            "" => None,
            id => Some(convert::parse(id)?),
        };
        let number = convert::limit(request.number)?.unwrap_or(usize::MAX);
        let job = row.clone();
        let infos = self.records(&row).await?.map_ok(move |record| datum_info(&job, &record));
        let shown = infos
            .try_filter(move |info| {
                std::future::ready(wanted.is_empty() || wanted.contains(&info.state))
            })
            .boxed();
        if request.reverse {
            let mut all: Vec<_> = shown.try_collect().await?;
            all.reverse();
            let all = futures::stream::iter(all.into_iter().map(Ok));
            return Ok(Box::pin(after(all.boxed(), mark).take(number)));
        }
        Ok(Box::pin(after(shown, mark).take(number)))
    }

    /// The records of a job's datums, by id once the job has ended.
    pub(super) async fn records(
        &self,
        row: &JobRow,
    ) -> Result<Records<'static, Result<DatumRecord>>> {
        match self.meta(row).await? {
            Some(meta) => self.ended_records(row, &meta),
            None => Ok(self.running_records(row)),
        }
    }

    /// The datum table of a job that has one.
    pub(super) async fn meta(&self, row: &JobRow) -> Result<Option<CommitRow>> {
        let mut repo = row.output.repo.clone();
        repo.kind = RepoKind::Meta;
        let commit = repo.commit(row.output.id);
        let found = self.services.repos.catalog().commit(&commit).await.map_err(|e| catalog(&e))?;
        Ok(found.filter(|found| !found.is_open() && !found.root.encoded.is_empty()))
    }

    fn ended_records(
        &self,
        row: &JobRow,
        meta: &CommitRow,
    ) -> Result<Records<'static, Result<DatumRecord>>> {
        let pps = self.clone();
        let files = self.services.repos.tree(meta).map_err(refused)?;
        let entries = files.walk(&convert::path("meta")?, None);
        let job = row.job.clone();
        Ok(Box::pin(try_stream! {
            let mut entries = entries;
            while let Some((_, entry)) = entries.try_next().await.map_err(|e| tree(&e))? {
                if let Some(bytes) = pps.bytes(&entry).await? {
                    yield shown(decoded(&bytes)?, &job);
                }
            }
        }))
    }

    fn running_records(&self, row: &JobRow) -> Records<'static, Result<DatumRecord>> {
        let (pps, job) = (self.clone(), row.job.clone());
        Box::pin(try_stream! {
            let mut from = 0;
            loop {
                let page = pps.services.repos.catalog().datums(&job, None, from, PAGE).await;
                let page = page.map_err(|e| catalog(&e))?;
                let Some(last) = page.last() else { break };
                from = last.index + 1;
                for row in page {
                    yield of_row(&row)?;
                }
            }
        })
    }

    async fn record(&self, row: &JobRow, id: DatumId) -> Result<Option<DatumRecord>> {
        if let Some(meta) = self.meta(row).await? {
            let files = self.services.repos.tree(&meta).map_err(refused)?;
            let Some(entry) = files.get(&datum_path(id)).await.map_err(|e| tree(&e))? else {
                return Ok(None);
            };
            let Some(bytes) = self.bytes(&entry).await? else { return Ok(None) };
            return Ok(Some(shown(decoded(&bytes)?, &row.job)));
        }
        let found = self.services.repos.catalog().datum(&row.job, &id).await;
        found.map_err(|e| catalog(&e))?.map(|row| of_row(&row)).transpose()
    }

    /// What a file of the datum table holds; `None` for anything but a file.
    pub(super) async fn bytes(&self, entry: &Entry) -> Result<Option<BytesMut>> {
        let EntryKind::File(content) = &entry.kind else { return Ok(None) };
        let mut pieces = self.services.repos.stream_content(content, 0..u64::MAX);
        let mut bytes = BytesMut::new();
        while let Some(piece) = pieces.try_next().await.map_err(refused)? {
            bytes.extend_from_slice(&piece);
        }
        Ok(Some(bytes))
    }
}

/// The datums after the marked one.
fn after(
    infos: Records<'static, Result<pb::DatumInfo>>,
    mark: Option<DatumId>,
) -> Records<'static, Result<pb::DatumInfo>> {
    let Some(mark) = mark.map(|mark| mark.to_string()) else { return infos };
    let is_mark = move |info: &Result<pb::DatumInfo>| {
        let id = info.as_ref().ok().and_then(|info| info.datum.as_ref()).map(|datum| &datum.id);
        id == Some(&mark)
    };
    infos.skip_while(move |info| std::future::ready(!is_mark(info))).skip(1).boxed()
}

fn decoded(bytes: &[u8]) -> Result<DatumRecord> {
    serde_json::from_slice(bytes)
        .map_err(|error| Status::data_loss(format!("a datum record is damaged: {error}")))
}

/// A record that an earlier job wrote is of a datum this one skipped.
fn shown(mut record: DatumRecord, job: &Job) -> DatumRecord {
    if record.job != job.id {
        record.state = DatumState::Skipped;
    }
    record
}

fn of_row(row: &DatumRow) -> Result<DatumRecord> {
    match row.outcome.is_empty() {
        true => decoded(&row.payload),
        false => serde_json::from_slice(&row.outcome)
            .map(|outcome: Outcome| outcome.record)
            .map_err(|error| Status::data_loss(format!("a datum's outcome is damaged: {error}"))),
    }
}

/// A datum of a job.
fn datum_info(row: &JobRow, record: &DatumRecord) -> pb::DatumInfo {
    let mut meta = row.output.repo.clone();
    meta.kind = RepoKind::Meta;
    let meta = commit_message(&meta.commit(row.output.id), None);
    let stats = record.stats;
    pb::DatumInfo {
        datum: Some(pb::Datum { job: Some(job_message(&row.job)), id: record.id.to_string() }),
        state: state(record.state).into(),
        stats: Some(pb::ProcessStats {
            download_time: Some(nanos(stats.download_nanos)),
            process_time: Some(nanos(stats.process_nanos)),
            upload_time: Some(nanos(stats.upload_nanos)),
            download_bytes: count(stats.download_bytes),
            upload_bytes: count(stats.upload_bytes),
        }),
        pfs_state: Some(pfs_v2::File {
            commit: Some(meta),
            path: format!("/pfs/{}/", record.id),
            datum: String::new(),
        }),
        data: record.inputs.iter().map(|input| input_file(row, input)).collect(),
        image_id: String::new(),
    }
}

fn input_file(row: &JobRow, input: &InputRecord) -> pfs_v2::FileInfo {
    let project: &ProjectName = &row.job.pipeline.project;
    // Written by ourselves from a valid repo.
    let repo = RepoRef::parse(&input.repo, project).ok().map(|parsed| parsed.repo);
    let branch = input.branch.rsplit('@').next().and_then(|name| name.parse().ok());
    let commit = repo.map(|repo| commit_message(&repo.commit(input.commit), branch.as_ref()));
    let kind = match input.is_dir {
        true => pfs_v2::FileType::Dir,
        false => pfs_v2::FileType::File,
    };
    pfs_v2::FileInfo {
        file: Some(pfs_v2::File {
            commit,
            path: shown_path(&input.path, input.is_dir),
            datum: String::new(),
        }),
        file_type: kind.into(),
        committed: None,
        size_bytes: count(input.size),
        hash: hash_bytes(input),
    }
}

/// The hash of an input; it prints as hex.
pub(super) fn hash_bytes(input: &InputRecord) -> Vec<u8> {
    hex::decode(input.hash.to_string()).unwrap_or_default()
}

fn shown_path(path: &TreePath, is_dir: bool) -> String {
    match is_dir && !path.is_root() {
        true => format!("{}/", path.absolute()),
        false => path.absolute(),
    }
}

fn state(state: DatumState) -> pb::DatumState {
    match state {
        DatumState::Starting => pb::DatumState::Starting,
        DatumState::Skipped => pb::DatumState::Skipped,
        DatumState::Success => pb::DatumState::Success,
        DatumState::Failed => pb::DatumState::Failed,
        DatumState::Recovered => pb::DatumState::Recovered,
    }
}

/// Refuses words that are no datum filter.
pub(super) fn filters(messages: &[String]) -> Result<&[String]> {
    match messages.iter().any(String::is_empty) {
        true => Err(invalid("a data filter is empty")),
        false => Ok(messages),
    }
}

/// Whether a datum saw every file that the filters name, by path or hash.
pub(super) fn saw(record: &DatumRecord, filters: &[String]) -> bool {
    let one = |filter: &String| {
        record.inputs.iter().any(|input| {
            let hash = input.hash.to_string();
            input.path.absolute() == *filter || input.path.as_str() == filter || hash == *filter
        })
    };
    filters.iter().all(one)
}
