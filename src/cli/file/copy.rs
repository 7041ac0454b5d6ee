//! `copy file`.

use crate::cli::prelude::*;

/// Copy files within or between repos; no bytes move
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example:\n  pfs copy file images@master:/cat.png albums@master:/pets/cat.png"
)]
pub struct Args {
    /// The file or directory to copy
    #[arg(value_name = "REPO@REF:PATH")]
    from: String,
    /// What to copy it to
    #[arg(value_name = "REPO@BRANCH:PATH")]
    to: String,
    /// Add to what is there instead of replacing it
    #[arg(short, long)]
    append: bool,
    /// The project of the source
    #[arg(long, value_name = "PROJECT")]
    src_project: Option<String>,
    /// The project of the destination
    #[arg(long, value_name = "PROJECT")]
    dest_project: Option<String>,
}

impl Args {
    /// Copies in one commit.
    pub async fn run(self, cx: &Context) -> Outcome {
        use pfs::modify_file_request::Body;
        let source = cx.file(&in_project(self.src_project.as_deref(), &self.from))?;
        let target = cx.file(&in_project(self.dest_project.as_deref(), &self.to))?;
        let path = match target.path.as_str() {
            "/" => source.path.clone(),
            path => path.to_owned(),
        };
        let copy = pfs::CopyFile {
            dst: path,
            datum: String::new(),
            src: Some(source),
            append: self.append,
        };
        let bodies = [Body::SetCommit(target.commit.unwrap_or_default()), Body::CopyFile(copy)];
        let edits = bodies.map(|body| pfs::ModifyFileRequest { body: Some(body) });
        cx.client().await?.pfs().modify_file(tokio_stream::iter(edits)).await?;
        Ok(())
    }
}

fn in_project(project: Option<&str>, file: &str) -> String {
    match project {
        Some(project) => format!("{project}/{file}"),
        None => file.to_owned(),
    }
}
