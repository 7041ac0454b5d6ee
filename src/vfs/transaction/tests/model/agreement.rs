//! When what is found is what the model says.

use std::collections::BTreeSet;

use super::memory::{Body, Seen, Tree, within};

/// Everything is as wanted, and what was changed was since `start`.
#[track_caller]
pub(super) fn agrees(when: &str, found: &Tree, wanted: &Tree, start: i64) {
    let paths: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    for path in paths {
        let (a, b) = (found.get(path), wanted.get(path));
        let same = match (a, b) {
            (Some(a), Some(b)) => a.is_as(b, start),
            (None, _) | (_, None) => false,
        };
        assert!(same, "{when}: {path}\n found: {a:?}\nwanted: {b:?}");
    }
}

/// Times alone are no difference.
fn differ(a: Option<&Seen>, b: Option<&Seen>) -> bool {
    match (a, b) {
        (None, None) => false,
        (Some(a), Some(b)) => {
            let both_dirs = a.body == Body::Dir && b.body == Body::Dir;
            !both_dirs && (&a.body, a.mode) != (&b.body, b.mode)
        }
        (None, Some(_)) | (Some(_), None) => true,
    }
}

fn changed<'t>(from: &'t Tree, to: &'t Tree) -> impl Iterator<Item = &'t String> {
    let paths: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
    paths.into_iter().filter(|path| differ(from.get(*path), to.get(*path)))
}

/// Two changes that were merged are both there, and none other.
#[track_caller]
pub(super) fn is_merge(merged: &Tree, base: &Tree, ours: &Tree, theirs: &Tree) {
    let all = [merged, base, ours, theirs].into_iter().flat_map(|tree| tree.keys());
    for path in all.collect::<BTreeSet<_>>() {
        let (m, b) = (merged.get(path), base.get(path));
        let (o, t) = (ours.get(path), theirs.get(path));
        let wanted = if differ(b, o) { o } else { t };
        let excluded = differ(b, o) && differ(b, t) && bodies(o) != bodies(t);
        assert!(!excluded, "{path} was changed twice and is no conflict: {o:?} {t:?}");
        // What others put into a directory that went keeps it.
        let below = |known: &&String| known.as_str() != path && within(known, path);
        let kept = wanted.is_none() && merged.keys().any(|known| below(&known));
        let is_dir = m.is_some_and(|m| m.body == Body::Dir);
        let same = bodies(m) == bodies(wanted) || kept && is_dir;
        assert!(same, "{path}: {b:?} became {o:?} and {t:?}, merged {m:?}");
    }
}

fn bodies(seen: Option<&Seen>) -> Option<(&Body, u32)> {
    let mode = |seen: &Seen| if seen.body == Body::Dir { 0 } else { seen.mode };
    seen.map(|seen| (&seen.body, mode(seen)))
}

/// Both have changed the same path, or one below what the other has changed.
#[track_caller]
pub(super) fn is_conflict(why: &str, base: &Tree, ours: &Tree, theirs: &Tree) {
    // Directories count with their attributes here.
    let unlike = |tree: &Tree| -> Vec<String> {
        let attributes = |path: &&String| match (base.get(*path), tree.get(*path)) {
            (Some(a), Some(b)) => a.mode != b.mode,
            _ => false,
        };
        let known = tree.keys().filter(attributes).cloned();
        changed(base, tree).cloned().chain(known).collect()
    };
    let (mine, others) = (unlike(ours), unlike(theirs));
    let meet = mine.iter().any(|a| others.iter().any(|b| within(a, b) || within(b, a)));
    assert!(meet, "a conflict between {mine:?} and {others:?}: {why}");
}
