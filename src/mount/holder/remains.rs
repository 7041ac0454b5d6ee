//! What is left of servers that have died.

use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::Child;

use nix::poll::{PollFd, PollFlags};
use nix::sys::signal::Signal;

/// Threads of a server that make requests or tell the kernel something, and
/// answer nothing.
const USERS: [&str; 2] = ["pfs-push", "pfs-forget"];

/// The kernel's flag for a thread that exits, `PF_EXITING`.
const EXITING: u32 = 4;

/// What is left of those threads of a process that answer requests, or see to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rest {
    /// One that may answer, or of which it is not known why it does not.
    Serving,
    /// Those that were killed and run nothing of the program's any more. That
    /// the memory of the process goes away takes its time, and matters to nobody.
    Killed,
    /// None.
    Nothing,
}

impl Rest {
    pub(super) fn of(process: u32) -> Self {
        let leader = process.to_string();
        let Ok(tasks) = fs::read_dir(format!("/proc/{leader}/task")) else { return Self::Nothing };
        let mut rest = Self::Nothing;
        for task in tasks.flatten() {
            let Ok(stat) = fs::read_to_string(task.path().join("stat")) else { continue };
            match Self::of_thread(&stat, *task.file_name() == *leader) {
                Self::Serving => return Self::Serving,
                Self::Killed => rest = Self::Killed,
                Self::Nothing => {}
            }
        }
        rest
    }

    /// The same of the thread of which `/proc` says `stat`: proc_pid_stat(5) has
    /// its name in parentheses, and counts its flags as the 9th of the words and
    /// how it ended as the 52nd. The one that `leads` stays until all others have
    /// gone.
    pub(super) fn of_thread(stat: &str, leads: bool) -> Self {
        let Some((before, words)) = stat.rsplit_once(')') else { return Self::Serving };
        if before.split_once('(').is_some_and(|(_, name)| USERS.contains(&name)) {
            return Self::Nothing;
        }
        // The words after the second.
        let word = |number: usize| words.split_ascii_whitespace().nth(number - 3)?.parse().ok();
        let exits = word(9).is_some_and(|flags: u32| flags & EXITING != 0);
        match (exits, word(52) == Some(Signal::SIGKILL as u32)) {
            (true, true) => Self::Killed,
            (true, false) if leads => Self::Nothing,
            (true, false) | (false, _) => Self::Serving,
        }
    }
}

/// Processes that have died and not ended: of some a thread waits for what a
/// successor answers.
#[derive(Debug, Default)]
pub(super) struct Leftover(Vec<(Child, OwnedFd)>);

impl Leftover {
    /// Adds one, with a descriptor that is readable when it has ended.
    pub(super) fn add(&mut self, (child, pidfd): (Child, OwnedFd)) {
        self.0.push((child, pidfd));
    }

    /// What is ready when one has ended.
    pub(super) fn ends(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.0.iter().map(|(_, pidfd)| PollFd::new(pidfd.as_fd(), PollFlags::POLLIN))
    }

    /// Forgets those that have ended; answers whether any is left.
    pub(super) fn reap(&mut self) -> bool {
        self.0.retain_mut(|(child, _)| matches!(child.try_wait(), Ok(None)));
        !self.0.is_empty()
    }
}
