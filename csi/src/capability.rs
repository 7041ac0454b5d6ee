//! What a request says about how a volume is to be used.

use crate::agent::Access;
use crate::limits;
use crate::proto::csi::VolumeCapability;
use crate::proto::csi::volume_capability::access_mode::Mode;
use crate::proto::csi::volume_capability::{AccessMode, AccessType, MountVolume};
use crate::refusal::{Refusal, Result};

#[cfg(test)]
mod tests;

/// How a volume is to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Capability {
    /// Who may use it at the same time.
    pub access: Access,
    /// What its author says about the mount.
    pub flags: MountFlags,
    /// The group that its files belong to.
    pub fs_group: Option<u32>,
}

/// The mount options that mean something here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MountFlags {
    /// Nothing can be written.
    pub read_only: bool,
    /// No program can be run.
    pub no_exec: bool,
    /// The SELinux context of all files.
    pub context: Option<String>,
}

impl Capability {
    /// What a request asks for; [`Refusal::Invalid`] when it makes no sense or
    /// holds what is not understood.
    pub fn parse(capability: Option<&VolumeCapability>) -> Result<Self> {
        let missing = || Refusal::Invalid("the request has no volume capability".to_owned());
        let capability = capability.ok_or_else(missing)?;
        let mount = match &capability.access_type {
            Some(AccessType::Mount(mount)) => mount,
            Some(AccessType::Block(_)) => {
                return Err(Refusal::Invalid("a volume is a directory, no device".to_owned()));
            }
            None => return Err(missing()),
        };
        let mode = capability.access_mode.as_ref().map(AccessMode::mode);
        Ok(Self {
            access: access(mode.unwrap_or(Mode::Unknown))?,
            flags: flags(mount)?,
            fs_group: group(&mount.volume_mount_group)?,
        })
    }
}

fn access(mode: Mode) -> Result<Access> {
    match mode {
        Mode::Unknown => Err(Refusal::Invalid("the capability has no access mode".to_owned())),
        Mode::SingleNodeWriter => Ok(Access::SingleNodeWriter),
        Mode::SingleNodeReaderOnly => Ok(Access::SingleNodeReader),
        Mode::MultiNodeReaderOnly => Ok(Access::Readers),
        Mode::MultiNodeSingleWriter => Ok(Access::ManyNodesOneWriter),
        Mode::MultiNodeMultiWriter => Ok(Access::Writers),
        Mode::SingleNodeSingleWriter => Ok(Access::SingleWriter),
        Mode::SingleNodeMultiWriter => Ok(Access::SingleNodeWriters),
    }
}

impl Access {
    /// Whether a node may have it at one place only.
    #[must_use]
    pub const fn is_one_place(self) -> bool {
        match self {
            Self::SingleNodeWriter | Self::SingleNodeReader | Self::SingleWriter => true,
            Self::SingleNodeWriters | Self::Readers | Self::ManyNodesOneWriter | Self::Writers => {
                false
            }
        }
    }

    /// Whether nobody may write.
    #[must_use]
    pub const fn is_reading(self) -> bool {
        match self {
            Self::SingleNodeReader | Self::Readers => true,
            Self::SingleNodeWriter
            | Self::SingleWriter
            | Self::SingleNodeWriters
            | Self::ManyNodesOneWriter
            | Self::Writers => false,
        }
    }
}

/// The mount options; what they would have no effect on is refused with them.
fn flags(mount: &MountVolume) -> Result<MountFlags> {
    limits::list("mount_flags", &mount.mount_flags)?;
    match limits::optional("fs_type", &mount.fs_type)? {
        "" | "pfs" | crate::mount::TYPE => {}
        other => return Err(Refusal::Invalid(format!("there is no file system {other:?} here"))),
    }
    let mut flags = MountFlags::default();
    for flag in mount.mount_flags.iter().map(|flag| flag.trim()) {
        match flag.split_once('=') {
            None => simple(flag, &mut flags)?,
            Some(("context", context)) => flags.context = Some(selinux(context)?),
            Some(_) => return Err(unknown(flag)),
        }
    }
    Ok(flags)
}

fn simple(flag: &str, flags: &mut MountFlags) -> Result<()> {
    match flag {
        "ro" => flags.read_only = true,
        "noexec" => flags.no_exec = true,
        // What every volume has, or what says nothing.
        "rw"
        | "exec"
        | "nosuid"
        | "nodev"
        | "noatime"
        | "relatime"
        | "allow_other"
        | "default_permissions" => {}
        _ => return Err(unknown(flag)),
    }
    Ok(())
}

fn unknown(flag: &str) -> Refusal {
    Refusal::Invalid(format!("mount option {flag:?} is not known here"))
}

/// A context as SELinux writes it, with or without quotation marks.
fn selinux(text: &str) -> Result<String> {
    let plain = text.trim_matches('"');
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '_' | '.' | ',' | '-');
    match !plain.is_empty() && plain.chars().all(allowed) {
        true => Ok(plain.to_owned()),
        false => Err(Refusal::Invalid(format!("{text:?} is no SELinux context"))),
    }
}

fn group(text: &str) -> Result<Option<u32>> {
    match limits::optional("volume_mount_group", text)? {
        "" => Ok(None),
        text => match text.parse() {
            Ok(group) => Ok(Some(group)),
            Err(_) => Err(Refusal::Invalid(format!("{text:?} is no number of a group"))),
        },
    }
}
