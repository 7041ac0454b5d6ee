//! One claim that several pods write.

use serde_json::Value;

use super::Volumes;
use crate::pod::Pod;

/// Waits to be told that it is over.
const STAYS: &str = "until [ -e /tmp/over ]; do sleep 0.1; done";

#[test]
fn what_pods_write_to_one_claim_at_a_time_is_merged() {
    let volumes = Volumes::new("merges");
    volumes.claim("data", "pfs", &Value::Null);
    let writers = ["one", "two"];
    for name in writers {
        volumes.start(&Pod::new(name, STAYS).claim("data", "data"));
    }
    for name in writers {
        volumes.ready(name);
        let script = format!("mkdir -p /data/dir; echo {name} >/data/dir/{name}");
        volumes.exec(name, &["sh", "-c", &script]);
    }
    // Each sees what it writes, and what was there before.
    assert_eq!(volumes.exec("one", &["ls", "/data/dir"]), "one\n");
    for name in writers {
        volumes.exec(name, &["touch", "/tmp/over"]);
    }
    let branch = volumes.branch_of("data");
    for name in writers {
        assert_eq!(volumes.ended(name), "Succeeded");
        volumes.server.has(&format!("{branch}:/dir/{name}"), &format!("{name}\n"));
    }
    assert_eq!(volumes.server.commits(&branch).len(), 2);
}

#[test]
fn changes_of_the_same_file_conflict_and_the_later_ones_are_kept_apart() {
    let volumes = Volumes::new("conflicts");
    volumes.claim("data", "pfs", &Value::Null);
    let branch = volumes.branch_of("data");
    let repo = branch.split('@').next().unwrap();
    let writers = ["one", "two"];
    for name in writers {
        volumes.start(&Pod::new(name, STAYS).claim("data", "data"));
    }
    for name in writers {
        volumes.ready(name);
        volumes.exec(name, &["sh", "-c", &format!("echo {name} >/data/file")]);
    }
    volumes.exec("one", &["touch", "/tmp/over"]);
    volumes.server.has(&format!("{branch}:/file"), "one\n");
    volumes.exec("two", &["touch", "/tmp/over"]);
    crate::cluster::eventually("the other one has lost", || {
        let lost = |one: &Value| one["state"] == "conflict";
        volumes.server.transactions(repo).iter().any(lost).then_some(())
    });
    assert_eq!(volumes.server.get(&format!("{branch}:/file")).unwrap(), "one\n");
}

#[test]
fn each_step_over_one_claim_sees_what_the_ones_before_wrote() {
    let volumes = Volumes::new("steps");
    volumes.claim("data", "pfs", &Value::Null);
    // No step waits for anything but the end of the one before.
    for step in 1..=3 {
        let script = format!("cat /data/log 2>/dev/null || true; echo {step} >>/data/log");
        let name = format!("step-{step}");
        let said = volumes.run(&name, &Pod::new(&name, &script).claim("data", "data"));
        let before: String = (1..step).map(|step| format!("{step}\n")).collect();
        assert_eq!(said, before);
    }
    volumes.server.has(&format!("{}:/log", volumes.branch_of("data")), "1\n2\n3\n");
}
