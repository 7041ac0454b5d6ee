//! A pod that reads, writes and maps without pause, and says when an error
//! reaches it.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use super::Volumes;
use super::leaks::Traces;
use crate::cluster::eventually;
use crate::install;
use crate::pod::Pod;

/// Every turn asks for what is not in the page cache, and checks it.
const PROGRAM: &str = r#"
import mmap, os, time
BLOCK = 1 << 16
data = os.open("/data/blocks", os.O_RDONLY)
size = os.fstat(data).st_size
view = mmap.mmap(data, size, prot=mmap.PROT_READ)
log = open("/out/log", "w")
mapped_file = open("/out/mapped", "w+b")
mapped_file.truncate(BLOCK)
mapped = mmap.mmap(mapped_file.fileno(), BLOCK)
turn, longest, before = 0, 0, time.monotonic()
while not os.path.exists("/state/over"):
    turn += 1
    block = turn * 7 % (size // BLOCK)
    at = block * BLOCK
    view.madvise(mmap.MADV_DONTNEED)
    os.posix_fadvise(data, 0, 0, os.POSIX_FADV_DONTNEED)
    wanted = bytes([97 + block % 26]) * BLOCK
    assert view[at:at + BLOCK] == wanted, block
    assert os.pread(data, BLOCK, at) == wanted, block
    log.write(f"{turn}\n")
    log.flush()
    os.fsync(log.fileno())
    mapped[turn % BLOCK] = turn % 256
    mapped.flush()
    with open("/out/new", "w") as new:
        new.write(str(turn))
    os.rename("/out/new", "/out/last")
    assert open("/out/last").read() == str(turn)
    assert sorted(os.listdir("/out")) == ["last", "log", "mapped"]
    now = time.monotonic()
    longest, before = max(longest, now - before), now
    with open("/state/turn.new", "w") as file:
        file.write(str(turn))
    os.rename("/state/turn.new", "/state/turn")
print(f"{turn} turns, the longest took {longest * 1000:.0f} ms")
"#;

/// How large what it reads is, in blocks.
const BLOCKS: u8 = 64;

/// The pod.
pub(super) struct Busy<'v> {
    volumes: &'v Volumes,
    repo: String,
    state: PathBuf,
    traces: Traces,
}

impl Volumes {
    /// Starts a pod that is busy.
    #[track_caller]
    pub(super) fn busy(&self) -> Busy<'_> {
        install::python(self.cluster());
        let (data, repo) = (self.repo("data"), self.repo("out"));
        let block = |number: u8| char::from(b'a' + number % 26).to_string().repeat(1 << 16);
        let blocks: String = (0..BLOCKS).map(block).collect();
        self.server.put(&format!("{data}@master:/blocks"), &blocks);
        let pod = Pod::new("busy", "")
            .python(PROGRAM)
            .inline("data", &[("repo", &data)])
            .inline("out", &[("repo", &repo), ("mode", "rw"), ("commit", "onSuccess")])
            .volume("state", "emptyDir", json!({}));
        self.start(&pod);
        self.ready("busy");
        let uid = self.uid("busy");
        let places = "/var/lib/kubelet/pods";
        let state = PathBuf::from(format!("{places}/{uid}/volumes/kubernetes.io~empty-dir/state"));
        let busy = Busy { volumes: self, repo, state, traces: self.traces(&["busy"]) };
        busy.goes_on();
        busy
    }
}

impl Busy<'_> {
    fn turn(&self) -> Option<u64> {
        fs::read_to_string(self.state.join("turn")).ok()?.parse().ok()
    }

    /// Waits until it has done ten turns from now on.
    #[track_caller]
    pub fn goes_on(&self) {
        let before = self.turn().unwrap_or(0);
        eventually("the busy pod goes on", || {
            let pod = self.volumes.get("pod/busy");
            let phase = &pod["status"]["phase"];
            assert_eq!(phase, "Running", "{}", self.volumes.logs("busy"));
            self.turn().filter(|turn| *turn > before + 10)
        });
    }

    /// No error has reached it: it ends well, what it wrote is published, and
    /// nothing is left of it.
    #[track_caller]
    pub fn ends_well(self, what: &str) {
        let turns = self.stops(what);
        let log: String = (1..=turns).map(|turn| format!("{turn}\n")).collect();
        self.volumes.server.has(&format!("{}@master:/log", self.repo), &log);
        self.volumes.server.has(&format!("{}@master:/last", self.repo), &turns.to_string());
        self.volumes.delete("pod/busy");
        self.traces.gone();
        self.volumes.nothing_staged(&self.repo);
    }

    /// Has it end, without an error; returns how many turns it has done.
    #[track_caller]
    pub fn stops(&self, what: &str) -> u64 {
        fs::write(self.state.join("over"), "").unwrap();
        let phase = self.volumes.ended("busy");
        let said = self.volumes.logs("busy");
        assert_eq!(phase, "Succeeded", "{what}: {said}");
        let pod = self.volumes.get("pod/busy");
        assert_eq!(pod["status"]["containerStatuses"][0]["restartCount"], 0);
        eprintln!("figure: {what}: {}", said.trim());
        said.split(' ').next().unwrap().parse().unwrap()
    }
}

/// How long the server is away.
pub(super) const AWAY: Duration = Duration::from_secs(60);
