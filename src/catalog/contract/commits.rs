use super::*;
use crate::catalog::{Back, CommitQuery, Reach};

pub async fn commits_are_found_by_every_key(catalog: Fresh) {
    repos(&catalog, &["a", "b"]).await;
    for n in 1..=6 {
        let parent = (n > 1).then(|| n - 1);
        let origin = if n % 2 == 0 { Origin::Auto } else { Origin::User };
        let row = CommitRow { origin, ..commit_row("a", n, parent) };
        let other = CommitRow { branch: None, ..commit_row("b", n, parent) };
        catalog.apply(vec![Op::CreateCommit(row), Op::CreateCommit(other)]).await.unwrap();
    }
    let numbers = |rows: &[CommitRow]| rows.iter().map(|row| row.number).collect::<Vec<_>>();
    let query = CommitQuery::newest(repo("a"));
    let all = catalog.commits(&query).await.unwrap();
    assert_eq!(numbers(&all), [6, 5, 4, 3, 2, 1]);
    let ask = CommitQuery { before: Some(all[1].seq), limit: 2, ..query.clone() };
    assert_eq!(numbers(&catalog.commits(&ask).await.unwrap()), [4, 3]);
    let ask = CommitQuery { after: Some(all[2].seq), oldest_first: true, ..query.clone() };
    assert_eq!(numbers(&catalog.commits(&ask).await.unwrap()), [5, 6]);
    let ask = CommitQuery { origin: Some(Origin::Auto), ..query.clone() };
    assert_eq!(numbers(&catalog.commits(&ask).await.unwrap()), [6, 4, 2]);
    let branch = Some("master".parse().unwrap());
    let ask = CommitQuery { branch, ..CommitQuery::newest(repo("b")) };
    assert_eq!(catalog.commits(&ask).await.unwrap(), []);
    let set = catalog.commit_set(id(3)).await.unwrap();
    assert_eq!(
        set.iter().map(|row| row.commit.clone()).collect::<Vec<_>>(),
        [commit("a", 3), commit("b", 3)]
    );
    let sets = catalog.commit_sets(None, 2).await.unwrap();
    assert_eq!(sets.iter().map(|set| set.0).collect::<Vec<_>>(), [id(6), id(5)]);
    let sets = catalog.commit_sets(Some(sets[1].1), 9).await.unwrap();
    assert_eq!(sets.len(), 4);
    let found = catalog.commits_by_prefix(&repo("a"), "000000000000000", 2).await.unwrap();
    assert_eq!(found, [id(1), id(2)]);
    assert_eq!(catalog.commits_by_prefix(&repo("a"), "01", 2).await.unwrap(), []);
    assert_eq!(catalog.commits_by_prefix(&repo("a"), "zz", 2).await.unwrap(), []);
    let found = catalog.sets_by_prefix("000000000000000", 3).await.unwrap();
    assert_eq!(found, [id(1), id(2), id(3)]);
    assert_eq!(catalog.sets_by_prefix("01", 2).await.unwrap(), []);
    assert_eq!(catalog.children(&commit("a", 3)).await.unwrap(), [id(4)]);
    assert_eq!(catalog.commit(&commit("none", 3)).await.unwrap(), None);
}

pub async fn ancestors_are_found_whatever_the_length(catalog: Fresh) {
    const LENGTH: u64 = 300;
    repos(&catalog, &["a"]).await;
    let finished = |n: u64| Some(time(10 * n.cast_signed()));
    let row = |n: u64| CommitRow {
        finished: finished(n).filter(|_| n < LENGTH),
        error: n.is_multiple_of(50).then(|| "broken".to_owned()),
        ..commit_row("a", n, (n > 1).then(|| n - 1))
    };
    catalog.apply((1..=LENGTH).map(|n| Op::CreateCommit(row(n))).collect()).await.unwrap();
    let head = commit("a", LENGTH);
    let number = async |back| catalog.ancestor(&head, back).await.unwrap().map(|row| row.number);
    for n in 1..=LENGTH {
        assert_eq!(number(Back::Number(n)).await, Some(n));
        assert_eq!(number(Back::Steps(LENGTH - n)).await, Some(n));
        let good = if n.is_multiple_of(50) { n - 1 } else { n };
        let by_then = Back::GoodAt(time(10 * n.cast_signed() + 5));
        assert_eq!(number(by_then).await, Some(good), "{n}");
    }
    assert_eq!(number(Back::Number(0)).await, None);
    assert_eq!(number(Back::Number(LENGTH + 1)).await, None);
    assert_eq!(number(Back::Steps(LENGTH)).await, None);
    assert_eq!(number(Back::Good).await, Some(LENGTH - 1));
    assert_eq!(number(Back::GoodAt(time(9))).await, None);
    let line = catalog.ancestors(&commit("a", 10), Some(id(7)), 99).await.unwrap();
    assert_eq!(line.iter().map(|row| row.number).collect::<Vec<_>>(), [10, 9, 8]);
    assert_eq!(catalog.ancestors(&head, None, 4).await.unwrap().len(), 4);
}

pub async fn provenance_is_followed_both_ways(catalog: Fresh) {
    repos(&catalog, &["a", "b", "c"]).await;
    let b = CommitRow { provenance: vec![commit("a", 1)], ..commit_row("b", 2, None) };
    let provenance = vec![commit("b", 2), commit("a", 1)];
    let c = CommitRow { provenance: provenance.clone(), ..commit_row("c", 2, None) };
    let rows = [commit_row("a", 1, None), b, c];
    catalog.apply(rows.map(Op::CreateCommit).into()).await.unwrap();
    let up = async |n, reach| catalog.provenance(&n, reach).await.unwrap();
    let down = async |n, reach| catalog.subvenance(&n, reach).await.unwrap();
    assert_eq!(up(commit("c", 2), Reach::Direct).await, provenance);
    assert_eq!(up(commit("c", 2), Reach::All).await, [commit("a", 1), commit("b", 2)]);
    assert_eq!(down(commit("a", 1), Reach::All).await, [commit("b", 2), commit("c", 2)]);
    assert_eq!(down(commit("b", 2), Reach::Direct).await, [commit("c", 2)]);
    assert_eq!(up(commit("a", 9), Reach::All).await, []);
}

pub async fn branches_are_followed_downstream(catalog: Fresh) {
    repos(&catalog, &["a", "b", "c", "d"]).await;
    let ops = vec![
        Op::CreateCommit(commit_row("a", 1, None)),
        Op::CreateBranch(branch_row(master("a"), Some(1), vec![])),
        Op::CreateBranch(branch_row(master("b"), None, vec![master("a")])),
        Op::CreateBranch(branch_row(master("c"), None, vec![master("b"), master("a")])),
        Op::CreateBranch(branch_row(master("d"), None, vec![])),
    ];
    catalog.apply(ops).await.unwrap();
    let mut below = catalog.downstream(&[master("a"), master("d")]).await.unwrap();
    below.sort_by(|a, b| a.branch.cmp(&b.branch));
    let expected = vec![master("b"), master("a")];
    assert_eq!(below.len(), 2);
    assert_eq!((&below[1].branch, &below[1].provenance), (&master("c"), &expected));
    let at: Vec<_> = catalog.branches_at(&commit("a", 1)).await.unwrap();
    assert_eq!(at, catalog.branches(&repo("a")).await.unwrap());
    assert_eq!(catalog.downstream(&[master("c")]).await.unwrap(), []);
}
