use std::sync::Arc;

use super::datum::{Datum, DatumInput, Delta, Identified, Match, Origins};
use super::environment::{JobFacts, layout, stdin_text, variables};
use super::job::{
    Attempt, DatumState, Verdict, judge, judge_recovery, predecessors, progress, progress_text,
};
use super::output::OutputClaims;
use super::plan::{Base, Plan};
use super::record::{self, DatumRecord, DatumStats, InputRecord, RECORD_VERSION};
use super::spec::{OnConflict, PipelineSpec, Transform};
use crate::catalog::{JobCounters, JobState};
use crate::model::{CommitId, DatumId, Timestamp};

const SPEC: &str = r#"{"pipeline":{"name":"infer"},"transform":{"cmd":["x"],"env":{"A":"1"}},
    "input":{"cross":[{"pfs":{"repo":"attributes","glob":"/*"}},
                      {"pfs":{"repo":"train","glob":"/","empty_files":true}}]}}"#;

fn found(path: &str, content: u8, size: u64) -> Arc<Match> {
    let leaf_free = ("".into(), "".into());
    Arc::new(Match {
        path: path.parse().unwrap(),
        is_dir: false,
        hash: [content; 32],
        size,
        join_key: leaf_free.0,
        group_key: leaf_free.1,
    })
}

fn datum(paths: &[(&str, u8)], size: u64) -> Datum {
    let inputs = paths.iter().enumerate();
    Datum {
        inputs: inputs
            .map(|(leaf, (path, content))| DatumInput { leaf, found: found(path, *content, size) })
            .collect(),
    }
}

fn identified(path: &str, content: u8, size: u64) -> Identified {
    let spec = PipelineSpec::from_json(SPEC).unwrap();
    Origins::of(&spec.input).identify(datum(&[(path, content)], size), "")
}

#[test]
fn a_program_sees_what_the_contract_says() {
    let spec = PipelineSpec::from_json(SPEC).unwrap();
    let origins = Origins::of(&spec.input);
    let datum = datum(&[("test1.csv", 1), ("/", 2)], 5);
    let commits = [CommitId::new([1; 16]), CommitId::new([2; 16])];
    let facts = JobFacts {
        project: "default",
        pipeline: "infer",
        job: CommitId::new([3; 16]),
        spec_commit: CommitId::new([4; 16]),
        commits: &commits,
    };
    let id = DatumId::new([5; 32]);
    let env = variables(&spec.transform, &facts, &origins, &datum, id);
    insta::assert_snapshot!(
        env.iter().map(|(name, value)| format!("{name}={value}\n")).collect::<String>()
    );
    let dirs = layout(&origins, &datum, &commits);
    assert_eq!(dirs.len(), 2);
    assert_eq!(
        (dirs[0].name.as_str(), dirs[0].sources[0].paths[0].as_str()),
        ("attributes", "test1.csv")
    );
    assert!(dirs[1].sources[0].paths[0].is_root() && dirs[1].sources[0].empty_files);
    assert_eq!(stdin_text(&["a".to_owned(), "b".to_owned()]), "a\nb\n");
    assert_eq!(stdin_text(&[]), "");
}

#[test]
fn job_states_move_forward_only() {
    assert!(predecessors(JobState::Starting).contains(&JobState::Created));
    assert_eq!(predecessors(JobState::Success), [JobState::Finishing]);
    for next in JobState::ALL {
        assert!(predecessors(*next).iter().all(|state| !state.is_terminal()));
    }
}

#[test]
fn counters_print_as_progress() {
    let stats = DatumStats { download_bytes: 10, upload_bytes: 2, ..DatumStats::default() };
    let done = progress(DatumState::Success, &stats);
    assert_eq!((done.processed, done.downloaded, done.uploaded), (1, 10, 2));
    let failed = progress(DatumState::Failed, &stats);
    assert_eq!((failed.failed, failed.downloaded), (1, 0));
    let counters = JobCounters { total: 4, processed: 1, skipped: 1, ..JobCounters::default() };
    assert_eq!(progress_text(&counters), "1 + 1 / 4");
    let counters = JobCounters { recovered: 1, ..counters };
    assert_eq!(progress_text(&counters), "1 + 1 + 1 / 4");
}

#[test]
fn tries_are_judged() {
    let mut transform = Transform { accept_return_code: vec![3], ..Transform::default() };
    let exited = Attempt::Exited;
    assert_eq!(judge(&transform, 3, 1, &exited(0)), Verdict::Success);
    assert_eq!(judge(&transform, 3, 1, &exited(3)), Verdict::Success);
    assert_eq!(judge(&transform, 3, 2, &exited(1)), Verdict::Retry);
    assert_eq!(judge(&transform, 3, 3, &Attempt::TimedOut), Verdict::Failed);
    transform.err_cmd = vec!["true".to_owned()];
    assert_eq!(judge(&transform, 3, 3, &Attempt::Signalled(9)), Verdict::RunErrCmd);
    assert_eq!(judge_recovery(&exited(0)), DatumState::Recovered);
    assert_eq!(judge_recovery(&exited(3)), DatumState::Failed);
}

#[test]
fn only_changed_datums_are_planned() {
    let (kept, small, large) =
        (identified("k", 1, 1), identified("s", 1, 1), identified("l", 1, 9));
    let first = Plan::afresh(vec![kept.clone(), small.clone(), large.clone()]);
    assert_eq!((first.total, first.skipped()), (3, 0));
    assert_eq!(first.process[0], large);
    let changed = identified("s", 2, 1);
    let delta = Delta { removed: vec![small.clone(), large.clone()], added: vec![changed.clone()] };
    let base = Base { total: 3, recovered: Vec::new() };
    let next = Plan::new(&base, delta);
    assert_eq!((next.total, next.skipped()), (2, 1));
    assert_eq!(next.process, [changed]);
    let mut gone = [small.id, large.id];
    gone.sort_unstable();
    assert_eq!(next.remove, gone);
    let same = Delta { removed: vec![small.clone()], added: vec![small.clone()] };
    let idle = Plan::new(&base, same);
    assert_eq!((idle.total, idle.skipped(), idle.remove.len()), (3, 3, 0));
    let base = Base { total: 3, recovered: vec![kept.clone()] };
    let again = Plan::new(&base, Delta::default());
    assert_eq!((again.process, again.total), (vec![kept.clone()], 3));
    assert_eq!(again.remove, [kept.id]);
}

#[test]
fn conflicts_name_both_datums_and_the_path() {
    let (a, b) = (DatumId::new([1; 32]), DatumId::new([2; 32]));
    let path = "x/y".parse().unwrap();
    let dir = "x".parse().unwrap();
    let mut claims = OutputClaims::new(OnConflict::Fail);
    claims.claim(b, &dir, true).unwrap();
    claims.claim(a, &dir, true).unwrap();
    claims.claim(b, &path, false).unwrap();
    let conflict = claims.claim(a, &path, false).unwrap_err();
    assert_eq!(conflict.to_string(), format!("datums {a} and {b} both wrote /x/y"));
    for (policy, owners) in [(OnConflict::Concat, vec![a, b]), (OnConflict::Last, vec![b])] {
        let mut claims = OutputClaims::new(policy);
        claims.claim(b, &path, false).unwrap();
        claims.claim(a, &path, false).unwrap();
        assert!(claims.claim(a, &path, true).is_ok());
        assert!(claims.claim(DatumId::new([3; 32]), &path, true).unwrap_err().mixed);
        let merged: Vec<_> = claims.into_merged().collect();
        assert_eq!(merged, [(path.clone(), false, owners)]);
    }
}

#[test]
fn records_keep_their_form() {
    let id = DatumId::new([7; 32]);
    let record = DatumRecord {
        version: RECORD_VERSION,
        job: CommitId::new([1; 16]),
        id,
        hash: identified("k", 1, 1).hash,
        state: DatumState::Success,
        reason: String::new(),
        tries: 1,
        inputs: vec![InputRecord {
            leaf: 0,
            name: "in".to_owned(),
            repo: "r".to_owned(),
            branch: "master".to_owned(),
            commit: CommitId::new([2; 16]),
            path: "a/b".parse().unwrap(),
            is_dir: false,
            size: 3,
            hash: super::datum::DatumHash::new([9; 32]),
            join_key: String::new(),
            group_key: String::new(),
        }],
        stats: DatumStats { started: Timestamp::from_nanos(5), ..DatumStats::default() },
    };
    let text = serde_json::to_string_pretty(&record).unwrap();
    assert_eq!(serde_json::from_str::<DatumRecord>(&text).unwrap(), record);
    insta::assert_snapshot!(text);
    assert_eq!(record::datum_path(id).as_str(), format!("meta/{id}/meta"));
    assert_eq!(record::outputs_path(id).as_str(), format!("pfs/{id}/out"));
}
