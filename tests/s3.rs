//! Everything over a real S3 server, reached through a connection that can be
//! cut and slowed. `make bench` installs one; `PFS_S3_SERVER` names another
//! `versitygw`.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::machine;
use crate::server::Server;

const BUCKET: &str = "bucket";
const KEY: &str = "key";
const SECRET: &str = "secretsecret";

fn gateway() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench-tools/versitygw");
    std::env::var_os("PFS_S3_SERVER").map_or(built, PathBuf::from)
}

/// An S3 server over a directory.
struct S3 {
    process: Child,
    line: Line,
    _directory: TempDir,
}

impl S3 {
    /// Nothing where there is no such server.
    fn start(test: &str) -> Option<Self> {
        let there = gateway().is_file();
        if !machine::noted(test, "no S3 server; `scripts/setup.sh bench` installs one", there) {
            return None;
        }
        let directory = tempfile::Builder::new().prefix("pfs-s3.").tempdir().unwrap();
        fs::create_dir(directory.path().join(BUCKET)).unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let process = Command::new(gateway())
            .args(["--quiet", "--keep-alive", "-p", &address, "posix"])
            .arg(directory.path())
            .env("ROOT_ACCESS_KEY", KEY)
            .env("ROOT_SECRET_KEY", SECRET)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while TcpStream::connect(&address).is_err() {
            assert!(Instant::now() < deadline, "the S3 server is silent");
            thread::sleep(Duration::from_millis(20));
        }
        Some(Self { process, line: Line::to(address), _directory: directory })
    }

    /// A server of pfs that keeps its objects here.
    fn server(&self) -> Server {
        let endpoint = format!("http://{}", self.line.address);
        Server::start_with(vec![
            ("PFS_STORE", format!("s3://{BUCKET}/some/prefix")),
            ("AWS_ENDPOINT_URL", endpoint),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
        ])
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A connection to somewhere, that can be cut and slowed.
struct Line {
    address: String,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    cut: AtomicBool,
    /// Milliseconds every piece of an answer waits; a piece is 64 KiB at most.
    pause: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Line {
    fn to(target: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(State::default());
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if !shared.cut.load(Ordering::Relaxed) {
                    shared.connect(client, &target);
                }
            }
        });
        Self { address, state }
    }

    fn cut(&self) {
        self.state.cut.store(true, Ordering::Relaxed);
        for open in self.state.open.lock().unwrap().drain(..) {
            let _ = open.shutdown(Shutdown::Both);
        }
    }

    fn mend(&self) {
        self.state.cut.store(false, Ordering::Relaxed);
    }

    fn slow(&self, pause: Duration) {
        self.state.pause.store(u64::try_from(pause.as_millis()).unwrap(), Ordering::Relaxed);
    }
}

impl State {
    fn connect(self: &Arc<Self>, client: TcpStream, target: &str) {
        let Ok(server) = TcpStream::connect(target) else { return };
        // Answers of two writes must not wait for an acknowledgement.
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let other = |stream: &TcpStream| stream.try_clone().unwrap();
        self.open.lock().unwrap().extend([other(&client), other(&server)]);
        let (up, down) = ((other(&client), other(&server)), (server, client));
        thread::spawn(move || copy(up.0, up.1, || ()));
        let state = Arc::clone(self);
        thread::spawn(move || {
            copy(down.0, down.1, || {
                thread::sleep(Duration::from_millis(state.pause.load(Ordering::Relaxed)));
            });
        });
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream, before_each: impl Fn()) {
    let mut buffer = vec![0; 64 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        before_each();
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Many small files and one large, in a directory.
fn tree(server: &Server) -> PathBuf {
    let tree = server.dir("tree");
    for number in 0..500 {
        let dir = tree.join(format!("d{}", number % 10));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(format!("f{number}")), format!("{number}").repeat(500)).unwrap();
    }
    let mut large = vec![0; 50 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut large);
    fs::write(tree.join("large"), large).unwrap();
    tree
}

#[track_caller]
fn same(left: &Path, right: &Path) {
    let output = Command::new("diff").arg("-r").args([left, right]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// A server over the S3 server, with the tree in repo `data`, mounted.
fn mounted(s3: &S3) -> (Server, PathBuf, PathBuf) {
    let server = s3.server();
    let tree = tree(&server);
    server.pfs(&["create", "repo", "data"]);
    server.pfs(&["put", "file", "-r", "data@master:/", "-f", tree.to_str().unwrap()]);
    let mount = server.dir("mnt");
    server.pfs(&["mount", "-d", "-r", "data", mount.to_str().unwrap()]);
    let data = mount.join("data");
    (server, tree, data)
}

#[test]
fn an_s3_server_keeps_repos() {
    let test = "an_s3_server_keeps_repos";
    let Some(s3) = S3::start(test) else { return };
    if !machine::has_fuse(test) {
        return;
    }
    let (mut server, tree, data) = mounted(&s3);
    same(&tree, &data);
    let got = server.dir("got");
    server.pfs(&["get", "file", "-r", "data@master:/", "-o", got.to_str().unwrap()]);
    same(&tree, &got);

    let write = server.dir("write");
    let at = write.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    fs::write(write.join("data/new"), "new").unwrap();
    fs::remove_dir_all(write.join("data/d3")).unwrap();
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "new");
    server.kill();
    server.resume();
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "new");
    assert!(server.objects("").is_empty(), "nothing is kept beside the S3 server");
    server.pfs(&["fsck"]);
}

#[test]
fn a_mount_recovers_when_its_store_was_away() {
    let test = "a_mount_recovers_when_its_store_was_away";
    let Some(s3) = S3::start(test) else { return };
    if !machine::has_fuse(test) {
        return;
    }
    let (server, tree, data) = mounted(&s3);
    assert_eq!(fs::read(data.join("d1/f1")).unwrap(), fs::read(tree.join("d1/f1")).unwrap());
    let write = server.dir("write");
    let at = write.to_str().unwrap();
    server.pfs(&["create", "repo", "out"]);
    server.pfs(&["mount", "-d", "-r", "out@master+w", at]);
    fs::write(write.join("out/before"), "before").unwrap();

    s3.line.cut();
    assert_eq!(fs::read(data.join("d1/f1")).unwrap(), fs::read(tree.join("d1/f1")).unwrap());
    let lost = fs::read(data.join("large"));
    assert_eq!(lost.unwrap_err().raw_os_error(), Some(libc::EIO), "a clear error, not a hang");
    fs::write(write.join("out/during"), "during").unwrap();
    server.refused(&["commit", at]);

    s3.line.mend();
    same(&tree, &data);
    server.pfs(&["commit", at]);
    assert_eq!(server.pfs(&["get", "file", "out@master:/before"]), "before");
    assert_eq!(server.pfs(&["get", "file", "out@master:/during"]), "during");
    server.pfs(&["umount", at]);
    server.pfs(&["fsck"]);
}

#[test]
fn a_slow_store_is_slow_and_no_more() -> io::Result<()> {
    let test = "a_slow_store_is_slow_and_no_more";
    let Some(s3) = S3::start(test) else { return Ok(()) };
    if !machine::has_fuse(test) {
        return Ok(());
    }
    let (server, tree, data) = mounted(&s3);
    s3.line.slow(Duration::from_millis(5));
    same(&tree, &data);
    server.pfs(&["put", "file", "data@master:/more", "-f", tree.join("large").to_str().unwrap()]);
    let deadline = Instant::now() + Duration::from_secs(60);
    while fs::metadata(data.join("more")).is_err() {
        assert!(Instant::now() < deadline, "the head is not followed");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(fs::read(data.join("more"))? == fs::read(tree.join("large"))?);
    Ok(())
}
