//! Pipelines end to end: a real catalog, real trees, real processes.

mod base;
mod logs;
mod outputs;
mod restart;
mod stopping;
mod triggers;
mod users;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use pfs::catalog::{Catalog, Job, JobQuery, JobRow, JobState, Pipeline};
use pfs::chunk::{BlobConfig, Blobs, FileWriter};
use pfs::controller::executor::process::ProcessExecutor;
use pfs::controller::{
    Controller, ControllerConfig, CreatePipeline, InputViews, LogQuery, MountedViews, root_of,
};
use pfs::model::{Branch, Clock, Commit, ProjectName, Repo, SystemClock, TreePath};
use pfs::mount::{MountOptions, Mounted};
use pfs::pipeline::job::{DatumState, progress_text};
use pfs::pipeline::spec::PipelineSpec;
use pfs::repo::{OneShot, Repos};
use pfs::store::{StoreOptions, open};
use pfs::tree::{ApplyOptions, Edit, Entry, EntryKind, Nodes, Root, Tree, apply};
use pfs::vfs::{DatumViews, Files};
use tokio_util::sync::CancellationToken;

/// Nothing here takes longer unless it hangs.
const PATIENCE: Duration = Duration::from_secs(300);

struct Server {
    repos: Repos,
    nodes: Nodes,
    controller: Controller,
    stop: CancellationToken,
    run: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn pipeline(text: &str) -> Pipeline {
    Pipeline { project: ProjectName::default_project(), name: name(text) }
}

fn branch(repo: &str) -> Branch {
    Repo::user(ProjectName::default_project(), name(repo)).branch(name("master"))
}

/// A spec of one input whose script is run by a shell.
fn spec(pipeline: &str, repo: &str, glob: &str, script: &str) -> serde_json::Value {
    serde_json::json!({
        "pipeline": {"name": pipeline},
        "transform": {"cmd": ["/bin/sh"], "stdin": [script]},
        "input": {"pfs": {"repo": repo, "glob": glob}},
    })
}

/// Inputs through FUSE; says so when this machine cannot.
async fn views(
    executor: &ProcessExecutor,
    nodes: &Nodes,
    dir: &Path,
) -> Option<Arc<dyn InputViews>> {
    if !executor.is_apart() || std::fs::File::open("/dev/fuse").is_err() {
        eprintln!("SKIPPED: inputs are copied, FUSE or root rights are missing");
        return None;
    }
    std::fs::create_dir_all(dir).unwrap();
    let views = DatumViews::new(nodes.clone());
    let files = Arc::new(Files::of_datums(views.clone(), SystemClock.now()));
    let options = MountOptions { allow_other: true, ..MountOptions::default() };
    let (at, runtime) = (dir.to_owned(), tokio::runtime::Handle::current());
    let mount = move || Mounted::new(&at, &files, &options, &runtime).map(drop);
    executor.call_apart(mount).await.unwrap().unwrap();
    Some(Arc::new(MountedViews::new(views, dir.to_owned(), Arc::new(SystemClock))))
}

impl Server {
    /// Inputs are mounted where that can be done.
    async fn start(dir: &Path) -> Self {
        Self::with(dir, false).await
    }

    async fn with(dir: &Path, copied: bool) -> Self {
        Self::tuned(dir, copied, |_| {}).await
    }

    async fn tuned(dir: &Path, copied: bool, tune: impl FnOnce(&mut ControllerConfig)) -> Self {
        Self::built(dir, copied, Arc::new(SystemClock), tune).await
    }

    async fn built(
        dir: &Path,
        copied: bool,
        clock: Arc<dyn Clock>,
        tune: impl FnOnce(&mut ControllerConfig),
    ) -> Self {
        let url = format!("sqlite://{}", dir.join("catalog.db").display());
        let catalog = pfs::catalog::open(&url, Arc::clone(&clock)).await.unwrap();
        let store = open(&format!("file://{}/objects", dir.display()), &StoreOptions::default());
        let blobs = Blobs::new(store.unwrap(), Arc::clone(&clock), BlobConfig::default());
        let repos = Repos::new(catalog, blobs, clock);
        let nodes = repos.nodes().clone();
        let executor = ProcessExecutor::new(env!("CARGO_BIN_EXE_pfs").into()).unwrap();
        let mut config = ControllerConfig::new(dir.join("controller"));
        tune(&mut config);
        let views = if copied { None } else { views(&executor, &nodes, &dir.join("views")).await };
        let executor = Arc::new(executor);
        let controller = Controller::new(repos.clone(), nodes.clone(), executor, views, config);
        let stop = CancellationToken::new();
        let run = tokio::spawn({
            let (controller, stop) = (controller.clone(), stop.clone());
            async move { controller.run(stop).await.unwrap() }
        });
        Self { repos, nodes, controller, stop, run }
    }

    /// Ends the server without a word to anybody, as far as a process can.
    async fn crash(self) {
        self.run.abort();
        self.stop.cancel();
        drop(self);
    }

    fn catalog(&self) -> &Arc<dyn Catalog> {
        self.repos.catalog()
    }

    async fn create_repo(&self, repo: &str) {
        self.repos.create_repo(&branch(repo).repo, "", false).await.unwrap();
    }

    /// Commits files; `None` removes one.
    async fn put(&self, repo: &str, files: &[(&str, Option<&str>)]) -> Commit {
        let branch = branch(repo);
        let row = self.catalog().branch(&branch).await.unwrap();
        let parent = row.and_then(|row| row.head);
        let base = match parent {
            Some(head) => self.root(&branch.repo.commit(head)).await,
            None => Root::empty(),
        };
        let writer = self.repos.blobs().writer();
        let mut edits = BTreeMap::new();
        for (path, text) in files {
            let edit = match text {
                None => Edit::Remove,
                Some(text) => {
                    let mut content = FileWriter::new(&writer, &[]);
                    content.write((*text).to_owned().into()).await.unwrap();
                    Edit::Put(Entry::file(content.finish().await.unwrap(), SystemClock.now()))
                }
            };
            edits.insert(name::<TreePath>(path), edit);
        }
        let edits = futures::stream::iter(edits.into_iter().map(Ok::<_, pfs::tree::TreeError>));
        let options = ApplyOptions::default();
        let root = apply(&self.nodes, &writer, &base, edits, options).await.unwrap();
        writer.flush().await.unwrap();
        let totals = root.totals();
        let once = OneShot {
            parent,
            root: pfs::catalog::StoredRoot {
                encoded: root.encode().into(),
                files: totals.files,
                bytes: totals.bytes,
            },
            description: String::new(),
            author: String::new(),
        };
        self.repos.commit_once(&branch, &once).await.unwrap().commit
    }

    async fn root(&self, commit: &Commit) -> Root {
        let row = self.catalog().commit(commit).await.unwrap().unwrap();
        root_of(&row.root).unwrap()
    }

    async fn create(&self, spec: serde_json::Value) {
        self.request(spec, false, false).await.unwrap();
    }

    async fn request(
        &self,
        spec: serde_json::Value,
        update: bool,
        reprocess: bool,
    ) -> pfs::controller::Result<pfs::catalog::PipelineRow> {
        let written = spec.to_string();
        let spec = PipelineSpec::from_json(&written).unwrap();
        let request = CreatePipeline { spec, written, update, reprocess };
        self.controller.create_pipeline(&request).await
    }

    /// Waits until `done` says so of the jobs of a pipeline, oldest first.
    async fn until(&self, of: &str, done: impl Fn(&[JobRow]) -> bool) -> Vec<JobRow> {
        let mut events = self.catalog().watch();
        let query = JobQuery { pipeline: Some(pipeline(of)), ..JobQuery::default() };
        let wait = async {
            loop {
                events.borrow_and_update();
                let mut rows = self.catalog().jobs(&query).await.unwrap();
                rows.sort_by_key(|row| row.seq);
                if done(&rows) {
                    return rows;
                }
                let look = tokio::time::timeout(Duration::from_millis(200), events.changed());
                let _ = look.await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(rows) => rows,
            Err(_) => panic!("{:#?}", self.catalog().jobs(&query).await),
        }
    }

    /// The last of `count` jobs of a pipeline, once all are over.
    async fn job(&self, of: &str, count: usize) -> JobRow {
        let over =
            |rows: &[JobRow]| rows.len() == count && rows.iter().all(|row| row.state.is_terminal());
        self.until(of, over).await.pop().unwrap()
    }

    /// What a job wrote: paths and contents, directories with a slash.
    async fn output(&self, row: &JobRow) -> BTreeMap<String, String> {
        let tree = Tree::new(&self.nodes, self.root(&row.output).await);
        let mut entries = tree.walk(&TreePath::root(), None);
        let mut found = BTreeMap::new();
        while let Some(entry) = entries.next().await {
            let (path, entry) = entry.unwrap();
            match entry.kind {
                EntryKind::Dir => drop(found.insert(format!("{path}/"), String::new())),
                EntryKind::Symlink(target) => drop(found.insert(path.to_string(), target)),
                EntryKind::File(content) => {
                    let bytes = content.read_range(self.repos.blobs(), 0..content.size()).await;
                    let text = String::from_utf8_lossy(&bytes.unwrap()).into_owned();
                    found.insert(path.to_string(), text);
                }
            }
        }
        found
    }

    /// The lines of a log.
    async fn log(&self, query: LogQuery) -> Vec<String> {
        let lines = self.controller.read_logs(query);
        lines.map(|line| line.unwrap().line.text).collect().await
    }

    async fn states(&self, job: &Job) -> Vec<DatumState> {
        let datums = self.controller.list_datums(job).collect::<Vec<_>>().await;
        datums.into_iter().map(|datum| datum.unwrap().state).collect()
    }
}

fn paths(output: &BTreeMap<String, String>) -> Vec<&str> {
    output.keys().map(String::as_str).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_runs_and_only_changes_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("raw").await;
    let double =
        "for f in /pfs/raw/*; do cat $f $f > /pfs/out/$(basename $f); done; echo seen $raw";
    server.create(spec("double", "raw", "/*", double)).await;
    server.create(spec("count", "double", "/", "ls /pfs/double | wc -l > /pfs/out/n")).await;
    let first = server.put("raw", &[("a", Some("1")), ("b", Some("22"))]).await;
    let job = server.job("double", 1).await;
    assert_eq!((job.state, job.job.id), (JobState::Success, first.id), "{}", job.reason);
    assert_eq!(progress_text(&job.counters), "2 + 0 / 2");
    assert_eq!((job.counters.downloaded, job.counters.uploaded), (3, 6));
    let output = server.output(&job).await;
    assert_eq!(output, [("/a", "11"), ("/b", "2222")].map(|(p, t)| (p.into(), t.into())).into());
    let counted = server.job("count", 1).await;
    assert_eq!(server.output(&counted).await["/n"].trim(), "2");
    server.put("raw", &[("a", None), ("c", Some("3"))]).await;
    let job = server.job("double", 2).await;
    assert_eq!(progress_text(&job.counters), "1 + 1 / 2");
    assert_eq!(paths(&server.output(&job).await), ["/b", "/c"]);
    assert_eq!(server.states(&job.job).await.len(), 2);
    assert_eq!(server.output(&server.job("count", 2).await).await["/n"].trim(), "2");
    let lines = server.controller.read_logs(LogQuery { job: Some(job.job), ..LogQuery::default() });
    let lines: Vec<_> = lines.map(|line| line.unwrap().line.text).collect().await;
    assert_eq!(lines, ["seen /pfs/raw/c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_skip_unless_told_to_reprocess() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x")), ("y", Some("y"))]).await;
    let version =
        |text: &str| spec("p", "in", "/*", &format!("echo {text} > /pfs/out/$(basename $in)"));
    server.create(version("one")).await;
    assert_eq!(progress_text(&server.job("p", 1).await.counters), "2 + 0 / 2");
    assert!(server.request(version("two"), false, false).await.is_err());
    server.request(version("two"), true, false).await.unwrap();
    let skipped = server.job("p", 2).await;
    assert_eq!(progress_text(&skipped.counters), "0 + 2 / 2");
    assert_eq!((skipped.counters.downloaded, skipped.counters.uploaded), (0, 0));
    assert_eq!(server.output(&skipped).await["/x"], "one\n");
    server.request(version("two"), true, true).await.unwrap();
    let again = server.job("p", 3).await;
    assert_eq!(progress_text(&again.counters), "2 + 0 / 2");
    assert_eq!(server.output(&again).await["/x"], "two\n");
    server.request(spec("p", "in", "/", "ls /pfs/in > /pfs/out/all"), true, false).await.unwrap();
    let whole = server.job("p", 4).await;
    assert_eq!(progress_text(&whole.counters), "1 + 0 / 1");
    assert_eq!(paths(&server.output(&whole).await), ["/all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_tried_again_and_stop_what_is_downstream() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.create(spec("bad", "in", "/*", "echo oops >&2; exit 3")).await;
    server.create(spec("next", "bad", "/", "true")).await;
    server.put("in", &[("x", Some("x"))]).await;
    let job = server.job("bad", 1).await;
    assert_eq!(job.state, JobState::Failure);
    assert!(job.reason.starts_with("exit code 3: datum "), "{}", job.reason);
    assert_eq!((job.counters.failed, job.counters.total), (1, 1));
    assert_eq!(server.states(&job.job).await, [DatumState::Failed]);
    let next = server.job("next", 1).await;
    assert_eq!((next.state, next.reason.as_str()), (JobState::Unrunnable, "inputs bad failed"));
    let mut accepted = spec("bad", "in", "/*", "exit 3");
    accepted["transform"]["accept_return_code"] = serde_json::json!([3]);
    server.request(accepted, true, false).await.unwrap();
    assert_eq!(server.job("bad", 2).await.state, JobState::Success);
}

#[tokio::test(flavor = "multi_thread")]
async fn recovered_datums_do_not_fail_the_job_and_run_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    let mut recovering = spec("p", "in", "/*", "test $(basename $in) = y && touch /pfs/out/y");
    recovering["transform"]["err_cmd"] = serde_json::json!(["true"]);
    recovering["datum_tries"] = "1".into();
    server.create(recovering).await;
    server.put("in", &[("x", Some("x")), ("y", Some("y"))]).await;
    let job = server.job("p", 1).await;
    assert_eq!(
        (job.state, progress_text(&job.counters).as_str()),
        (JobState::Success, "1 + 0 + 1 / 2")
    );
    server.put("in", &[("z/y", Some("z"))]).await;
    let job = server.job("p", 2).await;
    assert_eq!(progress_text(&job.counters), "0 + 1 + 2 / 3");
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_of_every_kind() {
    for copied in [false, true] {
        outputs(copied).await;
    }
}

async fn outputs(copied: bool) {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::with(dir.path(), copied).await;
    server.create_repo("in").await;
    let script = "cd /pfs/out; mkdir -p e d/s; echo t > d/s/f; chmod +x d/s/f
        ln -s /pfs/in/x linked; ln -s d/s/f near; chmod +x $in; echo more >> /pfs/in/x
        ln -s /pfs/in/x changed; test -z \"$(ls -A /pfs/out/e)\"";
    server.create(spec("p", "in", "/*", script)).await;
    server.put("in", &[("x", Some("x"))]).await;
    let job = server.job("p", 1).await;
    assert_eq!(job.state, JobState::Success, "{}", job.reason);
    let output = server.output(&job).await;
    assert_eq!(paths(&output), ["/changed", "/d/", "/d/s/", "/d/s/f", "/e/", "/linked", "/near"]);
    assert_eq!((output["/changed"].as_str(), output["/near"].as_str()), ("xmore\n", "t\n"));
    let tree = Tree::new(&server.nodes, server.root(&job.output).await);
    let mode = tree.get(&name("d/s/f")).await.unwrap().unwrap().mode;
    assert_ne!(mode & 0o111, 0);
    server.create(spec("pipe", "in", "/*", "mkfifo /pfs/out/pipe")).await;
    let job = server.job("pipe", 1).await;
    let why = "/pfs/out/pipe cannot be kept: it is a named pipe";
    assert!(job.reason.contains(why), "{}", job.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_datums_writing_one_path_are_both_named() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x"))]).await;
    server.create(spec("p", "in", "/*", "cat $in > /pfs/out/same")).await;
    assert_eq!(server.job("p", 1).await.state, JobState::Success);
    // The conflict is with a datum that is not run again.
    server.put("in", &[("y", Some("y"))]).await;
    let job = server.job("p", 2).await;
    assert_eq!(job.state, JobState::Failure);
    assert!(job.reason.contains("both wrote /same"), "{}", job.reason);
    let mut concat = spec("p", "in", "/*", "cat $in > /pfs/out/same");
    concat["on_conflict"] = "concat".into();
    server.request(concat, true, false).await.unwrap();
    let job = server.job("p", 3).await;
    assert_eq!(job.state, JobState::Success, "{}", job.reason);
    let same = server.output(&job).await["/same"].clone();
    assert!(same == "xy" || same == "yx", "{same}");
}

#[tokio::test(flavor = "multi_thread")]
async fn inputs_without_datums_succeed() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[]).await;
    server.create(spec("root", "in", "/", "touch /pfs/out/x")).await;
    server.create(spec("none", "in", "/nothing/*", "touch /pfs/out/x")).await;
    for of in ["root", "none"] {
        let job = server.job(of, 1).await;
        assert_eq!(
            (job.state, progress_text(&job.counters).as_str()),
            (JobState::Success, "0 + 0 / 0")
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_can_be_stopped_and_time_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x"))]).await;
    server.create(spec("long", "in", "/", "sleep 600")).await;
    let running = |rows: &[JobRow]| rows.iter().any(|row| row.state == JobState::Running);
    let job = server.until("long", running).await.remove(0).job;
    server.controller.stop_job(&job).await.unwrap();
    assert_eq!(server.job("long", 1).await.state, JobState::Killed);
    server.create(spec("slow", "in", "/", "sleep 600")).await;
    server.until("slow", running).await;
    let mut limited = spec("slow", "in", "/", "sleep 600");
    limited["job_timeout"] = "200ms".into();
    server.request(limited.clone(), true, false).await.unwrap();
    let job = server.job("slow", 2).await;
    assert_eq!(
        (job.state, job.reason.as_str()),
        (JobState::Failure, "the job ran longer than job_timeout")
    );
    let query = JobQuery { pipeline: Some(pipeline("slow")), ..JobQuery::default() };
    let states: Vec<_> =
        server.catalog().jobs(&query).await.unwrap().iter().map(|j| j.state).collect();
    assert!(states.contains(&JobState::Killed), "{states:?}");
    limited["datum_timeout"] = "100ms".into();
    limited["job_timeout"] = "1h".into();
    limited["datum_tries"] = "2".into();
    server.request(limited, true, false).await.unwrap();
    let job = server.job("slow", 3).await;
    assert!(job.reason.contains("over datum_timeout"), "{}", job.reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_goes_on_without_running_finished_datums_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    let files: Vec<String> = (0..12).map(|n| format!("f{n:02}")).collect();
    let contents: Vec<(&str, Option<&str>)> =
        files.iter().map(|f| (f.as_str(), Some("x"))).collect();
    let ran = dir.path().join("ran");
    let gate = dir.path().join("gate");
    let script = format!(
        "f=$(basename $in); echo $f >> {}; touch /pfs/out/$f
         case $f in f0[0-5]) ;; *) while ! test -e {}; do sleep 0.05; done;; esac",
        ran.display(),
        gate.display(),
    );
    let mut slow = spec("p", "in", "/*", &script);
    slow["parallelism_spec"] = serde_json::json!({"constant": 3});
    server.create(slow).await;
    server.put("in", &contents).await;
    server.until("p", |rows| rows.iter().any(|row| row.counters.processed >= 6)).await;
    server.crash().await;
    std::fs::write(&gate, "").unwrap();
    let server = loop {
        // The lock on the catalog goes with the last task that holds it.
        let url = format!("sqlite://{}", dir.path().join("catalog.db").display());
        match pfs::catalog::open(&url, Arc::new(SystemClock)).await {
            Ok(catalog) => {
                drop(catalog);
                break Server::start(dir.path()).await;
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
    let job = server.job("p", 1).await;
    assert_eq!(job.state, JobState::Success, "{}", job.reason);
    assert_eq!(progress_text(&job.counters), "12 + 0 / 12");
    assert_eq!(server.output(&job).await.len(), 12);
    assert_eq!(job.restarts, 1);
    let ran = std::fs::read_to_string(ran).unwrap();
    for early in &files[..6] {
        assert_eq!(ran.lines().filter(|line| line == early).count(), 1, "{early} in {ran}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lapsed_leases_neither_lose_datums_nor_run_them_twice() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::tuned(dir.path(), true, |config| {
        config.lease = Duration::from_millis(30);
        config.max_workers = 1;
    })
    .await;
    server.create_repo("in").await;
    let ran = dir.path().join("ran");
    for name in ["one", "two"] {
        let script = format!("echo {name}$in >> {}; sleep 0.2; cp $in /pfs/out", ran.display());
        let mut slow = spec(name, "in", "/*", &script);
        slow["parallelism_spec"] = serde_json::json!({"constant": 4});
        server.create(slow).await;
    }
    server.put("in", &[("a", Some("a")), ("b", Some("b")), ("c", Some("c"))]).await;
    for name in ["one", "two"] {
        let job = server.job(name, 1).await;
        assert_eq!(job.state, JobState::Success, "{}", job.reason);
        assert_eq!(progress_text(&job.counters), "3 + 0 / 3");
        assert_eq!(paths(&server.output(&job).await), ["/a", "/b", "/c"]);
    }
    let ran = std::fs::read_to_string(ran).unwrap();
    assert_eq!(ran.lines().count(), 6, "{ran}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_without_datums_pushes_its_output() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    let mut pushing = spec("p", "in", "/none*", "true");
    pushing["egress"] =
        serde_json::json!({"URL": format!("file://{}", dir.path().join("to").display())});
    server.create(pushing).await;
    server.put("in", &[("x", Some("x"))]).await;
    let job = server.job("p", 1).await;
    assert_eq!((job.state, job.reason.as_str()), (JobState::Success, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_reach_programs_as_files_and_variables() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x"))]).await;
    let at = dir.path().join("mounted");
    let mut with = spec("p", "in", "/", &format!("cat {}/user; echo $WORD", at.display()));
    with["transform"]["secrets"] = serde_json::json!([
        {"name": "s", "mountPath": at}, {"name": "s", "env_var": "WORD", "key": "password"},
    ]);
    server.create(with.clone()).await;
    assert_eq!(server.job("p", 1).await.reason, "secret s does not exist");
    let values = [("user", "me\n"), ("password", "pw")];
    let row = pfs::catalog::SecretRow {
        name: "s".to_owned(),
        kind: "Opaque".to_owned(),
        values: values.map(|(k, v)| (k.to_owned(), v.into())).into(),
        created: SystemClock.now(),
    };
    server.catalog().apply(vec![pfs::catalog::Op::PutSecret(row)]).await.unwrap();
    server.request(with, true, false).await.unwrap();
    let job = server.job("p", 2).await;
    assert_eq!(job.state, JobState::Success, "{}", job.reason);
    let lines = server.controller.read_logs(LogQuery { job: Some(job.job), ..LogQuery::default() });
    let lines: Vec<_> = lines.map(|line| line.unwrap().line.text).collect().await;
    assert_eq!(lines, ["me", "pw"]);
    assert!(!at.exists(), "the mount point of the secret stays");
}

/// Prints what a datum and a start cost; asserts nothing about time.
#[tokio::test(flavor = "multi_thread")]
async fn many_small_datums() {
    let count = std::env::var("PFS_TEST_DATUMS").map_or(200, |text| text.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    let names: Vec<String> = (0..count).map(|n| format!("f{n:05}")).collect();
    let files: Vec<(&str, Option<&str>)> = names.iter().map(|f| (f.as_str(), Some("x"))).collect();
    let mut trivial = spec("p", "in", "/*", "");
    trivial["transform"] = serde_json::json!({"cmd": ["true"]});
    trivial["parallelism_spec"] = serde_json::json!({"constant": 2});
    server.create(trivial).await;
    let started = Instant::now();
    server.put("in", &files).await;
    let job = server.job("p", 1).await;
    assert_eq!(job.counters.processed, count as u64, "{}", job.reason);
    println!("datum_ms {:.2}", started.elapsed().as_secs_f64() * 1000.0 / count as f64);
    let started = Instant::now();
    server.put("in", &[("g", Some("y"))]).await;
    let job = server.job("p", 2).await;
    assert_eq!(job.counters.skipped, count as u64);
    println!("one_more_ms {:.2}", started.elapsed().as_secs_f64() * 1000.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn cron_inputs_tick() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    server.put("in", &[("x", Some("x"))]).await;
    let mut ticking = spec("p", "in", "/", "ls /pfs/tick > /pfs/out/ticks");
    ticking["input"] = serde_json::json!({"cross": [
        {"cron": {"name": "tick", "spec": "@daily", "overwrite": true}},
        {"pfs": {"repo": "in", "glob": "/"}},
    ]});
    server.create(ticking).await;
    server.controller.run_cron(&pipeline("p")).await.unwrap();
    let job = server.job("p", 1).await;
    assert_eq!(job.state, JobState::Success, "{}", job.reason);
    let ticks = server.output(&job).await["/ticks"].clone();
    assert!(ticks.trim().ends_with('Z') && ticks.lines().count() == 1, "{ticks}");
    let mut often = spec("often", "in", "/", "true");
    often["input"] = serde_json::json!({"cron": {"name": "tick", "spec": "@every 1s"}});
    server.create(often).await;
    server.until("often", |rows| rows.len() >= 2).await;
    assert!(server.controller.run_cron(&pipeline("none")).await.is_err());
}
