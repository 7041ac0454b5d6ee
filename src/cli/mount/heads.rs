//! The heads of a branch in every repo, as events tell of them.

use std::collections::HashMap;

use super::wire;
use crate::api::proto::pfs_v1 as v1;
use crate::model::Repo;
use crate::vfs::{Moved, Resolved};

/// The newest finished commit of every repo that there is.
pub type Heads = HashMap<Repo, Option<Resolved>>;

/// Notes what an event tells, and what has moved by it.
pub fn note(heads: &mut Heads, event: v1::head_event::Event) -> Option<Moved> {
    use v1::head_event::Event;
    let (repo, head) = match event {
        Event::Moved(v1::HeadMoved { repo, commit, root, finished, .. }) => {
            let moved = v1::ResolvedCommit { commit, root, finished, ..Default::default() };
            (wire::repo_of(repo.as_ref())?, Some(wire::resolved(&moved).ok()?))
        }
        Event::Removed(v1::HeadRemoved { repo, .. }) => (wire::repo_of(repo.as_ref())?, None),
        Event::RepoRemoved(repo) => {
            heads.remove(&wire::repo_of(Some(&repo))?);
            return Some(Moved::Everything);
        }
        Event::Synced(_) => return Some(Moved::Everything),
    };
    Some(match heads.insert(repo.clone(), head) {
        None => Moved::Everything,
        Some(_) => Moved::Head(repo),
    })
}
