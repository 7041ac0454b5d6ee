//! `delete file`.

use crate::cli::prelude::*;

/// Delete a file or directory from the head of a branch or an open commit
///
/// Earlier commits keep it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs delete file images@master:/cat.png
  pfs delete file -r images@master:/2019")]
pub struct Args {
    /// The file
    #[arg(value_name = "REPO@BRANCH:PATH", required = true)]
    files: Vec<String>,
    /// Delete directories with everything in them
    #[arg(short, long)]
    recursive: bool,
}

impl Args {
    /// Deletes the files; those of one branch in one commit.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut client = cx.client().await?.pfs();
        let mut sets: Vec<(pfs::Commit, Vec<pfs::File>)> = Vec::new();
        for text in &self.files {
            let file = cx.file(text)?;
            let inspect = pfs::InspectFileRequest { file: Some(file.clone()) };
            let info = client.inspect_file(inspect).await?.into_inner();
            let dir = info.file_type == i32::from(pfs::FileType::Dir);
            if dir && !self.recursive && cx.era == Era::Native {
                let failure = Failure::new(format!("{:?} is a directory", file.path));
                return Err(failure.hint("add -r to delete it with everything in it"));
            }
            let commit = file.commit.clone().unwrap_or_default();
            match sets.iter_mut().find(|(other, _)| *other == commit) {
                Some((_, files)) => files.push(file),
                None => sets.push((commit, vec![file])),
            }
        }
        for (commit, files) in sets {
            client.modify_file(tokio_stream::iter(edits(commit, files))).await?;
        }
        Ok(())
    }
}

fn edits(commit: pfs::Commit, files: Vec<pfs::File>) -> Vec<pfs::ModifyFileRequest> {
    use pfs::modify_file_request::Body;
    let deletions = files
        .into_iter()
        .map(|file| Body::DeleteFile(pfs::DeleteFile { path: file.path, datum: String::new() }));
    std::iter::once(Body::SetCommit(commit))
        .chain(deletions)
        .map(|body| pfs::ModifyFileRequest { body: Some(body) })
        .collect()
}
