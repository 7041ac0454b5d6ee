//! The node agent of a driver: one at a socket, or one in this process.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use pfs_csi::{
    Access, Agent, Device, Place, Pod, Prepared, Publication, Refusal, Result, Session, Stats,
    Usage,
};
use pfs_daemonset as agent;
use pfs_daemonset::{AgentClient, Ask, Node, open_for};
use tokio::sync::OnceCell;

use crate::cli::agent::{Settings, Volumes, memory, node};
use crate::cli::prelude::*;
use crate::mount::{Backing as _, Privileged};

/// The agent at a socket, or one in this process.
pub(super) fn open(path: Option<&Path>, cx: &Context) -> Outcome<Arc<dyn Agent>> {
    match path {
        Some(path) => {
            // Such an agent has no privileges.
            open_for(path, |ask| match ask {
                Ask::Open(device, file) => Privileged.open(device, file),
                Ask::Close(device, number) => Privileged.close(device, number).map(|()| 0),
            })?;
            Ok(Arc::new(Elsewhere(AgentClient::new(path))))
        }
        None => {
            let address = cx.address()?;
            let (cache, staging, wait) = (None, None, Settings::WAIT);
            let backing = Arc::new(Privileged);
            let settings = Settings { address, cache, memory: memory(), staging, wait, backing };
            Ok(Arc::new(Inside { settings, node: OnceCell::new() }))
        }
    }
}

/// An agent in a process of its own.
struct Elsewhere(AgentClient);

/// An agent that begins with the first volume: a driver that only makes volumes
/// needs none.
struct Inside {
    settings: Settings,
    node: OnceCell<Arc<Node<Volumes>>>,
}

impl Inside {
    async fn begun(&self) -> Result<&Arc<Node<Volumes>>> {
        let begin = async || node(&self.settings, None, || Ok(())).await.map(|(node, ())| node);
        let begun = self.node.get_or_try_init(begin).await;
        begun.map_err(|failure| Refusal::Unavailable(failure.message))
    }
}

#[async_trait]
impl Agent for Elsewhere {
    async fn prepare(&self, publication: &Publication) -> Result<Prepared> {
        let mounting = self.0.prepare(publish(publication)).await;
        mounting.map(prepared).map_err(refusal)
    }

    async fn attach(&self, place: &Place, device: Device) -> Result<()> {
        self.0.attach(key(place), connection(device)).await.map_err(refusal)
    }

    async fn unpublish(&self, place: &Place) -> Result<()> {
        self.0.unpublish(key(place)).await.map_err(refusal)
    }

    async fn stats(&self, place: &Place) -> Result<Stats> {
        self.0.stats(key(place)).await.map(stats).map_err(refusal)
    }

    async fn sessions(&self) -> Result<Vec<Session>> {
        self.0.list().await.map_err(refusal)?.into_iter().map(session).collect()
    }

    async fn is_ready(&self) -> Result<bool> {
        self.0.is_ready().await.map_err(refusal)
    }
}

#[async_trait]
impl Agent for Inside {
    async fn prepare(&self, publication: &Publication) -> Result<Prepared> {
        let mounting = self.begun().await?.prepare(publish(publication)).await;
        mounting.map(prepared).map_err(refusal)
    }

    async fn attach(&self, place: &Place, device: Device) -> Result<()> {
        self.begun().await?.attach(&key(place), connection(device)).await.map_err(refusal)
    }

    async fn unpublish(&self, place: &Place) -> Result<()> {
        match self.node.get() {
            Some(node) => node.unpublish(&key(place)).await.map_err(refusal),
            None => Ok(()),
        }
    }

    async fn stats(&self, place: &Place) -> Result<Stats> {
        match self.node.get() {
            Some(node) => node.stats(&key(place)).await.map(stats).map_err(refusal),
            None => Err(Refusal::NotFound(format!("volume {} is not served", place.volume_id))),
        }
    }

    async fn sessions(&self) -> Result<Vec<Session>> {
        let listed = self.node.get().map_or_else(Vec::new, |node| node.list());
        listed.into_iter().map(session).collect()
    }

    async fn is_ready(&self) -> Result<bool> {
        Ok(self.node.get().is_none_or(|node| node.is_ready()))
    }
}

fn key(place: &Place) -> agent::Key {
    agent::Key { volume: place.volume_id.clone(), target: place.target.clone() }
}

fn publish(publication: &Publication) -> agent::Publish {
    let pod = publication.pod.as_ref().map(|Pod { namespace, name, uid, service_account }| {
        agent::PodRef {
            namespace: namespace.clone(),
            name: name.clone(),
            uid: uid.clone(),
            service_account: service_account.clone(),
        }
    });
    let token = publication.token.as_ref().map(|token| token.reveal().to_owned());
    agent::Publish {
        key: key(&publication.place),
        attributes: publication.attributes.clone(),
        pod,
        token: token.map(agent::Token::new),
        read_only: publication.read_only,
        ephemeral: publication.is_ephemeral,
        fs_group: publication.fs_group,
        access: publication.access.as_str().to_owned(),
        fingerprint: publication.fingerprint.clone(),
    }
}

fn connection(Device { fd, connection }: Device) -> agent::Device {
    agent::Device { fd, connection }
}

fn prepared(mounting: agent::Mounting) -> Prepared {
    let agent::Mounting { source, read_only, connection } = mounting;
    Prepared { read_only, source, connection }
}

fn session(listed: agent::Listed) -> Result<Session> {
    let agent::Listed { publish, connection } = listed;
    let agent::Key { volume: volume_id, target } = publish.key;
    let access = Access::noted(&publish.access).ok_or_else(|| {
        let what = format!("the agent noted access {:?} of {volume_id}", publish.access);
        Refusal::Internal(what)
    })?;
    let place = Place { volume_id, target };
    Ok(Session { place, access, fingerprint: publish.fingerprint, connection })
}

fn stats(stats: agent::Stats) -> Stats {
    let usage = |agent::Usage { total, used, available }| Usage { total, used, available };
    Stats {
        bytes: usage(stats.bytes),
        inodes: usage(stats.inodes),
        trouble: Some(stats.problem).filter(|problem| !problem.is_empty()),
    }
}

/// The one table from what an agent refuses to what a driver does.
fn refusal(refusal: agent::Refusal) -> Refusal {
    let agent::Refusal { code, message } = refusal;
    match code {
        agent::Code::InvalidArgument => Refusal::Invalid(message),
        agent::Code::NotFound => Refusal::NotFound(message),
        agent::Code::AlreadyExists => Refusal::Exists(message),
        agent::Code::FailedPrecondition => Refusal::InTheWay(message),
        agent::Code::PermissionDenied => Refusal::Denied(message),
        agent::Code::Unauthenticated => Refusal::Unauthenticated(message),
        agent::Code::ResourceExhausted => Refusal::Exhausted(message),
        agent::Code::Aborted => Refusal::Pending(message),
        agent::Code::Unavailable => Refusal::Unavailable(message),
        agent::Code::Internal => Refusal::Internal(message),
    }
}
