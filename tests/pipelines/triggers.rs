//! Branches that triggers move, by conditions and by the clock.

use std::sync::atomic::{AtomicI64, Ordering};

use pfs::catalog::Trigger;
use pfs::model::Timestamp;
use pfs::repo::CreateBranch;

use super::*;

/// A clock that stands where it was put, but for a microsecond per look.
struct SetClock(AtomicI64);

impl SetClock {
    fn at(text: &str) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(nanos(text))))
    }

    fn put(&self, text: &str) {
        self.0.store(nanos(text), Ordering::Relaxed);
    }
}

fn nanos(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().unwrap().as_nanosecond().try_into().unwrap()
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.0.fetch_add(1000, Ordering::Relaxed))
    }

    fn random(&self) -> [u8; 16] {
        SystemClock.random()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_with_a_trigger_reads_a_branch_that_the_trigger_moves() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(dir.path()).await;
    server.create_repo("in").await;
    let mut waiting = spec("p", "in", "/*", "cp -r /pfs/in/. /pfs/out");
    waiting["input"]["pfs"]["trigger"] = serde_json::json!({"commits": 2});
    server.create(waiting).await;
    server.put("in", &[("a", Some("1"))]).await;
    let second = server.put("in", &[("b", Some("2"))]).await;
    server.put("in", &[("c", Some("3"))]).await;
    let job = server.job("p", 1).await;
    assert_eq!((job.state, job.job.id), (JobState::Success, second.id), "{}", job.reason);
    assert_eq!(paths(&server.output(&job).await), ["/a", "/b"]);
    let read = &job.inputs[0];
    assert_eq!((read.branch.name.as_str(), read.commit), ("p-trigger-1", second.id));
    let last = server.put("in", &[("d", Some("4"))]).await;
    let job = server.job("p", 2).await;
    assert_eq!(job.job.id, last.id);
    assert_eq!(progress_text(&job.counters), "2 + 2 / 4");
    // What a spec would do is seen on the branch that is watched.
    let mut other = spec("q", "in", "/*", "true");
    other["input"]["pfs"]["trigger"] = serde_json::json!({"cron_spec": "@yearly"});
    let other = PipelineSpec::from_json(&other.to_string()).unwrap();
    assert_eq!(server.controller.preview_datums(&other).await.unwrap().datums.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_with_a_schedule_moves_when_the_clock_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let clock = SetClock::at("2026-01-01T12:00:00Z");
    let server =
        Server::built(dir.path(), true, Arc::clone(&clock) as Arc<dyn Clock>, |_| {}).await;
    server.create_repo("in").await;
    let nightly = branch("in").repo.branch(name("nightly"));
    let cron = "0 0 * * *".to_owned();
    let trigger = Some(Trigger { branch: "master".to_owned(), cron, ..Trigger::default() });
    let create = CreateBranch { trigger, ..CreateBranch::default() };
    server.repos.create_branch(&nightly, &create).await.unwrap();
    let mut reading = spec("p", "in", "/*", "cp -r /pfs/in/. /pfs/out");
    reading["input"]["pfs"]["branch"] = "nightly".into();
    server.create(reading).await;
    server.put("in", &[("a", Some("1"))]).await;
    let today = server.put("in", &[("b", Some("2"))]).await;
    clock.put("2026-01-02T00:10:00Z");
    server.put("in", &[("late", Some("3"))]).await;
    let job = server.job("p", 1).await;
    assert_eq!((job.state, job.inputs[0].commit), (JobState::Success, today.id));
    assert_eq!(paths(&server.output(&job).await), ["/a", "/b"]);
    clock.put("2026-01-03T09:00:00Z");
    let job = server.job("p", 2).await;
    assert_eq!(paths(&server.output(&job).await), ["/a", "/b", "/late"]);
}
