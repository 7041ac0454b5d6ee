use super::*;

/// A note of the version before, without what came later.
fn old() -> serde_json::Value {
    serde_json::json!({
        "version": 2,
        "dir": "/pfs",
        "address": "127.0.0.1:30650",
        "repos": [],
        "cache": "/cache",
        "cache_size": 1 << 30,
        "memory": 64 << 20,
        "allow_other": false,
        "uid": null,
        "gid": null,
        "umask": null,
        "metrics": null,
        "slow_op": { "secs": 1, "nanos": 0 },
        "log": null,
        "store": null,
        "writer": ["host:/pfs", "0123"],
        "commits_at_the_end": true,
    })
}

#[test]
fn notes_that_say_nothing_of_fetching_ahead_are_read() {
    let plan = Note::read(old()).unwrap().plan().unwrap();
    assert_eq!((plan.prefetch, plan.cache_size), (Prefetch::None, 1 << 30));
}

#[test]
fn a_successor_fetches_ahead_what_was_noted() {
    let mut plan = Note::read(old()).unwrap().plan().unwrap();
    for what in ["none", "meta", "all", "/**/*.npy"] {
        plan.prefetch = what.parse().unwrap();
        let noted = Note::of(&plan, (&plan.dir, None), (Default::default(), &[]));
        assert_eq!(Note::read(noted.value()).unwrap().plan().unwrap(), plan);
    }
}
