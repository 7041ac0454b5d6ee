use super::*;

/// What a failing batch did before it failed is undone; batches beside it are
/// not touched.
pub async fn a_batch_is_applied_whole_or_not_at_all(catalog: Fresh) {
    repos(&catalog, &["a"]).await;
    let batches = (0..50_u64).map(|n| {
        let mut batch = vec![Op::CreateCommit(commit_row("a", n, None))];
        if n % 3 == 0 {
            batch.push(Op::CreateCommit(commit_row("missing", n, None)));
        }
        let catalog = Arc::clone(&catalog);
        tokio::spawn(async move { catalog.apply(batch).await.is_ok() })
    });
    for (n, done) in futures::future::join_all(batches).await.into_iter().enumerate() {
        let there = catalog.commit(&commit("a", n as u64)).await.unwrap().is_some();
        assert_eq!((done.unwrap(), there), (n % 3 != 0, n % 3 != 0), "{n}");
    }
}

pub async fn guards_hold(catalog: Fresh) {
    repos(&catalog, &["a", "b"]).await;
    let open = Op::CreateCommit(commit_row("a", 1, None));
    let branch = Op::CreateBranch(branch_row(master("a"), Some(1), vec![]));
    catalog.apply(vec![open.clone(), branch.clone()]).await.unwrap();
    let exists = RepoRow { repo: repo("a"), description: String::new(), created: time(0) };
    let elsewhere = Repo { project: "lab".parse().unwrap(), ..repo("c") };
    let unowned = RepoRow { repo: elsewhere, ..exists.clone() };
    let head = |expected: Option<u64>, new: Option<u64>| Op::MoveHead {
        branch: master("a"),
        expected: expected.map(id),
        new: new.map(id),
    };
    for op in [
        Op::CreateRepo(exists),
        Op::CreateRepo(unowned),
        Op::DescribeRepo { repo: repo("z"), description: String::new() },
        open,
        branch,
        Op::CreateBranch(branch_row(master("z"), None, vec![])),
        Op::CreateBranch(branch_row(master("b"), Some(1), vec![])),
        Op::CreateBranch(branch_row(master("b"), None, vec![master("z")])),
        Op::CreateCommit(commit_row("a", 2, Some(7))),
        head(None, Some(1)),
        head(Some(2), Some(1)),
        head(Some(1), Some(9)),
        Op::ExpectHead { branch: master("a"), expected: None },
        Op::ExpectHead { branch: master("z"), expected: None },
        Op::ExpectOpen { commit: commit("a", 1), open: false },
        Op::ExpectOpen { commit: commit("a", 2), open: true },
        Op::SetProvenance { branch: master("a"), expected: vec![master("b")], new: vec![] },
        Op::DeleteBranch { branch: master("a"), expected: None },
        Op::Reparent { commit: commit("a", 1), expected: Some(id(1)), new: None },
    ] {
        refused(&catalog, op).await;
    }
    catalog
        .apply(vec![Op::ExpectHead { branch: master("a"), expected: Some(id(1)) }])
        .await
        .unwrap();
    catalog.apply(vec![head(Some(1), None)]).await.unwrap();
    assert_eq!(catalog.branch(&master("a")).await.unwrap().unwrap().head, None);
}

pub async fn deletions_spare_what_is_needed(catalog: Fresh) {
    repos(&catalog, &["a", "b"]).await;
    let derived = CommitRow { provenance: vec![commit("a", 1)], ..commit_row("b", 1, None) };
    let ops = vec![
        Op::CreateCommit(commit_row("a", 1, None)),
        Op::CreateCommit(commit_row("a", 2, Some(1))),
        Op::CreateCommit(derived),
        Op::CreateBranch(branch_row(master("a"), Some(2), vec![])),
        Op::CreateBranch(branch_row(master("b"), None, vec![master("a")])),
    ];
    catalog.apply(ops).await.unwrap();
    for op in [
        Op::DeleteProject(ProjectName::default_project()),
        Op::DeleteRepo(repo("a")),
        Op::DeleteBranch { branch: master("a"), expected: Some(id(2)) },
        // A parent, with something derived from it; a head.
        Op::DeleteCommit(commit("a", 1)),
        Op::DeleteCommit(commit("a", 2)),
    ] {
        refused(&catalog, op).await;
    }
    let ops = vec![
        Op::DeleteRepo(repo("b")),
        Op::MoveHead { branch: master("a"), expected: Some(id(2)), new: Some(id(1)) },
        Op::DeleteCommit(commit("a", 2)),
    ];
    catalog.apply(ops).await.unwrap();
    assert_eq!(catalog.commits_by_prefix(&repo("a"), "00000000", 9).await.unwrap(), [id(1)]);
    catalog.apply(vec![Op::DeleteRepo(repo("a"))]).await.unwrap();
    catalog.apply(vec![Op::DeleteProject(ProjectName::default_project())]).await.unwrap();
    assert_eq!(catalog.check().await.unwrap(), Vec::<String>::new());
}

pub async fn wiring_grows_with_provenance(catalog: Fresh) {
    repos(&catalog, &["a", "b"]).await;
    let before = catalog.wiring().await.unwrap();
    catalog.apply(vec![Op::CreateBranch(branch_row(master("a"), None, vec![]))]).await.unwrap();
    assert_eq!(catalog.wiring().await.unwrap(), before);
    let wired = Op::CreateBranch(branch_row(master("b"), None, vec![master("a")]));
    catalog.apply(vec![Op::ExpectWiring(before), wired]).await.unwrap();
    refused(&catalog, Op::ExpectWiring(before)).await;
    let created = catalog.wiring().await.unwrap();
    assert!(created > before);
    let cut =
        Op::SetProvenance { branch: master("b"), expected: vec![master("a")], new: Vec::new() };
    catalog.apply(vec![cut]).await.unwrap();
    assert!(catalog.wiring().await.unwrap() > created);
}

pub async fn concurrent_moves_of_one_head_have_one_winner(catalog: Fresh) {
    repos(&catalog, &["a"]).await;
    let mut ops: Vec<_> = (0..20).map(|n| Op::CreateCommit(commit_row("a", n, None))).collect();
    ops.push(Op::CreateBranch(branch_row(master("a"), None, vec![])));
    catalog.apply(ops).await.unwrap();
    let moves = (0..20).map(|n| {
        let catalog = Arc::clone(&catalog);
        let op = Op::MoveHead { branch: master("a"), expected: None, new: Some(id(n)) };
        tokio::spawn(async move { (n, catalog.apply(vec![op]).await.is_ok()) })
    });
    let moves = futures::future::join_all(moves).await;
    let won: Vec<_> = moves.into_iter().map(|m| m.unwrap()).filter(|(_, won)| *won).collect();
    assert_eq!(won.len(), 1);
    let head = catalog.branch(&master("a")).await.unwrap().unwrap().head;
    assert_eq!(head, Some(id(won[0].0)));
}

pub async fn roots_move_by_compare_and_swap(catalog: Fresh) {
    repos(&catalog, &["a"]).await;
    catalog.apply(vec![Op::CreateCommit(commit_row("a", 1, None))]).await.unwrap();
    let set = |expected: &'static str, new| Op::SetRoot {
        commit: commit("a", 1),
        expected: Bytes::from_static(expected.as_bytes()),
        new: root(new),
    };
    catalog.apply(vec![set("root", "one")]).await.unwrap();
    catalog.apply(vec![set("root", "one")]).await.unwrap();
    refused(&catalog, set("root", "two")).await;
    let finish = |expected: &'static str| Op::FinishCommit {
        commit: commit("a", 1),
        expected: Some(Bytes::from_static(expected.as_bytes())),
        root: root("final"),
        description: Some("done".into()),
        error: None,
        finished: time(9),
    };
    refused(&catalog, finish("root")).await;
    catalog.apply(vec![finish("one")]).await.unwrap();
    refused(&catalog, finish("one")).await;
    refused(&catalog, set("final", "more")).await;
    let row = catalog.commit(&commit("a", 1)).await.unwrap().unwrap();
    let expected = CommitRow {
        seq: row.seq,
        number: 1,
        root: root("final"),
        finished: Some(time(9)),
        description: "done".into(),
        ..commit_row("a", 1, None)
    };
    assert_eq!(row, expected);
}
