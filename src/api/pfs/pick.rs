//! Pickers: messages that name one thing in several ways.

use super::Pfs;
use crate::api::convert::{self, CommitRef, parse};
use crate::api::proto::pfs_v2::{self as pb, branch_picker, commit_picker, repo_picker};
use crate::api::status::{Result, missing, refused};
use crate::catalog::CommitRow;
use crate::model::{Branch, Move, ProjectName, Ref, Repo};

/// The project picked; none is the default one.
pub(in crate::api) fn project(picker: &pb::ProjectPicker) -> Result<ProjectName> {
    match &picker.picker {
        None => Ok(ProjectName::default_project()),
        Some(pb::project_picker::Picker::Name(name)) if name.is_empty() => {
            Ok(ProjectName::default_project())
        }
        Some(pb::project_picker::Picker::Name(name)) => parse(name),
    }
}

fn repo(picker: Option<&pb::RepoPicker>) -> Result<Repo> {
    let Some(repo_picker::Picker::Name(name)) = picker.and_then(|p| p.picker.as_ref()) else {
        return Err(missing("repo"));
    };
    Ok(Repo {
        project: name.project.as_ref().map_or_else(|| convert::project(None), project)?,
        name: parse(&name.name)?,
        kind: convert::repo_kind(&name.r#type)?,
    })
}

/// The branch picked.
pub(super) fn branch(picker: &pb::BranchPicker) -> Result<Branch> {
    match &picker.picker {
        Some(branch_picker::Picker::Name(name)) => {
            Ok(repo(name.repo.as_ref())?.branch(parse(&name.name)?))
        }
        None => Err(missing("branch")),
    }
}

/// The commit picked, as a ref still to be resolved.
fn commit(picker: &pb::CommitPicker) -> Result<CommitRef> {
    match picker.picker.as_ref().ok_or_else(|| missing("commit"))? {
        commit_picker::Picker::BranchHead(picker) => {
            let Branch { repo, name } = branch(picker)?;
            Ok(CommitRef { repo, reference: Ref::branch(name) })
        }
        commit_picker::Picker::Id(id) => {
            Ok(CommitRef { repo: repo(id.repo.as_ref())?, reference: parse(&id.id)? })
        }
        commit_picker::Picker::Ancestor(ancestor) => {
            let start = ancestor.start.as_deref().ok_or_else(|| missing("commit"))?;
            let mut start = commit(start)?;
            start.reference.moves.push(Move::Ancestor(ancestor.offset));
            Ok(start)
        }
        commit_picker::Picker::BranchRoot(root) => {
            let picker = root.branch.as_ref().ok_or_else(|| missing("branch"))?;
            let Branch { repo, name } = branch(picker)?;
            let mut reference = Ref::branch(name);
            reference.moves.push(Move::FromStart(root.offset));
            Ok(CommitRef { repo, reference })
        }
    }
}

impl Pfs {
    /// The commits picked.
    pub(super) async fn picked(&self, pickers: &[pb::CommitPicker]) -> Result<Vec<CommitRow>> {
        let mut rows = Vec::with_capacity(pickers.len());
        for picker in pickers {
            let CommitRef { repo, reference } = commit(picker)?;
            rows.push(self.services.repos.resolve(&repo, &reference).await.map_err(refused)?);
        }
        Ok(rows)
    }
}
