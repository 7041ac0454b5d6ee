//! `kill -9` at random points of a put, commit and pipeline workload.
//!
//! `PFS_KILL_ROUNDS` says how often (default 10), `PFS_KILL_SEED` repeats a
//! run's choices; the points in time differ from run to run all the same.

use std::fs;
use std::thread;
use std::time::Duration;

use super::ledger::{Files, Ledger, commits, fetch};
use crate::machine;
use crate::random::Random;
use crate::server::Server;

/// Repos written to; the first feeds the pipeline.
const REPOS: [&str; 2] = ["data", "other"];

#[test]
fn kill_at_random_points_loses_nothing() {
    if !machine::has_fuse("kill_at_random_points_loses_nothing") {
        return;
    }
    let rounds = number("PFS_KILL_ROUNDS").unwrap_or(10);
    let seed = number("PFS_KILL_SEED").unwrap_or_else(|| u64::from(std::process::id()));
    println!("kill -9: {rounds} rounds, seed {seed}");
    let mut random = Random::new(seed);
    let mut server = Server::start();
    let mut ledgers = prepare(&server, &mut random);

    for round in 0..rounds {
        let until = Duration::from_millis(random.below(700));
        round_of_writes(&mut server, &mut ledgers, &mut random, until);
        for (repo, ledger) in REPOS.iter().zip(&mut ledgers) {
            ledger.settle(&server, repo);
            ledger.check(&server, repo, ledger.len() - 1);
            ledger.check(&server, repo, random.below(ledger.len() as u64) as usize);
        }
        if round % 10 == 9 {
            server.pfs(&["fsck"]);
            println!("round {}: {:?} commits", round + 1, ledgers.each_ref().map(Ledger::len));
        }
    }
    conclude(&server, &ledgers);
}

/// Two repos with a first commit each, and a pipeline that copies one.
fn prepare(server: &Server, random: &mut Random) -> [Ledger; 2] {
    let ledgers = REPOS.map(|repo| {
        server.pfs(&["create", "repo", repo]);
        let mut ledger = Ledger::default();
        write(server, repo, &mut ledger, &random.files()).expect("the server answers");
        name_newest(server, repo, &mut ledger).expect("the server answers");
        ledger
    });
    let spec = r#"{
        "pipeline": {"name": "copy"},
        "transform": {"cmd": ["/bin/sh", "-c", "cp -r /pfs/data/. /pfs/out/"]},
        "input": {"pfs": {"repo": "data", "glob": "/*"}}
    }"#;
    let file = server.dir("specs").join("copy.json");
    fs::write(&file, spec).unwrap();
    server.pfs(&["create", "pipeline", "-f", file.to_str().unwrap()]);
    ledgers
}

/// Writers at work on every repo until the server is killed under them; then
/// the server again.
fn round_of_writes(
    server: &mut Server,
    ledgers: &mut [Ledger; 2],
    random: &mut Random,
    until: Duration,
) {
    let seeds = [random.next(), random.next()];
    let mut victim = server.victim();
    thread::scope(|scope| {
        for ((repo, ledger), seed) in REPOS.iter().zip(ledgers).zip(seeds) {
            let server = &*server;
            scope.spawn(move || {
                let mut random = Random::new(seed);
                while step(server, repo, ledger, &mut random) {}
            });
        }
        thread::sleep(until);
        victim.kill().unwrap();
        victim.wait().unwrap();
    });
    server.resume();
}

/// One operation; false once the server no longer answers.
fn step(server: &Server, repo: &str, ledger: &mut Ledger, random: &mut Random) -> bool {
    let head = format!("{repo}@master");
    let done = match (ledger.is_open(), random.below(4)) {
        (false, 0) => {
            ledger.starting();
            succeeds(server, &["start", "commit", &head]).map(|()| ledger.started())
        }
        (true, 0) => succeeds(server, &["finish", "commit", &head]).map(|()| ledger.finished()),
        (_, _) => write(server, repo, ledger, &random.files()),
    };
    done.is_some() && (!ledger.is_closed() || name_newest(server, repo, ledger).is_some())
}

/// Puts files in one command and notes what the server answers.
fn write(server: &Server, repo: &str, ledger: &mut Ledger, files: &Files) -> Option<()> {
    let tree = tempfile::tempdir_in(server.dir("trees")).unwrap();
    for (name, content) in files {
        let path = tree.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    ledger.putting(files);
    let target = format!("{repo}@master:/");
    succeeds(server, &["put", "file", "-r", &target, "-f", tree.path().to_str().unwrap()])?;
    ledger.put();
    Some(())
}

/// Learns the id of the newest commit; the repo has no other writer.
fn name_newest(server: &Server, repo: &str, ledger: &mut Ledger) -> Option<()> {
    let output = server.output(&["inspect", "commit", &format!("{repo}@master"), "--raw"]);
    let entity: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    ledger.named(entity["commit"]["id"].as_str()?.to_owned());
    Some(())
}

fn succeeds(server: &Server, arguments: &[&str]) -> Option<()> {
    server.output(arguments).status.success().then_some(())
}

/// Every commit once more, a clean check of the store, every job done.
fn conclude(server: &Server, ledgers: &[Ledger; 2]) {
    for (repo, ledger) in REPOS.iter().zip(ledgers) {
        (0..ledger.len()).for_each(|at| ledger.check(server, repo, at));
    }
    server.pfs(&["wait", "commit", "copy@master"]);
    assert_eq!(fetch(server, "copy", "master"), ledgers[0].newest(), "the pipeline's output");
    for (id, finished) in commits(server, "copy") {
        assert!(finished, "copy@{id} is still open");
    }
    let jobs = server.pfs(&["list", "job", "--pipeline", "copy", "--raw"]);
    for job in serde_json::Deserializer::from_str(&jobs).into_iter::<serde_json::Value>() {
        let state = job.unwrap()["state"].as_str().unwrap().to_ascii_lowercase();
        assert!(state.ends_with("success"), "a job ended as {state}");
    }
    server.pfs(&["fsck"]);
    println!("finished commits: {:?}", ledgers.each_ref().map(Ledger::len));
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

impl Random {
    /// One to four files among few names, so that puts overwrite each other;
    /// now and then one of several chunks.
    fn files(&mut self) -> Files {
        let mut files = Files::new();
        for _ in 0..=self.below(3) {
            let name = match self.below(6) {
                low @ 0..3 => format!("top{low}"),
                other => format!("dir/{other}/file"),
            };
            let size = if self.below(8) == 0 { 3_000_000 } else { self.below(9000) };
            let content = (0..size / 8).flat_map(|_| self.next().to_le_bytes()).collect();
            files.insert(name, content);
        }
        files
    }
}
