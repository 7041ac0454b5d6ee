//! A server as a child process, and the commands given to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a server may take until it answers; generous, for a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a developer's environment may hold and a test must not see.
const FOREIGN: [&str; 17] = [
    "PFS_AUTH",
    "PFS_TRUSTED",
    "PFS_ACCESS",
    "PFS_TOKEN_FILE",
    "KUBECONFIG",
    "PACHD_ADDRESS",
    "PFS_STORE",
    "PFS_CATALOG",
    "PFS_CONFIG",
    "PFS_LOG",
    "PACH_CONFIG",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "http_proxy",
    "https_proxy",
    "all_proxy",
];

/// A server with a state directory of its own; gone, with everything it
/// mounted, when dropped.
pub struct Server {
    scratch: TempDir,
    root: PathBuf,
    settings: Vec<(&'static str, String)>,
    flags: Vec<&'static str>,
    child: Option<Child>,
}

impl Server {
    /// Starts a server on an empty state directory.
    pub fn start() -> Self {
        let scratch = tempfile::Builder::new().prefix("pfs-test.").tempdir().unwrap();
        let root = scratch.path().join("root");
        Self::start_on(scratch, root)
    }

    /// Starts a server whose state is in `root`, below or beside `scratch`.
    pub fn start_on(scratch: TempDir, root: PathBuf) -> Self {
        let mut server =
            Self { scratch, root, settings: Vec::new(), flags: Vec::new(), child: None };
        server.resume();
        server
    }

    /// Starts a server on an empty state directory, with these variables in the
    /// environment of it and of all commands.
    pub fn start_with(settings: Vec<(&'static str, String)>) -> Self {
        Self::start_so(settings, Vec::new())
    }

    /// The same, with flags of `serve`.
    pub fn start_so(settings: Vec<(&'static str, String)>, flags: Vec<&'static str>) -> Self {
        let scratch = tempfile::Builder::new().prefix("pfs-test.").tempdir().unwrap();
        let root = scratch.path().join("root");
        let mut server = Self { scratch, root, settings, flags, child: None };
        server.resume();
        server
    }

    /// Starts the server again on the state it left.
    pub fn resume(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let child = self
            .command(&["serve", "--address", &self.address(), "--http-address", &self.pages()])
            .args(&self.flags)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while !self.output(&["version"]).status.success() {
            let over = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(over.is_none(), "the server ended ({over:?}):\n{}", self.log_tail());
            assert!(Instant::now() < deadline, "the server is silent:\n{}", self.log_tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends the server without warning, as `kill -9` and power cuts do.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// The server's process, for the caller to kill while it is in use.
    pub fn victim(&mut self) -> Child {
        self.child.take().expect("the server runs")
    }

    /// The directory of the server's state.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The objects in the store below a prefix.
    pub fn objects(&self, prefix: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut dirs = vec![self.root.join("objects").join(prefix)];
        while let Some(dir) = dirs.pop() {
            for entry in fs::read_dir(dir).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() { dirs.push(path) } else { found.push(path) }
            }
        }
        found
    }

    /// Where health and metrics are: a socket that no other test has.
    pub fn pages(&self) -> String {
        format!("unix:{}", self.scratch.path().join("pages.sock").display())
    }

    /// Where the server listens, as clients write it.
    pub fn address(&self) -> String {
        // No port that somebody else might take while the server is down.
        format!("unix://{}", self.scratch.path().join("api.sock").display())
    }

    /// A directory for the test's own files.
    pub fn dir(&self, name: &str) -> PathBuf {
        let dir = self.scratch.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// A `pfs` command for this server, not yet run.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command
            .args(arguments)
            .env("PFS_ROOT", &self.root)
            .env("PFS_ADDRESS", self.address())
            .env("XDG_CONFIG_HOME", self.scratch.path().join("config"))
            .env("XDG_CACHE_HOME", self.scratch.path().join("cache"))
            .env("TMPDIR", self.scratch.path());
        for name in FOREIGN {
            command.env_remove(name);
        }
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Has `command`, which is to call `pfs`, find this server as well.
    pub fn lend_environment(&self, command: &mut Command) {
        for (name, value) in self.command(&[]).get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
    }

    /// Runs `pfs` and returns all it said.
    pub fn output(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    /// Runs `pfs`, which must succeed, and returns its standard output.
    #[track_caller]
    pub fn pfs(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pfs {}: {errors}", arguments.join(" "));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs `pfs`, which must fail with exit code 1 and a message.
    #[track_caller]
    pub fn refused(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert_eq!(output.status.code(), Some(1), "pfs {}", arguments.join(" "));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.starts_with("error: ") || errors.contains("\nerror: "), "{errors}");
        errors
    }

    /// The end of what the server logged.
    pub fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    /// All that the server logged.
    pub fn log_whole(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }

    fn log(&self) -> PathBuf {
        self.scratch.path().join("server.log")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        for mount in mounts_below(self.scratch.path()) {
            // What a failed test has stopped may never answer.
            let answers = !std::thread::panicking();
            if !(answers && self.output(&["umount", &mount]).status.success()) {
                detach(Path::new(&mount));
            }
        }
        self.kill();
        for mount in mounts_below(self.scratch.path()) {
            detach(Path::new(&mount));
        }
    }
}

/// The binary under test: `PFS_BINARY`, else the one cargo built for the tests.
fn binary() -> PathBuf {
    std::env::var_os("PFS_BINARY").map_or(env!("CARGO_BIN_EXE_pfs").into(), PathBuf::from)
}

/// Mount points below a directory, the deepest first.
fn mounts_below(dir: &Path) -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below: Vec<_> =
        points.filter(|at| Path::new(at).starts_with(dir)).map(str::to_owned).collect();
    below.sort_by_key(|at| std::cmp::Reverse(at.len()));
    below
}

/// Takes a mount away whoever still uses it.
pub fn detach(mount: &Path) {
    let lazily = Command::new("umount").arg("-l").arg(mount).stderr(Stdio::null()).status();
    if !lazily.is_ok_and(|status| status.success()) {
        let _ = Command::new("fusermount3").arg("-uz").arg(mount).stderr(Stdio::null()).status();
    }
}
