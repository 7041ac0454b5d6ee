//! What a client knows of a repo that it alone writes to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::server::Server;

/// The files of a commit by path.
pub type Files = BTreeMap<String, Vec<u8>>;

/// The client's memory: what the server acknowledged, and the one operation
/// whose answer never came.
#[derive(Default)]
pub struct Ledger {
    /// Finished commits, oldest first, each with all its files.
    finished: Vec<(String, Files)>,
    /// Files acknowledged in a commit that was started and not yet finished.
    open: Option<Files>,
    /// Files of the put whose answer is missing.
    doubt: Option<Files>,
    /// Whether a start is without answer.
    starting: bool,
    /// Whether the open commit's finish was acknowledged.
    closed: bool,
}

impl Ledger {
    /// How many commits are known to be finished.
    pub fn len(&self) -> usize {
        self.finished.len()
    }

    pub fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// The files of the newest finished commit.
    pub fn newest(&self) -> Files {
        self.finished.last().map(|(_, files)| files.clone()).unwrap_or_default()
    }

    pub fn putting(&mut self, files: &Files) {
        self.doubt = Some(files.clone());
    }

    pub fn starting(&mut self) {
        self.starting = true;
    }

    pub fn started(&mut self) {
        self.starting = false;
        self.open = Some(Files::new());
    }

    /// The put was acknowledged; into no open commit, it is one of its own.
    pub fn put(&mut self) {
        let files = self.doubt.take().unwrap_or_default();
        match &mut self.open {
            Some(open) => open.extend(files),
            None => {
                self.open = Some(files);
                self.closed = true;
            }
        }
    }

    /// The finish of the open commit was acknowledged.
    pub fn finished(&mut self) {
        self.closed = true;
    }

    /// Whether the newest commit is finished, but its id still unknown.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// The id of the commit whose finish was acknowledged.
    pub fn named(&mut self, id: String) {
        let open = self.open.take().unwrap_or_default();
        let all = overlaid(&self.newest(), &open);
        self.finished.push((id, all));
        self.closed = false;
    }

    /// Compares the repo with the memory after a crash and takes over what the
    /// unanswered operation turned out to have done.
    pub fn settle(&mut self, server: &Server, repo: &str) {
        let mut commits = commits(server, repo);
        if commits.last().is_some_and(|(_, finished)| !finished) {
            let started = self.open.is_some() || self.starting;
            assert!(started, "{repo}: a commit is open that nobody started");
            assert!(!self.closed, "{repo}: a finished commit is open again");
            server.pfs(&["finish", "commit", &format!("{repo}@master")]);
            commits.last_mut().unwrap().1 = true;
        }
        let ids: Vec<_> = commits.into_iter().map(|(id, _)| id).collect();
        let known: Vec<_> = self.finished.iter().map(|(id, _)| id.clone()).collect();
        assert_eq!(ids[..known.len().min(ids.len())], known[..], "{repo}: a finished commit lost");
        match &ids[known.len()..] {
            [] => assert!(self.open.is_none(), "{repo}: an acknowledged commit was lost"),
            [new] => self.adopt(server, repo, new),
            more => panic!("{repo}: commits from nowhere: {more:?}"),
        }
        *self = Self { finished: std::mem::take(&mut self.finished), ..Self::default() };
    }

    /// A commit the client has no answer about: it holds everything that was
    /// acknowledged, and the put in doubt in whole or not at all.
    fn adopt(&mut self, server: &Server, repo: &str, id: &str) {
        let with_open = overlaid(&self.newest(), &self.open.clone().unwrap_or_default());
        let with_doubt = overlaid(&with_open, &self.doubt.clone().unwrap_or_default());
        let there = fetch(server, repo, id);
        assert!(
            there == with_open || there == with_doubt,
            "{repo}@{id}: a half commit: {:?}, in doubt {:?}",
            differing(&there, &with_doubt),
            self.doubt.as_ref().map(|files| files.keys().collect::<Vec<_>>()),
        );
        self.finished.push((id.to_owned(), there));
    }

    /// Reads a finished commit again and compares all its files.
    pub fn check(&self, server: &Server, repo: &str, at: usize) {
        let (id, files) = &self.finished[at];
        let there = fetch(server, repo, id);
        assert!(there == *files, "{repo}@{id} changed: {:?}", differing(&there, files));
    }
}

fn overlaid(below: &Files, above: &Files) -> Files {
    let mut all = below.clone();
    all.extend(above.clone());
    all
}

fn differing(a: &Files, b: &Files) -> BTreeSet<String> {
    let names = a.keys().chain(b.keys());
    names.filter(|name| a.get(*name) != b.get(*name)).cloned().collect()
}

/// The commits of `master`, oldest first, and whether each is finished.
pub fn commits(server: &Server, repo: &str) -> Vec<(String, bool)> {
    let text = server.pfs(&["list", "commit", &format!("{repo}@master"), "--raw"]);
    let entities = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let mut found: Vec<_> = entities
        .map(|entity| {
            let entity = entity.unwrap();
            let id = entity["commit"]["id"].as_str().unwrap().to_owned();
            (id, entity.get("finished").is_some_and(|at| !at.is_null()))
        })
        .collect();
    found.reverse();
    found
}

/// All files of a commit.
pub fn fetch(server: &Server, repo: &str, at: &str) -> Files {
    let into = tempfile::tempdir_in(server.dir("fetched")).unwrap();
    let target = into.path().join("files");
    let from = format!("{repo}@{at}:/");
    server.pfs(&["get", "file", "-r", &from, "-o", target.to_str().unwrap()]);
    let mut found = Files::new();
    collect(&target, &target, &mut found);
    found
}

fn collect(root: &Path, dir: &Path, found: &mut Files) {
    let Ok(entries) = fs::read_dir(dir) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, found);
        } else {
            let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
            found.insert(name, fs::read(&path).unwrap());
        }
    }
}
