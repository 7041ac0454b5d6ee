//! `put file`.

use std::io::IsTerminal as _;

use super::sources::{Rules, items, listed};
use super::split::{Split, SplitFormat};
use super::upload::{How, upload};
use crate::cli::output::bytes_bar;
use crate::cli::prelude::*;

/// Put files into a repo
///
/// Everything named goes into one commit: into the open commit of the branch
/// when there is one, else into a commit of its own. Without a path a file
/// keeps its name, and a directory put with -r its own; a path that ends in
/// '/' is a directory to put into. URLs are fetched by the server.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs put file images@master -f cat.png -f dog.png
  pfs put file images@master:/2024 -r -f holidays/
  echo hello | pfs put file notes@master:/greeting.txt
  pfs put file iris@master:/iris.csv -f https://example.com/iris.csv
  tar c -C holidays . | pfs put file images@master:/2024 --untar
  pfs put file logs@master:/day --split line --target-file-datums 1000 -f day.log")]
pub struct Args {
    /// The branch, and the path to put to
    #[arg(value_name = "REPO@BRANCH[:PATH]")]
    to: String,
    /// A file, directory or URL, or '-' for standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<String>,
    /// A file (or URL, or '-') that names one path or URL per line
    #[arg(short, long, value_name = "LIST", conflicts_with = "files")]
    input_file: Option<String>,
    /// Put directories with everything in them
    #[arg(short, long)]
    recursive: bool,
    /// Add to files that exist instead of replacing them
    #[arg(short, long)]
    append: bool,
    /// Replace files that exist; this is the default
    #[arg(short, long, conflicts_with = "append")]
    overwrite: bool,
    /// Keep the whole local path, not only the file's name
    #[arg(long)]
    full_path: bool,
    /// Cut each file into many, with so many records each: FILE becomes a directory of files
    /// 0000000000000000, 0000000000000001, …
    #[arg(long, value_name = "FORMAT", conflicts_with = "untar")]
    split: Option<SplitFormat>,
    /// With --split: records to a file; without any limit each record is a file
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    #[arg(requires = "split")]
    target_file_datums: u64,
    /// With --split: end a file once it has so many bytes
    #[arg(long, value_name = "BYTES", default_value_t = 0, hide_default_value = true)]
    #[arg(requires = "split")]
    target_file_bytes: u64,
    /// With --split: this many records at the beginning are a header, which every file gets
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    #[arg(requires = "split")]
    header_records: u64,
    /// Put what tar files hold, instead of the files themselves
    #[arg(long, conflicts_with = "recursive")]
    untar: bool,
    /// What the commit is about
    #[arg(short, long, alias = "description", default_value = "", hide_default_value = true)]
    message: String,
    /// Show progress even for little
    #[arg(long)]
    progress: bool,
    /// Accepted; data are always compressed where that helps
    #[arg(short, long, hide = true)]
    compress: bool,
    /// Accepted; the stream is always as wide as the connection
    #[arg(short, long, value_name = "N", hide = true)]
    parallelism: Option<u32>,
}

impl Args {
    /// Puts all files in one stream.
    pub async fn run(self, cx: &Context) -> Outcome {
        let file = cx.file(&self.to)?;
        let path = Some(typed(&self.to).to_owned()).filter(|path| !path.is_empty());
        if path.as_deref().is_some_and(super::target::is_url) {
            cx.notice(&format!("warning: the path in the repo looks like a URL: {}", file.path));
        }
        let mut sources = self.files;
        if let Some(list) = &self.input_file {
            sources = listed(list).await?;
        } else if sources.is_empty() {
            sources.push("-".to_owned());
        }
        let rules =
            Rules { path, recursive: self.recursive, full_path: self.full_path, untar: self.untar };
        let items = items(&sources, &rules)?;
        let split = self.split.map(|format| Split {
            format,
            datums: self.target_file_datums,
            bytes: self.target_file_bytes,
            header: self.header_records,
        });
        let progress = bytes_bar("put", None, std::io::stderr().is_terminal());
        let target = put_target(file.commit.unwrap_or_default(), self.message);
        let how = How { append: self.append, split };
        let answer = upload(cx, target, items, how, progress.clone()).await;
        progress.finish_and_clear();
        answer.map(|_| ())
    }
}

/// What follows the colon; empty when there is none.
fn typed(to: &str) -> &str {
    to.split_once(':').map_or("", |(_, path)| path)
}

fn put_target(commit: pfs::Commit, description: String) -> v1::PutTarget {
    let repo = commit.repo.unwrap_or_default();
    let reference = match commit.branch {
        Some(branch) => branch.name,
        None => commit.id,
    };
    let repo = v1::RepoName {
        project: repo.project.unwrap_or_default().name,
        repo: repo.name,
        kind: repo.r#type,
    };
    v1::PutTarget { repo: Some(repo), r#ref: reference, description }
}
