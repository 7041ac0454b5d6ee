//! Writes: guarded operations, applied together or not at all.

use bytes::Bytes;

use super::records::{FileSetRow, GatheredRow, PackRow, SecretRow};
use super::rows::{
    BranchRow, CommitRow, DatumRow, DatumState, Job, JobCounters, JobRow, JobState, Pipeline,
    PipelineRow, PipelineState, ProjectRow, RepoRow, StoredRoot, TransactionRow, TransactionState,
    Trigger,
};
use crate::model::{
    Branch, Commit, CommitId, FileSetId, PackId, ProjectName, Repo, Timestamp, TransactionId,
};

/// One guarded write.
///
/// Unless an operation says otherwise: inserting what exists, and changing or
/// deleting what does not exist or is not as expected, is a conflict. Every
/// operation on a project, repo, branch, commit, pipeline, job state,
/// transaction state or secret records its [`Event`](super::Event) by itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Inserts a project.
    CreateProject(ProjectRow),
    /// Changes what a project says about itself.
    DescribeProject {
        /// The project.
        name: ProjectName,
        /// The new description.
        description: String,
    },
    /// Deletes a project; a conflict while it holds a repo or pipeline.
    DeleteProject(ProjectName),

    /// Inserts a repo; its project must exist.
    CreateRepo(RepoRow),
    /// Changes what a repo says about itself.
    DescribeRepo {
        /// The repo.
        repo: Repo,
        /// The new description.
        description: String,
    },
    /// Deletes a repo with its branches, commits and their provenance; a
    /// conflict while a branch of another repo derives from one of its own.
    DeleteRepo(Repo),

    /// Inserts a branch; head and provenance must exist.
    CreateBranch(BranchRow),
    /// Moves a head by compare-and-swap; the new head must exist.
    MoveHead {
        /// The branch.
        branch: Branch,
        /// Where its head must be.
        expected: Option<CommitId>,
        /// Where it goes.
        new: Option<CommitId>,
    },
    /// Changes what a branch derives from, by compare-and-swap.
    SetProvenance {
        /// The branch.
        branch: Branch,
        /// What it must derive from.
        expected: Vec<Branch>,
        /// What it will derive from.
        new: Vec<Branch>,
    },
    /// Sets or clears a branch's trigger.
    SetTrigger {
        /// The branch.
        branch: Branch,
        /// The new trigger.
        trigger: Option<Trigger>,
    },
    /// Deletes a branch, not its commits; a conflict while another branch
    /// derives from it.
    DeleteBranch {
        /// The branch.
        branch: Branch,
        /// Where its head must be.
        expected: Option<CommitId>,
    },
    /// A guard alone: the branch exists and its head is as expected.
    ExpectHead {
        /// The branch.
        branch: Branch,
        /// Where its head must be.
        expected: Option<CommitId>,
    },
    /// A guard alone: the commit exists and is open, or is finished.
    ExpectOpen {
        /// The commit.
        commit: Commit,
        /// Whether it must be open.
        open: bool,
    },
    /// A guard alone: no branch's provenance has changed since
    /// [`Catalog::wiring`](super::Catalog::wiring) answered this.
    ExpectWiring(u64),

    /// Inserts a commit; repo, parent and provenance must exist. `seq` and
    /// `number` are assigned here.
    CreateCommit(CommitRow),
    /// Replaces the tree of an open commit by compare-and-swap. Does nothing
    /// when the tree is already the new one.
    SetRoot {
        /// The commit.
        commit: Commit,
        /// The tree it must have.
        expected: Bytes,
        /// The tree it will have.
        new: StoredRoot,
    },
    /// Finishes an open commit.
    FinishCommit {
        /// The commit.
        commit: Commit,
        /// The tree it must have; `None` where only its opener writes it.
        expected: Option<Bytes>,
        /// Its final tree.
        root: StoredRoot,
        /// Replaces the description when given.
        description: Option<String>,
        /// Why it failed, if it did.
        error: Option<String>,
        /// When.
        finished: Timestamp,
    },
    /// Changes what a commit says about itself, open or finished.
    DescribeCommit {
        /// The commit.
        commit: Commit,
        /// The new description.
        description: String,
    },
    /// Gives a commit another parent. Numbers stay.
    Reparent {
        /// The commit.
        commit: Commit,
        /// The parent it must have.
        expected: Option<CommitId>,
        /// The parent it will have: an ancestor, or none.
        new: Option<CommitId>,
    },
    /// Deletes a commit and its job; a conflict while it is a head, a parent
    /// or in another commit's provenance.
    DeleteCommit(Commit),

    /// Inserts version 1 of a pipeline or the version after `expected`.
    PutPipeline {
        /// The version.
        row: PipelineRow,
        /// The current version; `None` when there must be no such pipeline.
        expected: Option<u64>,
    },
    /// Changes the state of a pipeline's current version.
    SetPipelineState {
        /// The pipeline.
        pipeline: Pipeline,
        /// The new state.
        state: PipelineState,
        /// Why; may be empty.
        reason: String,
        /// Whether the user stopped it.
        stopped: bool,
    },
    /// Deletes a pipeline's versions and jobs, not its repos.
    DeletePipeline(Pipeline),

    /// Inserts a job.
    CreateJob(JobRow),
    /// Changes a job that is in one of the expected states.
    UpdateJob {
        /// The job.
        job: Job,
        /// The states it may be in; empty: any state.
        expected: Vec<JobState>,
        /// What changes.
        change: JobChange,
    },
    /// Adds to a job's counters; records no event.
    AddJobProgress {
        /// The job.
        job: Job,
        /// The amounts to add.
        delta: JobCounters,
    },
    /// Deletes a job and its datums, not its output.
    DeleteJob(Job),

    /// Inserts datums of a job; one that is already there is left as it is.
    CreateDatums {
        /// The job.
        job: Job,
        /// The datums.
        datums: Vec<DatumRow>,
    },
    /// Extends every claim that `worker` holds on datums of the job; does
    /// nothing when it holds none.
    RenewDatums {
        /// The job.
        job: Job,
        /// The holder.
        worker: String,
        /// When the claims lapse now.
        until: Timestamp,
    },
    /// Ends a claimed datum; a conflict unless `worker` still holds it.
    CompleteDatum {
        /// The job.
        job: Job,
        /// The datum.
        index: u64,
        /// The holder.
        worker: String,
        /// What became of it; `Waiting` gives it back for another try.
        state: DatumState,
        /// What came of it, as the worker encodes it.
        outcome: Bytes,
    },
    /// Gives back every claim that `worker` holds on datums of the job.
    ReleaseDatums {
        /// The job.
        job: Job,
        /// The holder.
        worker: String,
    },
    /// Deletes all datums of a job.
    DeleteDatums(Job),

    /// Inserts a write transaction.
    CreateTransaction(TransactionRow),
    /// Changes a write transaction that is in one of the expected states.
    UpdateTransaction {
        /// The transaction.
        id: TransactionId,
        /// The states it may be in.
        expected: Vec<TransactionState>,
        /// What changes.
        change: TransactionChange,
    },
    /// A guard alone: what the transaction has uploaded is this tree.
    ExpectStaged {
        /// The transaction.
        id: TransactionId,
        /// The tree it must have.
        root: Bytes,
    },
    /// Extends the lease of a transaction that is neither committed nor
    /// aborted; an orphaned one is open again. Records no event.
    RenewTransaction {
        /// The transaction.
        id: TransactionId,
        /// When the lease lapses now.
        until: Timestamp,
    },
    /// A guard alone: the transaction exists and its lease lapsed before then.
    ExpectLapsed {
        /// The transaction.
        id: TransactionId,
        /// The moment.
        before: Timestamp,
    },
    /// Drops a transaction's row.
    DeleteTransaction(TransactionId),

    /// Inserts gathered calls, or replaces those at version `expected`.
    PutGathered {
        /// The calls; their version must be another.
        row: GatheredRow,
        /// The version there must be; `None` when there must be none.
        expected: Option<u64>,
    },
    /// Drops gathered calls that are at this version.
    DeleteGathered {
        /// Their id.
        id: CommitId,
        /// The version they must have.
        version: u64,
    },

    /// Inserts a file set.
    CreateFileSet(FileSetRow),
    /// Lets a file set live until another time.
    RenewFileSet {
        /// The file set.
        id: FileSetId,
        /// When it counts as gone.
        until: Timestamp,
    },
    /// Drops the file sets that count as gone at this time.
    DropFileSets(Timestamp),

    /// Inserts or replaces a secret.
    PutSecret(SecretRow),
    /// Deletes a secret.
    DeleteSecret(String),

    /// Records a pack; one that is already there is left as it is.
    CreatePack(PackRow),
    /// Forgets a pack; one that is not there is no conflict.
    DeletePack(PackId),

    /// Takes or renews a named lease; a conflict while another holder's has
    /// not lapsed at `now`.
    TakeLease {
        /// Its name.
        name: String,
        /// Who wants it.
        holder: String,
        /// The current time.
        now: Timestamp,
        /// When it will lapse.
        until: Timestamp,
    },
    /// Gives a named lease up; does nothing unless `holder` has it.
    DropLease {
        /// Its name.
        name: String,
        /// Who has it.
        holder: String,
    },

    /// Records that a consumer needs no event up to `seq` any more. Never
    /// moves it back.
    Acknowledge {
        /// The consumer.
        consumer: String,
        /// The last event it is done with.
        seq: u64,
    },
    /// Drops the oldest events that every consumer has acknowledged, but keeps
    /// the newest `keep`.
    TrimEvents {
        /// How many to keep.
        keep: u64,
        /// How many to drop at most.
        most: u64,
    },
    /// Sets a value of the installation itself, e.g. its id.
    PutSetting {
        /// Its key.
        key: String,
        /// Its value.
        value: Bytes,
    },
    /// Forgets a value of the installation; one that is not there is no
    /// conflict.
    DeleteSetting(String),
}

/// What changes about a job; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JobChange {
    /// The new state; a terminal one sets `finished` too.
    pub state: Option<JobState>,
    /// The new reason.
    pub reason: Option<String>,
    /// Replaces all counters.
    pub counters: Option<JobCounters>,
    /// The job whose datum table it started from.
    pub base: Option<CommitId>,
    /// When it began to plan.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// Whether its execution was taken up again: adds one restart.
    pub restarted: bool,
}

/// What changes about a transaction; `None` leaves a field as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TransactionChange {
    /// The new state.
    pub state: Option<TransactionState>,
    /// The new base: after a merge with a moved head.
    pub base: Option<CommitId>,
    /// The encoded root of that base.
    pub base_root: Option<Bytes>,
    /// The tree uploaded so far.
    pub root: Option<StoredRoot>,
    /// The message its commit will carry.
    pub message: Option<String>,
    /// Why it is in conflict or was aborted.
    pub reason: Option<String>,
    /// The commit it became.
    pub commit: Option<CommitId>,
    /// Its new holder's host, after a recovery.
    pub host: Option<String>,
    /// When the lease lapses now.
    pub lease_until: Option<Timestamp>,
}

impl TransactionChange {
    /// Writes what changes into the row.
    pub fn apply_to(self, row: &mut TransactionRow) {
        row.state = self.state.unwrap_or(row.state);
        row.base = self.base.or(row.base);
        row.base_root = self.base_root.or(row.base_root.take());
        row.commit = self.commit.or(row.commit);
        row.lease_until = self.lease_until.unwrap_or(row.lease_until);
        let texts = [
            (self.message, &mut row.message),
            (self.reason, &mut row.reason),
            (self.host, &mut row.host),
        ];
        for (new, text) in texts {
            if let Some(new) = new {
                *text = new;
            }
        }
        if let Some(root) = self.root {
            row.root = root;
        }
    }
}
