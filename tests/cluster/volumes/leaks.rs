//! What a pod with volumes leaves on its node: nothing.

use std::fs;
use std::path::PathBuf;

use super::Volumes;
use crate::cluster::eventually;

/// What there is of some pods on the node while they run.
pub(super) struct Traces {
    directories: Vec<PathBuf>,
    connections: Vec<u32>,
}

/// The mounts of pfs on this node: the numbers of their connections, and where.
fn mounts() -> Vec<(u32, PathBuf)> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let ours = table.lines().filter(|line| line.contains(" - fuse.pfs "));
    let parsed = ours.map(|line| {
        let fields: Vec<_> = line.split(' ').collect();
        let (_, minor) = fields[2].split_once(':').unwrap();
        (minor.parse().unwrap(), PathBuf::from(fields[4]))
    });
    parsed.collect()
}

impl Volumes {
    /// The id of a pod, of which its directories on the node are made.
    #[track_caller]
    pub(super) fn uid(&self, pod: &str) -> String {
        self.get(&format!("pod/{pod}"))["metadata"]["uid"].as_str().unwrap().to_owned()
    }

    /// What there is of those pods; each has at least one volume mounted.
    #[track_caller]
    pub(super) fn traces(&self, pods: &[&str]) -> Traces {
        let place = |pod: &&str| PathBuf::from("/var/lib/kubelet/pods").join(self.uid(pod));
        let directories: Vec<_> = pods.iter().map(place).collect();
        let within = |at: &PathBuf| directories.iter().any(|directory| at.starts_with(directory));
        let ours = mounts().into_iter().filter(|(_, at)| within(at));
        let connections: Vec<_> = ours.map(|(connection, _)| connection).collect();
        assert!(connections.len() >= pods.len(), "{:?}", mounts());
        Traces { directories, connections }
    }
}

impl Volumes {
    /// All that pods have written to a repo is published, and the agent has
    /// nothing of it any more.
    #[track_caller]
    pub(super) fn nothing_staged(&self, repo: &str) {
        for transaction in self.server.settled(repo) {
            assert_eq!(transaction["state"], "committed");
            let id = transaction["id"].as_str().unwrap();
            let staged = PathBuf::from("/var/lib/pfs-agent/volumes/mounts").join(id);
            eventually("nothing is staged", || (!staged.exists()).then_some(()));
        }
    }
}

impl Traces {
    /// Waits until nothing is left: no mount, no connection, no directory.
    #[track_caller]
    pub fn gone(&self) {
        let (mut left, mut last) = (Vec::new(), Vec::new());
        eventually("nothing is left on the node", || {
            left = self.left();
            last.clone_from(&left);
            left.is_empty().then_some(())
        });
    }

    fn left(&self) -> Vec<String> {
        let mounted = mounts().into_iter().filter(|(connection, at)| {
            self.connections.contains(connection)
                || self.directories.iter().any(|directory| at.starts_with(directory))
        });
        let mounted = mounted.map(|(_, at)| at.display().to_string());
        let connections = PathBuf::from("/sys/fs/fuse/connections");
        let open = self.connections.iter().map(|number| connections.join(number.to_string()));
        let there = self.directories.iter().cloned().chain(open).filter(|path| path.exists());
        mounted.chain(there.map(|path| path.display().to_string())).collect()
    }
}
