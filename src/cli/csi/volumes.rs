//! Volumes on the server: a volume is a branch, a snapshot a commit.
//!
//! Everything about one is made, or removed, in one transaction of the server.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use pfs_csi::{NewSnapshot, NewVolume, Refusal, Result, Snapshot, Source, Volume, Volumes};
use tokio::sync::Mutex;

use super::parameters::Class;
use super::record::{
    KIND, Noun, PROJECT, Place, SnapshotRecord, VolumeRecord, decode, encode, record_repo,
};
use super::refusals::refusal;
use crate::api::client::{Client, Code};
use crate::api::proto::{pfs_v1 as v1, pfs_v2 as pb, transaction_v2 as tx};
use crate::model::{BranchName, RepoName};

/// The volumes of one server.
pub struct ServerVolumes {
    client: Client,
    /// One is changed at a time, so that nobody begins to use a repo of which
    /// it has just been seen that nobody does.
    changing: Mutex<()>,
}

/// Where a volume is to begin.
struct Start {
    place: Place,
    /// Empty for a branch without commits.
    commit: String,
}

/// Calls that are made together.
type Calls = Vec<tx::TransactionRequest>;

impl ServerVolumes {
    /// The volumes of the server that `client` is connected to.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { client, changing: Mutex::default() }
    }

    /// The branch to make, and where it begins.
    async fn start(&self, wanted: &NewVolume, class: &Class) -> Result<Start> {
        let id = Noun::Volume.id(&wanted.name);
        let named = |is_legal: bool| if is_legal { wanted.name.clone() } else { id.clone() };
        let branch = named(wanted.name.parse::<BranchName>().is_ok());
        let (source, commit) = match (&wanted.source, &class.repo) {
            (Some(Source::Snapshot(id)), _) => {
                let snapshot = self.snapshot_record(id).await?.0;
                (snapshot.place, snapshot.commit)
            }
            (Some(Source::Volume(id)), _) => {
                let place = self.volume_record(id).await?.place;
                let commit = self.head(&place, &place.branch).await?;
                (place, commit.unwrap_or_default())
            }
            (None, Some(repo)) => {
                let (project, repo) = (class.project.to_string(), repo.to_string());
                let place = Place { project, repo, branch: branch.clone(), own_repo: false };
                let commit = self.base(&place, class.base.as_deref()).await?;
                (place, commit)
            }
            (None, None) => {
                let repo = named(wanted.name.parse::<RepoName>().is_ok());
                let project = class.project.to_string();
                let branch = BranchName::master().to_string();
                let place = Place { project, repo, branch, own_repo: true };
                return Ok(Start { place, commit: String::new() });
            }
        };
        Ok(Start { place: Place { branch, ..source }, commit })
    }

    /// The commit that a class says a volume begins at: that of `base`, which
    /// must be there, else the head of master, if there is one; none where the
    /// branch has none yet.
    async fn base(&self, place: &Place, base: Option<&str>) -> Result<String> {
        let request = pb::InspectRepoRequest { repo: Some(place.repo_message()) };
        self.client.pfs().inspect_repo(request).await.map_err(|status| refusal(&status))?;
        let master = BranchName::master();
        match (self.head(place, base.unwrap_or(master.as_str())).await, base) {
            (Ok(Some(commit)), _) => Ok(commit),
            (Ok(None), _) | (Err(Refusal::NotFound(_)), None) => Ok(String::new()),
            (Err(refusal), _) => Err(refusal),
        }
    }

    /// The newest finished commit of a ref; `None` for a branch without one.
    async fn head(&self, place: &Place, reference: &str) -> Result<Option<String>> {
        let request = v1::ResolveRefRequest {
            repo: Some(place.repo_name()),
            r#ref: reference.to_owned(),
            exact: false,
        };
        match self.client.native().resolve_ref(request).await {
            Ok(found) => Ok(Some(hex::encode(found.into_inner().commit))),
            Err(status) if status.code() == Code::NotFound => {
                let branch =
                    pb::Branch { repo: Some(place.repo_message()), name: reference.to_owned() };
                let request = pb::InspectBranchRequest { branch: Some(branch) };
                match self.client.pfs().inspect_branch(request).await {
                    Ok(_) => Ok(None),
                    Err(_) => Err(refusal(&status)),
                }
            }
            Err(status) => Err(refusal(&status)),
        }
    }

    async fn description(&self, id: &str) -> Result<pb::RepoInfo> {
        let request = pb::InspectRepoRequest { repo: Some(record_repo(id)) };
        let found = self.client.pfs().inspect_repo(request).await;
        Ok(found.map_err(|status| refusal(&status))?.into_inner())
    }

    /// [`Refusal::NotFound`] for what can be no volume as well.
    async fn volume_record(&self, id: &str) -> Result<VolumeRecord> {
        let absent = || Refusal::NotFound(format!("there is no volume {id}"));
        if !Noun::Volume.has(id) {
            return Err(absent());
        }
        match self.description(id).await {
            Ok(info) => decode(id, &info.description),
            Err(Refusal::NotFound(_)) => Err(absent()),
            Err(refusal) => Err(refusal),
        }
    }

    async fn snapshot_record(&self, id: &str) -> Result<(SnapshotRecord, SystemTime)> {
        let absent = || Refusal::NotFound(format!("there is no snapshot {id}"));
        if !Noun::Snapshot.has(id) {
            return Err(absent());
        }
        match self.description(id).await {
            Ok(info) => Ok((decode(id, &info.description)?, made(&info))),
            Err(Refusal::NotFound(_)) => Err(absent()),
            Err(refusal) => Err(refusal),
        }
    }

    /// The snapshot of that id, when it is as wanted.
    async fn same_snapshot(&self, id: &str, wanted: &NewSnapshot) -> Result<Snapshot> {
        let (record, created) = self.snapshot_record(id).await?;
        match record.volume == wanted.volume_id {
            true => Ok(snapshot(id.to_owned(), &record, created)),
            false => {
                let what = format!("snapshot {} exists, of another volume", wanted.name);
                Err(Refusal::Exists(what))
            }
        }
    }

    /// All records, with their ids.
    async fn records(&self) -> Result<Vec<(String, pb::RepoInfo)>> {
        let request = pb::ListRepoRequest {
            r#type: KIND.to_owned(),
            projects: vec![pb::Project { name: PROJECT.to_owned() }],
            page: None,
        };
        let listed = match self.client.pfs().list_repo(request).await {
            Ok(listed) => listed,
            // Nothing was ever made.
            Err(status) if status.code() == Code::NotFound => return Ok(Vec::new()),
            Err(status) => return Err(refusal(&status)),
        };
        let (mut stream, mut found) = (listed.into_inner(), Vec::new());
        while let Some(info) = stream.message().await.map_err(|status| refusal(&status))? {
            let id = info.repo.as_ref().map(|repo| repo.name.clone()).unwrap_or_default();
            found.push((id, info));
        }
        Ok(found)
    }

    /// The project of the records, made when it is first needed.
    async fn ensure_project(&self) -> Result<()> {
        let request = pb::CreateProjectRequest {
            project: Some(pb::Project { name: PROJECT.to_owned() }),
            description: "what is known of volumes in Kubernetes".to_owned(),
            update: false,
        };
        match self.client.pfs().create_project(request).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::AlreadyExists => Ok(()),
            Err(status) => Err(refusal(&status)),
        }
    }

    async fn together(&self, requests: Calls) -> Result<()> {
        let request = tx::BatchTransactionRequest { requests };
        let done = self.client.transactions().batch_transaction(request).await;
        done.map(drop).map_err(|status| refusal(&status))
    }

    /// Fails while somebody writes to the branch, or what was written to it is
    /// still on its way.
    async fn expect_unused(&self, place: &Place) -> Result<()> {
        use v1::TransactionState::{Open, Sealed, Sealing};
        let states = [Open, Sealing, Sealed].map(i32::from).to_vec();
        let (repo, branch) = (Some(place.repo_name()), place.branch.clone());
        let request = v1::ListTransactionsRequest { states, repo, branch, held: false };
        let listed = self.client.native().list_transactions(request).await;
        let mut listed = listed.map_err(|status| refusal(&status))?.into_inner();
        while let Some(info) = listed.message().await.map_err(|status| refusal(&status))? {
            let repo = info.repo.unwrap_or_default();
            let project = if repo.project.is_empty() { "default" } else { &repo.project };
            if (project, &repo.repo, &info.branch) == (&*place.project, &place.repo, &place.branch)
            {
                let (at, owner) = (place.repo_text(), info.owner);
                let what = format!("{at}@{} is being written by {owner}", place.branch);
                return Err(Refusal::InTheWay(what));
            }
        }
        Ok(())
    }

    /// The calls that remove a volume or snapshot: its branch, or the repo that
    /// was made for it when it is the last one there, and its record.
    async fn removal(&self, id: &str, place: &Place) -> Result<Calls> {
        let mut calls = Vec::new();
        if place.own_repo && !self.has_others(id, place).await? {
            let repo = Some(place.repo_message());
            let delete_repo = Some(pb::DeleteRepoRequest { repo, force: false });
            calls.push(tx::TransactionRequest { delete_repo, ..Default::default() });
        } else if self.has_branch(place).await? {
            let branch = Some(place.branch_message());
            let delete_branch = Some(pb::DeleteBranchRequest { branch, force: false });
            calls.push(tx::TransactionRequest { delete_branch, ..Default::default() });
        }
        let repo = Some(record_repo(id));
        let delete_repo = Some(pb::DeleteRepoRequest { repo, force: false });
        calls.push(tx::TransactionRequest { delete_repo, ..Default::default() });
        Ok(calls)
    }

    /// Whether another volume or snapshot is in the same repo.
    async fn has_others(&self, id: &str, place: &Place) -> Result<bool> {
        for (other, info) in self.records().await? {
            let at = match Noun::Volume.has(&other) {
                true => decode::<VolumeRecord>(&other, &info.description)?.place,
                false => decode::<SnapshotRecord>(&other, &info.description)?.place,
            };
            if other != id && (&at.project, &at.repo) == (&place.project, &place.repo) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn has_branch(&self, place: &Place) -> Result<bool> {
        let request = pb::InspectBranchRequest { branch: Some(place.branch_message()) };
        match self.client.pfs().inspect_branch(request).await {
            Ok(_) => Ok(true),
            Err(status) if status.code() == Code::NotFound => Ok(false),
            Err(status) => Err(refusal(&status)),
        }
    }

    async fn size(&self, place: &Place, commit: &str) -> Result<u64> {
        if commit.is_empty() {
            return Ok(0);
        }
        let request = pb::InspectCommitRequest {
            commit: Some(commit_message(place, commit)),
            ..Default::default()
        };
        let found = self.client.pfs().inspect_commit(request).await;
        let info = found.map_err(|status| refusal(&status))?.into_inner();
        let bytes = info.details.map_or(info.size_bytes_upper_bound, |details| details.size_bytes);
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}

fn commit_message(place: &Place, commit: &str) -> pb::Commit {
    pb::Commit { repo: Some(place.repo_message()), id: commit.to_owned(), branch: None }
}

/// Makes the repo that is to hold a record.
fn record_call(id: &str, description: String) -> tx::TransactionRequest {
    let repo = Some(record_repo(id));
    let create_repo = Some(pb::CreateRepoRequest { repo, description, update: false });
    tx::TransactionRequest { create_repo, ..Default::default() }
}

fn branch_call(place: &Place, commit: &str) -> tx::TransactionRequest {
    let head = (!commit.is_empty()).then(|| commit_message(place, commit));
    let branch = Some(place.branch_message());
    let create_branch = Some(pb::CreateBranchRequest { head, branch, ..Default::default() });
    tx::TransactionRequest { create_branch, ..Default::default() }
}

fn made(info: &pb::RepoInfo) -> SystemTime {
    let Some(created) = &info.created else { return UNIX_EPOCH };
    let seconds = Duration::from_secs(u64::try_from(created.seconds).unwrap_or(0));
    UNIX_EPOCH + seconds + Duration::from_nanos(u64::try_from(created.nanos).unwrap_or(0))
}

fn volume(id: String, record: &VolumeRecord) -> Volume {
    Volume {
        id,
        capacity: record.capacity,
        attributes: record.attributes.clone(),
        source: record.source(),
    }
}

fn snapshot(id: String, record: &SnapshotRecord, created: SystemTime) -> Snapshot {
    Snapshot { id, volume_id: record.volume.clone(), size: record.size, created }
}

fn new_record(
    wanted: &NewVolume,
    place: Place,
    mut attributes: BTreeMap<String, String>,
) -> VolumeRecord {
    attributes.insert("repo".to_owned(), place.repo_text());
    attributes.insert("ref".to_owned(), place.branch.clone());
    let (of_snapshot, of_volume) = match wanted.source.clone() {
        Some(Source::Snapshot(id)) => (Some(id), None),
        Some(Source::Volume(id)) => (None, Some(id)),
        None => (None, None),
    };
    VolumeRecord {
        name: wanted.name.clone(),
        place,
        capacity: wanted.capacity.required,
        parameters: wanted.parameters.clone(),
        attributes,
        of_snapshot,
        of_volume,
    }
}

/// The volume of that name, when it is as wanted.
fn same(id: String, record: &VolumeRecord, wanted: &NewVolume) -> Result<Volume> {
    let differs = match () {
        () if !wanted.capacity.admits(record.capacity) => "another capacity",
        () if record.parameters != wanted.parameters => "other parameters",
        () if record.source() != wanted.source => "other contents",
        () => return Ok(volume(id, record)),
    };
    Err(Refusal::Exists(format!("volume {} exists with {differs}", wanted.name)))
}

#[async_trait]
impl Volumes for ServerVolumes {
    async fn create_volume(&self, wanted: &NewVolume) -> Result<Volume> {
        let _changing = self.changing.lock().await;
        let class = Class::parse(wanted)?;
        let id = Noun::Volume.id(&wanted.name);
        match self.volume_record(&id).await {
            Ok(record) => return same(id, &record, wanted),
            Err(Refusal::NotFound(_)) => {}
            Err(refusal) => return Err(refusal),
        }
        let Start { place, commit } = self.start(wanted, &class).await?;
        let made_repo = place.own_repo && wanted.source.is_none();
        if !made_repo && self.has_branch(&place).await? {
            let (at, branch) = (place.repo_text(), &place.branch);
            return Err(Refusal::Exists(format!("{at}@{branch} exists and is no volume")));
        }
        let record = new_record(wanted, place, class.attributes);
        self.ensure_project().await?;
        let mut calls = vec![record_call(&id, encode(&record)?)];
        if made_repo {
            let (repo, description) = (Some(record.place.repo_message()), String::new());
            let create_repo = Some(pb::CreateRepoRequest { repo, description, update: false });
            calls.push(tx::TransactionRequest { create_repo, ..Default::default() });
        }
        calls.push(branch_call(&record.place, &commit));
        match self.together(calls).await {
            Ok(()) => Ok(volume(id, &record)),
            // Another instance may have been faster.
            Err(Refusal::Exists(what)) => match self.volume_record(&id).await {
                Ok(record) => same(id, &record, wanted),
                Err(_) => Err(Refusal::Exists(what)),
            },
            Err(refusal) => Err(refusal),
        }
    }

    async fn delete_volume(&self, id: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        let record = match self.volume_record(id).await {
            Ok(record) => record,
            Err(Refusal::NotFound(_)) => return Ok(()),
            Err(refusal) => return Err(refusal),
        };
        self.expect_unused(&record.place).await?;
        self.together(self.removal(id, &record.place).await?).await
    }

    async fn volume(&self, id: &str) -> Result<Volume> {
        Ok(volume(id.to_owned(), &self.volume_record(id).await?))
    }

    async fn volumes(&self) -> Result<Vec<Volume>> {
        let records = self.records().await?.into_iter();
        let mine = records.filter(|(id, _)| Noun::Volume.has(id));
        mine.map(|(id, info)| {
            let record = decode(&id, &info.description)?;
            Ok(volume(id, &record))
        })
        .collect()
    }

    async fn create_snapshot(&self, wanted: &NewSnapshot) -> Result<Snapshot> {
        let _changing = self.changing.lock().await;
        if let Some(key) = wanted.parameters.keys().next() {
            return Err(Refusal::Invalid(format!("parameter {key:?} is not known")));
        }
        let id = Noun::Snapshot.id(&wanted.name);
        match self.same_snapshot(&id, wanted).await {
            Err(Refusal::NotFound(_)) => {}
            known => return known,
        }
        let place = self.volume_record(&wanted.volume_id).await?.place;
        let commit = self.head(&place, &place.branch).await?.unwrap_or_default();
        let size = self.size(&place, &commit).await?;
        let place = Place { branch: id.clone(), ..place };
        let (name, volume) = (wanted.name.clone(), wanted.volume_id.clone());
        let record = SnapshotRecord { name, volume, place, commit, size };
        let calls =
            vec![record_call(&id, encode(&record)?), branch_call(&record.place, &record.commit)];
        match self.together(calls).await {
            // Another instance may have been faster.
            Ok(()) | Err(Refusal::Exists(_)) => self.same_snapshot(&id, wanted).await,
            Err(refusal) => Err(refusal),
        }
    }

    async fn delete_snapshot(&self, id: &str) -> Result<()> {
        let _changing = self.changing.lock().await;
        let record = match self.snapshot_record(id).await {
            Ok((record, _)) => record,
            Err(Refusal::NotFound(_)) => return Ok(()),
            Err(refusal) => return Err(refusal),
        };
        self.together(self.removal(id, &record.place).await?).await
    }

    async fn snapshot(&self, id: &str) -> Result<Snapshot> {
        let (record, created) = self.snapshot_record(id).await?;
        Ok(snapshot(id.to_owned(), &record, created))
    }

    async fn snapshots(&self) -> Result<Vec<Snapshot>> {
        let records = self.records().await?.into_iter();
        let mine = records.filter(|(id, _)| Noun::Snapshot.has(id));
        mine.map(|(id, info)| {
            let (created, record) = (made(&info), decode(&id, &info.description)?);
            Ok(snapshot(id, &record, created))
        })
        .collect()
    }

    async fn is_ready(&self) -> Result<bool> {
        let asked = self.client.version().get_version(()).await;
        asked.map(|_| true).map_err(|status| refusal(&status))
    }
}
