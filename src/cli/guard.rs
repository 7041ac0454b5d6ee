//! Who may call a server that is about to start.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;

use crate::api::Address;
use crate::cli::prelude::*;
use crate::controller::identity::{
    AccessFile, Account, Gate, TokenReviews, Trust, UnreadableAccess,
};
use crate::model::SystemClock;

/// How callers are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Auth {
    /// Not at all: whoever reaches the server may do everything.
    None,
    /// By tokens of service accounts, which the cluster's API server verifies.
    Kubernetes,
}

/// Who may call, and what pods may mount.
#[derive(Debug, Clone, clap::Args)]
pub struct GuardArgs {
    /// How callers are known; with kubernetes every call needs the token of a
    /// service account, for the audience pfs
    #[arg(
        long,
        value_name = "HOW",
        env = "PFS_AUTH",
        default_value = "none",
        hide_env_values = true
    )]
    auth: Auth,
    /// A service account that may make every call; repeatable
    #[arg(
        long,
        value_name = "NAMESPACE/NAME",
        env = "PFS_TRUSTED",
        value_delimiter = ',',
        hide_env_values = true
    )]
    trusted: Vec<Account>,
    /// Which repos the pods of a namespace may read and write, as YAML; none
    /// unless given. Read again when it changes
    #[arg(long, value_name = "FILE", env = "PFS_ACCESS", hide_env_values = true)]
    access: Option<PathBuf>,
}

impl GuardArgs {
    /// What was asked for.
    pub async fn gate(&self) -> Outcome<Gate> {
        match self.auth {
            Auth::None => {
                if !self.trusted.is_empty() || self.access.is_some() {
                    return Err(Failure::usage("nobody is asked who they are by this server")
                        .hint("--trusted and --access go with --auth kubernetes"));
                }
                return Ok(Gate::open());
            }
            Auth::Kubernetes => {}
        }
        if self.trusted.is_empty() {
            return Err(Failure::usage("nobody could call this server").hint(
                "name the service accounts of agents and operators with --trusted NAMESPACE/NAME",
            ));
        }
        let access = match &self.access {
            None => AccessFile::default(),
            Some(path) => AccessFile::open(path).map_err(|error| unreadable(&error))?,
        };
        let reviewer = TokenReviews::connect().await.map_err(|error| {
            Failure::new(error.to_string())
                .hint("--auth kubernetes works in a pod, or with KUBECONFIG")
        })?;
        Ok(Gate::guarded(Trust {
            reviewer: Arc::new(reviewer),
            trusted: self.trusted.iter().cloned().collect(),
            access,
            clock: Arc::new(SystemClock),
        }))
    }
}

fn unreadable(error: &UnreadableAccess) -> Failure {
    let failure = Failure::new(error.to_string());
    match error {
        UnreadableAccess::Io { .. } => failure,
        UnreadableAccess::Invalid { .. } => failure
            .hint("'namespaces: {team: {read: [data], write: [model]}}' is one that is right"),
    }
}

/// What to say when others than this machine's users may do everything.
pub fn exposed(address: &Address, gate: &Gate) -> Option<String> {
    let place = match address {
        Address::Plain(place) | Address::Tls(place) => place,
        Address::Unix(_) => return None,
    };
    let loopback = place.parse::<SocketAddr>().is_ok_and(|bound| bound.ip().is_loopback());
    (gate.is_open() && !loopback).then(|| {
        format!(
            "warning: WHOEVER REACHES {place} MAY READ, CHANGE AND DELETE EVERYTHING: \
             this server asks nobody who they are; see --auth"
        )
    })
}

#[cfg(test)]
#[path = "guard/tests.rs"]
mod tests;
