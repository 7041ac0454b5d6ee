use std::path::Path;

use super::parse;

const TABLE: &[u8] = b"\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 22 0:26 / /sys rw,nosuid shared:7 - sysfs sysfs rw
94 22 0:61 / /pods/a\\040b/mount ro,nosuid,nodev shared:9 master:2 - fuse.pfs data@master ro,user_id=0
95 22 0:62 / /pods/c/mount rw,nosuid - fuse.pfs out@master rw,user_id=0,group_id=7
96 22 garbled
97 22 0:63 / /pods/c/mount ro,nosuid - ext4 /dev/vdb rw
";

#[test]
fn a_table_is_read_with_its_blanks_and_optional_fields() {
    let mounts = parse(TABLE);
    let targets: Vec<_> = mounts.iter().map(|mounted| mounted.target.to_str().unwrap()).collect();
    assert_eq!(targets, ["/", "/sys", "/pods/a b/mount", "/pods/c/mount", "/pods/c/mount"]);
    assert_eq!(mounts[2].target, Path::new("/pods/a b/mount"));
    assert_eq!((mounts[2].connection(), mounts[2].read_only), (Some(61), true));
    assert_eq!((mounts[3].connection(), mounts[3].read_only), (Some(62), false));
    // Another type has a device too, which is no connection.
    assert_eq!((mounts[4].connection(), mounts[4].read_only), (None, true));
}
