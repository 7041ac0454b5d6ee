//! Many volumes on one node, and what they cost.
//!
//! `PFS_VOLUMES` says how many (default 24).

use std::fs;
use std::time::{Duration, Instant};

use super::{Node, eventually};
use crate::takeover::readers::number;

fn median(times: &mut [Duration]) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[(times.len() - 1) * 99 / 100])
}

#[test]
fn many_volumes_share_one_agent() {
    let options = ["--memory", "256MiB"];
    let Some(mut node) = Node::with("many_volumes_share_one_agent", &options) else { return };
    let count = number("PFS_VOLUMES").unwrap_or(24);
    node.server.pfs(&["create", "repo", "data"]);
    node.server.pfs(&["create", "repo", "out"]);
    let source = node.server.dir("source");
    (0..100).for_each(|n| fs::write(source.join(format!("f{n}")), vec![b'x'; 8 << 10]).unwrap());
    let at = source.to_str().unwrap();
    node.server.pfs(&["put", "file", "-r", "data@master:/", "-f", at]);
    let (idle, mut published, mut volumes) = (node.memory(), Vec::new(), Vec::new());
    for number in 0..count {
        let written = number % 5 == 4;
        let attributes: &[(&str, &str)] = match written {
            true => &[("repo", "out"), ("mode", "rw"), ("commit", "onUnmount")],
            false => &[("repo", "data"), ("follow", "true")],
        };
        let start = Instant::now();
        let volume = node.volume(&format!("v{number}"), attributes);
        published.push(start.elapsed());
        match written {
            true => fs::write(volume.path(&format!("own-{number}")), "own").unwrap(),
            false => assert_eq!(fs::read_dir(&volume.dir).unwrap().count(), 100),
        }
        if !written {
            (0..100).for_each(|n| drop(fs::read(volume.path(&format!("f{n}"))).unwrap()));
        }
        volumes.push(volume);
    }
    let used = node.memory();
    let start = Instant::now();
    let before = volumes[0].process();
    node.kill_agent();
    node.start_agent();
    eventually("a successor", || volumes.iter().all(|volume| volume.process() != before));
    let pause = start.elapsed();
    let after = node.memory();
    let mut unpublished = Vec::new();
    for volume in volumes {
        let start = Instant::now();
        node.unpublish(volume);
        unpublished.push(start.elapsed());
    }
    eventually("all committed", || node.staged().is_empty());
    let ended = node.memory();
    let (p50, p99) = median(&mut published);
    println!("volumes: {count}, publish p50 {p50:?} p99 {p99:?}");
    let (p50, p99) = median(&mut unpublished);
    println!("unpublish p50 {p50:?} p99 {p99:?}, all taken over {pause:?}");
    println!(
        "agent MiB (all, without files): idle {idle:?}, used {used:?}, taken over {after:?}, ended {ended:?}"
    );
    assert!(used.0 < 1024 && after.0 < 1024, "{used:?} {after:?}");
    let own = node.server.pfs(&["list", "file", "out@master:/"]).lines().count() as u64;
    assert_eq!(own, 1 + count / 5);
}
