//! The names of what was cut: `0000000000000000` and on.

use super::target::join;
use crate::api::client::Client;
use crate::cli::prelude::*;

/// Digits of a name.
const DIGITS: usize = 16;

/// Knows which names are taken where files are put to.
pub(super) struct Names {
    server: Client,
    commit: pfs::Commit,
}

impl Names {
    /// For files that are put to `target`.
    pub(super) fn new(server: Client, target: v1::PutTarget) -> Self {
        let repo = target.repo.unwrap_or_default();
        let project = if repo.project.is_empty() { "default".to_owned() } else { repo.project };
        let repo = pfs::Repo {
            name: repo.repo,
            r#type: repo.kind,
            project: Some(pfs::Project { name: project }),
        };
        Self { server, commit: pfs::Commit { repo: Some(repo), id: target.r#ref, branch: None } }
    }

    /// The number of the first file that is to come into a directory. Refused
    /// where other files are there, too.
    pub(super) async fn next_in(&self, dir: &str) -> Outcome<u64> {
        let mixed = |name: &str| {
            let what = format!("{dir:?} holds {name:?}, which no earlier --split put there");
            Failure::new(what).hint("put to another path, or replace it with --overwrite")
        };
        let number = |name: String| match u64::from_str_radix(&name, 16) {
            Ok(number) if name.len() == DIGITS => Ok(number),
            Ok(_) | Err(_) => Err(mixed(&name)),
        };
        let Some(first) = self.after(dir, None).await? else { return Ok(0) };
        let mut last = number(first)?;
        // What lies beyond: twice as far each time, then half as far.
        let (mut step, mut growing) = (1_u64, true);
        while step > 0 {
            let from = last.checked_add(step - 1);
            let found = match from {
                Some(from) => self.after(dir, Some(&format!("{from:016x}"))).await?,
                None => None,
            };
            match found {
                Some(name) => {
                    last = number(name)?;
                    if growing {
                        step = step.saturating_mul(2);
                    }
                }
                None => {
                    growing = false;
                    step /= 2;
                }
            }
        }
        if let Some(name) = self.after(dir, Some(&"f".repeat(DIGITS))).await? {
            return Err(mixed(&name));
        }
        last.checked_add(1).ok_or_else(|| Failure::new(format!("{dir:?} is full")))
    }

    /// The first name in a directory, after another one.
    async fn after(&self, dir: &str, name: Option<&str>) -> Outcome<Option<String>> {
        let file = |path: String| pfs::File {
            commit: Some(self.commit.clone()),
            path,
            datum: String::new(),
        };
        let request = pfs::ListFileRequest {
            file: Some(file(format!("/{dir}"))),
            pagination_marker: name.map(|name| file(format!("/{}", join(dir, name)))),
            number: 1,
            ..Default::default()
        };
        let mut found = match self.server.pfs().list_file(request).await {
            Ok(found) => found.into_inner(),
            // Nothing was put there yet, or nothing at all.
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(status.into()),
        };
        let Some(found) = found.message().await? else { return Ok(None) };
        let path = found.file.unwrap_or_default().path;
        let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
        // A file lists as itself.
        match path.trim_matches('/') == dir.trim_matches('/') {
            true => Err(Failure::new(format!("{dir:?} is a file already"))
                .hint("put to another path, or replace it with --overwrite")),
            false => Ok(Some(name.to_owned())),
        }
    }
}
