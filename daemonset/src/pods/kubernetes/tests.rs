use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http::{Request, Response};
use kube::client::Body;
use serde_json::{Value, json};

use super::*;

/// How a container stands, as the kubelet writes it.
fn container(name: &str, state: Value) -> Value {
    json!({
        "name": name, "state": state, "image": "i", "imageID": "", "ready": false,
        "restartCount": 0
    })
}

fn exit(name: &str, code: i32, reason: &str) -> Value {
    container(name, json!({"terminated": {"exitCode": code, "reason": reason}}))
}

fn runs(name: &str) -> Value {
    container(name, json!({"running": {}}))
}

/// A pod with an init container `setup`, a sidecar `proxy`, and `names`.
fn pod(names: &[&str], status: Value) -> Value {
    let containers: Vec<_> = names.iter().map(|name| json!({"name": name})).collect();
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "p", "namespace": "n", "uid": "u", "resourceVersion": "7"},
        "spec": {
            "restartPolicy": "Never",
            "initContainers": [
                {"name": "setup"}, {"name": "proxy", "restartPolicy": "Always"},
            ],
            "containers": containers,
        },
        "status": status,
    })
}

fn succeeded() -> Standing {
    Standing::Succeeded
}

fn failed(why: &str) -> Standing {
    Standing::Failed(why.to_owned())
}

fn still(name: &str) -> Standing {
    Standing::Runs(format!("container {name:?} has not ended"))
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table")]
fn a_pod_stands_where_its_containers_do() {
    let done = exit("main", 0, "Completed");
    let set_up = exit("setup", 0, "Completed");
    let table: Vec<(&str, &[&str], Value, Standing)> = vec![
        (
            "the phase is told after the containers",
            &["main"],
            json!({"phase": "Running", "containerStatuses": [done]}),
            succeeded(),
        ),
        (
            "all is told",
            &["main"],
            json!({"phase": "Succeeded", "containerStatuses": [done]}),
            succeeded(),
        ),
        (
            "the phase alone, statuses dropped",
            &["main"],
            json!({"phase": "Succeeded"}),
            succeeded(),
        ),
        (
            "one of two runs",
            &["main", "other"],
            json!({"phase": "Running", "containerStatuses": [done, runs("other")]}),
            still("other"),
        ),
        (
            "one of two is not told of",
            &["main", "other"],
            json!({"phase": "Running", "containerStatuses": [done]}),
            still("other"),
        ),
        (
            "one of two failed while the other runs",
            &["main", "other"],
            json!({
                "phase": "Running",
                "containerStatuses": [runs("main"), exit("other", 3, "Error")],
            }),
            failed("container \"other\" ended with exit code 3"),
        ),
        (
            "out of memory",
            &["main"],
            json!({"phase": "Failed", "containerStatuses": [exit("main", 137, "OOMKilled")]}),
            failed("container \"main\" ended with exit code 137: OOMKilled"),
        ),
        (
            "out of memory is the cause of the rest",
            &["main", "other"],
            json!({
                "phase": "Failed",
                "containerStatuses": [exit("main", 1, "Error"), exit("other", 137, "OOMKilled")],
            }),
            failed("container \"other\" ended with exit code 137: OOMKilled"),
        ),
        (
            "evicted, with containers that ended well when they were told to",
            &["main"],
            json!({
                "phase": "Failed", "reason": "Evicted",
                "message": "The node was low on resource: memory. ",
                "containerStatuses": [done],
            }),
            failed("Evicted: The node was low on resource: memory"),
        ),
        (
            "too late",
            &["main"],
            json!({"phase": "Failed", "reason": "DeadlineExceeded"}),
            failed("DeadlineExceeded"),
        ),
        (
            "failed, nobody says why",
            &["main"],
            json!({"phase": "Failed"}),
            failed("it failed, and no container says why"),
        ),
        (
            "a sidecar that was killed",
            &["main"],
            json!({
                "phase": "Running",
                "initContainerStatuses": [set_up, exit("proxy", 137, "Error")],
                "containerStatuses": [done],
            }),
            succeeded(),
        ),
        (
            "a sidecar that runs",
            &["main"],
            json!({
                "phase": "Running",
                "initContainerStatuses": [set_up, runs("proxy")],
                "containerStatuses": [done],
            }),
            succeeded(),
        ),
        (
            "a failed init container",
            &["main"],
            json!({
                "phase": "Failed",
                "initContainerStatuses": [exit("setup", 2, "Error")],
                "containerStatuses": [
                    container("main", json!({"waiting": {"reason": "PodInitializing"}})),
                ],
            }),
            failed("init container \"setup\" ended with exit code 2"),
        ),
        (
            "ended by a signal on deletion",
            &["main"],
            json!({"phase": "Running", "containerStatuses": [exit("main", 143, "Error")]}),
            failed("container \"main\" ended with exit code 143"),
        ),
        (
            "never seen to start",
            &["main"],
            json!({
                "phase": "Failed",
                "containerStatuses": [exit("main", 137, "ContainerStatusUnknown")],
            }),
            failed("container \"main\" ended with exit code 137: ContainerStatusUnknown"),
        ),
        (
            "between two tries",
            &["main"],
            json!({
                "phase": "Running",
                "containerStatuses": [{
                    "name": "main", "image": "i", "imageID": "", "ready": false,
                    "restartCount": 1,
                    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                    "lastState": {"terminated": {"exitCode": 1}},
                }],
            }),
            still("main"),
        ),
        (
            "succeeded after a try that failed",
            &["main"],
            json!({
                "phase": "Succeeded",
                "containerStatuses": [{
                    "name": "main", "image": "i", "imageID": "", "ready": false,
                    "restartCount": 1,
                    "state": {"terminated": {"exitCode": 0}},
                    "lastState": {"terminated": {"exitCode": 1}},
                }],
            }),
            succeeded(),
        ),
        ("not begun", &["main"], json!({"phase": "Pending"}), still("main")),
        ("nothing is told", &["main"], json!({}), still("main")),
        ("no containers are told of", &[], json!({"phase": "Running"}), still("")),
    ];
    for (what, names, status, expected) in table {
        let pod: Pod = serde_json::from_value(pod(names, status)).unwrap();
        assert_eq!(standing(&pod), expected, "{what}");
    }
}

#[test]
fn what_may_happen_once_more_is_waited_for() {
    let ended = |code| json!({"phase": "Running", "containerStatuses": [exit("main", code, "")]});
    let code = |code| failed(&format!("container \"main\" ended with exit code {code}"));
    let table = [
        ("Never", 0, succeeded()),
        ("Never", 1, code(1)),
        ("OnFailure", 0, succeeded()),
        ("OnFailure", 1, still("main")),
        ("Always", 0, still("main")),
        ("Always", 1, still("main")),
    ];
    for (policy, exit, expected) in table {
        let mut object = pod(&["main"], ended(exit));
        object["spec"]["restartPolicy"] = json!(policy);
        let of = |object: &Value| standing(&serde_json::from_value(object.clone()).unwrap());
        assert_eq!(of(&object), expected, "{policy} {exit}");
        // When the phase says so, it is over.
        let (phase, expected) =
            if exit == 0 { ("Succeeded", succeeded()) } else { ("Failed", code(exit)) };
        object["status"]["phase"] = json!(phase);
        assert_eq!(of(&object), expected, "{policy} {exit} {phase}");
    }
}

/// Answers with these, one after another, then not at all.
fn cluster(answers: Vec<(u16, String)>, patience: Duration) -> (KubePods, Asked) {
    let asked = Asked::default();
    let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
    let noted = asked.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        noted.0.lock().unwrap().push(request.uri().to_string());
        let next = answers.lock().unwrap().pop_front();
        async move {
            let Some((status, body)) = next else { return std::future::pending().await };
            let answer = Response::builder().status(status).body(Body::from(body.into_bytes()));
            Ok::<_, Infallible>(answer.unwrap())
        }
    });
    let pods = KubePods::through(Client::new(service, "n"), patience);
    (KubePods { rest: Duration::from_millis(1), ..pods }, asked)
}

#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

fn named() -> PodRef {
    PodRef {
        namespace: "n".to_owned(),
        name: "p".to_owned(),
        uid: "u".to_owned(),
        service_account: "default".to_owned(),
    }
}

fn running() -> Value {
    pod(&["main"], json!({"phase": "Running", "containerStatuses": [runs("main")]}))
}

fn over(code: i32) -> Value {
    let end = exit("main", code, "");
    pod(&["main"], json!({"phase": "Running", "containerStatuses": [end]}))
}

fn event(kind: &str, object: Value) -> String {
    format!("{}\n", json!({"type": kind, "object": object}))
}

#[tokio::test]
async fn a_pod_that_runs_is_waited_for() {
    let news = event("MODIFIED", running()) + &event("MODIFIED", over(0));
    let answers = vec![(200, running().to_string()), (200, news)];
    let (pods, asked) = cluster(answers, Duration::from_secs(60));
    assert_eq!(pods.outcome(&named()).await, Outcome::Succeeded);
    let asked = asked.0.lock().unwrap().clone();
    assert_eq!(asked.len(), 2);
    assert_eq!(asked[0], "/api/v1/namespaces/n/pods/p");
    assert!(asked[1].contains("watch=true"), "{asked:?}");
    assert!(asked[1].contains("fieldSelector=metadata.name%3Dp"), "{asked:?}");
    assert!(asked[1].contains("resourceVersion=7"), "{asked:?}");
}

#[tokio::test]
async fn the_last_that_is_known_of_a_deleted_pod_decides() {
    let (pods, _) = cluster(
        vec![(200, running().to_string()), (200, event("DELETED", over(4)))],
        Duration::from_secs(60),
    );
    let why = "container \"main\" ended with exit code 4";
    assert_eq!(pods.outcome(&named()).await, Outcome::Failed(why.to_owned()));
    let (pods, _) = cluster(
        vec![(200, running().to_string()), (200, event("DELETED", running()))],
        Duration::from_secs(60),
    );
    let Outcome::Unknown(why) = pods.outcome(&named()).await else { panic!("it is gone") };
    assert!(why.contains("gone"), "{why}");
}

#[tokio::test]
async fn a_pod_has_ended_when_nothing_of_it_runs() {
    let half = json!({
        "phase": "Running",
        "containerStatuses": [exit("main", 1, "Error"), runs("other")],
    });
    let absent = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no",
        "reason": "NotFound", "code": 404,
    });
    let table = [
        (200, running(), Some(false)),
        (200, over(0), Some(true)),
        (200, pod(&["main", "other"], half), Some(false)),
        (200, pod(&["main"], json!({"phase": "Failed"})), Some(true)),
        (200, pod(&["main"], json!({"phase": "Pending"})), Some(false)),
        (404, absent, None),
        (500, json!({}), None),
    ];
    for (status, body, expected) in table {
        let (pods, _) = cluster(vec![(status, body.to_string())], Duration::from_secs(60));
        assert_eq!(pods.has_ended("n", "p").await, expected, "{body}");
    }
}

#[tokio::test]
async fn who_cannot_be_asked_about_is_unknown() {
    let status = |code: u16, reason: &str| {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no",
            "reason": reason, "code": code,
        });
        (code, status.to_string())
    };
    let mut other = over(0);
    other["metadata"]["uid"] = json!("another");
    let table = [
        (vec![status(404, "NotFound")], "gone"),
        (vec![(200, other.to_string())], "another has its name"),
        (vec![status(403, "Forbidden")], "does not let"),
        (vec![], "not known after 200ms: the API server was not heard of"),
        (vec![status(500, "InternalError")], "the API server does not answer"),
        (vec![(200, running().to_string())], "container \"main\" has not ended"),
    ];
    for (answers, said) in table {
        let (pods, _) = cluster(answers, Duration::from_millis(200));
        let Outcome::Unknown(why) = pods.outcome(&named()).await else { panic!("{said}") };
        assert!(why.contains(said), "{why}");
    }
}

#[tokio::test]
async fn an_api_server_that_comes_back_is_asked_again() {
    let expired = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "too old",
        "reason": "Expired", "code": 410,
    });
    let answers = vec![
        (503, "away".to_owned()),
        (200, running().to_string()),
        (200, event("ERROR", expired)),
        (200, running().to_string()),
        (200, String::new()),
        (200, over(0).to_string()),
    ];
    let (pods, asked) = cluster(answers, Duration::from_secs(60));
    assert_eq!(pods.outcome(&named()).await, Outcome::Succeeded);
    assert_eq!(asked.0.lock().unwrap().len(), 6);
}
