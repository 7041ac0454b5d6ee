use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::mpsc;
use std::thread::JoinHandle;

use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::unistd::pipe;
use serde_json::json;
use tokio::sync::mpsc::unbounded_channel;

use super::hands::{Found, Held, Keeping};
use super::*;

/// A keeper on a thread of its own.
struct Running {
    scratch: tempfile::TempDir,
    stop: OwnedFd,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap())
    }

    fn start_in(scratch: tempfile::TempDir) -> Self {
        let listener = Listener::bind(&scratch.path().join("keeper")).unwrap();
        let (told, stop) = pipe().unwrap();
        let thread = std::thread::spawn(move || {
            Keeper { listener, sessions: BTreeMap::new() }.keep(&told.as_fd())
        });
        Self { scratch, stop, thread }
    }

    fn end(self) -> tempfile::TempDir {
        File::from(self.stop).write_all(b"x").unwrap();
        self.thread.join().unwrap().unwrap();
        self.scratch
    }

    fn agent(&self) -> (Packets, Vec<ToAgent>) {
        let agent = Packets::connect(&self.scratch.path().join("keeper")).unwrap();
        agent.send(&ToKeeper::Hello { version: VERSION }, &[]).unwrap();
        let Some((ToAgent::Welcome { sessions, .. }, _)) = agent.receive().unwrap() else {
            panic!("not welcome");
        };
        let rest = (0..sessions).map(|_| agent.receive().unwrap().unwrap().0).collect();
        (agent, rest)
    }

    fn keeping(&self) -> (std::sync::Arc<Keeping>, Found) {
        let (later, _told) = unbounded_channel();
        Keeping::with(&self.scratch.path().join("keeper"), Duration::ZERO, later).unwrap()
    }
}

fn memory(text: &str) -> OwnedFd {
    let mut file = File::from(memfd_create("test", MFdFlags::MFD_CLOEXEC).unwrap());
    file.write_all(text.as_bytes()).unwrap();
    file.into()
}

fn text(fd: OwnedFd) -> String {
    let (mut file, mut text) = (File::from(fd), String::new());
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    text
}

fn held(name: &str) -> Held {
    Held {
        init: b"init".to_vec(),
        answer: b"answer".to_vec(),
        note: json!({ "name": name }),
        device: memory(&format!("device of {name}")),
        table: memory(&format!("table of {name}")),
        kept: BTreeMap::new(),
    }
}

#[test]
fn what_an_agent_has_handed_over_the_next_one_gets() {
    let keeper = Running::start();
    let (agent, _) = keeper.agent();
    let (device, table) = (memory("device"), memory("table"));
    let hold = |id: &str| ToKeeper::Hold {
        id: id.to_owned(),
        init: b"init".to_vec(),
        answer: b"answer".to_vec(),
        note: json!("first"),
    };
    for id in ["one", "two"] {
        agent.send(&hold(id), &[device.as_fd(), table.as_fd()]).unwrap();
        let answer = agent.receive::<ToAgent>().unwrap();
        assert!(matches!(answer, Some((ToAgent::Held, _))));
    }
    let names: Vec<String> = (0..130).map(|n| format!("kept {n}")).collect();
    for name in &names {
        let keep = ToKeeper::Keep { id: "one".into(), name: name.clone() };
        agent.send(&keep, &[memory(name).as_fd()]).unwrap();
    }
    let id = || "one".to_owned();
    agent.send(&ToKeeper::Note { id: id(), note: json!("second") }, &[]).unwrap();
    agent.send(&ToKeeper::Release { id: id(), name: names[0].clone() }, &[]).unwrap();
    agent.send(&ToKeeper::Forget { id: "two".into() }, &[]).unwrap();
    // What was said counts, also when whoever has said it is gone.
    drop(agent);
    let (keeping, found) = keeper.keeping();
    let [(found_id, one)] = <[_; 1]>::try_from(found).unwrap();
    assert_eq!((found_id.as_str(), &one.note), ("one", &json!("second")));
    assert_eq!((&*one.init, &*one.answer), (&b"init"[..], &b"answer"[..]));
    assert_eq!((text(one.device), text(one.table)), ("device".into(), "table".into()));
    assert_eq!(one.kept.len(), 129);
    for (name, fd) in one.kept {
        assert_eq!(text(fd), name);
    }
    assert!(keeping.is_kept());
    keeper.end();
}

#[test]
fn the_next_agent_is_let_in_when_the_one_before_is_gone() {
    let keeper = Running::start();
    let (first, _) = keeper.agent();
    let path = keeper.scratch.path().join("keeper");
    let (tell, told) = mpsc::channel();
    let second = std::thread::spawn(move || {
        let agent = Packets::connect(&path).unwrap();
        agent.send(&ToKeeper::Hello { version: VERSION }, &[]).unwrap();
        let welcome = agent.receive::<ToAgent>().unwrap();
        tell.send(()).unwrap();
        assert!(matches!(welcome, Some((ToAgent::Welcome { sessions: 1, .. }, _))));
    });
    assert!(told.recv_timeout(Duration::from_millis(50)).is_err());
    let (device, table) = (memory(""), memory(""));
    let (init, answer, note) = (Vec::new(), Vec::new(), json!(null));
    let hold = ToKeeper::Hold { id: "one".into(), init, answer, note };
    first.send(&hold, &[device.as_fd(), table.as_fd()]).unwrap();
    drop(first);
    told.recv().unwrap();
    second.join().unwrap();
    keeper.end();
}

#[test]
fn whoever_is_not_understood_does_no_harm() {
    let keeper = Running::start();
    let path = keeper.scratch.path().join("keeper");
    let (other, _) = keeper.agent();
    other.send(&json!({ "unheard_of": 1 }), &[]).unwrap();
    // Without the descriptors that belong to it.
    let (init, answer, note) = (Vec::new(), Vec::new(), json!(null));
    other.send(&ToKeeper::Hold { id: "x".into(), init, answer, note }, &[]).unwrap();
    let answer = other.receive::<ToAgent>().unwrap();
    assert!(matches!(answer, Some((ToAgent::Refused { .. }, _))));
    drop(other);
    let newer = Packets::connect(&path).unwrap();
    newer.send(&ToKeeper::Hello { version: VERSION + 1 }, &[]).unwrap();
    let answer = newer.receive::<ToAgent>().unwrap();
    assert!(matches!(answer, Some((ToAgent::Refused { .. }, _))));
    assert!(newer.receive::<ToAgent>().unwrap().is_none());
    assert!(keeper.agent().1.is_empty());
    keeper.end();
}

#[test]
fn a_keeper_in_the_place_of_another_is_told_everything() {
    let keeper = Running::start();
    let (keeping, found) = keeper.keeping();
    assert!(found.is_empty());
    let one = keeping.of("one".into());
    one.hold(held("one")).unwrap();
    one.keep("more", memory("more"));
    let gone = keeping.of("gone".into());
    gone.hold(held("gone")).unwrap();
    keeping.forget("gone");
    let keeper = Running::start_in(keeper.end());
    while !keeping.is_kept() {
        std::thread::sleep(Duration::from_millis(1));
    }
    one.note(json!("later"));
    // Only the end of this process lets another one in.
    let path = keeper.scratch.path().join("keeper");
    let successor = Packets::connect(&path).unwrap();
    successor.send(&ToKeeper::Hello { version: VERSION }, &[]).unwrap();
    let scratch = keeper.end();
    assert!(successor.receive::<ToAgent>().unwrap().is_none());
    drop(scratch);
}
