//! The dash commands of 1.x, translated into the native grammar.
//!
//! Each is parsed by a grammar of its own and becomes the words a user would
//! have typed natively, so that there is one implementation. What differs
//! besides the spelling is in the words (`put-file` appends) or in
//! [`super::context::Era`] (columns, keys of JSON).

mod commit;
mod file;
mod job;
mod pipeline;
mod repo;

use std::ffi::OsString;

use clap::Subcommand;

use super::cluster::{Absent, Ignored};
use super::failure::{Failure, Outcome};

/// Every dash command.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants are the commands")]
pub enum DashCommand {
    #[command(hide = true)]
    CreateRepo(repo::Create),
    #[command(hide = true)]
    UpdateRepo(repo::Update),
    #[command(hide = true)]
    InspectRepo(repo::Inspect),
    #[command(hide = true)]
    ListRepo(repo::List),
    #[command(hide = true)]
    DeleteRepo(repo::Delete),
    #[command(hide = true)]
    CreateBranch(repo::CreateBranch),
    #[command(hide = true)]
    SetBranch(repo::SetBranch),
    #[command(hide = true)]
    ListBranch(repo::ListBranch),
    #[command(hide = true)]
    DeleteBranch(repo::DeleteBranch),
    #[command(hide = true)]
    StartCommit(commit::Start),
    #[command(hide = true)]
    FinishCommit(commit::Finish),
    #[command(hide = true)]
    InspectCommit(commit::Inspect),
    #[command(hide = true)]
    ListCommit(commit::List),
    #[command(hide = true)]
    FlushCommit(commit::Flush),
    #[command(hide = true)]
    SubscribeCommit(commit::Subscribe),
    #[command(hide = true)]
    DeleteCommit(commit::Delete),
    #[command(hide = true)]
    PutFile(file::Put),
    #[command(hide = true)]
    CopyFile(file::Copy),
    #[command(hide = true)]
    GetFile(file::Get),
    #[command(hide = true)]
    InspectFile(file::Inspect),
    #[command(hide = true)]
    ListFile(file::List),
    #[command(hide = true)]
    GlobFile(file::Glob),
    #[command(hide = true)]
    DiffFile(file::Diff),
    #[command(hide = true)]
    DeleteFile(file::Delete),
    #[command(hide = true)]
    CreatePipeline(pipeline::Create),
    #[command(hide = true)]
    UpdatePipeline(pipeline::Update),
    #[command(hide = true)]
    InspectPipeline(pipeline::Inspect),
    #[command(hide = true)]
    ListPipeline(pipeline::List),
    #[command(hide = true)]
    ExtractPipeline(pipeline::Extract),
    #[command(hide = true)]
    EditPipeline(pipeline::Edit),
    #[command(hide = true)]
    DeletePipeline(pipeline::Delete),
    #[command(hide = true)]
    StartPipeline(pipeline::Start),
    #[command(hide = true)]
    StopPipeline(pipeline::Stop),
    #[command(hide = true)]
    ListJob(job::List),
    #[command(hide = true)]
    InspectJob(job::Inspect),
    #[command(hide = true)]
    FlushJob(job::Flush),
    #[command(hide = true)]
    DeleteJob(job::Delete),
    #[command(hide = true)]
    StopJob(job::Stop),
    #[command(hide = true)]
    ListDatum(job::ListDatum),
    #[command(hide = true)]
    InspectDatum(job::InspectDatum),
    #[command(hide = true)]
    RestartDatum(job::RestartDatum),
    #[command(hide = true)]
    GetLogs(job::Logs),
    #[command(hide = true)]
    CreateSecret(pipeline::CreateSecret),
    #[command(hide = true)]
    DeleteAll(repo::DeleteAll),
    #[command(hide = true)]
    GetObject(Absent),
    #[command(hide = true)]
    GetTag(Absent),
    #[command(hide = true)]
    GarbageCollect(Absent),
    #[command(hide = true, name = "restore")]
    Restore(Absent),
    #[command(hide = true)]
    UpdateDash(Ignored),
    #[command(hide = true)]
    InspectCluster(repo::InspectCluster),
    #[command(hide = true)]
    DebugDump(Absent),
}

/// Words of the native grammar, and what the user should know about them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// Verb, noun, flags, arguments.
    pub words: Vec<OsString>,
    /// For standard error.
    pub notices: Vec<String>,
}

impl DashCommand {
    /// The same command in the native grammar.
    pub fn translate(self) -> Outcome<Translation> {
        let words = match self {
            Self::PutFile(args) => return args.translate(),
            Self::CreateRepo(args) => args.words(),
            Self::UpdateRepo(args) => args.words(),
            Self::InspectRepo(args) => args.words(),
            Self::ListRepo(args) => args.words(),
            Self::DeleteRepo(args) => args.words(),
            Self::CreateBranch(args) => args.words(),
            Self::SetBranch(args) => args.words(),
            Self::ListBranch(args) => args.words(),
            Self::DeleteBranch(args) => args.words(),
            Self::StartCommit(args) => args.words(),
            Self::FinishCommit(args) => args.words(),
            Self::InspectCommit(args) => args.words(),
            Self::ListCommit(args) => args.words(),
            Self::FlushCommit(args) => args.words(),
            Self::SubscribeCommit(args) => args.words(),
            Self::DeleteCommit(args) => args.words(),
            Self::CopyFile(args) => args.words(),
            Self::GetFile(args) => args.words(),
            Self::InspectFile(args) => args.words(),
            Self::ListFile(args) => args.words(),
            Self::GlobFile(args) => args.words(),
            Self::DiffFile(args) => args.words(),
            Self::DeleteFile(args) => args.words(),
            Self::CreatePipeline(args) => args.words(),
            Self::UpdatePipeline(args) => args.words(),
            Self::InspectPipeline(args) => args.words(),
            Self::ListPipeline(args) => args.words(),
            Self::ExtractPipeline(args) => args.words(),
            Self::EditPipeline(args) => args.words(),
            Self::DeletePipeline(args) => args.words(),
            Self::StartPipeline(args) => args.words(),
            Self::StopPipeline(args) => args.words(),
            Self::ListJob(args) => args.words(),
            Self::InspectJob(args) => args.words(),
            Self::FlushJob(args) => args.words(),
            Self::DeleteJob(args) => args.words(),
            Self::StopJob(args) => args.words(),
            Self::ListDatum(args) => args.words(),
            Self::InspectDatum(args) => args.words(),
            Self::RestartDatum(args) => args.words(),
            Self::GetLogs(args) => args.words(),
            Self::CreateSecret(args) => args.words(),
            Self::DeleteAll(args) => args.words(),
            Self::InspectCluster(args) => args.words(),
            Self::GetObject(_) => return Err(absent("get-object")),
            Self::GetTag(_) => return Err(absent("get-tag")),
            Self::GarbageCollect(_) => return Err(absent("garbage-collect")),
            Self::Restore(_) => return Err(absent("restore")),
            Self::UpdateDash(_) => return Err(absent("update-dash")),
            Self::DebugDump(_) => return Err(absent("debug-dump")),
        };
        Ok(Translation { words: words.done(), notices: Vec::new() })
    }
}

fn absent(name: &str) -> Failure {
    Failure::new(format!("'{name}' is not part of pfs"))
        .hint("'pfs help' lists the commands there are")
}

/// A native command line under construction.
#[derive(Debug)]
struct Words {
    flags: Vec<OsString>,
    arguments: Vec<OsString>,
}

impl Words {
    fn new(verb_and_noun: &str) -> Self {
        let flags = verb_and_noun.split(' ').map(OsString::from).collect();
        Self { flags, arguments: Vec::new() }
    }

    /// An argument.
    fn arg(mut self, value: impl Into<OsString>) -> Self {
        self.arguments.push(value.into());
        self
    }

    /// Arguments.
    fn args(self, values: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        values.into_iter().fold(self, Self::arg)
    }

    /// `name` when it is set.
    fn flag(mut self, name: &str, set: bool) -> Self {
        if set {
            self.flags.push(name.into());
        }
        self
    }

    /// `name=value` for each value.
    fn option(mut self, name: &str, values: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        for value in values {
            let mut word = OsString::from(format!("{name}="));
            word.push(value.into());
            self.flags.push(word);
        }
        self
    }

    fn done(mut self) -> Vec<OsString> {
        // Whatever looks like a flag is none.
        if self.arguments.iter().any(|a| a.as_encoded_bytes().starts_with(b"-")) {
            self.flags.push("--".into());
        }
        self.flags.append(&mut self.arguments);
        self.flags
    }
}

/// `repo@ref`.
fn commit(repo: &str, reference: &str) -> String {
    format!("{repo}@{reference}")
}

/// `repo@ref:path`.
fn file(repo: &str, reference: &str, path: &str) -> String {
    format!("{repo}@{reference}:{path}")
}

/// `repo/ref`, as 1.7 names commits and branches, or `repo@ref`.
fn slashed(text: &str) -> String {
    match text.split_once('/') {
        Some((repo, reference)) if !text.contains('@') => commit(repo, reference),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
