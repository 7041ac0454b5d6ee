//! Programs as processes of this machine, each in its own mount namespace.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use super::runner::{ARGUMENT, COULD_NOT_START};
use super::{Executor, Run, RunEnd};
use crate::controller::logs::{LineSplitter, LogStream, Spool};
use crate::mount::{control, detach};
use crate::pipeline::job::Attempt;
use crate::pipeline::spec::Transform;

/// How long output may still come after the program has ended.
const LAST_OUTPUT: Duration = Duration::from_secs(1);

/// How long a runner may take to end its program; longer only when the kernel
/// is stuck.
const LAST_WORDS: Duration = Duration::from_secs(10);

/// Runs programs on this machine.
pub struct ProcessExecutor {
    runner: PathBuf,
    spawner: mpsc::UnboundedSender<Task>,
    apart: bool,
}

/// What the thread that starts programs is asked for.
enum Task {
    Spawn { runner: PathBuf, reply: oneshot::Sender<std::io::Result<Child>> },
    Call(Box<dyn FnOnce() + Send>),
}

impl ProcessExecutor {
    /// `runner` is the `pfs` binary to run programs through.
    ///
    /// # Errors
    /// When no thread or event loop can be made.
    pub fn new(runner: PathBuf) -> std::io::Result<Self> {
        // A program ends with the thread that started it, so one thread that
        // lives as long as the server starts them all.
        let (spawner, mut tasks) = mpsc::unbounded_channel::<Task>();
        let (tell, told) = std::sync::mpsc::sync_channel(1);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("pfs-spawn".to_owned()).spawn(move || {
            // The asker waits for it and cannot be gone.
            let _ = tell.send(stand_apart());
            runtime.block_on(async {
                while let Some(task) = tasks.recv().await {
                    match task {
                        // The asker may have given up: then the child is dropped.
                        Task::Spawn { runner, reply } => drop(reply.send(spawn(&runner))),
                        Task::Call(work) => work(),
                    }
                }
            });
        })?;
        let apart = told.recv().map_err(|_| gone())?;
        Ok(Self { runner, spawner, apart })
    }

    /// Whether [`ProcessExecutor::call_apart`] has a mount namespace of its
    /// own, which only root can have.
    #[must_use]
    pub const fn is_apart(&self) -> bool {
        self.apart
    }

    /// Does `work` where programs are started from. What it mounts is seen by
    /// them and nobody else, and is gone with the server, however that ends.
    ///
    /// # Errors
    /// When that thread is gone.
    pub async fn call_apart<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> std::io::Result<T> {
        let (reply, answer) = oneshot::channel();
        let work = move || drop(reply.send(work()));
        self.spawner.send(Task::Call(Box::new(work))).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())
    }

    async fn spawn(&self) -> std::io::Result<Child> {
        let (reply, answer) = oneshot::channel();
        let runner = self.runner.clone();
        self.spawner.send(Task::Spawn { runner, reply }).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn gone() -> std::io::Error {
    std::io::Error::other("the thread that starts programs has ended")
}

/// Gives this thread a mount namespace that follows the machine's; whether it
/// could.
fn stand_apart() -> bool {
    use nix::mount::{MsFlags, mount};
    let apart = || -> nix::Result<()> {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS)?;
        let flags = MsFlags::MS_REC | MsFlags::MS_SLAVE;
        mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)
    };
    let could = nix::unistd::geteuid().is_root() && apart().is_ok();
    if could && let Err(error) = let_go() {
        tracing::warn!(%error, "mounts that are there now may stay after they were unmounted");
    }
    could
}

/// Lets go of mounts of this program that would stay here when they are
/// unmounted: where the machine's mounts are not shared with its namespaces,
/// and then whoever unmounts would wait for ever.
fn let_go() -> Result<(), Box<dyn std::error::Error>> {
    for point in control::unheard()? {
        detach(&point)?;
    }
    Ok(())
}

fn spawn(runner: &std::path::Path) -> std::io::Result<Child> {
    Command::new(runner)
        .arg(ARGUMENT)
        .arg(std::process::id().to_string())
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
}

#[async_trait]
impl Executor for ProcessExecutor {
    fn name(&self) -> &'static str {
        "process"
    }

    fn refuses(&self, transform: &Transform) -> Option<String> {
        transform.cmd.is_empty().then(|| {
            "transform.cmd is empty: without a container runtime an image's entry point cannot be \
             run"
            .to_owned()
        })
    }

    async fn run(&self, run: Run<'_>) -> RunEnd {
        match self.run_child(&run).await {
            Ok(end) => end,
            Err(error) => RunEnd::Ended(Attempt::Broken(format!("cannot start programs: {error}"))),
        }
    }
}

/// Why waiting for a program is over.
enum Over {
    Exited(ExitStatus),
    TimedOut,
    Cancelled,
}

impl ProcessExecutor {
    async fn run_child(&self, run: &Run<'_>) -> std::io::Result<RunEnd> {
        let mut child = self.spawn().await?;
        let runner = child.id().and_then(|id| i32::try_from(id).ok()).map(Pid::from_raw);
        let order = serde_json::to_vec(&run.order)?;
        if let Some(mut stdin) = child.stdin.take() {
            // A runner that is gone already says why in its failure file.
            let _ = stdin.write_all(&order).await;
        }
        let out = child.stdout.take().map(|pipe| capture(pipe, LogStream::Stdout, run.log));
        let err = child.stderr.take().map(|pipe| capture(pipe, LogStream::Stderr, run.log));
        let output = async {
            tokio::join!(optional(out), optional(err));
        };
        tokio::pin!(output);
        let mut silent = false;
        let over = {
            let wait = wait(&mut child, run);
            tokio::pin!(wait);
            loop {
                tokio::select! {
                    over = &mut wait => break over?,
                    () = &mut output, if !silent => silent = true,
                }
            }
        };
        if !matches!(over, Over::Exited(_)) {
            // It ends once all of its program is gone. One that has ended by
            // now is not reaped yet, so nobody else is meant.
            runner.map(|runner| kill(runner, Signal::SIGTERM));
            if tokio::time::timeout(LAST_WORDS, child.wait()).await.is_err() {
                child.kill().await?;
            }
        }
        if !silent {
            // Reading is cut off rather than waited for without end.
            let _ = tokio::time::timeout(LAST_OUTPUT, output).await;
        }
        Ok(self.end(over, run).await)
    }

    async fn end(&self, over: Over, run: &Run<'_>) -> RunEnd {
        use std::os::unix::process::ExitStatusExt as _;
        let status = match over {
            Over::Cancelled => return RunEnd::Cancelled,
            Over::TimedOut => return RunEnd::Ended(Attempt::TimedOut),
            Over::Exited(status) => status,
        };
        RunEnd::Ended(match (status.code(), status.signal()) {
            (Some(code), _) if code == i32::from(COULD_NOT_START) => {
                match tokio::fs::read(&run.order.failure).await {
                    Ok(why) if !why.is_empty() => {
                        Attempt::Broken(String::from_utf8_lossy(&why).into_owned())
                    }
                    Ok(_) | Err(_) => Attempt::Exited(code),
                }
            }
            (Some(code), _) => Attempt::Exited(code),
            (None, signal) => Attempt::Signalled(signal.unwrap_or_default()),
        })
    }
}

async fn wait(child: &mut Child, run: &Run<'_>) -> std::io::Result<Over> {
    let limit = async {
        match run.timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        status = child.wait() => Ok(Over::Exited(status?)),
        () = limit => Ok(Over::TimedOut),
        () = run.cancel.cancelled() => Ok(Over::Cancelled),
    }
}

async fn optional(work: Option<impl Future<Output = ()>>) {
    if let Some(work) = work {
        work.await;
    }
}

async fn capture(mut pipe: impl AsyncRead + Unpin, stream: LogStream, log: &Spool) {
    let mut lines = LineSplitter::new(stream);
    let mut buffer = vec![0; 16 << 10];
    // A pipe that cannot be read any more has ended for all that matters.
    while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
        lines.push(&buffer[..count], log);
    }
    lines.finish(log);
}
