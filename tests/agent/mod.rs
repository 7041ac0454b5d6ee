//! Volumes of a node: a driver that mounts, an agent that serves, a keeper that
//! keeps, each a process that may die.

mod deaths;
mod identity;
mod large;
mod many;
mod showing;
mod steps;
mod writing;

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pfs::mount::control;
use pfs_daemonset::{
    AgentClient, Device, Key, Listed, Mounting, PodRef, Publish, Refusal, Stats, Token,
};
use tokio::runtime::Runtime;

use crate::machine::{has_fuse, is_root};
use crate::server::Server;

/// A node with one server.
pub struct Node {
    pub server: Server,
    runtime: Runtime,
    client: AgentClient,
    keeper: Option<Child>,
    agent: Option<Child>,
    options: Vec<String>,
    /// What agents have in their environment besides what commands have.
    variables: Vec<(&'static str, String)>,
}

/// A volume that is mounted.
pub struct Volume {
    pub publish: Publish,
    pub dir: PathBuf,
}

impl Volume {
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// The process that serves it.
    pub fn process(&self) -> i32 {
        control::read(&self.dir, "user.pfs.process").unwrap().parse().unwrap()
    }
}

impl Node {
    /// `None`, and a note, where nothing can be mounted.
    pub fn start(test: &str) -> Option<Self> {
        Self::with(test, &[])
    }

    /// The same with more options for agents.
    pub fn with(test: &str, options: &[&str]) -> Option<Self> {
        let able = has_fuse(test) && is_root(test);
        able.then(|| Self::of(Server::start(), Vec::new(), options))
    }

    /// A node whose server is there, and whose agents have `variables`.
    fn of(server: Server, variables: Vec<(&'static str, String)>, options: &[&str]) -> Self {
        let run = server.dir("run");
        let mut node = Self {
            client: AgentClient::new(&run.join("agent.sock")),
            runtime: Runtime::new().unwrap(),
            keeper: None,
            agent: None,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            variables,
            server,
        };
        node.start_keeper();
        node.start_agent();
        node
    }

    fn run(&self, name: &str) -> PathBuf {
        self.server.dir("run").join(name)
    }

    fn spawn(&self, arguments: &[&str], log: &str) -> Child {
        let log = OpenOptions::new().create(true).append(true).open(self.run(log)).unwrap();
        let mut command = self.server.command(arguments);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        command.spawn().unwrap()
    }

    pub fn start_keeper(&mut self) {
        let socket = self.run("keeper.sock");
        let arguments = ["keeper", "--socket", socket.to_str().unwrap()];
        self.keeper = Some(self.spawn(&arguments, "keeper.log"));
    }

    /// Starts an agent; returns before it serves.
    pub fn start_agent(&mut self) {
        let (socket, keeper) = (self.run("agent.sock"), self.run("keeper.sock"));
        let staging = self.server.dir("staging");
        let metrics = self.metrics();
        let mut arguments = vec![
            "agent",
            "--socket",
            socket.to_str().unwrap(),
            "--keeper",
            keeper.to_str().unwrap(),
            "--staging",
            staging.to_str().unwrap(),
            "--metrics",
            &metrics,
        ];
        arguments.extend(self.options.iter().map(String::as_str));
        self.agent = Some(self.spawn(&arguments, "agent.log"));
    }

    /// Starts a driver of this node, which is asked for nothing.
    pub fn start_driver(&self) -> Child {
        let endpoint = format!("unix://{}", self.run("csi.sock").display());
        let agent = self.run("agent.sock");
        let arguments = ["csi", "--endpoint", &endpoint, "--node-id", "node", "--agent"];
        self.spawn(&[&arguments[..], &[agent.to_str().unwrap()]].concat(), "csi.log")
    }

    fn metrics(&self) -> String {
        format!("unix:{}", self.run("agent.pages").display())
    }

    pub fn agent(&self) -> i32 {
        i32::try_from(self.agent.as_ref().unwrap().id()).unwrap()
    }

    pub fn kill_agent(&mut self) {
        end(self.agent.take(), Signal::SIGKILL);
    }

    pub fn stop_agent(&mut self) -> Duration {
        let start = Instant::now();
        end(self.agent.take(), Signal::SIGTERM);
        start.elapsed()
    }

    pub fn kill_keeper(&mut self) {
        end(self.keeper.take(), Signal::SIGKILL);
    }

    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.run("agent.log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }

    /// Waits until the agent serves.
    pub fn await_agent(&self) {
        eventually("an agent", || {
            self.runtime.block_on(self.client.is_ready()).is_ok_and(|ready| ready)
        });
    }

    /// Puts `text` into `repo@master:path`.
    pub fn put(&self, target: &str, text: &str) {
        let file = self.server.dir("put").join("file");
        fs::write(&file, text).unwrap();
        self.server.pfs(&["put", "file", target, "-f", file.to_str().unwrap()]);
    }

    pub fn get(&self, file: &str) -> String {
        self.server.pfs(&["get", "file", file])
    }

    /// What is to be published as `name`.
    pub fn publish_of(&self, name: &str, attributes: &[(&str, &str)]) -> Publish {
        let attributes = attributes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        Publish {
            key: Key {
                volume: format!("volume-{name}"),
                target: self.server.dir("pods").join(name),
            },
            attributes: attributes.collect::<BTreeMap<_, _>>(),
            pod: Some(PodRef {
                namespace: "default".into(),
                name: format!("pod-{name}"),
                uid: format!("uid-{name}"),
                service_account: "default".into(),
            }),
            token: Some(Token::new("secret".into())),
            read_only: false,
            ephemeral: true,
            fs_group: None,
            access: String::new(),
            fingerprint: String::new(),
        }
    }

    pub fn prepare(&self, publish: &Publish) -> Result<Mounting, Refusal> {
        self.runtime.block_on(self.client.prepare(publish.clone()))
    }

    /// As a driver does it.
    pub fn publish(&self, publish: &Publish) -> Result<Volume, Refusal> {
        let mounting = self.prepare(publish)?;
        let dir = publish.key.target.clone();
        fs::create_dir_all(&dir).unwrap();
        let device = OpenOptions::new().read(true).write(true).open("/dev/fuse").unwrap();
        attach_mount(&dir, &device, &mounting);
        let connection = connection(&dir).unwrap();
        let device = Device { fd: device.into(), connection };
        let attached = self.runtime.block_on(self.client.attach(publish.key.clone(), device));
        if let Err(refusal) = attached {
            take_away(&dir);
            return Err(refusal);
        }
        // The kernel tells of closed files until it hears that nobody wants to
        // know. A process that is started closes what its parent has open: the
        // next agent would wait for itself.
        drop(File::open(&dir));
        let known = fs::read_dir(&dir).unwrap().flatten().find(|e| e.path().is_file());
        match known {
            Some(entry) => drop(File::open(entry.path()).unwrap()),
            None if !mounting.read_only => {
                fs::write(dir.join(".closed"), "").unwrap();
                fs::remove_file(dir.join(".closed")).unwrap();
            }
            None => {}
        }
        Ok(Volume { publish: publish.clone(), dir })
    }

    /// Publishes `attributes` as `name`, which has to work.
    #[track_caller]
    pub fn volume(&self, name: &str, attributes: &[(&str, &str)]) -> Volume {
        let published = self.publish(&self.publish_of(name, attributes));
        published.unwrap_or_else(|refusal| panic!("{refusal:?}\n{}", self.log()))
    }

    /// As a driver does it.
    pub fn try_unpublish(&self, volume: &Volume) -> Result<(), Refusal> {
        take_away(&volume.dir);
        self.end(&volume.publish.key)
    }

    pub fn end(&self, key: &Key) -> Result<(), Refusal> {
        self.runtime.block_on(self.client.unpublish(key.clone()))
    }

    #[track_caller]
    pub fn unpublish(&self, volume: Volume) {
        let unpublished = self.try_unpublish(&volume);
        unpublished.unwrap_or_else(|refusal| panic!("{refusal:?}\n{}", self.log()));
    }

    pub fn stats(&self, key: &Key) -> Result<Stats, Refusal> {
        self.runtime.block_on(self.client.stats(key.clone()))
    }

    pub fn list(&self) -> Vec<Listed> {
        self.runtime.block_on(self.client.list()).unwrap()
    }

    /// The value of a metric of the agent.
    pub fn metric(&self, name: &str) -> f64 {
        let text = crate::operations::page(&self.metrics(), "/metrics");
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Memory of the agent in MiB: all, and what is no file.
    pub fn memory(&self) -> (u64, u64) {
        let status = fs::read_to_string(format!("/proc/{}/status", self.agent())).unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0 kB");
            line.trim().strip_suffix(" kB").unwrap().trim().parse().unwrap()
        };
        (kib("VmRSS:") >> 10, (kib("RssAnon:") + kib("RssShmem:")) >> 10)
    }

    /// What is in the staging directory.
    pub fn staged(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.server.dir("staging").join("mounts"));
        entries.into_iter().flatten().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let pods = self.server.dir("pods");
        for entry in fs::read_dir(pods).into_iter().flatten().flatten() {
            take_away(&entry.path());
        }
        end(self.agent.take(), Signal::SIGKILL);
        end(self.keeper.take(), Signal::SIGKILL);
    }
}

fn end(child: Option<Child>, signal: Signal) {
    if let Some(mut child) = child {
        let _ = kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal);
        child.wait().unwrap();
    }
}

fn attach_mount(dir: &Path, device: &File, mounting: &Mounting) {
    let data = format!(
        "fd={},rootmode=40000,user_id=0,group_id=0,default_permissions,allow_other",
        device.as_raw_fd()
    );
    let mut flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOATIME;
    flags.set(MsFlags::MS_RDONLY, mounting.read_only);
    mount(Some(&*mounting.source), dir, Some("fuse.pfs"), flags, Some(&*data)).unwrap();
}

/// The kernel's number of the connection behind `dir`; never asks it.
fn connection(dir: &Path) -> Option<u32> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let line = table.lines().rfind(|line| line.split(' ').nth(4) == dir.to_str())?;
    line.split(' ').nth(2)?.split_once(':')?.1.parse().ok()
}

pub fn take_away(dir: &Path) {
    // EINVAL says that nothing is mounted.
    let _ = umount2(dir, MntFlags::MNT_DETACH);
    let _ = fs::remove_dir(dir);
}

#[track_caller]
pub fn eventually(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
