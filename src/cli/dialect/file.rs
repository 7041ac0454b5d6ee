//! Files.

use std::ffi::OsString;

use super::{Translation, Words, file};
use crate::cli::failure::Outcome;

/// Get a file, or with -r a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl get-file images master cat.png")]
pub struct Get {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    commit: String,
    /// The path
    #[arg(value_name = "PATH")]
    path: String,
    /// Write to this file or directory
    #[arg(short, long, value_name = "PATH")]
    output: Option<OsString>,
    /// Get a directory with everything in it
    #[arg(short, long)]
    recursive: bool,
    /// Accepted; files are always written in parallel
    #[arg(short, long, value_name = "N")]
    parallelism: Option<String>,
}

impl Get {
    pub(super) fn words(self) -> Words {
        Words::new("get file")
            .option("--output", self.output)
            .flag("--recursive", self.recursive)
            .option("--parallelism", self.parallelism)
            .arg(file(&self.repo, &self.commit, &self.path))
    }
}

/// Copy files within or between repos
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl copy-file images master cat.png pets master tom.png")]
pub struct Copy {
    /// The repo to copy from
    #[arg(value_name = "SRC REPO")]
    from_repo: String,
    /// The commit to copy from
    #[arg(value_name = "SRC COMMIT")]
    from_commit: String,
    /// The file or directory to copy
    #[arg(value_name = "SRC PATH")]
    from_path: String,
    /// The repo to copy to
    #[arg(value_name = "DST REPO")]
    to_repo: String,
    /// The branch to copy to
    #[arg(value_name = "DST COMMIT")]
    to_commit: String,
    /// What to copy to
    #[arg(value_name = "DST PATH")]
    to_path: String,
    /// Replace what is there instead of adding to it
    #[arg(short, long)]
    overwrite: bool,
}

impl Copy {
    pub(super) fn words(self) -> Words {
        Words::new("copy file")
            .flag("--append", !self.overwrite)
            .arg(file(&self.from_repo, &self.from_commit, &self.from_path))
            .arg(file(&self.to_repo, &self.to_commit, &self.to_path))
    }
}

/// Show one file or directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl inspect-file images master cat.png")]
pub struct Inspect {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    commit: String,
    /// The path
    #[arg(value_name = "PATH")]
    path: String,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Inspect {
    pub(super) fn words(self) -> Words {
        Words::new("inspect file").flag("--raw", self.raw).arg(file(
            &self.repo,
            &self.commit,
            &self.path,
        ))
    }
}

/// List the files of a directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl list-file images master 2018")]
pub struct List {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    commit: String,
    /// The directory
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl List {
    pub(super) fn words(self) -> Words {
        Words::new("list file").flag("--raw", self.raw).arg(file(
            &self.repo,
            &self.commit,
            self.path.as_deref().unwrap_or(""),
        ))
    }
}

/// List the files that match a pattern
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl glob-file images master '*.png'")]
pub struct Glob {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    commit: String,
    /// The pattern
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// Print JSON, one object per entity
    #[arg(long)]
    raw: bool,
}

impl Glob {
    pub(super) fn words(self) -> Words {
        Words::new("glob file").flag("--raw", self.raw).arg(file(
            &self.repo,
            &self.commit,
            &self.pattern,
        ))
    }
}

/// Compare files of two commits
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl diff-file images master / images master^ /")]
pub struct Diff {
    /// The repo
    #[arg(value_name = "REPO")]
    new_repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    new_commit: String,
    /// The path
    #[arg(value_name = "PATH")]
    new_path: String,
    /// The repo to compare with
    #[arg(value_name = "OLD REPO")]
    old_repo: Option<String>,
    /// The commit to compare with; the parent when not given
    #[arg(value_name = "OLD COMMIT", requires = "old_path")]
    old_commit: Option<String>,
    /// The path to compare with
    #[arg(value_name = "OLD PATH")]
    old_path: Option<String>,
    /// Do not look into directories
    #[arg(short, long)]
    shallow: bool,
}

impl Diff {
    pub(super) fn words(self) -> Words {
        Words::new("diff file")
            .flag("--shallow", self.shallow)
            .arg(file(&self.new_repo, &self.new_commit, &self.new_path))
            .args(self.old())
    }
}

/// Delete a file or directory
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl delete-file images master cat.png")]
pub struct Delete {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// A branch or commit id
    #[arg(value_name = "COMMIT")]
    commit: String,
    /// The path
    #[arg(value_name = "PATH")]
    path: String,
}

impl Delete {
    pub(super) fn words(self) -> Words {
        Words::new("delete file").arg(file(&self.repo, &self.commit, &self.path))
    }
}

impl Diff {
    fn old(&self) -> Option<String> {
        let repo = self.old_repo.as_deref()?;
        // The grammar asks for all three or none.
        Some(file(repo, self.old_commit.as_deref()?, self.old_path.as_deref()?))
    }
}

/// Put files into a repo, at the end of what is there
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pachctl put-file images master cat.png -f cat.png
  pachctl put-file images master -r -f holidays
  pachctl put-file iris master -o -f https://example.com/iris.csv")]
pub struct Put {
    /// The repo
    #[arg(value_name = "REPO")]
    repo: String,
    /// The branch
    #[arg(value_name = "BRANCH")]
    branch: String,
    /// The path to put to
    #[arg(value_name = "PATH")]
    path: Option<String>,
    /// A file, directory or URL, or '-' for standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE")]
    files: Vec<OsString>,
    /// A file (or URL, or '-') that names one path or URL per line
    #[arg(short, long, value_name = "LIST")]
    input_file: Option<OsString>,
    /// Put directories with everything in them
    #[arg(short, long)]
    recursive: bool,
    /// Replace files that exist instead of adding to them
    #[arg(short, long)]
    overwrite: bool,
    /// Deprecated: files are put in a commit of their own anyway
    #[arg(short, long)]
    commit: bool,
    /// What the commit is about
    #[arg(short, long, alias = "description", value_name = "TEXT")]
    message: Option<String>,
    /// Accepted; the stream is always as wide as the connection
    #[arg(short, long, value_name = "N")]
    parallelism: Option<String>,
    /// Cut each file into many: line, json, csv or sql
    #[arg(long, value_name = "FORMAT")]
    split: Option<String>,
    /// With --split: records to a file; without any limit each record is a file
    #[arg(long, value_name = "N")]
    target_file_datums: Option<String>,
    /// With --split: end a file once it has so many bytes
    #[arg(long, value_name = "BYTES")]
    target_file_bytes: Option<String>,
    /// With --split: this many records at the beginning are a header, which every file gets
    #[arg(long, value_name = "N")]
    header_records: Option<String>,
}

impl Put {
    pub(super) fn translate(self) -> Outcome<Translation> {
        let notice = "Flag --commit has been deprecated, each put-file makes a commit of its own";
        let target = match &self.path {
            Some(path) => file(&self.repo, &self.branch, path),
            None => super::commit(&self.repo, &self.branch),
        };
        let words = Words::new("put file")
            .flag("--append", !self.overwrite)
            .option("--file", self.files)
            .option("--input-file", self.input_file)
            .flag("--recursive", self.recursive)
            .option("--message", self.message)
            .option("--parallelism", self.parallelism)
            .option("--split", self.split)
            .option("--target-file-datums", self.target_file_datums)
            .option("--target-file-bytes", self.target_file_bytes)
            .option("--header-records", self.header_records)
            .arg(target)
            .done();
        let notices = self.commit.then(|| notice.to_owned()).into_iter().collect();
        Ok(Translation { words, notices })
    }
}
