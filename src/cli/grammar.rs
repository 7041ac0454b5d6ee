//! The native grammar, `pfs <verb> <noun>`; the dash commands stand beside it.

use std::time::Duration;

use clap::{ArgAction, Parser, Subcommand};

use super::dialect::DashCommand;
use super::prelude::*;
use super::verbs::{
    Check, Copy, Create, Delete, Diff, Edit, Extract, Find, Finish, Flush, Get, Glob, Inspect,
    List, Put, Rerun, Restart, Resume, Run, Squash, Start, Stop, Subscribe, Update, Validate, Wait,
};
use super::{
    agent, cluster, completion, config, deploy, fsck, keeper, logs, mount, serve, stats, version,
    warm,
};

/// Versioned data repos, mounted as directories, and pipelines that run when
/// a commit closes
#[derive(Debug, Parser)]
#[command(name = "pfs", version = version::VERSION, propagate_version = false)]
#[command(subcommand_required = true, arg_required_else_help = true)]
#[command(disable_help_subcommand = false, max_term_width = 100)]
#[command(after_help = "Examples:
  pfs create repo images
  pfs put file images@master -f cat.png
  pfs list file images@master
  pfs mount /pfs -d

A commit is named REPO@REF, where REF is a branch, a commit id or 8 or more of its first digits,
followed by any of ^, ^N, ~N (parents back) and .N (from the branch's start).
Nouns may be singular or plural. The commands of 1.x (create-repo, put-file, …) work as well.")]
pub struct Cli {
    #[command(flatten)]
    pub globals: Globals,
    /// Accepted; there are no namespaces here
    #[arg(short, long, value_name = "NAMESPACE", hide = true)]
    namespace: Option<String>,
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Global options")]
pub struct Globals {
    /// Where the server is, else $PFS_ADDRESS or $PACHD_ADDRESS says. For 'serve': where to listen,
    /// which no variable says
    #[arg(long, global = true, value_name = "ADDRESS")]
    pub address: Option<String>,
    /// The project that unqualified names belong to
    #[arg(long, global = true, value_name = "PROJECT")]
    pub project: Option<String>,
    /// Tell more; twice for everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Give up on a call to the server after this time, e.g. 30s
    #[arg(long, global = true, value_name = "DURATION", value_parser = timeout)]
    pub rpc_timeout: Option<Duration>,
    /// Do not paint the output
    #[arg(long, global = true)]
    pub no_color: bool,
    /// Accepted; nothing is ever reported
    #[arg(long, global = true, hide = true)]
    no_metrics: bool,
    /// Accepted; there is nothing to forward
    #[arg(long, global = true, hide = true)]
    no_port_forward: bool,
    /// Whether the program was called `pachctl`.
    #[arg(skip)]
    pub called_pachctl: bool,
}

fn timeout(text: &str) -> Result<Duration, String> {
    let span = crate::pipeline::spec::parse_duration(text).filter(|span| !span.is_zero());
    span.ok_or_else(|| "expected a duration such as 30s or 1m30s".to_owned())
}

/// Either grammar.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Verb and noun.
    #[command(flatten)]
    Native(Native),
    /// One dashed word.
    #[command(flatten)]
    Dash(DashCommand),
}

/// Parses what a dash command was translated to.
#[derive(Debug, Parser)]
#[command(name = "pfs")]
pub struct NativeCli {
    #[command(subcommand)]
    pub command: Native,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub enum Native {
    Serve(serve::Args),
    Mount(mount::Args),
    #[command(alias = "unmount")]
    Umount(mount::control::Umount),
    UpgradeMounts(mount::upgrade::Args),
    Commit(mount::control::Commit),
    Abort(mount::control::Abort),
    Status(mount::control::Status),
    Agent(agent::Args),
    Keeper(keeper::Args),
    /// Create a project, repo, branch, pipeline or secret
    #[command(subcommand, after_help = "Example:\n  pfs create repo images")]
    Create(Create),
    /// Change a project, repo, branch or pipeline
    #[command(subcommand, after_help = "Example:\n  pfs update pipeline -f train.json")]
    Update(Update),
    /// Show one thing in full
    #[command(subcommand, after_help = "Example:\n  pfs inspect commit images@master")]
    Inspect(Inspect),
    /// List things
    #[command(subcommand, after_help = "Example:\n  pfs list file images@master")]
    List(List),
    /// Delete things
    #[command(subcommand, alias = "drop", after_help = "Example:\n  pfs delete repo images")]
    Delete(Delete),
    /// Start a commit, a transaction, or a pipeline that was stopped
    #[command(subcommand, after_help = "Example:\n  pfs start commit images@master")]
    Start(Start),
    /// Finish a commit or a transaction
    #[command(subcommand, after_help = "Example:\n  pfs finish commit images@master")]
    Finish(Finish),
    /// Stop a pipeline or a job; leave a transaction
    #[command(subcommand, after_help = "Example:\n  pfs stop pipeline train")]
    Stop(Stop),
    /// Go on with a transaction
    #[command(
        subcommand,
        after_help = "Example:\n  pfs resume transaction 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11"
    )]
    Resume(Resume),
    /// Put files into a repo
    #[command(subcommand, after_help = "Example:\n  pfs put file images@master -f cat.png")]
    Put(Put),
    /// Get files from a repo
    #[command(subcommand, after_help = "Example:\n  pfs get file images@master:/cat.png > cat.png")]
    Get(Get),
    /// Copy files within or between repos
    #[command(
        subcommand,
        after_help = "Example:\n  pfs copy file images@master:/cat.png pets@master:/tom.png"
    )]
    Copy(Copy),
    /// List files by pattern
    #[command(subcommand, after_help = "Example:\n  pfs glob file 'images@master:/2024/*.png'")]
    Glob(Glob),
    /// Compare files of two commits
    #[command(
        subcommand,
        after_help = "Example:\n  pfs diff file images@master:/ images@master^:/"
    )]
    Diff(Diff),
    /// Wait for a commit or job
    #[command(subcommand, after_help = "Example:\n  pfs wait commit images@master")]
    Wait(Wait),
    /// Wait for everything that follows from a commit
    #[command(subcommand, after_help = "Example:\n  pfs flush commit images@master")]
    Flush(Flush),
    /// Watch a branch
    #[command(subcommand, after_help = "Example:\n  pfs subscribe commit images@master --new")]
    Subscribe(Subscribe),
    /// Remove commits, keeping their data
    #[command(
        subcommand,
        after_help = "Example:\n  pfs squash commit 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11"
    )]
    Squash(Squash),
    /// Find commits
    #[command(subcommand, after_help = "Example:\n  pfs find commit images@master:/cat.png")]
    Find(Find),
    /// Edit a pipeline
    #[command(subcommand, after_help = "Example:\n  pfs edit pipeline train")]
    Edit(Edit),
    /// Print the spec of a pipeline
    #[command(subcommand, after_help = "Example:\n  pfs extract pipeline train > train.json")]
    Extract(Extract),
    /// Check a pipeline's spec
    #[command(subcommand, after_help = "Example:\n  pfs validate pipeline -f train.json")]
    Validate(Validate),
    /// Let a cron input tick, or start one more job
    #[command(subcommand, after_help = "Example:\n  pfs run cron report")]
    Run(Run),
    /// Look for trouble
    #[command(subcommand, after_help = "Example:\n  pfs check status")]
    Check(Check),
    /// Run a pipeline again
    #[command(subcommand, after_help = "Example:\n  pfs rerun pipeline train --reprocess")]
    Rerun(Rerun),
    /// Start datums afresh
    #[command(
        subcommand,
        after_help = "Example:\n  pfs restart datum train@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11 /a.csv"
    )]
    Restart(Restart),
    #[command(alias = "log")]
    Logs(logs::Args),
    Fsck(fsck::Args),
    Stats(stats::Args),
    Warm(warm::Args),
    Config(config::Args),
    Connect(config::Connect),
    Version(version::Args),
    Completion(completion::Args),
    PortForward(cluster::PortForward),
    Deploy(deploy::Args),
    #[command(hide = true)]
    Undeploy(cluster::Undeploy),
    /// What other eras had.
    #[command(flatten)]
    Absent(cluster::AbsentCommand),
}

impl Native {
    /// Does it.
    pub async fn run(self, cx: &Context) -> Outcome {
        match self {
            Self::Serve(args) => args.run(cx).await,
            Self::Mount(args) => args.run(cx).await,
            Self::Umount(args) => args.run(cx).await,
            Self::UpgradeMounts(args) => args.run(cx).await,
            Self::Commit(args) => args.run(cx).await,
            Self::Abort(args) => args.run(cx).await,
            Self::Status(args) => args.run(cx).await,
            Self::Agent(args) => args.run(cx).await,
            Self::Keeper(args) => args.run().await,
            Self::Logs(args) => args.run(cx).await,
            Self::Fsck(args) => args.run(cx).await,
            Self::Stats(args) => args.run(cx).await,
            Self::Warm(args) => args.run(cx).await,
            Self::Version(args) => args.run(cx).await,
            Self::Config(args) => args.run(cx),
            Self::Connect(args) => args.run(cx),
            Self::Completion(args) => args.run(cx),
            Self::PortForward(args) => args.run(cx),
            Self::Deploy(args) => args.run(cx),
            Self::Undeploy(args) => args.run(cx),
            Self::Create(verb) => verb.run(cx).await,
            Self::Update(verb) => verb.run(cx).await,
            Self::Inspect(verb) => verb.run(cx).await,
            Self::List(verb) => verb.run(cx).await,
            Self::Delete(verb) => verb.run(cx).await,
            Self::Start(verb) => verb.run(cx).await,
            Self::Finish(verb) => verb.run(cx).await,
            Self::Stop(verb) => verb.run(cx).await,
            Self::Resume(verb) => verb.run(cx).await,
            Self::Put(verb) => verb.run(cx).await,
            Self::Get(verb) => verb.run(cx).await,
            Self::Copy(verb) => verb.run(cx).await,
            Self::Glob(verb) => verb.run(cx).await,
            Self::Diff(verb) => verb.run(cx).await,
            Self::Wait(verb) => verb.run(cx).await,
            Self::Flush(verb) => verb.run(cx).await,
            Self::Subscribe(verb) => verb.run(cx).await,
            Self::Squash(verb) => verb.run(cx).await,
            Self::Find(verb) => verb.run(cx).await,
            Self::Edit(verb) => verb.run(cx).await,
            Self::Extract(verb) => verb.run(cx).await,
            Self::Validate(verb) => verb.run(cx).await,
            Self::Run(verb) => verb.run(cx).await,
            Self::Check(verb) => verb.run(cx).await,
            Self::Rerun(verb) => verb.run(cx).await,
            Self::Restart(verb) => verb.run(cx).await,
            Self::Absent(command) => command.run(),
        }
    }
}
