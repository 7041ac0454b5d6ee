//! Publishing and unpublishing.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;

use nix::errno::Errno;

use super::request::{self, Asked};
use super::{Node, blocking, resolved};
use crate::agent::{Place, Prepared, Publication, Session};
use crate::capability::MountFlags;
use crate::mount::{Mounted, Options};
use crate::proto::csi::{NodePublishVolumeRequest, NodeUnpublishVolumeRequest};
use crate::refusal::{Refusal, Result};

impl Node {
    /// Mounts a volume at its target, unless that is so already.
    pub(super) async fn publish(&self, request: NodePublishVolumeRequest) -> Result<()> {
        let Asked { mut publication, flags } = Asked::parse(&request)?;
        publication.place = resolved(publication.place).await?;
        let _target = self.locks.target(&publication.place.target)?;
        let (id, access) = (&publication.place.volume_id, publication.access);
        let _volume = self.locks.volume(id, access.is_one_place())?;

        let sessions = self.agent.sessions().await?;
        let is_new = !compare(&publication, &sessions)?;
        let prepared = self.agent.prepare(&publication).await?;
        let mounts = self.mounts(&publication.place.target).await?;
        if is_served(&prepared, &mounts) {
            return Ok(());
        }
        let shown = self.show(&publication, &flags, &prepared, &mounts).await;
        match &shown {
            // Whoever asked will ask again.
            Ok(()) | Err(Refusal::Pending(_)) => {}
            Err(_) => self.take_back(&publication.place, is_new).await,
        }
        shown
    }

    /// Mounts what was prepared, in place of what is left there of before.
    async fn show(
        &self,
        publication: &Publication,
        flags: &MountFlags,
        prepared: &Prepared,
        mounts: &[Mounted],
    ) -> Result<()> {
        let place = &publication.place;
        if let Some(foreign) = mounts.iter().find(|mounted| mounted.connection().is_none()) {
            let (target, fs_type) = (place.target.display(), &foreign.fs_type);
            let what = format!("something else is mounted at {target}, of type {fs_type}");
            return Err(Refusal::InTheWay(what));
        }
        self.detaching.detach(&place.target, mounts).await?;
        let target = place.target.clone();
        blocking(move || make_directory(&target)).await??;
        let options = Options {
            source: prepared.source.clone(),
            read_only: prepared.read_only || publication.read_only,
            no_exec: flags.no_exec,
            group: publication.fs_group.unwrap_or(0),
            context: flags.context.clone(),
        };
        let target = place.target.clone();
        let mounted = self.with_kernel(move |kernel| Ok(kernel.mount(&target, &options))).await?;
        let device = mounted.map_err(|error| not_mounted(&place.target, &error))?;
        self.agent.attach(place, device).await
    }

    /// After a failure: nothing stays mounted, and what was prepared for this
    /// publish alone is given up, for nobody may ask for it again.
    async fn take_back(&self, place: &Place, is_new: bool) {
        let undone = async {
            let mounts = self.mounts(&place.target).await?;
            if mounts.iter().all(|mounted| mounted.connection().is_some()) {
                self.detaching.detach(&place.target, &mounts).await?;
                let target = place.target.clone();
                blocking(move || remove_directory(&target)).await??;
            }
            if is_new { self.agent.unpublish(place).await } else { Ok(()) }
        };
        if let Err(refusal) = undone.await {
            tracing::warn!(?place, %refusal, "something of a failed publish stays for now");
        }
    }

    /// Leaves nothing at a target, and ends the session. Done already is done.
    pub(super) async fn unpublish(&self, request: NodeUnpublishVolumeRequest) -> Result<()> {
        let place = request::place(&request.volume_id, &request.target_path)?;
        let place = resolved(place).await?;
        let _target = self.locks.target(&place.target)?;

        let mounts = self.mounts(&place.target).await?;
        self.detaching.detach(&place.target, &mounts).await?;
        let target = place.target.clone();
        blocking(move || remove_directory(&target)).await??;
        let was_written = mounts.is_empty() || mounts.iter().any(|mounted| !mounted.read_only);
        match self.agent.unpublish(&place).await {
            // It finds the mount gone by itself; there is nothing to be saved.
            Err(Refusal::Unavailable(why)) if !was_written => {
                tracing::warn!(?place, why, "the agent is away, and not told of an unmount");
                Ok(())
            }
            ended => ended,
        }
    }
}

/// Whether there is a session for the place already; refuses what differs from
/// it, and what cannot be beside the sessions of the same volume.
fn compare(publication: &Publication, sessions: &[Session]) -> Result<bool> {
    let place = &publication.place;
    let mut is_there = false;
    for session in sessions {
        let same_volume = session.place.volume_id == place.volume_id;
        match (same_volume, session.place.target == place.target) {
            (true, true) if session.fingerprint == publication.fingerprint => is_there = true,
            (true, true) => {
                let what = "is published there already, with other arguments";
                return Err(Refusal::Exists(format!("volume {} {what}", place.volume_id)));
            }
            (false, true) => {
                let (target, other) = (place.target.display(), &session.place.volume_id);
                return Err(Refusal::Exists(format!("volume {other} is published at {target}")));
            }
            (true, false) if session.access.is_one_place() || publication.access.is_one_place() => {
                let at = session.place.target.display();
                let what = format!(
                    "volume {} is in use at {at}, and may be nowhere else",
                    place.volume_id
                );
                return Err(Refusal::InTheWay(what));
            }
            (true | false, false) => {}
        }
    }
    Ok(is_there)
}

/// Whether what is mounted is what the agent serves.
fn is_served(prepared: &Prepared, mounts: &[Mounted]) -> bool {
    match mounts {
        [one] => prepared.connection.is_some() && one.connection() == prepared.connection,
        [] | [..] => false,
    }
}

/// Nothing is mounted on `target`: it may be looked at.
fn make_directory(target: &Path) -> Result<()> {
    let failed = |error: io::Error| {
        let what = format!("cannot make the directory {}: {error}", target.display());
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Refusal::InTheWay(what),
            _ => Refusal::Internal(what),
        }
    };
    match fs::DirBuilder::new().mode(0o750).create(target) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(target).map_err(failed)?;
            match found.is_dir() {
                true => Ok(()),
                false => Err(failed(Errno::ENOTDIR.into())),
            }
        }
        Err(error) => Err(failed(error)),
    }
}

/// Nothing is mounted on `target` any more.
fn remove_directory(target: &Path) -> Result<()> {
    match fs::remove_dir(target) {
        Ok(()) => Ok(()),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
            _ => {
                let what = format!("cannot remove the directory {}: {error}", target.display());
                Err(Refusal::Internal(what))
            }
        },
    }
}

/// Why mount(2) failed, for who can do something about it.
fn not_mounted(target: &Path, error: &io::Error) -> Refusal {
    let what = format!("cannot mount at {}: {error}", target.display());
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT | Errno::ENODEV | Errno::ENXIO) => {
            Refusal::InTheWay(format!("{what} (load the fuse module, or pass /dev/fuse in)"))
        }
        Some(Errno::EPERM | Errno::EACCES) => {
            Refusal::InTheWay(format!("{what} (the driver must be privileged)"))
        }
        Some(Errno::EINVAL) => Refusal::Invalid(format!("{what} (a mount option is not known)")),
        Some(Errno::ENOSPC | Errno::ENOMEM | Errno::EMFILE | Errno::ENFILE) => {
            Refusal::Exhausted(what)
        }
        Some(_) | None => Refusal::Internal(what),
    }
}
