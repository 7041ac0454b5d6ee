use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use super::backing::{Ask, Openers, open_for};
use super::client::AgentClient;
use super::server::serve;
use crate::node::{Device, Mounting, Node, Prepared, Session, Stats, Usage, Volumes};
use crate::{Code, Held, Keep, Keeping, Key, Listener, NoPods, Pods, Publish, Refusal, Token};

/// Volumes that show nothing, and note what is done about them.
#[derive(Default)]
struct Noted {
    prepared: AtomicU32,
    given_up: AtomicU32,
    attached: Mutex<Vec<String>>,
    /// Told when the volume `slow` begins to end, and what it waits for then.
    begun: Notify,
    slow: Notify,
}

struct Shown {
    key: Key,
    connection: u32,
    noted: Arc<Noted>,
}

struct Test(Arc<Noted>);

#[async_trait]
impl Volumes for Test {
    type Prepared = ();
    type Session = Shown;

    async fn prepare(&self, publish: &Publish, _pods: &dyn Pods) -> Result<Prepared<()>, Refusal> {
        self.0.prepared.fetch_add(1, Ordering::AcqRel);
        let token = publish.token.as_ref().map(Token::reveal);
        if token != Some("secret") {
            return Err(Refusal::new(Code::Unauthenticated, "no token"));
        }
        let mounting = Mounting { source: "test".into(), read_only: true, connection: None };
        Ok(Prepared { volume: (), mounting })
    }

    async fn authorise(&self, _publish: &Publish) -> Result<(), Refusal> {
        Ok(())
    }

    async fn give_up(&self, _publish: &Publish, (): ()) {
        self.0.given_up.fetch_add(1, Ordering::AcqRel);
    }

    async fn attach(
        &self,
        publish: &Publish,
        (): (),
        (device, _keep): (Device, Keep),
    ) -> Result<Shown, Refusal> {
        let mut text = String::new();
        File::from(device.fd).read_to_string(&mut text).unwrap();
        self.0.attached.lock().unwrap().push(text);
        let (key, noted) = (publish.key.clone(), Arc::clone(&self.0));
        Ok(Shown { key, connection: device.connection, noted })
    }

    async fn attach_again(
        &self,
        publish: &Publish,
        _session: &Shown,
        attach: (Device, Keep),
    ) -> Result<Shown, Refusal> {
        self.attach(publish, (), attach).await
    }

    async fn resume(&self, _held: Held, _keep: Keep) -> Result<(Publish, Shown), Refusal> {
        Err(Refusal::internal("not here"))
    }

    async fn end_lost(&self, _key: &Key, _pods: &dyn Pods) -> Result<(), Refusal> {
        Ok(())
    }
}

#[async_trait]
impl Session for Shown {
    async fn end(&self, _pods: &dyn Pods) -> Result<(), Refusal> {
        if self.key.volume == "slow" {
            self.noted.begun.notify_one();
            self.noted.slow.notified().await;
        }
        Ok(())
    }

    async fn stats(&self) -> Result<Stats, Refusal> {
        let usage = Usage { total: 3, used: 2, available: 1 };
        Ok(Stats { bytes: usage, inodes: usage, problem: String::new() })
    }

    fn mounting(&self) -> Mounting {
        let connection = Some(self.connection);
        Mounting { source: "test".into(), read_only: true, connection }
    }
}

struct Running {
    client: AgentClient,
    noted: Arc<Noted>,
    node: Arc<Node<Test>>,
    openers: Arc<Openers>,
    scratch: tempfile::TempDir,
}

fn start() -> Running {
    let scratch = tempfile::tempdir().unwrap();
    let (path, noted) = (scratch.path().join("agent"), Arc::<Noted>::default());
    let openers = Arc::<Openers>::default();
    let node = Node::new(Test(Arc::clone(&noted)), Keeping::alone(), Arc::new(NoPods));
    serve(Listener::bind(&path).unwrap(), Arc::clone(&node), Arc::clone(&openers)).unwrap();
    Running { client: AgentClient::new(&path), noted, node, openers, scratch }
}

fn publish(volume: &str) -> Publish {
    Publish {
        key: Key { volume: volume.into(), target: PathBuf::from("/target") },
        attributes: BTreeMap::new(),
        pod: None,
        token: Some(Token::new("secret".into())),
        read_only: false,
        ephemeral: true,
        fs_group: None,
        access: "access".into(),
        fingerprint: "fingerprint".into(),
    }
}

impl Running {
    fn device(&self, text: &str) -> Device {
        let path = self.scratch.path().join("device");
        std::fs::write(&path, text).unwrap();
        Device { fd: OwnedFd::from(File::open(path).unwrap()), connection: 7 }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_prepared_attached_and_ended() {
    let running = start();
    let (client, one) = (&running.client, publish("one"));
    assert!(!client.is_ready().await.unwrap());
    assert_eq!(client.prepare(one.clone()).await.unwrap_err().code, Code::Unavailable);
    running.node.ready();
    let forged = Publish { token: None, ..one.clone() };
    assert_eq!(client.prepare(forged).await.unwrap_err().code, Code::Unauthenticated);
    let early = client.attach(one.key.clone(), running.device("early")).await;
    assert_eq!(early.unwrap_err().code, Code::Aborted);
    assert_eq!(client.prepare(one.clone()).await.unwrap().connection, None);
    client.attach(one.key.clone(), running.device("connection")).await.unwrap();
    assert_eq!(*running.noted.attached.lock().unwrap(), ["connection"]);
    // Once more, with another token, as happens from time to time.
    let again = Publish { token: Some(Token::new("newer".into())), ..one.clone() };
    assert_eq!(client.prepare(again).await.unwrap().connection, Some(7));
    let other = Publish { read_only: true, ..one.clone() };
    assert_eq!(client.prepare(other).await.unwrap_err().code, Code::AlreadyExists);
    assert_eq!(client.stats(one.key.clone()).await.unwrap().bytes.used, 2);
    let listed = client.list().await.unwrap();
    assert_eq!((listed.len(), listed[0].connection), (1, Some(7)));
    assert_eq!(listed[0].publish.fingerprint, "fingerprint");
    assert!(listed[0].publish.token.is_none());
    client.unpublish(one.key.clone()).await.unwrap();
    client.unpublish(one.key.clone()).await.unwrap();
    assert_eq!(client.stats(one.key).await.unwrap_err().code, Code::NotFound);
    assert!(client.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_takes_long_keeps_nobody_else_waiting() {
    let running = start();
    running.node.ready();
    let (client, slow, quick) = (running.client.clone(), publish("slow"), publish("quick"));
    for volume in [&slow, &quick] {
        client.prepare(volume.clone()).await.unwrap();
        client.attach(volume.key.clone(), running.device("")).await.unwrap();
    }
    let (ending, key) = (client.clone(), slow.key.clone());
    let ending = tokio::spawn(async move { ending.unpublish(key).await });
    running.noted.begun.notified().await;
    let busy = client.unpublish(slow.key.clone()).await.unwrap_err();
    assert_eq!(busy.code, Code::Aborted);
    client.unpublish(quick.key.clone()).await.unwrap();
    running.noted.slow.notify_one();
    ending.await.unwrap().unwrap();
    // Prepared, and never attached.
    client.prepare(quick.clone()).await.unwrap();
    client.unpublish(quick.key).await.unwrap();
    assert_eq!(running.noted.given_up.load(Ordering::Acquire), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_listed_one_by_one() {
    let running = start();
    running.node.ready();
    for number in 0..300 {
        running.client.prepare(publish(&format!("{number:03}"))).await.unwrap();
    }
    let listed = running.client.list().await.unwrap();
    assert_eq!(listed.len(), 300);
    assert_eq!(listed[299].publish.key.volume, "299");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_opens_files_for_whichever_agent_listens() {
    let running = start();
    let path = running.scratch.path().join("agent");
    let (device, file) = (running.device("device").fd, running.device("content").fd);
    let away = running.openers.open(device.as_fd(), file.as_fd()).unwrap_err();
    assert_eq!(away.kind(), io::ErrorKind::NotConnected);
    let (tell, told) = mpsc::channel();
    open_for(&path, move |ask| {
        let (what, outcome) = match ask {
            Ask::Open(_, file) => {
                let mut text = String::new();
                File::from(file.try_clone_to_owned().unwrap()).read_to_string(&mut text).unwrap();
                (text, Ok(5))
            }
            Ask::Close(_, number) => {
                (format!("closed {number}"), Err(io::Error::from_raw_os_error(libc::ENOENT)))
            }
        };
        tell.send(what).unwrap();
        outcome
    })
    .unwrap();
    let number = loop {
        match running.openers.open(device.as_fd(), file.as_fd()) {
            Ok(number) => break number,
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::NotConnected),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert_eq!((number, &*told.recv().unwrap()), (5, "content"));
    let refused = running.openers.close(device.as_fd(), 9).unwrap_err();
    assert_eq!((refused.raw_os_error(), &*told.recv().unwrap()), (Some(libc::ENOENT), "closed 9"));
}

#[test]
fn a_token_is_never_shown() {
    let publish = publish("one");
    assert!(!format!("{publish:?}").contains("secret"));
    let noted = serde_json::to_string(&publish.without_token()).unwrap();
    assert!(!noted.contains("secret") && !noted.contains("token"));
}
