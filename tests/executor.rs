//! The process executor: real processes in real mount namespaces.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pfs::catalog::{Job, Pipeline};
use pfs::controller::executor::order::{InputFiles, InputMount, RunOrder, SecretDirectory};
use pfs::controller::executor::process::ProcessExecutor;
use pfs::controller::executor::{Executor as _, Run, RunEnd};
use pfs::controller::logs::{LogStream, Logs, parse_lines};
use pfs::model::{CommitId, DatumId, ProjectName, SystemClock};
use pfs::pipeline::job::Attempt;
use tokio_util::sync::CancellationToken;

use crate::machine;

/// A scratch directory with one shared and one private input.
struct Bench {
    dir: tempfile::TempDir,
    executor: ProcessExecutor,
    logs: Logs,
}

struct Outcome {
    end: RunEnd,
    out: Vec<String>,
    err: Vec<String>,
}

/// Whether this machine lets us make mount namespaces; says so when not.
fn namespaces() -> bool {
    let script = "unshare -m true || unshare -Um true";
    let allowed = std::process::Command::new("sh").args(["-c", script]).status();
    let allowed = allowed.is_ok_and(|status| status.success());
    if !allowed {
        eprintln!("SKIPPED: mount namespaces are not permitted here");
    }
    allowed
}

impl Bench {
    fn new() -> Option<Self> {
        if !namespaces() {
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        let executor = ProcessExecutor::new(env!("CARGO_BIN_EXE_pfs").into()).unwrap();
        let logs = Logs::new(dir.path().join("logs"), Arc::new(SystemClock));
        let bench = Self { dir, executor, logs };
        for sub in ["out", "stage", "lower/d", "upper", "work", "private"] {
            fs::create_dir_all(bench.path(sub)).unwrap();
        }
        fs::write(bench.path("lower/d/script.sh"), "echo from input\n").unwrap();
        fs::write(bench.path("private/p"), "p").unwrap();
        Some(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn order(&self, script: &str) -> RunOrder {
        let shared = InputFiles::Shared {
            lowers: vec![self.path("lower")],
            upper: self.path("upper"),
            work: self.path("work"),
        };
        let input = |name: &str, files| InputMount { name: name.to_owned(), files };
        RunOrder {
            inputs: vec![
                input("in", shared),
                input("own", InputFiles::Private(self.path("private"))),
            ],
            out: self.path("out"),
            stage: self.path("stage"),
            failure: self.path("failure"),
            cmd: vec!["/bin/sh".to_owned()],
            env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            stdin: Some(script.to_owned()),
            working_dir: String::new(),
            user: String::new(),
            secrets: Vec::new(),
        }
    }

    async fn run(&self, order: RunOrder) -> Outcome {
        self.run_for(order, None, &CancellationToken::new()).await
    }

    async fn run_for(
        &self,
        order: RunOrder,
        timeout: Option<Duration>,
        cancel: &CancellationToken,
    ) -> Outcome {
        let pipeline =
            Pipeline { project: ProjectName::default_project(), name: "p".parse().unwrap() };
        let job = Job { pipeline, id: CommitId::new([1; 16]) };
        let log = self.logs.start(&job, DatumId::new([2; 32])).unwrap();
        let end = self.executor.run(Run { order, timeout, log: &log, cancel }).await;
        let lines = parse_lines(&fs::read(log.path()).unwrap());
        let of = |stream| {
            let mine = lines.iter().filter(|line| line.stream == stream);
            mine.map(|line| line.text.clone()).collect()
        };
        Outcome { end, out: of(LogStream::Stdout), err: of(LogStream::Stderr) }
    }
}

fn exited(code: i32) -> RunEnd {
    RunEnd::Ended(Attempt::Exited(code))
}

#[tokio::test]
async fn a_program_sees_private_inputs_and_an_empty_out() {
    let Some(bench) = Bench::new() else { return };
    let script = "
        ls -A /pfs /pfs/out
        cd /pfs/in/d
        chmod +x script.sh && ./script.sh
        echo changed > script.sh; rm /pfs/own/p; echo new > /pfs/in/new
        pwd >&2
        echo result > /pfs/out/r; mkdir /pfs/out/e
    ";
    let Outcome { end, out, err } = bench.run(bench.order(script)).await;
    assert_eq!((end, err), (exited(0), vec!["/pfs/in/d".to_owned()]));
    assert_eq!(out, ["/pfs:", "in", "out", "own", "", "/pfs/out:", "from input"]);
    let lower = bench.path("lower/d/script.sh");
    assert_eq!(fs::read_to_string(&lower).unwrap(), "echo from input\n");
    assert_eq!(fs::metadata(&lower).unwrap().permissions().mode() & 0o111, 0);
    assert_eq!(fs::read_to_string(bench.path("out/r")).unwrap(), "result\n");
    assert!(bench.path("out/e").is_dir());
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!mounts.contains(bench.dir.path().to_str().unwrap()), "a mount is left");
}

#[tokio::test]
async fn environment_directory_user_and_secrets_are_as_ordered() {
    let Some(bench) = Bench::new() else { return };
    let mut order = bench.order("echo $A:$B; pwd; cat $S/key; id -u; grep -c . /proc/self/environ");
    let secret = bench.path("secret");
    for (name, value) in [("A", "1"), ("A", "2"), ("B-C", "x"), ("S", secret.to_str().unwrap())] {
        order.env.push((name.to_owned(), value.to_owned()));
    }
    order.working_dir = "/tmp".to_owned();
    let files = [("key".to_owned(), b"hidden\n".to_vec())].into();
    order.secrets = vec![SecretDirectory { path: secret.clone(), files }];
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        order.user = "65534:65534".to_owned();
        fs::set_permissions(bench.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let uid = if is_root { "65534".to_owned() } else { nix::unistd::geteuid().to_string() };
    let Outcome { end, out, .. } = bench.run(order).await;
    assert_eq!(end, exited(0));
    assert_eq!(out[..4], ["2:", "/tmp", "hidden", &uid]);
    assert_eq!(fs::read_dir(secret).unwrap().count(), 0, "a secret is left on the host");
}

#[tokio::test]
async fn failures_to_start_say_why() {
    let Some(bench) = Bench::new() else { return };
    let broken = |outcome: Outcome| match outcome.end {
        RunEnd::Ended(Attempt::Broken(why)) => why,
        other => panic!("{other:?}"),
    };
    let mut order = bench.order("");
    order.cmd = vec!["no-such-program".to_owned()];
    assert!(broken(bench.run(order).await).contains("cannot run \"no-such-program\""));
    let mut order = bench.order("");
    order.working_dir = "/no/such".to_owned();
    assert!(broken(bench.run(order).await).contains("working_dir /no/such"));
    let mut order = bench.order("");
    order.user = "nobody-of-that-name".to_owned();
    assert!(broken(bench.run(order).await).contains("no such user"));
}

#[tokio::test]
async fn exit_codes_signals_and_limits_are_told_apart() {
    let Some(bench) = Bench::new() else { return };
    assert_eq!(bench.run(bench.order("exit 7")).await.end, exited(7));
    assert_eq!(bench.run(bench.order("exit 125")).await.end, exited(125));
    let killed = bench.run(bench.order("kill -TERM $$")).await.end;
    assert_eq!(killed, RunEnd::Ended(Attempt::Signalled(15)));
    let mut ignores_stdin = bench.order(&"x".repeat(1 << 20));
    ignores_stdin.cmd = vec!["true".to_owned()];
    assert_eq!(bench.run(ignores_stdin).await.end, exited(0));
    let none = CancellationToken::new();
    let limit = Some(Duration::from_millis(100));
    let started = Instant::now();
    let slow = bench.run_for(bench.order("sleep 60 & sleep 60"), limit, &none).await;
    assert_eq!(slow.end, RunEnd::Ended(Attempt::TimedOut));
    let cancel = CancellationToken::new();
    cancel.cancel();
    let cancelled = bench.run_for(bench.order("sleep 60"), None, &cancel).await;
    assert_eq!(cancelled.end, RunEnd::Cancelled);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn children_left_behind_are_ended() {
    let Some(bench) = Bench::new() else { return };
    let marker = machine::marker("behind");
    let child = |how: &str| format!("{how} sh -c 'touch /pfs/out/up; sleep 600; : {marker}' &");
    let children = child("") + &child("setsid");
    let script = format!("{children} while ! test -e /pfs/out/up; do sleep 0.01; done;");
    assert_eq!(bench.run(bench.order(&format!("{script} exit 3"))).await.end, exited(3));
    assert_eq!(machine::processes(&marker), Vec::<String>::new());
    // Nor is anything left of a program that is cut off.
    let (limit, none) = (Some(Duration::from_millis(500)), CancellationToken::new());
    let slow = bench.run_for(bench.order(&format!("{script} wait")), limit, &none).await;
    assert_eq!(slow.end, RunEnd::Ended(Attempt::TimedOut));
    assert_eq!(machine::processes(&marker), Vec::<String>::new());
}

#[tokio::test]
async fn long_and_binary_output_is_kept_as_lines() {
    let Some(bench) = Bench::new() else { return };
    let script =
        "head -c 150000 /dev/zero | tr '\\0' x; echo; printf '\\377end'; printf 'a\\r\\nb'";
    let Outcome { out, .. } = bench.run(bench.order(script)).await;
    assert_eq!(out.iter().take(3).map(String::len).max(), Some(65536));
    assert_eq!(out[out.len() - 2..], ["\u{fffd}enda", "b"]);
}
