//! `find commit`.

use crate::cli::prelude::*;

/// Find the commits that changed a file
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs find commit images@master:/cat.png --limit 3")]
pub struct Args {
    /// The file, and the commit to search back from
    #[arg(value_name = "REPO@REF:PATH")]
    file: String,
    /// Stop after this many; 0 finds all
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    limit: u32,
    /// Print JSON
    #[arg(long, alias = "raw")]
    json: bool,
}

impl Args {
    /// Prints the commits, newest first.
    pub async fn run(self, cx: &Context) -> Outcome {
        use pfs::find_commits_response::Result as Found;
        let file = cx.file(&self.file)?;
        let request =
            pfs::FindCommitsRequest { start: file.commit, file_path: file.path, limit: self.limit };
        let mut stream = cx.client().await?.pfs().find_commits(request).await?.into_inner();
        let mut sink = cx.sink();
        while let Some(answer) = stream.message().await? {
            let Some(Found::FoundCommit(commit)) = answer.result else { continue };
            match self.json {
                true => sink.line(&api::json::to_json(&commit, cx.keys()).to_string())?,
                false => sink.line(&commit.id)?,
            }
        }
        Ok(sink.flush()?)
    }
}
