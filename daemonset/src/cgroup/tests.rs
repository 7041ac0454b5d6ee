use super::*;

const MIB: u64 = 1 << 20;

/// Groups as the kernel shows them.
struct Groups(tempfile::TempDir);

impl Groups {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with(self, path: &str, files: &[(&str, &str)]) -> Self {
        let group = self.0.path().join(path);
        fs::create_dir_all(&group).unwrap();
        files.iter().for_each(|(name, text)| fs::write(group.join(name), text).unwrap());
        self
    }

    fn free(&self, table: &str) -> Option<u64> {
        free_in(self.0.path(), table)
    }
}

fn mib(count: u64) -> String {
    format!("{}\n", count * MIB)
}

#[test]
fn the_narrowest_group_around_counts() {
    let groups = Groups::new()
        .with("a", &[("memory.max", &mib(100)), ("memory.current", &mib(70))])
        .with("a/b", &[("memory.max", "max\n"), ("memory.current", &mib(5))])
        .with("a/b/c", &[("memory.max", &mib(64)), ("memory.current", &mib(4))])
        .with("other", &[("memory.max", &mib(1)), ("memory.current", &mib(1))]);
    assert_eq!(groups.free("1:name=systemd:/x\n0::/a/b/c\n"), Some(30 * MIB));
    assert_eq!(groups.free("0::/a/b\n"), Some(30 * MIB));
    assert_eq!(groups.free("0::/other\n"), Some(0));
    let deep = groups.with("a/b/c", &[("memory.current", &mib(60))]);
    assert_eq!(deep.free("0::/a/b/c\n"), Some(4 * MIB));
}

#[test]
fn what_is_given_back_is_free_and_what_is_slowed_down_is_not() {
    let groups = Groups::new().with(
        "a",
        &[
            ("memory.max", &mib(100)),
            ("memory.high", &mib(80)),
            ("memory.current", &mib(75)),
            ("memory.stat", &format!("anon 1\ninactive_file {}active_file 9\n", mib(20))),
        ],
    );
    assert_eq!(groups.free("0::/a\n"), Some(25 * MIB));
    let over = groups.with("a", &[("memory.current", &mib(300))]);
    assert_eq!(over.free("0::/a\n"), Some(0));
}

#[test]
fn without_a_limit_there_is_none() {
    let groups = Groups::new().with("a", &[("memory.max", "max\n"), ("memory.current", "7\n")]);
    assert_eq!(groups.free("0::/a\n"), None);
    assert_eq!(groups.free("4:memory:/a\n"), None);
    assert_eq!(groups.free("0::/../outside\n"), None);
    // The root of a container is a group of its own.
    let inside = groups.with("", &[("memory.max", &mib(9)), ("memory.current", &mib(2))]);
    assert_eq!(inside.free("0::/not/seen/from/here\n"), Some(7 * MIB));
}
