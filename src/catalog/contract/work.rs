use std::collections::BTreeSet;

use super::*;
use crate::catalog::{DatumRow, DatumState, JobChange, JobQuery};
use crate::model::DatumId;

pub async fn pipelines_have_versions(catalog: Fresh) {
    repos(&catalog, &["a"]).await;
    let put = |version, expected| Op::PutPipeline { row: pipeline_row("p", version), expected };
    refused(&catalog, put(2, Some(1))).await;
    catalog.apply(vec![put(1, None)]).await.unwrap();
    refused(&catalog, put(1, None)).await;
    refused(&catalog, put(3, Some(2))).await;
    catalog.apply(vec![put(2, Some(1))]).await.unwrap();
    assert_eq!(catalog.pipeline(&pipeline("p")).await.unwrap(), Some(pipeline_row("p", 2)));
    let state = Op::SetPipelineState {
        pipeline: pipeline("p"),
        state: PipelineState::Paused,
        reason: "stopped".into(),
        stopped: true,
    };
    catalog.apply(vec![state]).await.unwrap();
    let versions = catalog.pipeline_versions(&pipeline("p")).await.unwrap();
    assert_eq!(versions.iter().map(|row| row.version).collect::<Vec<_>>(), [2, 1]);
    assert!(versions.iter().all(|row| row.stopped && row.state == PipelineState::Paused));
    let listed = catalog.pipelines(Some(&ProjectName::default_project())).await.unwrap();
    assert_eq!(listed, versions[..1]);
    catalog.apply(vec![Op::CreateJob(job_row("p", 1))]).await.unwrap();
    catalog.apply(vec![Op::DeletePipeline(pipeline("p"))]).await.unwrap();
    assert_eq!(catalog.job(&job("p", 1)).await.unwrap(), None);
    assert_eq!(catalog.pipelines(None).await.unwrap(), []);
}

/// Pipelines `p` and `q`, and the jobs 1 to `jobs` of `p`.
async fn with_jobs(catalog: &Fresh, jobs: u64) {
    repos(catalog, &["a"]).await;
    let pipelines = ["p", "q"].map(|name| pipeline_row(name, 1));
    let mut ops: Vec<_> =
        pipelines.map(|row| Op::PutPipeline { row, expected: None }).into_iter().collect();
    ops.extend((1..=jobs).map(|n| Op::CreateJob(job_row("p", n))));
    catalog.apply(ops).await.unwrap();
}

pub async fn jobs_are_listed_and_counted(catalog: Fresh) {
    with_jobs(&catalog, 4).await;
    catalog.apply(vec![Op::CreateJob(job_row("q", 2))]).await.unwrap();
    refused(&catalog, Op::CreateJob(job_row("q", 2))).await;
    refused(&catalog, Op::CreateJob(job_row("r", 2))).await;
    let of_p = JobQuery { pipeline: Some(pipeline("p")), ..JobQuery::default() };
    let listed = catalog.jobs(&of_p).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.job.id).collect::<Vec<_>>(), [4, 3, 2, 1].map(id));
    let page = JobQuery { before: Some(listed[1].seq), limit: Some(1), ..of_p.clone() };
    assert_eq!(catalog.jobs(&page).await.unwrap()[0].job, job("p", 2));
    assert_eq!(catalog.job_set(id(2)).await.unwrap().len(), 2);
    let update = |expected: &[JobState], change| Op::UpdateJob {
        job: job("p", 1),
        expected: expected.to_vec(),
        change,
    };
    let state = |state| JobChange { state: Some(state), ..JobChange::default() };
    refused(&catalog, update(&[JobState::Running], state(JobState::Success))).await;
    let running = JobChange {
        started: Some(time(7)),
        base: Some(id(9)),
        restarted: true,
        counters: Some(JobCounters { total: 5, skipped: 2, ..JobCounters::default() }),
        ..state(JobState::Running)
    };
    let delta = JobCounters { processed: 1, downloaded: 9, ..JobCounters::default() };
    let progress = Op::AddJobProgress { job: job("p", 1), delta };
    let ops = vec![update(&[JobState::Created], running), progress.clone(), progress];
    catalog.apply(ops).await.unwrap();
    catalog.apply(vec![update(&[], state(JobState::Success))]).await.unwrap();
    let row = catalog.job(&job("p", 1)).await.unwrap().unwrap();
    assert!(row.finished.is_some());
    let counters =
        JobCounters { total: 5, skipped: 2, processed: 2, downloaded: 18, ..row.counters };
    let expected = JobRow {
        seq: row.seq,
        state: JobState::Success,
        base: Some(id(9)),
        started: Some(time(7)),
        finished: row.finished,
        restarts: 1,
        counters,
        ..job_row("p", 1)
    };
    assert_eq!(row, expected);
    let states = vec![JobState::Success, JobState::Failure];
    let ended = JobQuery { states, ..JobQuery::default() };
    assert_eq!(catalog.jobs(&ended).await.unwrap(), [row]);
}

fn datum(n: u64) -> DatumRow {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&n.to_be_bytes());
    DatumRow {
        index: n,
        id: DatumId::new(bytes),
        state: DatumState::Waiting,
        tries: 0,
        worker: String::new(),
        lease_until: time(0),
        payload: Bytes::from(n.to_string()),
        outcome: Bytes::new(),
    }
}

fn create(datums: std::ops::Range<u64>) -> Op {
    Op::CreateDatums { job: job("p", 1), datums: datums.map(datum).collect() }
}

fn complete(index: u64, worker: &str, state: DatumState) -> Op {
    let (worker, outcome) = (worker.to_owned(), Bytes::from_static(b"outcome"));
    Op::CompleteDatum { job: job("p", 1), index, worker, state, outcome }
}

pub async fn datums_are_claimed_under_leases(catalog: Fresh) {
    with_jobs(&catalog, 1).await;
    let p = job("p", 1);
    catalog.apply(vec![create(0..6), create(4..8)]).await.unwrap();
    let claim = async |worker: &str, now, until, limit| {
        let claimed =
            catalog.claim_datums(&p, worker, time(now), time(until), limit).await.unwrap();
        claimed.iter().map(|datum| datum.index).collect::<Vec<_>>()
    };
    assert_eq!(claim("one", 0, 10, 3).await, [0, 1, 2]);
    assert_eq!(claim("two", 0, 20, 2).await, [3, 4]);
    catalog.apply(vec![complete(0, "one", DatumState::Success)]).await.unwrap();
    refused(&catalog, complete(0, "one", DatumState::Success)).await;
    refused(&catalog, complete(3, "one", DatumState::Success)).await;
    // One renews, two lapses.
    let renew = Op::RenewDatums { job: p.clone(), worker: "one".into(), until: time(50) };
    catalog.apply(vec![renew]).await.unwrap();
    assert_eq!(claim("three", 20, 60, 3).await, [3, 4, 5]);
    refused(&catalog, complete(3, "two", DatumState::Success)).await;
    catalog.apply(vec![complete(3, "three", DatumState::Waiting)]).await.unwrap();
    let release = Op::ReleaseDatums { job: p.clone(), worker: "one".into() };
    catalog.apply(vec![release]).await.unwrap();
    assert_eq!(claim("four", 20, 60, 9).await, [1, 2, 3, 6, 7]);
    let row = catalog.datum(&p, &datum(3).id).await.unwrap().unwrap();
    assert_eq!((row.tries, row.worker.as_str(), row.state), (3, "four", DatumState::Claimed));
    let counts = catalog.datum_counts(&p).await.unwrap();
    assert_eq!(
        counts.into_iter().collect::<BTreeSet<_>>(),
        [(DatumState::Claimed, 7), (DatumState::Success, 1)].into()
    );
    let done = catalog.datums(&p, Some(DatumState::Success), 0, 9).await.unwrap();
    assert_eq!((done[0].index, &done[0].outcome[..]), (0, &b"outcome"[..]));
    let page = catalog.datums(&p, None, 5, 2).await.unwrap();
    assert_eq!(page.iter().map(|datum| datum.index).collect::<Vec<_>>(), [5, 6]);
    catalog.apply(vec![Op::DeleteDatums(p.clone())]).await.unwrap();
    assert_eq!(catalog.datums(&p, None, 0, 9).await.unwrap(), []);
    assert_eq!(catalog.datums(&job("p", 9), None, 0, 9).await.unwrap(), []);
}

pub async fn workers_never_share_a_claim(catalog: Fresh) {
    const DATUMS: u64 = 200;
    with_jobs(&catalog, 1).await;
    catalog.apply(vec![create(0..DATUMS)]).await.unwrap();
    let workers = (0..4).map(|n| {
        let catalog = Arc::clone(&catalog);
        tokio::spawn(async move {
            let (worker, mut mine) = (format!("worker {n}"), Vec::new());
            loop {
                let claimed =
                    catalog.claim_datums(&job("p", 1), &worker, time(0), time(9), 7).await.unwrap();
                if claimed.is_empty() {
                    return mine;
                }
                mine.extend(claimed.iter().map(|datum| datum.index));
            }
        })
    });
    let claims = futures::future::join_all(workers).await;
    let mut all: Vec<_> = claims.into_iter().flat_map(|claims| claims.unwrap()).collect();
    all.sort_unstable();
    assert_eq!(all, (0..DATUMS).collect::<Vec<_>>());
}
