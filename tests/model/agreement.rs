//! When what is found is what the model says.

use std::collections::BTreeSet;

use super::memory::Tree;

/// The first path that is not as wanted.
pub fn difference(found: &Tree, wanted: &Tree) -> Option<String> {
    let paths: BTreeSet<&String> = found.keys().chain(wanted.keys()).collect();
    let unlike = |path: &&String| match (found.get(*path), wanted.get(*path)) {
        (Some(a), Some(b)) => !a.is_as(b, 1_600_000_000_000_000_000),
        (None, _) | (_, None) => true,
    };
    let path = paths.into_iter().find(unlike)?;
    Some(format!("{path}\n found: {:?}\nwanted: {:?}", found.get(path), wanted.get(path)))
}
