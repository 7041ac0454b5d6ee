//! Commits, aborts and crashes of a mount and its model.

use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::agreement::difference;
use super::memory::{Body, Memory, Seen, Tree};
use super::operations::{Op, Target};
use super::scribes::{Scribe, wrong};
use super::{PATIENCE, World, gone, mount, mounted};
use crate::server::{Server, detach};

fn commit(server: &Server, at: &Path) -> Output {
    server.output(&["commit", at.to_str().unwrap()])
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A pause of up to so many microseconds.
fn wait(micros: u64) {
    thread::sleep(Duration::from_micros(micros));
}

impl World {
    /// Commits, as often as it takes.
    pub(super) fn commit(&mut self) {
        self.note("commit".into());
        self.stir();
        self.commit_at_last();
    }

    /// Changes something: extended attributes alone make no commit, and stay.
    fn stir(&mut self) {
        let op = match self.memory.id("n") {
            Some(_) => Op::Remove("n".into()),
            None => Op::Create("n".into(), 0o600),
        };
        self.run(&op);
    }

    fn commit_at_last(&mut self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let done = commit(&self.server, &self.at());
            if done.status.success() {
                break;
            }
            if Instant::now() > deadline {
                self.fail(&format!("no commit: {}", words(&done)));
            }
            thread::sleep(Duration::from_millis(20));
        }
        self.memory.commit();
        self.settle();
    }

    /// The branch holds what the model does.
    fn settle(&mut self) {
        self.untime();
        let found = self.committed();
        if let Some(other) = difference(&found, &self.memory.seen()) {
            self.fail(&format!("the commit holds something else: {other}"));
        }
        self.memory.learn(&found);
        self.memory.show(&found);
        self.head = found;
        self.refreshed();
    }

    /// Times alone are no change: a commit may keep those there were.
    fn untime(&mut self) {
        let now = self.memory.seen();
        for (path, seen) in &self.head {
            let same = |now: &Seen| (&now.body, now.mode) == (&seen.body, seen.mode);
            if now.get(path).is_some_and(same) {
                self.memory.untimed(path);
            }
        }
    }

    /// Waits until the kernel was told of what is another now.
    fn refreshed(&self) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            let found = self.mounted.tree();
            if difference(&found, &self.memory.seen()).is_none() {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Programs write while a commit is made.
    pub(super) fn commit_under_writers(&mut self) {
        self.note("commit while others write".into());
        let (dir, at) = (self.data().join("w"), self.at());
        fs::create_dir(&dir).unwrap();
        let (scribes, over) = ([Scribe::default(), Scribe::default()], AtomicBool::new(false));
        let pause = self.random.below(20_000);
        let (server, random) = (&self.server, &mut self.random);
        let mut spans = Vec::new();
        thread::scope(|scope| {
            for (scribe, name) in scribes.iter().zip(["0", "1"]) {
                let (dir, over) = (&dir, &over);
                scope.spawn(move || scribe.write(dir, name, over).unwrap());
            }
            wait(pause);
            let least = scribes.each_ref().map(Scribe::done);
            let done = commit(server, &at);
            spans.extend(least.into_iter().zip(scribes.each_ref().map(Scribe::begun)));
            wait(random.below(5_000));
            over.store(true, Ordering::Release);
            assert!(done.status.success(), "{}", words(&done));
        });
        let committed = self.newest();
        let found = mounted::tree(&committed);
        for (name, span) in ["0", "1"].into_iter().zip(spans) {
            if let Some(why) = wrong(&committed.join("w"), name, span) {
                self.fail(&format!("committed while writer {name} went on: {why}"));
            }
        }
        for (name, scribe) in ["0", "1"].into_iter().zip(&scribes) {
            if let Some(why) = wrong(&dir, name, (scribe.done(), scribe.done())) {
                self.fail(&format!("writer {name} after the commit: {why}"));
            }
        }
        fs::remove_dir_all(&dir).unwrap();
        self.memory.commit();
        self.untime();
        let ours = |tree: &Tree| -> Tree {
            let ours = tree.iter().filter(|(path, _)| *path != "w" && !path.starts_with("w/"));
            ours.map(|(path, seen)| (path.clone(), seen.clone())).collect()
        };
        if let Some(other) = difference(&ours(&found), &self.memory.seen()) {
            self.fail(&format!("the commit holds something else: {other}"));
        }
        // What the writers did after it.
        self.memory.show(&ours(&found));
        self.commit_at_last();
    }

    pub(super) fn abort(&mut self) {
        self.note("abort".into());
        let at = self.at();
        self.server.pfs(&["abort", at.to_str().unwrap()]);
        self.memory.abort(&self.head);
        self.refreshed();
    }

    fn put(&mut self, path: &str, text: &str) {
        let source = self.server.dir("source").join("file");
        fs::write(&source, text).unwrap();
        let target = format!("data@master:/{path}");
        self.server.pfs(&["put", "file", &target, "-f", source.to_str().unwrap()]);
    }

    /// Somebody else commits what nothing here touches.
    pub(super) fn others(&mut self) {
        let path = format!("o/{}", self.random.below(3));
        let text = format!("by others {}", self.random.next());
        self.note(format!("others put {path} {text}"));
        // What is committed then is both.
        self.commit();
        self.stir();
        self.put(&path, &text);
        let committed = self.committed();
        let mut both = self.memory.seen();
        for path in ["o", &path] {
            both.insert(path.to_owned(), committed[path].clone());
        }
        self.memory.show(&both);
        self.commit_unseen();
    }

    /// Commits, after others did.
    fn commit_unseen(&mut self) {
        let done = commit(&self.server, &self.at());
        if !done.status.success() {
            self.fail(&format!("disjoint changes: {}", words(&done)));
        }
        self.memory.commit();
        self.settle();
    }

    /// Others change what was changed here: both are kept, and going on takes
    /// their place.
    pub(super) fn conflict(&mut self) {
        self.commit();
        let files = self.memory.seen().into_iter();
        let mut files =
            files.filter(|(_, seen)| matches!(seen.body, Body::File(_)) && seen.links == 1);
        let Some((path, _)) = files.next() else { return };
        self.note(format!("a conflict about {path}"));
        let op = Op::Append(Target::Path(path.clone()), b"ours".to_vec());
        self.run(&op);
        let text = format!("theirs {}", self.random.next());
        self.put(&path, &text);
        let at = self.at();
        let at = at.to_str().unwrap();
        let refused = self.server.output(&["commit", at]);
        if refused.status.success() || !words(&refused).contains(&path) {
            self.fail(&format!("a conflict: {refused:?}"));
        }
        let shown = difference(&self.mounted.tree(), &self.memory.seen());
        let theirs = self.committed();
        if shown.is_some() || theirs[&path].body != Body::File(text.into_bytes()) {
            self.fail(&format!("not both are kept: {shown:?} {theirs:?}"));
        }
        if self.random.below(2) == 0 {
            self.server.pfs(&["abort", at]);
            self.head = theirs;
            self.memory.abort(&self.head);
            self.refreshed();
            return;
        }
        let status = self.server.pfs(&["status", at, "--raw"]);
        let status: serde_json::Value = serde_json::from_str(&status).unwrap();
        let id = status["transaction"].as_str().unwrap().to_owned();
        self.end_mount();
        self.daemon = mount(&self.server, self.place, &["--resume", &id]);
        self.check();
        self.commit_at_last();
    }

    /// Kills the mount's process and takes its directory away.
    fn end_mount(&mut self) {
        drop(self.daemon.kill());
        self.daemon.wait().unwrap();
        self.mounted.move_to(self.data());
        self.memory.crash();
        if self.random.below(2) == 0 {
            detach(&self.at());
        }
    }

    /// Mounts again, which goes on by itself.
    fn mount_again(&mut self) {
        self.daemon = mount(&self.server, self.place, &[]);
        self.mounted.move_to(self.data());
    }

    pub(super) fn kill_mount(&mut self) {
        self.note("kill -9 of the mount".into());
        self.end_mount();
        self.mount_again();
    }

    /// Kills the mount's process while something is done.
    pub(super) fn kill_mount_at_work(&mut self) {
        self.note("kill -9 of the mount while".into());
        let (pause, daemon) = (self.random.below(3_000), self.daemon.id());
        let killer = thread::spawn(move || {
            wait(pause);
            let pid = nix::unistd::Pid::from_raw(daemon.cast_signed());
            nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        });
        let (mut before, mut last) = (self.memory.clone(), None);
        self.mounted.maps = false;
        loop {
            let op = self.op();
            self.note(format!("{op:?}"));
            before.clone_from(&self.memory);
            let done = self.mounted.run(&op);
            let wanted = self.memory.run(&op);
            match done {
                Err(error) if gone(&error) => {
                    last = Some((op, error));
                    break;
                }
                done if done.is_ok() == wanted => {}
                // What is closed is closed all the same.
                done => self.fail(&format!("{op:?} should have been {wanted}: {done:?}")),
            }
            if killer.is_finished() && self.log.len().is_multiple_of(8) {
                break;
            }
        }
        killer.join().unwrap();
        self.mounted.maps = true;
        let after = self.memory.clone();
        self.end_mount();
        self.mount_again();
        if let Some((op, error)) = last {
            self.note(format!("{op:?} was told {error}"));
            self.either(before, after);
        }
    }

    /// What was not acknowledged is there as a whole or not at all.
    fn either(&mut self, mut before: Memory, mut after: Memory) {
        before.crash();
        after.crash();
        let found = self.mounted.tree();
        let (not_done, done) =
            (difference(&found, &before.seen()), difference(&found, &after.seen()));
        match (&not_done, &done) {
            (_, None) => self.memory = after,
            (None, Some(_)) => self.memory = before,
            (Some(one), Some(other)) => self.fail(&format!("neither {one}\nnor {other}")),
        }
    }

    pub(super) fn kill_mount_in_commit(&mut self) {
        self.note("kill -9 of the mount while it commits".into());
        self.stir();
        let mut commits = self.committing();
        wait(self.random.below(30_000));
        self.daemon.kill().unwrap();
        commits.wait().unwrap();
        self.end_mount();
        self.mount_again();
        self.commit_at_last();
    }

    /// The server is away for some calls.
    pub(super) fn kill_server_at_work(&mut self) {
        self.note("kill -9 of the server while".into());
        self.server.kill();
        self.mounted.maps = false;
        for _ in 0..self.random.below(8) {
            let op = self.op();
            self.run(&op);
            self.check();
        }
        self.mounted.maps = true;
        self.server.resume();
    }

    pub(super) fn kill_server_in_commit(&mut self) {
        self.note("kill -9 of the server during a commit".into());
        self.stir();
        let mut commits = self.committing();
        wait(self.random.below(30_000));
        self.server.kill();
        // It may wait for the server.
        self.server.resume();
        commits.wait().unwrap();
        self.commit_at_last();
    }

    /// A commit that goes on.
    fn committing(&self) -> Child {
        let at = self.at();
        let mut command = self.server.command(&["commit", at.to_str().unwrap()]);
        let silent = || Stdio::null();
        command.stdin(silent()).stdout(silent()).stderr(silent()).spawn().unwrap()
    }

    /// Unmounts, which commits, and mounts again.
    pub(super) fn remount(&mut self) {
        self.note("unmount and mount".into());
        self.stir();
        self.mounted.move_to(self.data());
        self.memory.crash();
        self.server.pfs(&["umount", self.at().to_str().unwrap()]);
        self.daemon.wait().unwrap();
        self.mount_again();
        self.memory.commit();
        self.settle();
    }

    /// Everything once more, and a clean store, but for objects that a server has
    /// left which died before their commit was one: those are old enough to be told
    /// of after ten minutes.
    pub(super) fn conclude(mut self) {
        self.remount();
        self.check();
        let output = self.server.output(&["fsck"]);
        let told = String::from_utf8(output.stdout).unwrap();
        let mut errors = told.lines().filter(|line| line.starts_with("Error: "));
        if let Some(error) = errors.find(|error| !error.ends_with("belongs to no commit")) {
            self.fail(error);
        }
        assert!(told.contains("objects checked"), "{told}");
    }
}
