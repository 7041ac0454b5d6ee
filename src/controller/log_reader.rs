//! Reading what datums printed, a piece at a time: from the spools of datums
//! that run, from the meta repo of jobs that are over.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_stream::try_stream;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;
use futures::stream::BoxStream;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::Controller;
use super::error::{ControllerError, Result};
use super::logs::{DatumLine, LogLine, LogStream};
use crate::catalog::{Job, JobQuery, JobRow, Pipeline};
use crate::chunk::Content;
use crate::model::{DatumId, Timestamp, TreePath};
use crate::pipeline::record::log_path;
use crate::tree::{EntryKind, Root, Tree, diff};

/// How much of a spool is read at a time.
const PIECE: usize = 64 << 10;

/// A follower looks around this often even when nothing is printed.
const LOOK_AROUND: Duration = Duration::from_secs(1);

/// What is printed in so short a time is read together.
const GATHER: Duration = Duration::from_millis(50);

/// Which lines to read.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Only of this pipeline.
    pub pipeline: Option<Pipeline>,
    /// Only of this job.
    pub job: Option<Job>,
    /// Only of this datum.
    pub datum: Option<DatumId>,
    /// Only of datums that saw all of these: paths, or hashes in hex.
    pub inputs: Vec<String>,
    /// Only what the server says, not the programs.
    pub of_server: bool,
    /// Only what was printed then or later.
    pub since: Option<Timestamp>,
    /// Go on with what is printed from now on; never ends by itself unless
    /// the job named is over.
    pub follow: bool,
    /// Only so many of the lines there are; `None`: all.
    pub tail: Option<usize>,
}

impl LogQuery {
    fn wants(&self, line: &LogLine) -> bool {
        (!self.of_server || line.stream == LogStream::Server)
            && self.since.is_none_or(|since| line.at >= since)
    }
}

/// How far the log of each datum of a job has been read, in bytes.
type Offsets = BTreeMap<DatumId, u64>;

/// Jobs that may still print, and what has been read of them.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<BTreeMap<Job, Offsets>>>);

impl Open {
    fn jobs(&self) -> MutexGuard<'_, BTreeMap<Job, Offsets>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn has(&self, job: &Job) -> bool {
        self.jobs().contains_key(job)
    }

    /// Opens a job; where to go on reading.
    fn start(&self, job: &Job) -> Offsets {
        self.jobs().entry(job.clone()).or_default().clone()
    }

    fn advance(&self, job: &Job, datum: DatumId, to: u64) {
        self.jobs().entry(job.clone()).or_default().insert(datum, to);
    }

    fn end(&self, job: &Job) {
        self.jobs().remove(job);
    }
}

/// Something that was read.
struct Read {
    datum: DatumId,
    /// Where the log goes on.
    end: u64,
    /// `None` for a line that is not wanted.
    line: Option<LogLine>,
}

/// A log to read.
enum Source {
    Spool(PathBuf),
    Kept(Content),
}

impl Controller {
    /// What datums printed: oldest job first, each datum's lines together.
    /// Holds no more of it in memory than a few lines, or those of the tail.
    #[must_use]
    pub fn read_logs(&self, query: LogQuery) -> BoxStream<'static, Result<DatumLine>> {
        let controller = self.clone();
        Box::pin(try_stream! {
            let mut written = controller.logs().watch();
            let rows = controller.jobs_of(&query).await?;
            let mut newest = rows.last().map_or(0, |row| row.seq);
            let open = Open::default();
            if query.tail.is_some() {
                for line in controller.last_lines(&query, rows, &open).await? {
                    yield line;
                }
            } else {
                for row in rows {
                    let mut lines = controller.lines(row, &query, &open);
                    while let Some(line) = lines.next().await {
                        yield line?;
                    }
                }
            }
            loop {
                if !query.follow {
                    break;
                }
                written.borrow_and_update();
                for row in controller.jobs_of(&query).await? {
                    if row.seq <= newest && !open.has(&row.job) {
                        continue;
                    }
                    newest = newest.max(row.seq);
                    let mut lines = controller.lines(row, &query, &open);
                    while let Some(line) = lines.next().await {
                        yield line?;
                    }
                }
                if controller.is_over(&query, &open).await? {
                    break;
                }
                // Looks around anyway when nobody can tell.
                let _ = tokio::time::timeout(LOOK_AROUND, written.changed()).await;
                tokio::time::sleep(GATHER).await;
            }
        })
    }

    /// Whether nothing more can be printed for a query.
    async fn is_over(&self, query: &LogQuery, open: &Open) -> Result<bool> {
        match &query.job {
            None => Ok(false),
            Some(job) => Ok(!open.has(job) || self.catalog().job(job).await?.is_none()),
        }
    }

    /// The lines of a job that have not been read yet. It stays open unless
    /// it was over before.
    fn lines(
        &self,
        row: JobRow,
        query: &LogQuery,
        open: &Open,
    ) -> BoxStream<'static, Result<DatumLine>> {
        let (job, over, open) = (row.job.clone(), row.state.is_terminal(), open.clone());
        let mut lines = self.lines_of(row, query, open.start(&job));
        Box::pin(try_stream! {
            while let Some(read) = lines.next().await {
                let Read { datum, end, line } = read?;
                open.advance(&job, datum, end);
                if let Some(line) = line {
                    yield DatumLine { job: job.clone(), datum, line };
                }
            }
            if over {
                open.end(&job);
            }
        })
    }

    /// The jobs of a query, oldest first.
    async fn jobs_of(&self, query: &LogQuery) -> Result<Vec<JobRow>> {
        let mut rows = match &query.job {
            Some(job) => self.catalog().job(job).await?.into_iter().collect(),
            None => {
                let pipeline = query.pipeline.clone();
                self.catalog().jobs(&JobQuery { pipeline, ..JobQuery::default() }).await?
            }
        };
        rows.sort_by_key(|row| row.seq);
        Ok(rows)
    }

    /// The last of the lines there are. Reads no more jobs than have them.
    async fn last_lines(
        &self,
        query: &LogQuery,
        rows: Vec<JobRow>,
        open: &Open,
    ) -> Result<VecDeque<DatumLine>> {
        let mut last: VecDeque<DatumLine> = VecDeque::new();
        let mut left = query.tail.unwrap_or(usize::MAX);
        for row in rows.into_iter().rev() {
            let live = !row.state.is_terminal();
            if left == 0 && !(live && query.follow) {
                continue;
            }
            let mut of_job = VecDeque::new();
            let mut lines = self.lines(row, query, open);
            while let Some(line) = lines.next().await {
                of_job.push_back(line?);
                if of_job.len() > left {
                    of_job.pop_front();
                }
            }
            left -= of_job.len();
            of_job.append(&mut last);
            last = of_job;
        }
        Ok(last)
    }

    /// The lines of a job from where `offsets` say.
    fn lines_of(
        &self,
        row: JobRow,
        query: &LogQuery,
        mut offsets: Offsets,
    ) -> BoxStream<'static, Result<Read>> {
        let (controller, query) = (self.clone(), query.clone());
        Box::pin(try_stream! {
            let mut row = row;
            if !row.state.is_terminal() {
                let dir = controller.logs().job_dir(&row.job);
                let spools = controller.logs().spools(&row.job).map_err(ControllerError::io(dir))?;
                for (datum, path) in spools {
                    let from = offsets.get(&datum).copied().unwrap_or(0);
                    let mut lines = controller.lines_in(&row, datum, Source::Spool(path), from, &query);
                    while let Some(read) = lines.next().await {
                        let read = read?;
                        offsets.insert(datum, read.end);
                        yield read;
                    }
                }
                // Spools are removed when a job ends: then the rest is kept.
                row = match controller.catalog().job(&row.job).await? {
                    Some(row) => row,
                    None => return,
                };
            }
            if row.state.is_terminal() {
                let mut kept = controller.kept_logs(&row, &query).await?;
                while let Some(log) = kept.next().await {
                    let (datum, content) = log?;
                    let from = offsets.get(&datum).copied().unwrap_or(0);
                    let mut lines =
                        controller.lines_in(&row, datum, Source::Kept(content), from, &query);
                    while let Some(read) = lines.next().await {
                        yield read?;
                    }
                }
            }
        })
    }

    /// The lines of a datum's log from an offset.
    fn lines_in(
        &self,
        row: &JobRow,
        datum: DatumId,
        source: Source,
        from: u64,
        query: &LogQuery,
    ) -> BoxStream<'static, Result<Read>> {
        let (controller, job, query) = (self.clone(), row.job.clone(), query.clone());
        Box::pin(try_stream! {
            if query.datum.is_some_and(|wanted| wanted != datum) {
                return;
            }
            let mut from = from;
            let mut pieces = match source {
                Source::Spool(path) => {
                    // One that is shorter by now has been started over.
                    let length = std::fs::metadata(&path).map_or(from, |found| found.len());
                    from = if length < from { 0 } else { from };
                    spooled(path, from)
                }
                Source::Kept(content) if from < content.size() => {
                    let blobs = controller.repos().blobs();
                    content.stream(blobs, from..content.size()).map(|piece| Ok(piece?)).boxed()
                }
                Source::Kept(_) => return,
            };
            let (mut end, mut pending, mut wanted) = (from, Vec::new(), None);
            while let Some(piece) = pieces.next().await {
                for part in piece?.split_inclusive(|byte| *byte == b'\n') {
                    pending.extend_from_slice(part);
                    if !part.ends_with(b"\n") {
                        continue;
                    }
                    end += pending.len() as u64;
                    let line = serde_json::from_slice::<LogLine>(&pending).ok();
                    pending.clear();
                    // Whose it is is asked once, and only for datums that printed.
                    let wanted = match wanted {
                        Some(wanted) => wanted,
                        None => *wanted.insert(controller.saw(&job, datum, &query).await?),
                    };
                    let line = line.filter(|line| wanted && query.wants(line));
                    yield Read { datum, end, line };
                }
            }
        })
    }

    /// Whether a datum saw every file that a query names.
    async fn saw(&self, job: &Job, datum: DatumId, query: &LogQuery) -> Result<bool> {
        if query.inputs.is_empty() {
            return Ok(true);
        }
        let record = match self.inspect_datum(job, datum).await {
            Ok(info) => info.record,
            Err(ControllerError::NotFound { .. }) => return Ok(false),
            Err(error) => return Err(error),
        };
        let named = |filter: &String| {
            let path = filter.strip_prefix('/').unwrap_or(filter);
            let mut inputs = record.inputs.iter();
            inputs.any(|input| path == input.path.as_str() || *filter == input.hash.to_string())
        };
        Ok(query.inputs.iter().all(named))
    }

    /// The logs of a job that is over: those its base does not have.
    async fn kept_logs(
        &self,
        row: &JobRow,
        query: &LogQuery,
    ) -> Result<BoxStream<'static, Result<(DatumId, Content)>>> {
        let table = self.datum_table(row).await?;
        if table.is_empty() {
            return Ok(futures::stream::empty().boxed());
        }
        let base = self.table_of_base(row).await?;
        if let Some(datum) = query.datum {
            let kept = self.log_in(&table, &log_path(datum)).await?;
            let before = self.log_in(&base, &log_path(datum)).await?;
            let kept = kept.filter(|log| before.is_none_or(|before| before.hash() != log.hash()));
            return Ok(futures::stream::iter(kept.map(|log| Ok((datum, log)))).boxed());
        }
        let logs = log_path(DatumId::new([0; 32])).parent().unwrap_or_else(TreePath::root);
        let mut changed = diff(self.nodes(), &base, &table, &logs);
        let controller = self.clone();
        Ok(Box::pin(try_stream! {
            while let Some(change) = changed.next().await {
                let path = change?.path;
                let Ok(datum) = path.file_name().parse::<DatumId>() else { continue };
                if let Some(log) = controller.log_in(&table, &path).await? {
                    yield (datum, log);
                }
            }
        }))
    }

    async fn log_in(&self, table: &Root, path: &TreePath) -> Result<Option<Content>> {
        let entry = Tree::new(self.nodes(), *table).get(path).await?;
        Ok(entry.and_then(|entry| match entry.kind {
            EntryKind::File(content) => Some(content),
            EntryKind::Dir | EntryKind::Symlink(_) => None,
        }))
    }
}

/// What is in a spool from an offset; nothing when it is gone.
fn spooled(path: PathBuf, from: u64) -> BoxStream<'static, Result<Bytes>> {
    Box::pin(try_stream! {
        let failed = |error| ControllerError::io(path.clone())(error);
        let mut file = match tokio::fs::File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
            Err(error) => Err(failed(error))?,
        };
        file.seek(std::io::SeekFrom::Start(from)).await.map_err(failed)?;
        loop {
            let mut piece = BytesMut::with_capacity(PIECE);
            if file.read_buf(&mut piece).await.map_err(failed)? == 0 {
                break;
            }
            yield piece.freeze();
        }
    })
}
