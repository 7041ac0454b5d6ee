//! `inspect commit`.

use super::list::size_of;
use super::picker;
use crate::cli::prelude::*;

/// Show one commit, with everything it was derived from
///
/// Given the id of a commit set, shows the commit of every repo.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs inspect commit images@master
  pfs inspect commit 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Args {
    /// The commit, or the id of a commit set
    #[arg(value_name = "REPO@REF|ID")]
    commit: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the commit, or those of the set.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut client = cx.client().await?.pfs();
        if self.commit.contains('@') {
            let commit = Some(cx.commit(&self.commit)?);
            let request = pfs::InspectCommitRequest { commit, wait: 0 };
            let info = client.inspect_commit(request).await?.into_inner();
            return self.print(cx, &info).await;
        }
        let commit_set = Some(pfs::CommitSet { id: self.commit.clone() });
        let request = pfs::InspectCommitSetRequest { commit_set, wait: false };
        let mut stream = client.inspect_commit_set(request).await?.into_inner();
        let mut members = Vec::new();
        while let Some(info) = stream.message().await? {
            members.push(info);
        }
        // What users read comes before what the system keeps beside it.
        members.sort_by_key(|info| !is_user(info));
        for (at, info) in members.iter().enumerate() {
            if at > 0 && self.format.encoding().is_none() {
                cx.say("")?;
            }
            self.print(cx, info).await?;
        }
        Ok(())
    }

    async fn print(&self, cx: &Context, info: &pfs::CommitInfo) -> Outcome {
        let provenance = match self.format.encoding() {
            Some(_) => Vec::new(),
            None => provenance(cx, info).await?,
        };
        let commit = info.commit.clone().unwrap_or_default();
        let name = |commit: &pfs::Commit| match cx.era {
            Era::Dash => show::dash_commit(commit),
            Era::Native => show::commit(commit),
        };
        let branch = commit.branch.as_ref().map(|branch| branch.name.clone());
        let native = cx.era == Era::Native;
        let provenance: Vec<_> = provenance.iter().map(name).collect();
        cx.print_one(&self.format, info, |mut fields| {
            fields
                .line("Commit", &name(&commit))?
                .some("Original Branch", branch.filter(|_| native))?
                .some("Description", Some(info.description.clone()))?
                .some(
                    "Parent",
                    info.parent_commit.as_ref().map(|parent| match cx.era {
                        Era::Dash => parent.id.clone(),
                        Era::Native => name(parent),
                    }),
                )?
                .some("Started", cx.when(&self.format, info.started.as_ref()))?
                .some("Finished", cx.when(&self.format, info.finished.as_ref()))?
                .line("Size", &size_of(info))?
                .some("Error", Some(info.error.clone()))?
                .some(
                    "Provenance",
                    Some(provenance.join("  ")).filter(|p| !p.is_empty()).map(|p| format!(" {p}")),
                )?;
            Ok(())
        })
    }
}

/// Whether a commit is one of a user repo.
fn is_user(info: &pfs::CommitInfo) -> bool {
    let repo = info.commit.as_ref().and_then(|commit| commit.repo.as_ref());
    repo.is_none_or(|repo| matches!(repo.r#type.as_str(), "" | "user"))
}

/// Every commit that `info` was derived from, directly or not.
async fn provenance(cx: &Context, info: &pfs::CommitInfo) -> Outcome<Vec<pfs::Commit>> {
    let Some(commit) = &info.commit else { return Ok(Vec::new()) };
    if info.direct_provenance.is_empty() {
        return Ok(Vec::new());
    }
    let request =
        pfs::WalkCommitProvenanceRequest { start: vec![picker(commit)], ..Default::default() };
    let mut stream = cx.client().await?.pfs().walk_commit_provenance(request).await?.into_inner();
    let mut found = Vec::new();
    while let Some(info) = stream.message().await? {
        found
            .extend(info.commit.filter(|other| other.id != commit.id || other.repo != commit.repo));
    }
    Ok(found)
}
