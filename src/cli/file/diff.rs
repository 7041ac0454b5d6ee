//! `diff file`.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::list::{columns, name, row};
use crate::cli::prelude::*;

/// Show how files differ between two commits
///
/// Compares with the parent commit when no old file is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs diff file images@master
  pfs diff file images@master:/labels.csv images@master~3:/labels.csv
  pfs diff file images@master --name-only")]
pub struct Args {
    /// The file or directory as it is
    #[arg(value_name = "NEW REPO@REF[:PATH]")]
    new: String,
    /// The file or directory as it was
    #[arg(value_name = "OLD REPO@REF[:PATH]")]
    old: Option<String>,
    /// Do not look into directories
    #[arg(short, long)]
    shallow: bool,
    /// Only name the files
    #[arg(long)]
    name_only: bool,
    /// Program (and its arguments) that compares two files
    #[arg(long, value_name = "COMMAND", default_value = "diff -u")]
    diff_command: String,
    /// The project of the old file
    #[arg(long, value_name = "PROJECT")]
    old_project: Option<String>,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the differences.
    pub async fn run(self, cx: &Context) -> Outcome {
        let new_file = Some(cx.file(&self.new)?);
        let old = self.old.as_ref().map(|old| match &self.old_project {
            Some(project) => format!("{project}/{old}"),
            None => old.clone(),
        });
        let old_file = old.map(|old| cx.file(&old)).transpose()?;
        let request = pfs::DiffFileRequest { new_file, old_file, shallow: self.shallow };
        let stream = cx.client().await?.pfs().diff_file(request).await?.into_inner();
        match cx.era {
            Era::Dash if self.format.encoding().is_none() => sides(cx, stream).await,
            Era::Dash => self.names(cx, stream).await,
            Era::Native if self.name_only || self.format.encoding().is_some() => {
                self.names(cx, stream).await
            }
            Era::Native => self.contents(cx, stream).await,
        }
    }

    async fn names(&self, cx: &Context, stream: Streaming<pfs::DiffFileResponse>) -> Outcome {
        let columns = ["OP", "SIZE", "NAME"];
        cx.print_all(&self.format, &columns, stream, |change| {
            let (sign, info) = match (&change.new_file, &change.old_file) {
                (Some(new), None) => ("+", Some(new)),
                (None, old) => ("-", old.as_ref()),
                (Some(new), Some(_)) => ("~", Some(new)),
            };
            let mut cells = vec![sign.into()];
            cells.extend(info.map(|info| row(cx, info)).unwrap_or_default());
            cells
        })
        .await
    }

    async fn contents(
        &self,
        cx: &Context,
        mut stream: Streaming<pfs::DiffFileResponse>,
    ) -> Outcome {
        let dir = Scratch::new()?;
        let is_file = |info: &pfs::FileInfo| info.file_type != i32::from(pfs::FileType::Dir);
        while let Some(change) = stream.message().await? {
            let new = change.new_file.filter(is_file);
            let old = change.old_file.filter(is_file);
            if new.is_none() && old.is_none() {
                continue;
            }
            let labels = [&old, &new].map(|side| label(cx, side.as_ref()));
            let old = fetch(cx, old, dir.file("old")).await?;
            let new = fetch(cx, new, dir.file("new")).await?;
            compare(&self.diff_command, labels, &old, &new).await?;
        }
        Ok(())
    }
}

/// The two tables of 1.7.
async fn sides(cx: &Context, mut stream: Streaming<pfs::DiffFileResponse>) -> Outcome {
    let (mut new, mut old) = (Vec::new(), Vec::new());
    while let Some(change) = stream.message().await? {
        new.extend(change.new_file.map(|info| row(cx, &info)));
        old.extend(change.old_file.map(|info| row(cx, &info)));
    }
    let mut sink = cx.sink();
    for (title, rows) in [("New Files:", new), ("Old Files:", old)] {
        if rows.is_empty() {
            continue;
        }
        sink.line(title)?;
        let mut table = Table::new(columns(cx)).repeat_header(true);
        for row in rows {
            table.row(&mut sink, row)?;
        }
        table.finish(&mut sink)?;
    }
    Ok(sink.flush()?)
}

fn label(cx: &Context, info: Option<&pfs::FileInfo>) -> String {
    let Some(info) = info else { return "/dev/null".to_owned() };
    let commit = info.file.as_ref().and_then(|file| file.commit.as_ref());
    format!("{}:{}", commit.map(show::commit).unwrap_or_default(), name(cx, info))
}

/// Downloads one side; a side that is missing is an empty file.
async fn fetch(cx: &Context, info: Option<pfs::FileInfo>, to: PathBuf) -> Outcome<PathBuf> {
    use tokio::io::AsyncWriteExt as _;
    let Some(info) = info else { return Ok(PathBuf::from("/dev/null")) };
    let request = pfs::GetFileRequest { file: info.file, ..Default::default() };
    let mut stream = cx.client().await?.pfs().get_file(request).await?.into_inner();
    let mut file = tokio::fs::File::create(&to).await?;
    while let Some(bytes) = stream.message().await? {
        file.write_all(&bytes).await?;
    }
    file.flush().await?;
    Ok(to)
}

async fn compare(command: &str, labels: [String; 2], old: &Path, new: &Path) -> Outcome {
    let mut words = command.split_whitespace();
    let program = words.next().ok_or_else(|| Failure::usage("--diff-command is empty"))?;
    let mut process = Command::new(program);
    process.args(words);
    if program == "diff" {
        process.args(labels.iter().flat_map(|label| ["--label", label]));
    }
    // Its exit code says whether the files differ, which is known already.
    process.arg(old).arg(new).status().await.map_err(|error| {
        Failure::new(format!("cannot run {program:?}: {error}"))
            .hint("name another program with --diff-command, or use --name-only")
    })?;
    Ok(())
}

/// A directory of our own that goes away with its files.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Outcome<Self> {
        let dir = std::env::temp_dir().join(format!("pfs-diff-{}", std::process::id()));
        std::fs::create_dir(&dir)?;
        Ok(Self(dir))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left lies in the directory for temporary files.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
