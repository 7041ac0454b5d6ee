//! `wait commit`, `flush commit`.

use super::list::{columns, row};
use super::{derived, finished};
use crate::cli::prelude::*;

/// Wait until a commit and everything derived from it is finished
///
/// Prints the commits as they finish.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs wait commit images@master
  pfs wait commit 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Args {
    /// A commit, or the id of a commit set
    #[arg(value_name = "REPO@REF|ID", required = true)]
    commits: Vec<String>,
    /// Wait only for commits of these repos
    #[arg(short, long = "repos", value_name = "REPO", value_delimiter = ',')]
    repos: Vec<String>,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Waits; a commit of one repo waits for that commit alone.
    pub async fn wait(self, cx: &Context) -> Outcome {
        self.check_repos(cx).await?;
        let mut printer = cx.printer(&self.format, columns(cx));
        for text in &self.commits {
            match text.contains('@') {
                true => {
                    let info = finished(cx, cx.commit(text)?).await?;
                    self.show(cx, &info, &mut printer)?;
                }
                false => self.set(cx, text, &mut printer).await?,
            }
        }
        printer.finish()
    }

    /// Waits for everything derived from the commits, and shows that alone.
    pub async fn flush(self, cx: &Context) -> Outcome {
        self.check_repos(cx).await?;
        let mut printer = cx.printer(&self.format, columns(cx));
        for text in &self.commits {
            if !text.contains('@') {
                self.set(cx, text, &mut printer).await?;
                continue;
            }
            let source = finished(cx, cx.commit(text)?).await?.commit.unwrap_or_default();
            for commit in derived(cx, &source).await? {
                let info = finished(cx, commit).await?;
                self.print(cx, &info, &mut printer)?;
            }
        }
        printer.finish()
    }

    async fn set(&self, cx: &Context, id: &str, printer: &mut Printer) -> Outcome {
        let commit_set = Some(pfs::CommitSet { id: id.to_owned() });
        let request = pfs::InspectCommitSetRequest { commit_set, wait: true };
        let mut stream = cx.client().await?.pfs().inspect_commit_set(request).await?.into_inner();
        while let Some(info) = stream.message().await? {
            self.print(cx, &info, printer)?;
        }
        Ok(())
    }

    fn print(&self, cx: &Context, info: &pfs::CommitInfo, printer: &mut Printer) -> Outcome {
        let repo = info.commit.as_ref().and_then(|commit| commit.repo.as_ref());
        let name = repo.map_or("", |repo| repo.name.as_str());
        let wanted = self.repos.is_empty() || self.repos.iter().any(|repo| repo == name);
        match wanted && repo.is_none_or(|repo| repo.r#type == "user") {
            true => self.show(cx, info, printer),
            false => Ok(()),
        }
    }

    /// Prints a commit, and tells of the error it ended with.
    fn show(&self, cx: &Context, info: &pfs::CommitInfo, printer: &mut Printer) -> Outcome {
        if let (false, Some(commit)) = (info.error.is_empty(), &info.commit) {
            let name = match cx.era {
                Era::Dash => show::dash_commit(commit),
                Era::Native => show::commit(commit),
            };
            cx.notice(&format!("notice: {name} finished with an error: {}", info.error));
        }
        printer.entity(info, || row(cx, &self.format, info))
    }

    /// A filter that nothing can pass is a slip.
    async fn check_repos(&self, cx: &Context) -> Outcome {
        for name in &self.repos {
            let request = pfs::InspectRepoRequest { repo: Some(cx.repo(name)?) };
            cx.client().await?.pfs().inspect_repo(request).await?;
        }
        Ok(())
    }
}
