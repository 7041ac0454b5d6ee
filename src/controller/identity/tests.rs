use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::memory::Memory;
use super::*;
use crate::model::{Clock, ProjectName, Repo, RepoKind, SystemClock, Timestamp};

fn repo(text: &str) -> Repo {
    let (project, name) = text.split_once('/').unwrap_or(("default", text));
    let project: ProjectName = project.parse().unwrap();
    Repo { project, name: name.parse().unwrap(), kind: RepoKind::User }
}

const RIGHTS: &str = "
namespaces:
  team-a:
    read: [training, 'shared-*', ml/*]
    write: [model]
  all:
    read: ['*']
  '*':
    read: [public]
";

#[test]
fn a_namespace_may_what_the_file_says_and_nothing_else() {
    let access = Access::parse(RIGHTS).unwrap();
    let table = [
        ("team-a", "training", true, false),
        ("team-a", "trainings", false, false),
        ("team-a", "shared-1", true, false),
        ("team-a", "ml/any", true, false),
        ("team-a", "any", false, false),
        ("team-a", "ml/training", true, false),
        ("team-a", "other/training", false, false),
        ("team-a", "model", true, true),
        ("team-a", "public", true, false),
        ("team-b", "public", true, false),
        ("team-b", "training", false, false),
        ("team", "model", false, false),
        ("all", "model", true, false),
        ("all", "x/y", true, false),
    ];
    for (namespace, name, read, write) in table {
        let repo = repo(name);
        assert_eq!(access.may_read(namespace, Some(&repo)), read, "{namespace} reads {name}");
        assert_eq!(access.may_write(namespace, &repo), write, "{namespace} writes {name}");
    }
    for (namespace, everything) in [("all", true), ("team-a", false), ("team-b", false)] {
        assert_eq!(access.may_read(namespace, None), everything, "{namespace}");
    }
    // What pipelines keep for themselves is for who may read everything.
    let spec = Repo { kind: RepoKind::Spec, ..repo("training") };
    assert!(!access.may_read("team-a", Some(&spec)));
    assert!(access.may_read("all", Some(&spec)));
    assert!(!Access::default().may_read("all", Some(&repo("public"))));
}

#[test]
fn a_file_of_rights_that_makes_no_sense_is_refused_at_its_place() {
    let table = [
        ("", "1:1: namespaces are missing: the file is empty"),
        ("{}", "1:1: namespaces are missing"),
        (
            "namespace:\n  a: {}\n",
            "1:1: unknown field \"namespace\" in the file; did you mean \"namespaces\"?",
        ),
        (
            "namespaces:\n  a:\n    raed: [x]\n",
            "3:5: unknown field \"raed\" in namespace \"a\"; did you mean \"read\"?",
        ),
        ("namespaces:\n  a:\n    read: x\n", "3:11: read must be a list, not a string"),
        (
            "namespaces:\n  a:\n    read: [x, 'a/b/c']\n",
            "3:15: \"a/b/c\" is no pattern of repos: expected NAME or PROJECT/NAME with *",
        ),
        (
            "namespaces:\n  a:\n    write: ['a?']\n",
            "3:13: \"a?\" is no pattern of repos: expected NAME or PROJECT/NAME with *",
        ),
        ("namespaces:\n  A_b: {}\n", "2:3: \"A_b\" is no name of a namespace"),
        ("namespaces: [a]\n", "1:13: namespaces must be an object, not a list"),
        ("namespaces:\n  a: {}\n  a: {}\n", "3:3: key \"a\" is given twice, first at 2:3"),
        ("namespaces: {}\n---\nnamespaces: {}\n", "3:1: expected one document only"),
    ];
    for (text, said) in table {
        assert_eq!(Access::parse(text).unwrap_err().to_string(), said, "{text}");
    }
}

#[test]
fn accounts_are_named_with_their_namespace() {
    let account: Account = "pfs/agent.v1".parse().unwrap();
    assert_eq!((account.namespace.as_str(), account.name.as_str()), ("pfs", "agent.v1"));
    assert_eq!(account.to_string(), "pfs/agent.v1");
    for text in ["", "agent", "/agent", "pfs/", "pfs/a/b", "Pfs/agent", "a.b/agent", "pfs/-a"] {
        assert!(text.parse::<Account>().is_err(), "{text:?}");
    }
}

/// A clock that stands still until told otherwise.
struct SetClock(AtomicI64);

impl SetClock {
    fn at(seconds: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(seconds)))
    }

    fn set(&self, seconds: i64) {
        self.0.store(seconds, Ordering::Relaxed);
    }
}

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_parts(self.0.load(Ordering::Relaxed), 0)
    }

    fn random(&self) -> [u8; 16] {
        SystemClock.random()
    }
}

/// Answers what it was told to, and counts how often it was asked.
struct Scripted {
    answer: Mutex<Result<Identity, ReviewError>>,
    asked: AtomicUsize,
}

#[async_trait]
impl Reviewer for Scripted {
    async fn review(&self, _: &Token) -> Result<Identity, ReviewError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        self.answer.lock().unwrap().clone()
    }
}

fn scripted(clock: &Arc<SetClock>) -> (Arc<Scripted>, Memory) {
    let account: Account = "pfs/agent".parse().unwrap();
    let answer = Mutex::new(Ok(Identity { account, pod: None }));
    let reviewer = Arc::new(Scripted { answer, asked: AtomicUsize::new(0) });
    let memory = Memory::new(reviewer.clone(), clock.clone());
    (reviewer, memory)
}

fn jwt(expires: i64) -> Token {
    let claims = BASE64_URL_SAFE_NO_PAD.encode(format!("{{\"exp\":{expires}}}"));
    Token::new(format!("e30.{claims}.c2ln"))
}

#[tokio::test]
async fn an_answer_is_believed_for_a_minute_and_not_beyond_the_token() {
    let clock = SetClock::at(1000);
    let (reviewer, memory) = scripted(&clock);
    let asked = || reviewer.asked.load(Ordering::Relaxed);
    let (long, short) = (jwt(10_000), jwt(1030));
    for token in [&long, &short, &Token::new("no jwt")] {
        memory.identity(token).await.unwrap();
        memory.identity(token).await.unwrap();
    }
    assert_eq!(asked(), 3);
    clock.set(1030);
    memory.identity(&long).await.unwrap();
    assert_eq!(asked(), 3);
    memory.identity(&short).await.unwrap();
    assert_eq!(asked(), 4);
    clock.set(1060);
    memory.identity(&long).await.unwrap();
    assert_eq!(asked(), 5);
    // A clock that was put back makes nothing last longer.
    clock.set(1000);
    memory.identity(&long).await.unwrap();
    assert_eq!(asked(), 6);
}

#[tokio::test]
async fn a_refusal_is_repeated_for_a_while_and_a_failure_never() {
    let clock = SetClock::at(1000);
    let (reviewer, memory) = scripted(&clock);
    let asked = || reviewer.asked.load(Ordering::Relaxed);
    let answer = |answer| *reviewer.answer.lock().unwrap() = Err(answer);
    let token = jwt(10_000);
    answer(ReviewError::Unavailable { reason: "away".to_owned() });
    memory.identity(&token).await.unwrap_err();
    memory.identity(&token).await.unwrap_err();
    assert_eq!(asked(), 2);
    answer(ReviewError::Refused { reason: "forged".to_owned() });
    memory.identity(&token).await.unwrap_err();
    memory.identity(&token).await.unwrap_err();
    assert_eq!(asked(), 3);
    clock.set(1010);
    memory.identity(&token).await.unwrap_err();
    assert_eq!(asked(), 4);
}

#[tokio::test]
async fn many_who_come_at_once_with_a_token_cost_one_question() {
    let clock = SetClock::at(1000);
    let (reviewer, memory) = scripted(&clock);
    let token = jwt(10_000);
    let calls = (0..50).map(|_| memory.identity(&token));
    for answer in futures::future::join_all(calls).await {
        answer.unwrap();
    }
    assert_eq!(reviewer.asked.load(Ordering::Relaxed), 1);
}

#[test]
fn tokens_do_not_show_themselves() {
    let token = jwt(1);
    let asked = VolumeRequest {
        pod: Pod {
            namespace: "n".to_owned(),
            name: "p".to_owned(),
            uid: "u".to_owned(),
            account: "a".to_owned(),
        },
        token: Some(token.clone()),
        repo: None,
        write: false,
    };
    assert!(!format!("{asked:?} {token:?}").contains(token.secret()));
    assert_eq!(token.blot(&format!("<{}>", token.secret())), "<[token]>");
    assert_eq!(Token::new("").blot("as it was"), "as it was");
}
