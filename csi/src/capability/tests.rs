use tonic::Code;

use super::{Capability, MountFlags};
use crate::agent::Access;
use crate::proto::csi::VolumeCapability;
use crate::proto::csi::volume_capability::access_mode::Mode;
use crate::proto::csi::volume_capability::{AccessMode, AccessType, BlockVolume, MountVolume};

fn capability(mount: MountVolume) -> VolumeCapability {
    VolumeCapability {
        access_mode: Some(AccessMode { mode: Mode::MultiNodeMultiWriter.into() }),
        access_type: Some(AccessType::Mount(mount)),
    }
}

fn with_flags(flags: &[&str]) -> VolumeCapability {
    let mount_flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
    capability(MountVolume { mount_flags, ..Default::default() })
}

#[track_caller]
fn refused(capability: Option<&VolumeCapability>) {
    assert_eq!(Capability::parse(capability).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn mount_options_are_understood_or_refused() {
    let context = "system_u:object_r:container_file_t:s0:c3,c9";
    let quoted = format!("context=\"{context}\"");
    let parsed = Capability::parse(Some(&with_flags(&["ro", "noexec", "noatime", &quoted])));
    let flags = MountFlags { read_only: true, no_exec: true, context: Some(context.to_owned()) };
    assert_eq!(parsed.unwrap().flags, flags);
    for unknown in ["sync", "uid=0", "context=", "context=a\",fd=3", "", "ro,suid"] {
        refused(Some(&with_flags(&[unknown])));
    }
}

#[test]
fn a_volume_is_a_directory_with_a_mode_of_access() {
    refused(None);
    let mut block = with_flags(&[]);
    block.access_type = Some(AccessType::Block(BlockVolume {}));
    refused(Some(&block));
    let mut none = with_flags(&[]);
    none.access_mode = None;
    refused(Some(&none));
    let ext4 = MountVolume { fs_type: "ext4".to_owned(), ..Default::default() };
    refused(Some(&capability(ext4)));
}

#[test]
fn the_group_of_files_is_a_number() {
    let grouped = |group: &str| {
        capability(MountVolume { volume_mount_group: group.to_owned(), ..Default::default() })
    };
    let parsed = Capability::parse(Some(&grouped("2000"))).unwrap();
    assert_eq!((parsed.fs_group, parsed.access), (Some(2000), Access::Writers));
    refused(Some(&grouped("staff")));
}
