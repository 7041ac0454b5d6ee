//! How fast volumes are; printed, for they are the machine's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;

use super::Volumes;
use crate::install;
use crate::pod::Pod;

/// Reads two files in turns and prints the ratio of the medians.
const COMPARES: &str = r#"
import os, time
def read(path):
    begun, buffer = time.monotonic(), bytearray(1 << 20)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return time.monotonic() - begun
paths = "/data/big", "/beside/big"
taken = [[], []]
for turn in range(8):
    for path, times in zip(paths, taken):
        seconds = read(path)
        if turn:
            times.append(seconds)
ours, theirs = (sorted(times)[len(times) // 2] for times in taken)
size = os.path.getsize(paths[0]) / 1e9
print(f"{size / ours:.2f} GB/s, hostPath {size / theirs:.2f} GB/s, ratio {theirs / ours:.2f}")
"#;

/// In units of 64 KiB.
const SIZE: usize = 2048;

#[test]
fn a_pod_reads_as_fast_as_from_the_disk_once_it_has_read() {
    let volumes = Volumes::alone("figures");
    install::python(volumes.cluster());
    let repo = volumes.repo("data");
    let content = "0123456789abcdef".repeat((64 << 10) / 16 * SIZE);
    volumes.server.put(&format!("{repo}@master:/big"), &content);
    let beside = "/var/lib/pfs-figures";
    fs::create_dir_all(beside).unwrap();
    fs::set_permissions(beside, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(format!("{beside}/big"), &content).unwrap();
    let pod = Pod::new("reader", "").python(COMPARES).inline("data", &[("repo", &repo)]).volume(
        "beside",
        "hostPath",
        json!({"path": beside}),
    );
    let said = volumes.run("reader", &pod);
    fs::remove_dir_all(beside).unwrap();
    eprintln!("figure: warm sequential read in a pod: {}", said.trim());
    eprintln!("figure: publish, kubelet's measure: {}", published(&volumes));
}

/// What kubelet has counted of the time that publishing took.
fn published(volumes: &Volumes) -> String {
    let metrics = ["get", "--raw", "/api/v1/nodes/pfs-node-1/proxy/metrics"];
    let metrics = volumes.cluster().kubectl(&metrics);
    let ours = |line: &&str| {
        line.contains("csi.pfs.internal")
            && line.contains("NodePublishVolume")
            && line.contains("grpc_status_code=\"OK\"")
    };
    let counts = metrics.lines().filter(ours).filter_map(|line| {
        let (name, count) = line.rsplit_once(' ')?;
        let bound = name.split("le=\"").nth(1)?.split('"').next()?;
        Some(format!("{count} within {bound} s"))
    });
    counts.collect::<Vec<_>>().join(", ")
}
