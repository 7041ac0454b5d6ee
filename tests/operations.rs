//! Running mounts and servers: metrics, the slow-op log, warming caches, users
//! other than root, unmounting and restarting under load.

mod replaying;
mod warming;

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::machine::{has_command, has_fuse, is_root};
use crate::server::Server;

/// A server with repo `data`: `large`, 3 MiB that do not compress, and a
/// hundred files in `small`.
fn server() -> Server {
    let server = Server::start();
    server.pfs(&["create", "repo", "data"]);
    let source = server.dir("source");
    fs::create_dir_all(source.join("small")).unwrap();
    fs::write(source.join("large"), noise(0, 3 << 20)).unwrap();
    for number in 1..=100 {
        fs::write(source.join(format!("small/{number}")), noise(number, 20_000)).unwrap();
    }
    server.pfs(&["put", "file", "-r", "data@master:/", "-f", source.to_str().unwrap()]);
    server
}

fn noise(seed: u32, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut bytes);
    bytes
}

fn read_all(repo: &Path) {
    assert_eq!(fs::read(repo.join("large")).unwrap(), noise(0, 3 << 20));
    for number in 1..=100 {
        let found = fs::read(repo.join(format!("small/{number}"))).unwrap();
        assert!(found == noise(number, 20_000), "{number}");
    }
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The page at `path` of the socket `address`, `unix:/PATH`.
pub fn page(address: &str, path: &str) -> String {
    let mut stream = UnixStream::connect(address.strip_prefix("unix:").unwrap()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

fn stats(server: &Server, dir: &str) -> Value {
    serde_json::from_str(&server.pfs(&["stats", dir, "-o", "json"])).unwrap()
}

fn number(stats: &Value, pointer: &str) -> u64 {
    stats.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer}: {stats}"))
}

#[test]
fn a_server_tells_health_readiness_and_metrics() {
    let server = Server::start();
    server.pfs(&["create", "repo", "data"]);
    let at = server.pages();
    assert!(page(&at, "/healthz").starts_with("HTTP/1.1 200"));
    assert!(page(&at, "/readyz").ends_with("ready\n"));
    assert!(page(&at, "/nothing").starts_with("HTTP/1.1 404"));
    let metrics = page(&at, "/metrics");
    let created = "pfs_rpc_requests_total{method=\"/pfs_v2.API/CreateRepo\",code=\"Ok\"} 1\n";
    assert!(metrics.contains(created), "{metrics}");
    for name in ["pfs_store_requests_total", "pfs_uptime_seconds", "process_resident_memory_bytes"]
    {
        assert!(metrics.contains(&format!("\n{name}")), "{name} in {metrics}");
    }
    fs::rename(server.root().join("objects/format"), server.root().join("away")).unwrap();
    let unready = page(&at, "/readyz");
    assert!(unready.starts_with("HTTP/1.1 503") && unready.contains("store: "), "{unready}");
}

#[test]
fn a_mount_shows_metrics_and_logs_what_is_slow() {
    if !has_fuse("a_mount_shows_metrics_and_logs_what_is_slow") {
        return;
    }
    let server = server();
    let (mount, scratch) = (server.dir("mnt"), server.dir("observed"));
    let (at, log) = (mount.to_str().unwrap(), scratch.join("log"));
    let socket = scratch.join("m.sock");
    let address = format!("unix:{}", socket.display());
    let arguments = ["mount", "-d", at, "--metrics", &address, "--slow-op", "1ns", "--log"];
    server.pfs(&[&arguments[..], &[log.to_str().unwrap()]].concat());
    read_all(&mount.join("data"));
    let metrics = page(&address, "/metrics");
    assert!(metrics.contains("\npfs_mount_requests_total{operation=\"lookup\"} "), "{metrics}");
    assert!(metrics.contains("\npfs_mount_read_bytes_total "), "{metrics}");
    let bucket = "pfs_mount_request_duration_seconds_bucket{operation=\"lookup\",le=\"+Inf\"}";
    assert!(metrics.contains(bucket), "{metrics}");
    let logged = fs::read_to_string(&log).unwrap();
    let lines: Vec<_> = logged.lines().filter(|line| line.contains("a slow operation")).collect();
    assert!((10..100).contains(&lines.len()), "the rest is counted: {logged}");
    assert!(lines[0].contains("operation=") && lines[0].contains("for_content="), "{logged}");
    let stats = stats(&server, at);
    assert!(number(&stats, "/slow/count") > 10);
    assert_eq!(stats["slow"]["recent"].as_array().unwrap().len(), 8);
    server.pfs(&["umount", at]);
    eventually("the socket goes with the mount", || !socket.exists());
    let taken = server.pages();
    assert!(server.refused(&["mount", "-d", at, "--metrics", &taken]).contains("--metrics"));
    assert!(!mount.join("data").exists(), "what failed leaves no mount");
}

/// `pfs` as the user nobody, in a mount namespace in which everybody may open
/// the FUSE device.
struct Nobody {
    home: PathBuf,
    binary: PathBuf,
    namespace: Child,
}

const NOBODY: u32 = 65534;

impl Nobody {
    fn new(server: &Server) -> Self {
        let home = server.dir("nobody");
        let scratch = home.parent().unwrap().to_owned();
        fs::set_permissions(&scratch, fs::Permissions::from_mode(0o711)).unwrap();
        let socket = scratch.join("api.sock");
        fs::set_permissions(socket, fs::Permissions::from_mode(0o777)).unwrap();
        let binary = scratch.join("pfs");
        let program = server.command(&[]).get_program().to_owned();
        fs::copy(program, &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::chown(&home, Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(&home, fs::Permissions::from_mode(0o755)).unwrap();
        let mut unshare = Command::new("unshare");
        // Says when it is there, and stays until its input ends.
        unshare.args(["-m", "sh", "-c", "echo; cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut namespace = unshare.spawn().unwrap();
        let mut line = [0];
        namespace.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
        let nobody = Self { home, binary, namespace };
        let device = scratch.join("fuse");
        let at = device.display();
        // Mounts of other tests must not stay here when they are unmounted.
        let open = format!(
            "umount -alt fuse.pfs; \
             mknod {at} c 10 229 && chmod 666 {at} && mount --bind {at} /dev/fuse"
        );
        assert!(nobody.enter(&["sh", "-c", &open]).output().unwrap().status.success());
        nobody
    }

    /// A command of root in the namespace.
    fn enter(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let target = format!("--target={}", self.namespace.id());
        command.args([&target, "--mount", "--"]).args(arguments).stdin(Stdio::null());
        command
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let id = NOBODY.to_string();
        let to_nobody = ["setpriv", "--reuid", &id, "--regid", &id, "--clear-groups"];
        let mut command = self.enter(&[&to_nobody[..], arguments].concat());
        command.env_clear().env("HOME", &self.home).env("PATH", "/usr/bin:/bin");
        command
    }

    fn run(&self, server: &Server, arguments: &[&str]) -> Output {
        let binary = self.binary.to_str().unwrap();
        let mut command = self.command(&[&[binary][..], arguments].concat());
        command.env("PFS_ADDRESS", server.address()).output().unwrap()
    }

    #[track_caller]
    fn pfs(&self, server: &Server, arguments: &[&str]) {
        let output = self.run(server, arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
    }

    /// What a shell of that user says, in its own directory.
    fn shell(&self, script: &str) -> Output {
        let script = format!("cd {} && {script}", self.home.display());
        self.command(&["sh", "-c", &script]).output().unwrap()
    }
}

impl Drop for Nobody {
    fn drop(&mut self) {
        let mount = self.home.join("mnt");
        // Nothing is mounted after a test that succeeded.
        let _ = self.enter(&["umount", "-ql", mount.to_str().unwrap()]).output();
        self.namespace.kill().unwrap();
        self.namespace.wait().unwrap();
    }
}

/// Whether another user can be played.
fn has_nobody(test: &str) -> bool {
    let tools = ["setpriv", "unshare", "nsenter"];
    has_fuse(test) && is_root(test) && tools.iter().all(|tool| has_command(test, tool))
}

#[test]
fn a_user_mounts_through_fusermount() {
    let test = "a_user_mounts_through_fusermount";
    if !has_nobody(test) || !has_command(test, "fusermount3") {
        return;
    }
    let server = server();
    let nobody = Nobody::new(&server);
    let mount = nobody.home.join("mnt");
    let at = mount.to_str().unwrap();
    assert!(nobody.shell("mkdir mnt").status.success());
    nobody.pfs(&server, &["mount", "-d", "-r", "data@master+w", at]);
    let said = nobody.shell("cat mnt/data/small/7 | wc -c; stat -c %u:%g mnt/data/small/7");
    assert_eq!(String::from_utf8_lossy(&said.stdout), "20000\n65534:65534\n");
    let others = nobody.enter(&["ls", at]).output().unwrap();
    assert!(!others.status.success(), "not even root may look, without --allow-other");
    assert!(nobody.shell("echo by nobody > mnt/data/new").status.success());
    nobody.pfs(&server, &["stats", at]);
    nobody.pfs(&server, &["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "by nobody\n");
    let allowed = fs::read_to_string("/etc/fuse.conf").unwrap_or_default();
    if !allowed.lines().any(|line| line.trim() == "user_allow_other") {
        let refused = nobody.run(&server, &["mount", "-d", "--allow-other", at]);
        let said = String::from_utf8_lossy(&refused.stderr);
        assert!(!refused.status.success() && said.contains("user_allow_other"), "{said}");
    }
}

#[test]
fn others_are_let_in_when_asked_and_see_the_owner_that_was_named() {
    let test = "others_are_let_in_when_asked_and_see_the_owner_that_was_named";
    if !has_nobody(test) {
        return;
    }
    let server = server();
    let nobody = Nobody::new(&server);
    let mount = nobody.home.join("mnt");
    fs::create_dir(&mount).unwrap();
    let at = mount.to_str().unwrap();
    let in_namespace = |arguments: &[&str]| {
        let program = server.command(&[]).get_program().to_str().unwrap().to_owned();
        let mut command = nobody.enter(&[&[&*program][..], arguments].concat());
        command.env("PFS_ADDRESS", server.address()).env("PFS_ROOT", server.root());
        let output = command.output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
    };
    let owner = ["--uid", "1234", "--gid", "4321", "--umask", "077"];
    in_namespace(&[&["mount", "-d", at][..], &owner].concat());
    assert!(!nobody.shell("ls mnt").status.success(), "mounted for root alone");
    in_namespace(&["umount", at]);
    in_namespace(&[&["mount", "-d", "--allow-other", at][..], &owner].concat());
    let shown = nobody.enter(&["stat", "-c", "%u:%g:%a", &format!("{at}/data/large")]);
    let shown = { shown }.output().unwrap().stdout;
    assert_eq!(String::from_utf8_lossy(&shown), "1234:4321:600\n");
    assert!(!nobody.shell("cat mnt/data/large").status.success(), "the mask keeps others out");
    in_namespace(&["umount", at]);
    in_namespace(&["mount", "-d", "--allow-other", at]);
    assert!(nobody.shell("cmp mnt/data/large mnt/data/large").status.success());
    in_namespace(&["umount", at]);
}

/// Threads that go on until told to stop.
struct Load {
    stop: AtomicBool,
    done: AtomicU64,
}

impl Load {
    fn new() -> Self {
        Self { stop: AtomicBool::new(false), done: AtomicU64::new(0) }
    }

    fn until_stopped(&self, work: impl Fn(u64)) {
        while !self.stop.load(Ordering::Acquire) {
            work(self.done.fetch_add(1, Ordering::AcqRel));
        }
    }

    /// Waits for `more` rounds of work.
    fn goes_on(&self, more: u64) {
        let from = self.done.load(Ordering::Acquire);
        eventually("the load goes on", || self.done.load(Ordering::Acquire) >= from + more);
    }
}

#[test]
fn unmounting_under_load_is_refused_until_it_ends() {
    if !has_fuse("unmounting_under_load_is_refused_until_it_ends") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    let repo = mount.join("data");
    let (load, held) = (Load::new(), fs::File::create(repo.join("held")).unwrap());
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                load.until_stopped(|number| {
                    fs::write(repo.join(format!("new-{number}")), number.to_string()).unwrap();
                    assert_eq!(fs::read(repo.join("small/5")).unwrap().len(), 20_000);
                });
            });
        }
        load.goes_on(20);
        for _ in 0..5 {
            assert!(server.refused(&["umount", at]).contains("in use"));
            load.goes_on(5);
        }
        load.stop.store(true, Ordering::Release);
    });
    drop(held);
    server.pfs(&["umount", at]);
    for number in 0..load.done.load(Ordering::Acquire) {
        let path = format!("data@master:/new-{number}");
        assert_eq!(server.pfs(&["get", "file", &path]), number.to_string());
        if number > 10 {
            break;
        }
    }
    let listed = server.pfs(&["list", "file", "data@master:/", "--raw"]);
    let new = listed.lines().filter(|line| line.contains("/new-")).count();
    assert_eq!(new as u64, load.done.load(Ordering::Acquire), "every file is there");
}

#[test]
fn readers_and_writers_go_on_while_the_server_restarts() {
    if !has_fuse("readers_and_writers_go_on_while_the_server_restarts") {
        return;
    }
    let mut server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap().to_owned();
    server.pfs(&["mount", "-d", "-r", "data@master+w", &at]);
    let (repo, load) = (mount.join("data"), Load::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                load.until_stopped(|number| {
                    fs::write(repo.join(format!("new-{number}")), number.to_string()).unwrap();
                    let name = format!("small/{}", number % 100 + 1);
                    assert_eq!(fs::read(repo.join(name)).unwrap().len(), 20_000);
                });
            });
        }
        for _ in 0..3 {
            load.goes_on(20);
            server.kill();
            load.goes_on(20);
            server.resume();
        }
        load.stop.store(true, Ordering::Release);
    });
    server.pfs(&["commit", &at]);
    fs::write(repo.join("after"), "the restarts").unwrap();
    server.pfs(&["umount", &at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/after"]), "the restarts");
    let listed = server.pfs(&["list", "file", "data@master:/", "--raw"]);
    let new = listed.lines().filter(|line| line.contains("/new-")).count();
    assert_eq!(new as u64, load.done.load(Ordering::Acquire), "nothing is lost");
}

#[test]
fn mount_8_and_fstab_mount_as_they_call_helpers() {
    let test = "mount_8_and_fstab_mount_as_they_call_helpers";
    if !has_fuse(test) || !is_root(test) || !has_command(test, "mount.fuse") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let program = server.command(&[]).get_program().to_str().unwrap().to_owned();
    // What -t fuse.pfs takes from the path; the call is the same.
    let spec = format!("{program}#data@master");
    let options = format!("ro,allow_other,uid=1234,slow-op=0,address={}", server.address());
    let line = format!("{spec} {} fuse {options},noauto,nofail 0 0\n", mount.display());
    let table = server.dir("etc").join("fstab");
    fs::write(&table, line).unwrap();
    let by_type = ["-t", "fuse", &spec, mount.to_str().unwrap(), "-o", &options];
    let by_table = ["-T", table.to_str().unwrap(), mount.to_str().unwrap()];
    for arguments in [&by_type[..], &by_table] {
        let mounted = Command::new("mount").args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&mounted.stderr);
        assert!(mounted.status.success(), "{arguments:?}: {said}");
        read_all(&mount.join("data"));
        assert_eq!(fs::metadata(mount.join("data/large")).unwrap().uid(), 1234);
        server.pfs(&["umount", mount.to_str().unwrap()]);
    }
}
