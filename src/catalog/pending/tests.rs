//! What is pending reads as it will be once it is applied.

use std::sync::Arc;

use super::*;
use crate::catalog::contract::{
    branch_row, commit, commit_row, id, master, pipeline_row, repo, time,
};
use crate::catalog::{StoredRoot, Trigger};

/// Everything that differs between catalogs, but for numbers given on insert.
async fn seen(catalog: &dyn Catalog) -> Vec<String> {
    let mut seen = Vec::new();
    let mut repos = catalog.repos(None).await.unwrap();
    repos.sort_by_key(|row| row.repo.clone());
    for row in &repos {
        seen.push(format!("{row:?}"));
        let mut branches = catalog.branches(&row.repo).await.unwrap();
        branches.sort_by_key(|row| row.branch.clone());
        for branch in &branches {
            assert_eq!(catalog.branch(&branch.branch).await.unwrap().as_ref(), Some(branch));
            let below = catalog.downstream(std::slice::from_ref(&branch.branch)).await.unwrap();
            let mut below: Vec<_> = below.into_iter().map(|row| row.branch).collect();
            below.sort();
            seen.push(format!("{branch:?} -> {below:?}"));
        }
        for commit in catalog.commits(&CommitQuery::newest(row.repo.clone())).await.unwrap() {
            seen.push(told(catalog, commit).await);
        }
    }
    for row in catalog.pipelines(None).await.unwrap() {
        let versions = catalog.pipeline_versions(&row.pipeline).await.unwrap();
        seen.push(format!("{row:?} of {}", versions.len()));
    }
    seen
}

async fn told(catalog: &dyn Catalog, row: CommitRow) -> String {
    let commit = row.commit.clone();
    let id = |row: Option<CommitRow>| row.map(|row| row.commit.id);
    let mut backs = Vec::new();
    for back in [Back::Steps(0), Back::Steps(1), Back::Steps(9), Back::Number(1), Back::Good] {
        backs.push(id(catalog.ancestor(&commit, back).await.unwrap()));
    }
    let line = catalog.ancestors(&commit, None, 2).await.unwrap();
    let line: Vec<_> = line.into_iter().map(|row| row.commit.id).collect();
    let children = catalog.children(&commit).await.unwrap();
    let set = catalog.commit_set(commit.id).await.unwrap().len();
    let mut at = catalog.branches_at(&commit).await.unwrap();
    at.sort_by_key(|row| row.branch.clone());
    let at: Vec<_> = at.into_iter().map(|row| row.branch).collect();
    let row = CommitRow { seq: 0, ..row };
    format!("{row:?} {backs:?} {line:?} {children:?} {set} {at:?}")
}

async fn base() -> (Arc<dyn Catalog>, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("catalog.db").display());
    let catalog = crate::catalog::open(&url, Arc::new(crate::model::SystemClock)).await.unwrap();
    let name = ProjectName::default_project();
    let project = ProjectRow { name, description: String::new(), created: time(0) };
    let mut ops = vec![Op::CreateProject(project)];
    for name in ["a", "b", "gone"] {
        let created = time(1);
        ops.push(Op::CreateRepo(RepoRow { repo: repo(name), description: String::new(), created }));
    }
    ops.extend([
        Op::CreateCommit(CommitRow { finished: Some(time(2)), ..commit_row("a", 1, None) }),
        Op::CreateCommit(commit_row("a", 2, Some(1))),
        Op::CreateBranch(branch_row(master("a"), Some(2), vec![])),
        Op::CreateBranch(branch_row(master("b"), None, vec![master("a")])),
        Op::CreateCommit(commit_row("gone", 3, None)),
        Op::CreateBranch(branch_row(master("gone"), Some(3), vec![])),
        Op::PutPipeline { row: pipeline_row("p", 1), expected: None },
    ]);
    catalog.apply(ops).await.unwrap();
    (catalog, dir)
}

fn new_repo(name: &str) -> Op {
    let (repo, description) = (repo(name), "new".to_owned());
    Op::CreateRepo(RepoRow { repo, description, created: time(5) })
}

fn changes() -> Vec<Op> {
    let finish = Op::FinishCommit {
        commit: commit("a", 2),
        expected: Some(commit_row("a", 2, Some(1)).root.encoded),
        root: StoredRoot { encoded: Bytes::from_static(b"tree"), files: 2, bytes: 3 },
        description: Some("done".to_owned()),
        error: None,
        finished: time(9),
    };
    let trigger = Some(Trigger { branch: "master".to_owned(), commits: 2, ..Trigger::default() });
    let side = repo("a").branch("side".parse().unwrap());
    vec![
        finish,
        Op::CreateCommit(commit_row("a", 4, Some(2))),
        Op::MoveHead { branch: master("a"), expected: Some(id(2)), new: Some(id(4)) },
        Op::CreateBranch(branch_row(side.clone(), Some(1), vec![])),
        Op::SetTrigger { branch: side, trigger },
        new_repo("c"),
        Op::CreateBranch(branch_row(master("c"), None, vec![master("b")])),
        Op::SetProvenance { branch: master("b"), expected: vec![master("a")], new: vec![] },
        Op::DeleteRepo(repo("gone")),
        new_repo("gone"),
        Op::DescribeRepo { repo: repo("a"), description: "changed".to_owned() },
        Op::PutPipeline { row: pipeline_row("p", 2), expected: Some(1) },
        Op::PutPipeline { row: pipeline_row("q", 1), expected: None },
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_reads_as_it_will_be() {
    let (base, _dir) = base().await;
    let before = seen(base.as_ref()).await;
    let pending = Pending::on(Arc::clone(&base)).await.unwrap();
    assert_eq!(seen(&pending).await, before);
    for op in changes() {
        pending.apply(vec![op]).await.unwrap();
    }
    let planned = seen(&pending).await;
    assert_eq!(seen(base.as_ref()).await, before, "nothing happens before it is applied");
    base.apply(pending.batch()).await.unwrap();
    assert_eq!(seen(base.as_ref()).await, planned);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_is_guarded_like_what_is_there() {
    let (base, _dir) = base().await;
    let pending = Pending::on(base).await.unwrap();
    pending.apply(changes()).await.unwrap();
    let kept = pending.batch().len();
    for op in [
        new_repo("c"),
        Op::CreateCommit(commit_row("a", 4, None)),
        Op::CreateBranch(branch_row(master("c"), None, vec![])),
        Op::MoveHead { branch: master("a"), expected: Some(id(2)), new: None },
        Op::MoveHead { branch: master("a"), expected: Some(id(4)), new: Some(id(77)) },
        Op::DeleteBranch { branch: master("b"), expected: None },
        Op::DeleteRepo(repo("b")),
        Op::ExpectOpen { commit: commit("a", 2), open: true },
        Op::PutPipeline { row: pipeline_row("p", 2), expected: Some(1) },
    ] {
        let refused = pending.apply(vec![new_repo("never"), op.clone()]).await;
        assert!(matches!(refused, Err(CatalogError::Conflict { .. })), "{op:?}: {refused:?}");
    }
    let unplannable = pending.apply(vec![Op::DropFileSets(time(1))]).await.unwrap_err();
    assert!(unplannable.to_string().contains("DropFileSets"), "{unplannable}");
    assert_eq!(pending.batch().len(), kept);
    assert_eq!(pending.repo(&repo("never")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_pending_conflicts_with_what_happened_meanwhile() {
    let (base, _dir) = base().await;
    let pending = Pending::on(Arc::clone(&base)).await.unwrap();
    pending.apply(changes()).await.unwrap();
    base.apply(vec![new_repo("c")]).await.unwrap();
    let before = seen(base.as_ref()).await;
    let refused = base.apply(pending.batch()).await;
    assert!(matches!(refused, Err(CatalogError::Conflict { .. })), "{refused:?}");
    assert_eq!(seen(base.as_ref()).await, before);
}
