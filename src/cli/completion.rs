//! `completion`.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use super::grammar::Cli;
use crate::cli::prelude::*;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs completion bash > /etc/bash_completion.d/pfs")]
pub struct Args {
    /// The shell: bash, zsh or fish
    #[arg(value_name = "SHELL", default_value = "bash")]
    shell: Shell,
}

impl Args {
    /// Prints the script.
    pub fn run(self, cx: &Context) -> Outcome {
        let name = if cx.globals.called_pachctl { "pachctl" } else { "pfs" };
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), name, &mut script);
        let mut sink = cx.sink();
        sink.bytes(&script)?;
        Ok(sink.flush()?)
    }
}
