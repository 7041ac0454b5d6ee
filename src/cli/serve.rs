//! `serve`: wires the library's parts into a server.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::output::parse_size;
use crate::cli::prelude::*;

/// Run the server until it is stopped
///
/// SIGTERM and Ctrl-C let calls in flight end first. The gRPC API listens at
/// --address, 127.0.0.1:30650 unless given; nothing but loopback is bound
/// unless asked.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  pfs serve
  pfs serve --root /srv/pfs --address 127.0.0.1:0
  pfs serve --store s3://bucket/prefix --address 0.0.0.0:30650")]
pub struct Args {
    /// Directory for state; /var/lib/pfs as root, else $XDG_DATA_HOME/pfs
    #[arg(long, value_name = "DIR", env = "PFS_ROOT", hide_env_values = true)]
    pub root: Option<PathBuf>,
    /// Object store: file://, memory://, s3://, gs://, az://; ROOT/objects
    /// unless given
    #[arg(long, value_name = "URL", env = "PFS_STORE", hide_env_values = true)]
    pub store: Option<String>,
    /// Catalog: sqlite://; ROOT/catalog.db unless given
    #[arg(long, value_name = "URL", env = "PFS_CATALOG", hide_env_values = true)]
    pub catalog: Option<String>,
    /// Where the S3 gateway listens
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:30600")]
    pub s3_address: String,
    /// Where console, health and metrics listen
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:30080")]
    pub http_address: String,
    /// How logs look
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// How the programs of pipelines are run
    #[arg(long, value_name = "EXECUTOR", default_value = "process")]
    pub executor: Executor,
    /// How many datums run at the same time; one per CPU unless given
    #[arg(long, value_name = "N")]
    pub workers: Option<usize>,
    /// How much memory caches and buffers may use
    #[arg(long, value_name = "SIZE", default_value = "192MiB", value_parser = parse_size)]
    pub memory: u64,
}

/// How logs look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// An object per line.
    Json,
}

/// How the programs of pipelines are run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Executor {
    /// On this host.
    Process,
    /// By a container runtime.
    Container,
    /// As pods.
    Kubernetes,
}

impl Args {
    /// The directory for state.
    pub fn root(&self) -> Outcome<PathBuf> {
        if let Some(root) = &self.root {
            return Ok(root.clone());
        }
        if nix::unistd::geteuid().is_root() {
            return Ok(PathBuf::from("/var/lib/pfs"));
        }
        let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        set("XDG_DATA_HOME")
            .or_else(|| set("HOME").map(|home| home.join(".local/share")))
            .map(|dir| dir.join("pfs"))
            .ok_or_else(|| Failure::new("there is no directory for state").hint("give --root"))
    }

    /// Serves until told to stop.
    #[expect(clippy::unused_async, reason = "the server is not built in yet")]
    pub async fn run(self, _: &Context) -> Outcome {
        match self.executor {
            Executor::Process => Err(Failure::new("this build cannot serve")),
            Executor::Container | Executor::Kubernetes => {
                Err(Failure::new("this build runs programs on the host only")
                    .hint("use --executor process"))
            }
        }
    }
}
