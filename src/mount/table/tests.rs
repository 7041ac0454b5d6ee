use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use super::*;

fn point(line: &[u8]) -> Option<PathBuf> {
    parse(line).map(|mount| mount.point)
}

#[test]
fn a_line_tells_where_what_and_from_whom() {
    let line = b"68 27 0:41 / /mnt/data ro,nosuid shared:9 master:1 - fuse.pfs unix:///run/s ro";
    let told = parse(line).unwrap();
    assert_eq!(
        told,
        Mount {
            point: "/mnt/data".into(),
            device: (0, 41),
            source: "unix:///run/s".to_owned(),
            hears: true
        }
    );
}

#[test]
fn mount_points_may_have_any_bytes_in_them() {
    let line = |name: &[u8]| [b"1 2 0:3 / /a", name, b" rw - fuse.pfs pfs rw"].concat();
    assert_eq!(point(&line(br"/my\040mount,1")), Some("/a/my mount,1".into()));
    assert_eq!(point(&line(br"/tab\011line\012")), Some("/a/tab\tline\n".into()));
    assert_eq!(point(&line(br"/back\134040slash")), Some(r"/a/back\040slash".into()));
    let bytes = OsStr::from_bytes(b"/a/\xff\xfe");
    assert_eq!(point(&line(b"/\xff\xfe")), Some(bytes.into()));
}

#[test]
fn other_mounts_are_left_out() {
    assert_eq!(parse(b"1 2 0:3 / /a rw - ext4 /dev/vda rw"), None);
    assert_eq!(parse(b"1 2 0:3 / /a rw - fuse.rclone x rw"), None);
    assert_eq!(parse(b""), None);
    assert_eq!(parse(b" - fuse.pfs "), None);
}
