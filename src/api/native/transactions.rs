//! Write transactions of mounts and volumes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_stream::try_stream;
use futures::Stream;
use tonic::Streaming;
use tonic::codegen::BoxStream;

use super::{Native, id_bytes, repo, repo_message};
use crate::api::convert::{parse, time, timestamp};
use crate::api::proto::pfs_v1 as pb;
use crate::api::service::{Services, all};
use crate::api::status::{Result, invalid, missing, refused, store, tree};
use crate::catalog::{TransactionRow, TransactionState};
use crate::chunk::{ChunkRef, Content};
use crate::model::{CommitId, PackId, TransactionId, TreePath};
use crate::repo::{Base, OpenTransaction, StageError, TransactionFilter};
use crate::tree::{Edit, Entry, EntryKind, Root};

/// The lease of a transaction that asks for none.
const LEASE: Duration = Duration::from_secs(60);

impl Native {
    pub(super) async fn open_transaction(
        &self,
        request: pb::OpenTransactionRequest,
    ) -> Result<pb::TransactionInfo> {
        let spec = OpenTransaction {
            branch: repo(request.repo.as_ref())?.branch(parse(&request.branch)?),
            lease: lease(request.lease_seconds),
            owner: request.owner,
            id: match request.id.is_empty() {
                true => None,
                false => Some(transaction_id(&request.id)?),
            },
            staging: request.staging,
            base: match request.base.as_deref() {
                None => Base::Newest,
                Some([]) => Base::Nothing,
                Some(id) => Base::Commit(commit_id(id)?),
            },
        };
        let row = self.services.repos.open_transaction(&spec).await.map_err(refused)?;
        self.transaction_info(&row).await
    }

    pub(super) async fn renew_transaction(
        &self,
        request: pb::RenewTransactionRequest,
    ) -> Result<pb::TransactionInfo> {
        let id = transaction_id(&request.id)?;
        let lease = lease(request.lease_seconds);
        let renewed = self.services.repos.renew_transaction(id, lease, request.sealing).await;
        let mut row = renewed.map_err(refused)?;
        if !request.base.is_empty() {
            let base = commit_id(&request.base)?;
            row = self.services.repos.rebase_transaction(id, base).await.map_err(refused)?;
        }
        self.transaction_info(&row).await
    }

    pub(super) async fn stage_transaction(
        &self,
        edits: Streaming<pb::TransactionEdits>,
    ) -> Result<pb::TransactionInfo> {
        let Staged { row, .. } = self.stage(edits).await?;
        self.transaction_info(&row).await
    }

    pub(super) async fn commit_transaction(
        &self,
        edits: Streaming<pb::TransactionEdits>,
    ) -> Result<pb::TransactionInfo> {
        let Staged { row, message, replaces } = self.stage(edits).await?;
        let Services { repos, .. } = &self.services;
        let done = repos.commit_transaction(row.id, &message, replaces).await;
        let row = done.map_err(refused)?;
        self.transaction_info(&row).await
    }

    /// Records the edits of a stream.
    async fn stage(&self, mut edits: Streaming<pb::TransactionEdits>) -> Result<Staged> {
        let mut first = edits.message().await?.ok_or_else(|| missing("transaction"))?;
        let id = transaction_id(&first.id)?;
        let message = std::mem::take(&mut first.message);
        let replaces = match first.replaces.is_empty() {
            true => None,
            false => Some(commit_id(&first.replaces)?),
        };
        let Services { repos, .. } = &self.services;
        let row = repos.transaction(id).await.map_err(refused)?;
        if row.state == TransactionState::Committed && first.edits.is_empty() {
            return Ok(Staged { row, message, replaces });
        }
        let base = repos.transaction_base(&row).await.map_err(refused)?;
        let base = match base.encoded.is_empty() {
            true => Root::empty(),
            false => Root::decode(&base.encoded).map_err(|error| tree(&error))?,
        };
        let complete = Arc::new(AtomicBool::new(false));
        let changes = changes(self.services.clone(), (first, edits), base, Arc::clone(&complete));
        let staged = repos.stage_transaction(id, changes).await;
        let mut row = staged.map_err(|error| match error {
            StageError::Refused(error) => refused(error),
            StageError::Source(status) => status,
        })?;
        if complete.load(Ordering::Acquire) {
            row = repos.seal_transaction(id).await.map_err(refused)?;
        }
        Ok(Staged { row, message, replaces })
    }

    pub(super) async fn abort_transaction(
        &self,
        request: pb::AbortTransactionRequest,
    ) -> Result<pb::TransactionInfo> {
        let id = transaction_id(&request.id)?;
        let aborted = self.services.repos.abort_transaction(id, &request.reason).await;
        self.transaction_info(&aborted.map_err(refused)?).await
    }

    pub(super) async fn inspect_transaction(
        &self,
        request: pb::InspectTransactionRequest,
    ) -> Result<pb::TransactionInfo> {
        let id = transaction_id(&request.id)?;
        let row = self.services.repos.transaction(id).await.map_err(refused)?;
        self.transaction_info(&row).await
    }

    pub(super) async fn list_transactions(
        &self,
        request: pb::ListTransactionsRequest,
    ) -> Result<BoxStream<pb::TransactionInfo>> {
        let wanted = TransactionFilter {
            states: request.states().map(state).collect::<Result<Vec<_>>>()?,
            branch: match &request.repo {
                Some(name) => Some(repo(Some(name))?.branch(parse(&request.branch)?)),
                None => None,
            },
            held: request.held,
        };
        let rows = self.services.repos.list_transactions(&wanted).await.map_err(refused)?;
        let mut infos = Vec::with_capacity(rows.len());
        for row in &rows {
            infos.push(self.transaction_info(row).await?);
        }
        Ok(all(infos))
    }

    async fn transaction_info(&self, row: &TransactionRow) -> Result<pb::TransactionInfo> {
        // The base may be squashed away after the transaction has ended.
        let base = self.services.repos.transaction_base(row).await.unwrap_or_default();
        let conflicts = match row.state {
            TransactionState::Conflict => row.reason.lines().map(str::to_owned).collect(),
            TransactionState::Open
            | TransactionState::Sealing
            | TransactionState::Sealed
            | TransactionState::Committed
            | TransactionState::Aborted
            | TransactionState::Orphaned => Vec::new(),
        };
        let reason = match conflicts.as_slice() {
            [] => row.reason.clone(),
            [one] => format!("{one} was changed by another commit too"),
            [first, ..] => {
                let others = conflicts.len() - 1;
                format!("{first} and {others} more paths were changed by another commit too")
            }
        };
        Ok(pb::TransactionInfo {
            id: row.id.as_bytes().to_vec(),
            repo: Some(repo_message(&row.branch.repo)),
            branch: row.branch.name.as_str().to_owned(),
            state: state_message(row.state).into(),
            base: row.base.map(id_bytes).unwrap_or_default(),
            base_root: base.encoded.to_vec(),
            staged_root: row.root.encoded.to_vec(),
            commit: row.commit.map(id_bytes).unwrap_or_default(),
            opened: Some(time(row.created)),
            lease_expires: Some(time(row.lease_until)),
            owner: row.host.clone(),
            staging: row.staging.clone(),
            reason,
            conflicts,
        })
    }
}

fn lease(seconds: u32) -> Duration {
    match seconds {
        0 => LEASE,
        seconds => Duration::from_secs(seconds.into()),
    }
}

fn transaction_id(bytes: &[u8]) -> Result<TransactionId> {
    match bytes.try_into() {
        Ok(id) => Ok(TransactionId::new(id)),
        Err(_) => Err(invalid("a transaction id has 16 bytes")),
    }
}

fn commit_id(bytes: &[u8]) -> Result<CommitId> {
    match bytes.try_into() {
        Ok(id) => Ok(CommitId::new(id)),
        Err(_) => Err(invalid("a commit id has 16 bytes")),
    }
}

/// A transaction after edits were recorded, and what came with them.
struct Staged {
    row: TransactionRow,
    message: String,
    replaces: Option<CommitId>,
}

/// Edits as changes of a tree; grafts take from `base`. Content must be in
/// the store already. `complete` becomes true when the stream says so.
fn changes(
    services: Services,
    (first, mut rest): (pb::TransactionEdits, Streaming<pb::TransactionEdits>),
    base: Root,
    complete: Arc<AtomicBool>,
) -> impl Stream<Item = Result<(TreePath, Edit)>> {
    try_stream! {
        let mut stored = Stored::new(&services);
        let mut next = Some(first);
        while let Some(batch) = next {
            complete.fetch_or(batch.complete, Ordering::AcqRel);
            for edit in batch.edits {
                let path: TreePath = parse(&edit.path)?;
                let change = change(edit, base)?;
                if let Edit::Put(entry) | Edit::Replace(entry) = &change
                    && let EntryKind::File(content) = &entry.kind
                {
                    stored.expect(content).await?;
                }
                yield (path, change);
            }
            next = rest.message().await?;
        }
    }
}

/// What a client says is in the store, checked with one request per pack.
pub(super) struct Stored {
    services: Services,
    /// The sizes of the packs asked for.
    sizes: HashMap<PackId, u64>,
}

impl Stored {
    pub(super) fn new(services: &Services) -> Self {
        Self { services: services.clone(), sizes: HashMap::new() }
    }

    /// Refuses content whose packs are not there, or end before it does.
    pub(super) async fn expect(&mut self, content: &Content) -> Result<()> {
        for chunk in content.chunks() {
            let size = match self.sizes.get(&chunk.pack) {
                Some(size) => *size,
                None => self.ask(chunk.pack).await?,
            };
            if chunk.span().end > size {
                let (id, pack) = (chunk.id, chunk.pack);
                return Err(invalid(format!("chunk {id} is beyond the end of pack {pack}")));
            }
        }
        Ok(())
    }

    async fn ask(&mut self, pack: PackId) -> Result<u64> {
        let key = format!("packs/{}/{pack}", &pack.to_hex()[..2]);
        let size = self.services.blobs.store().head(&key).await.map_err(|e| store(&e))?;
        self.sizes.insert(pack, size);
        Ok(size)
    }
}

fn change(edit: pb::EntryEdit, base: Root) -> Result<Edit> {
    match edit.edit.ok_or_else(|| missing("edit"))? {
        pb::entry_edit::Edit::Remove(_) => Ok(Edit::Remove),
        pb::entry_edit::Edit::Graft(path) => Ok(Edit::Graft { source: base, path: parse(&path)? }),
        pb::entry_edit::Edit::Put(put) => {
            let entry = entry(put)?;
            Ok(if entry.is_dir() { Edit::Put(entry) } else { Edit::Replace(entry) })
        }
    }
}

fn entry(message: pb::Entry) -> Result<Entry> {
    let kind = match message.kind.ok_or_else(|| missing("kind of entry"))? {
        pb::entry::Kind::Directory(_) => EntryKind::Dir,
        pb::entry::Kind::Symlink(target) => EntryKind::Symlink(target),
        pb::entry::Kind::File(file) => EntryKind::File(content(file)?),
    };
    let mtime = message.mtime.as_ref().map(timestamp).unwrap_or_default();
    Ok(Entry { kind, mode: message.mode, mtime })
}

pub(super) fn content(message: pb::Content) -> Result<Content> {
    if message.chunks.is_empty() {
        return Ok(Content::Inline(message.inline));
    }
    let chunks = message.chunks.iter().map(place).collect::<Result<Vec<_>>>()?;
    Ok(Content::Chunks(chunks.into()))
}

fn place(message: &pb::ChunkRef) -> Result<ChunkRef> {
    let bad = |_| invalid("a chunk id has 32 bytes, a pack id 16");
    let id: [u8; 32] = message.id.as_slice().try_into().map_err(bad)?;
    let pack: [u8; 16] = message.pack.as_slice().try_into().map_err(bad)?;
    let span = (message.offset, message.stored);
    ChunkRef::checked(id.into(), pack.into(), span, message.len)
        .ok_or_else(|| invalid("no pack can hold a chunk of these sizes"))
}

fn state(message: pb::TransactionState) -> Result<TransactionState> {
    match message {
        pb::TransactionState::Unknown => Err(invalid("unknown transaction state")),
        pb::TransactionState::Open => Ok(TransactionState::Open),
        pb::TransactionState::Sealing => Ok(TransactionState::Sealing),
        pb::TransactionState::Sealed => Ok(TransactionState::Sealed),
        pb::TransactionState::Committed => Ok(TransactionState::Committed),
        pb::TransactionState::Conflict => Ok(TransactionState::Conflict),
        pb::TransactionState::Aborted => Ok(TransactionState::Aborted),
        pb::TransactionState::Orphaned => Ok(TransactionState::Orphaned),
    }
}

fn state_message(state: TransactionState) -> pb::TransactionState {
    match state {
        TransactionState::Open => pb::TransactionState::Open,
        TransactionState::Sealing => pb::TransactionState::Sealing,
        TransactionState::Sealed => pb::TransactionState::Sealed,
        TransactionState::Committed => pb::TransactionState::Committed,
        TransactionState::Conflict => pb::TransactionState::Conflict,
        TransactionState::Aborted => pb::TransactionState::Aborted,
        TransactionState::Orphaned => pb::TransactionState::Orphaned,
    }
}
