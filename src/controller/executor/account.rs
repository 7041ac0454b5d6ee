//! Users of this machine, as specs name them.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;

use nix::unistd::{Gid, Group, Uid, User};

/// A user with a group, whether or not the machine has names for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// The user's name, where there is one.
    pub name: Option<CString>,
    /// The user.
    pub uid: Uid,
    /// The group.
    pub gid: Gid,
    /// The home directory; the root where there is none.
    pub home: PathBuf,
}

impl Account {
    /// The account that `user`, `uid`, or either with `:group` means.
    ///
    /// # Errors
    /// When the machine has no user or group of that name.
    pub fn named(text: &str) -> io::Result<Self> {
        let (user, group) = match text.split_once(':') {
            Some((user, group)) => (user, Some(group)),
            None => (text, None),
        };
        let missing =
            |what: &str| io::Error::other(format!("there is no such {what} on this machine"));
        let number = user.parse::<u32>().ok();
        let found = match number {
            Some(uid) => User::from_uid(Uid::from_raw(uid)),
            None => User::from_name(user),
        };
        let found = match (found?, number) {
            (Some(found), _) => Self {
                name: CString::new(found.name).ok(),
                uid: found.uid,
                gid: found.gid,
                home: found.dir,
            },
            (None, Some(id)) => Self {
                name: None,
                uid: Uid::from_raw(id),
                gid: Gid::from_raw(id),
                home: "/".into(),
            },
            (None, None) => return Err(missing("user")),
        };
        let gid = match group.map(|group| (group, group.parse::<u32>())) {
            None => found.gid,
            Some((_, Ok(gid))) => Gid::from_raw(gid),
            Some((group, Err(_))) => Group::from_name(group)?.ok_or_else(|| missing("group"))?.gid,
        };
        Ok(Self { gid, ..found })
    }

    /// What programs find in their environment about the user they run as.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let mut all = vec![("HOME".to_owned(), self.home.to_string_lossy().into_owned())];
        if let Some(Ok(name)) = self.name.as_ref().map(|name| name.to_str()) {
            all.extend(["USER", "LOGNAME"].map(|key| (key.to_owned(), name.to_owned())));
        }
        all
    }
}
