//! One datum: its view, its tries, its outputs.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncReadExt as _;
use tokio_util::sync::CancellationToken;

use super::Controller;
use super::collect::{Collected, Collector, Files, Input};
use super::edits::apply_all;
use super::error::{ControllerError, Result};
use super::executor::account::Account;
use super::executor::order::{InputFiles, InputMount, RunOrder, SecretDirectory};
use super::executor::{Run, RunEnd};
use super::logs::{LogStream, Spool};
use super::planning::JobContext;
use super::restart::Underway;
use super::views::{OpenViews, ViewSource, materialise};
use crate::chunk::{FileWriter, PackWriter};
use crate::model::{CommitId, DatumId, TreePath};
use crate::pipeline::environment::{
    InputDirectory, InputSource, JobFacts, layout, stdin_text, variables,
};
use crate::pipeline::job::{Attempt, DatumState, Verdict, judge, judge_recovery};
use crate::pipeline::record::{DatumRecord, datum_path, log_path, outputs_path};
use crate::pipeline::spec::SecretTarget;
use crate::tree::{ApplyOptions, Edit, Entry, Root};
use crate::vfs::Owner;

/// Variables of the server's own environment that programs get, too.
const PASSED_ON: [&str; 5] = ["PATH", "LANG", "LC_ALL", "TZ", "TMPDIR"];

/// Those that are about its user, for programs that run as that user.
const OF_USER: [&str; 4] = ["HOME", "USER", "LOGNAME", "SHELL"];

/// How much of a log is moved at a time.
const LOG_PIECE: usize = 64 << 10;

/// What became of a datum, as the catalog keeps it until the job ends.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct DatumOutcome {
    /// Its record.
    pub record: DatumRecord,
    /// A tree with its record, log and outputs at their places, encoded, in hex.
    pub tree: String,
}

/// A datum on its way.
pub(super) struct Work {
    pub controller: Controller,
    pub job: Arc<JobContext>,
    pub record: DatumRecord,
    pub writer: PackWriter,
    pub cancel: CancellationToken,
    /// Ends its program, for good or to be started afresh.
    pub interrupt: CancellationToken,
}

/// What to run of a transform.
#[derive(Clone, Copy)]
struct Program<'a> {
    cmd: &'a [String],
    stdin: &'a [String],
    /// Whether anybody wants what it leaves in `/pfs/out`.
    has_outputs: bool,
}

/// The directories of one try.
struct Try {
    dir: PathBuf,
    inputs: Vec<InputMount>,
    shown: Vec<Input>,
}

impl Try {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

impl Work {
    /// Runs the datum to its end.
    pub async fn run(mut self) -> Result<DatumOutcome> {
        let log = self
            .controller
            .logs()
            .start(&self.job.row.job, self.record.id)
            .map_err(ControllerError::io("a datum's log"))?;
        let dirs = self.directories();
        let views = self.open_views(&dirs).await?;
        let ended = self.uninterrupted(&dirs, views.as_ref(), &log).await;
        if let (Some(open), Some(views)) = (views, self.controller.views()) {
            views.close(open).await;
        }
        let outputs = ended?;
        self.seal(outputs, &log).await
    }

    fn directories(&self) -> Vec<InputDirectory> {
        let datum = self.record.identified().datum;
        layout(&self.job.origins, &datum, &self.job.commits)
    }

    /// The tree a source shows.
    fn root_of(&self, source: &InputSource) -> Root {
        let is_source = |(origin, commit): (&crate::pipeline::datum::Origin, &CommitId)| {
            origin.repo == source.repo && origin.branch == source.branch && *commit == source.commit
        };
        let leaves = self.job.origins.all().iter().zip(&self.job.commits);
        let leaf = leaves.into_iter().position(is_source);
        leaf.map_or(Root::empty(), |leaf| *self.job.trees[leaf].root())
    }

    /// The user its program runs as, unless it is the server's. One that does
    /// not exist is found out when the program is started.
    fn account(&self) -> Option<Account> {
        let user = &self.job.spec.transform.user;
        Account::named(user).ok().filter(|_| !user.is_empty())
    }

    fn view_of(&self, source: &InputSource) -> ViewSource {
        let owner =
            self.account().map(|user| Owner { uid: user.uid.as_raw(), gid: user.gid.as_raw() });
        ViewSource { root: self.root_of(source), paths: source.paths.clone(), owner }
    }

    /// Shows the inputs that can be shown without copies, in their order.
    async fn open_views(&self, dirs: &[InputDirectory]) -> Result<Option<OpenViews>> {
        let Some(views) = self.controller.views() else { return Ok(None) };
        let shared = dirs.iter().filter(|dir| is_shared(dir)).flat_map(|dir| &dir.sources);
        let sources = shared.map(|source| self.view_of(source)).collect();
        Ok(Some(views.open(sources).await?))
    }

    /// Processes the datum, from the start again whenever somebody interrupts
    /// it; answers the outputs.
    async fn uninterrupted(
        &mut self,
        dirs: &[InputDirectory],
        views: Option<&OpenViews>,
        log: &Spool,
    ) -> Result<Collected> {
        loop {
            let (controller, cancel) = (self.controller.clone(), self.cancel.clone());
            let (underway, interrupt) =
                Underway::new(&controller, &self.job.row.job, &self.record, &cancel);
            self.interrupt = interrupt;
            let ended = self.tries(dirs, views, log).await;
            let stands = underway.leave();
            match ended {
                Err(ControllerError::Cancelled) if !cancel.is_cancelled() => {}
                Ok(_) if !stands && !cancel.is_cancelled() => {}
                ended => return ended,
            }
            log.write(LogStream::Server, "restarted by the user");
            self.record.tries = self.record.tries.saturating_sub(1);
            self.record.state = DatumState::Starting;
            self.record.reason.clear();
        }
    }

    /// Tries until it succeeds or has failed for good; answers the outputs.
    async fn tries(
        &mut self,
        dirs: &[InputDirectory],
        views: Option<&OpenViews>,
        log: &Spool,
    ) -> Result<Collected> {
        let allowed = self.job.spec.datum_tries;
        loop {
            self.record.tries += 1;
            let job = Arc::clone(&self.job);
            let spec = &job.spec.transform;
            let program = Program { cmd: &spec.cmd, stdin: &spec.stdin, has_outputs: true };
            let (attempt, outputs) = self.attempt(dirs, views, log, program).await?;
            match judge(spec, allowed, self.record.tries, &attempt) {
                Verdict::Success => {
                    self.record.state = DatumState::Success;
                    self.record.stats.download_bytes =
                        self.record.inputs.iter().map(|input| input.size).sum();
                    self.record.stats.upload_bytes = outputs.bytes;
                    return Ok(outputs);
                }
                Verdict::Retry => {
                    log.write(LogStream::Server, &format!("{attempt}; trying again"));
                }
                Verdict::RunErrCmd => {
                    log.write(LogStream::Server, &format!("{attempt}; running err_cmd"));
                    self.record.reason = attempt.to_string();
                    let (cmd, stdin) = (&spec.err_cmd, &spec.err_stdin);
                    let program = Program { cmd, stdin, has_outputs: false };
                    let (end, _) = self.attempt(dirs, views, log, program).await?;
                    self.record.state = judge_recovery(&end);
                    return Ok(Collected::default());
                }
                Verdict::Failed => {
                    log.write(LogStream::Server, &format!("{attempt}; no tries are left"));
                    self.record.state = DatumState::Failed;
                    self.record.reason = attempt.to_string();
                    return Ok(Collected::default());
                }
            }
        }
    }

    /// Runs a program once and takes its outputs when it succeeds.
    async fn attempt(
        &mut self,
        dirs: &[InputDirectory],
        views: Option<&OpenViews>,
        log: &Spool,
        program: Program<'_>,
    ) -> Result<(Attempt, Collected)> {
        self.record.stats.started = self.controller.clock().now();
        let started = Instant::now();
        let try_ = self.prepare(dirs, views).boxed().await?;
        let shown = Instant::now();
        let ended = self.execute(&try_, log, program).boxed().await;
        let over = Instant::now();
        let result = match ended {
            Ok(attempt @ Attempt::Exited(code))
                if program.has_outputs && self.job.spec.transform.accepts(code) =>
            {
                match self.collect(&try_).boxed().await {
                    Ok(outputs) => {
                        let remark = |text: &String| log.write(LogStream::Server, text);
                        outputs.remarks.iter().for_each(remark);
                        Ok((attempt, outputs))
                    }
                    Err(ControllerError::Job(why)) => {
                        Ok((Attempt::Broken(why), Collected::default()))
                    }
                    Err(error) => Err(error),
                }
            }
            Ok(attempt) => Ok((attempt, Collected::default())),
            Err(error) => Err(error),
        };
        let stats = &mut self.record.stats;
        stats.download_nanos += nanos(shown - started);
        stats.process_nanos += nanos(over - shown);
        stats.upload_nanos += nanos(over.elapsed());
        let dir = try_.dir;
        // The directory is nobody's any more; removing it need not be waited for.
        tokio::task::spawn_blocking(move || remove_scratch(&dir));
        result
    }

    async fn prepare(&self, dirs: &[InputDirectory], views: Option<&OpenViews>) -> Result<Try> {
        let dir = self.controller.scratch_dir();
        let make = |path: PathBuf| {
            // Others than the server's user may be who the program runs as.
            let made = std::fs::create_dir_all(&path)
                .and_then(|()| std::fs::set_permissions(&path, Permissions::from_mode(0o755)));
            made.map_err(ControllerError::io(path))
        };
        for sub in ["out", "stage"] {
            make(dir.join(sub))?;
        }
        let mut dirs_of = views.map(|views| views.dirs.iter()).into_iter().flatten();
        let (mut inputs, mut shown) = (Vec::new(), Vec::new());
        for input in dirs {
            let own = dir.join("in").join(&input.name);
            let (files, changes) = if views.is_some() && is_shared(input) {
                let lowers = dirs_of.by_ref().take(input.sources.len()).cloned().collect();
                let (upper, work) = (own.join("upper"), own.join("work"));
                make(upper.clone())?;
                make(work.clone())?;
                let changes = Files::Changes(upper.clone());
                (InputFiles::Shared { lowers, upper, work }, changes)
            } else {
                make(own.clone())?;
                self.copy_input(input, &own).await?;
                let is_empty = input.sources.iter().all(|source| source.empty_files);
                let files = if is_empty { Files::StandIns } else { Files::Copies };
                (InputFiles::Private(own.clone()), files(own))
            };
            inputs.push(InputMount { name: input.name.clone(), files });
            let sources = input.sources.iter().map(|source| self.view_of(source)).collect();
            shown.push(Input { name: input.name.clone(), sources, files: changes });
        }
        Ok(Try { dir, inputs, shown })
    }

    async fn copy_input(&self, input: &InputDirectory, to: &Path) -> Result<()> {
        let blobs = self.controller.repos().blobs();
        for source in &input.sources {
            let tree = crate::tree::Tree::new(self.controller.nodes(), self.root_of(source));
            materialise(blobs, &tree, &source.paths, to, source.empty_files).await?;
        }
        Ok(())
    }

    async fn execute(
        &self,
        try_: &Try,
        log: &Spool,
        Program { cmd, stdin, .. }: Program<'_>,
    ) -> Result<Attempt> {
        let transform = &self.job.spec.transform;
        let order = RunOrder {
            inputs: try_.inputs.clone(),
            out: try_.path("out"),
            stage: try_.path("stage"),
            failure: try_.path("failure"),
            cmd: cmd.to_vec(),
            env: self.environment(),
            stdin: (!stdin.is_empty()).then(|| stdin_text(stdin)),
            working_dir: transform.working_dir.clone(),
            user: transform.user.clone(),
            secrets: self.secret_directories(),
        };
        let mut held = Vec::new();
        for secret in &order.secrets {
            match self.controller.mount_points().hold(&secret.path) {
                Ok(points) => held.push(points),
                Err(error) => {
                    let at = secret.path.display();
                    return Ok(Attempt::Broken(format!("cannot show a secret at {at}: {error}")));
                }
            }
        }
        let timeout = self.job.spec.datum_timeout;
        let run = Run { order, timeout, log, cancel: &self.interrupt };
        let end = self.controller.executor().run(run).await;
        drop(held);
        match end {
            RunEnd::Ended(attempt) => Ok(attempt),
            RunEnd::Cancelled => Err(ControllerError::Cancelled),
        }
    }

    fn environment(&self) -> Vec<(String, String)> {
        let job = &self.job.row;
        let facts = JobFacts {
            project: job.job.pipeline.project.as_str(),
            pipeline: job.job.pipeline.name.as_str(),
            job: job.job.id,
            spec_commit: job.spec_commit,
            commits: &self.job.commits,
        };
        let transform = &self.job.spec.transform;
        let of_user = if transform.user.is_empty() { &OF_USER[..] } else { &[] };
        let passed_on = PASSED_ON.iter().chain(of_user);
        let own = passed_on
            .filter_map(|name| std::env::var(name).ok().map(|value| ((*name).to_owned(), value)));
        let datum = self.record.identified().datum;
        let mut all: Vec<(String, String)> = own.collect();
        all.extend(self.account().iter().flat_map(Account::environment));
        all.extend(variables(transform, &facts, &self.job.origins, &datum, self.record.id));
        for secret in &transform.secrets {
            if let SecretTarget::Variable { env_var, key } = &secret.target {
                let value = self.job.secrets.get(&secret.name).and_then(|values| values.get(key));
                let value = value.map(|value| String::from_utf8_lossy(value).into_owned());
                all.push((env_var.clone(), value.unwrap_or_default()));
            }
        }
        all
    }

    fn secret_directories(&self) -> Vec<SecretDirectory> {
        let directory = |(name, mount_path): (&str, &str)| {
            let values = self.job.secrets.get(name)?;
            let files = values.iter().map(|(key, value)| (key.clone(), value.to_vec())).collect();
            Some(SecretDirectory { path: mount_path.into(), files })
        };
        self.job.spec.transform.secret_directories().filter_map(directory).collect()
    }

    async fn collect(&self, try_: &Try) -> Result<Collected> {
        let collector = Collector {
            out: &try_.path("out"),
            inputs: &try_.shown,
            nodes: self.controller.nodes(),
            writer: &self.writer,
        };
        collector.collect().await
    }

    /// Puts record, log and outputs into one tree.
    async fn seal(self, outputs: Collected, log: &Spool) -> Result<DatumOutcome> {
        let id = self.record.id;
        let now = self.controller.clock().now();
        let below = outputs_path(id);
        let mut edits: Vec<(TreePath, Edit)> = Vec::with_capacity(outputs.edits.len() + 3);
        let file = |content| Edit::Put(Entry::file(content, now));
        edits.push((log_path(id), file(kept_log(log.path(), &self.writer).await?)));
        let record = serde_json::to_vec(&self.record)
            .map_err(|error| ControllerError::Job(format!("a datum's record: {error}")))?;
        edits.push((datum_path(id), file(self.content(record.into()).await?)));
        edits.push((below.clone(), Edit::Put(Entry::dir(now))));
        for (path, edit) in outputs.edits {
            let place = below.join_path(&path);
            edits.push((place.map_err(|e| ControllerError::Job(e.to_string()))?, edit));
        }
        let (nodes, options) = (self.controller.nodes(), ApplyOptions::default());
        let root = apply_all(nodes, &self.writer, Root::empty(), edits, options).await?;
        Ok(DatumOutcome { record: self.record, tree: hex::encode(root.encode()) })
    }

    async fn content(&self, bytes: Bytes) -> Result<crate::chunk::Content> {
        let mut writer = FileWriter::new(&self.writer, &[]);
        writer.write(bytes).await?;
        Ok(writer.finish().await?)
    }
}

/// The contents of a log, from its spool.
pub(super) async fn kept_log(spool: &Path, writer: &PackWriter) -> Result<crate::chunk::Content> {
    let mut file = tokio::fs::File::open(spool).await.map_err(ControllerError::io(spool))?;
    let mut content = FileWriter::new(writer, &[]);
    loop {
        let mut piece = BytesMut::with_capacity(LOG_PIECE);
        if file.read_buf(&mut piece).await.map_err(ControllerError::io(spool))? == 0 {
            return Ok(content.finish().await?);
        }
        content.write(piece.freeze()).await?;
    }
}

fn nanos(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Whether an input's files are shown as they are.
fn is_shared(dir: &InputDirectory) -> bool {
    dir.sources.iter().all(|source| !source.empty_files)
}

/// Removes what a try left on this machine.
pub(super) fn remove_scratch(dir: &Path) {
    let removed = std::fs::remove_dir_all(dir).or_else(|_| {
        // Without root rights a directory may be one that nobody may enter.
        open_up(dir);
        std::fs::remove_dir_all(dir)
    });
    match removed {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            // What cannot be helped here is tried again at the next start.
            tracing::warn!(dir = %dir.display(), %error, "a scratch directory is left behind");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Lets the owner into every directory below `dir`, as far as it may.
fn open_up(dir: &Path) {
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        let _ = std::fs::set_permissions(&dir, Permissions::from_mode(0o700));
        for entry in std::fs::read_dir(&dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                dirs.push(entry.path());
            }
        }
    }
}

/// Reads back what [`Work::run`] made.
pub(super) fn decode_outcome(id: DatumId, outcome: &[u8]) -> Result<(DatumRecord, Root)> {
    let damaged = |what: String| {
        ControllerError::Catalog(crate::catalog::CatalogError::Damaged {
            what: format!("the outcome of datum {id}: {what}"),
        })
    };
    let outcome: DatumOutcome =
        serde_json::from_slice(outcome).map_err(|error| damaged(error.to_string()))?;
    let tree = hex::decode(&outcome.tree).map_err(|error| damaged(error.to_string()))?;
    Ok((outcome.record, Root::decode(&tree)?))
}
