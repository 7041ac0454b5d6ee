//! What a storage class says, understood.

use std::collections::BTreeMap;

use pfs_csi::{NewVolume, Refusal, Result};

use crate::model::{ProjectName, RepoName};

/// Parameters that are attributes of the volume, passed on as they are.
const ATTRIBUTES: [&str; 6] = ["path", "mode", "follow", "commit", "message", "prefetch"];

/// What a volume is to be made of, where no other volume or snapshot is named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    /// The repo that gets a branch; `None` for a repo of its own.
    pub repo: Option<RepoName>,
    /// The project of either.
    pub project: ProjectName,
    /// Where the branch begins; at the head of master unless said.
    pub base: Option<String>,
    /// What the volume is published with, but for where it is.
    pub attributes: BTreeMap<String, String>,
}

impl Class {
    /// The parameters of a request; what is not known is refused.
    pub fn parse(wanted: &NewVolume) -> Result<Self> {
        let mut class = Self {
            repo: None,
            project: ProjectName::default_project(),
            base: None,
            attributes: BTreeMap::new(),
        };
        let invalid = |error: &dyn std::fmt::Display| Refusal::Invalid(error.to_string());
        for (key, value) in &wanted.parameters {
            match key.as_str() {
                "repo" => {
                    let name = match value.split_once('/') {
                        Some((project, name)) => {
                            class.project = project.parse().map_err(|e| invalid(&e))?;
                            name
                        }
                        None => value,
                    };
                    class.repo = Some(name.parse().map_err(|e| invalid(&e))?);
                }
                "ref" => class.base = Some(value.clone()),
                key if ATTRIBUTES.contains(&key) => {
                    class.attributes.insert(key.to_owned(), value.clone());
                }
                key => return Err(Refusal::Invalid(format!("parameter {key:?} is not known"))),
            }
        }
        if class.base.is_some() && class.repo.is_none() {
            let what = "parameter \"ref\" says where in a repo a volume begins, but none is named";
            return Err(Refusal::Invalid(what.to_owned()));
        }
        let mode = if wanted.is_written { "rw" } else { "ro" };
        class.attributes.entry("mode".to_owned()).or_insert_with(|| mode.to_owned());
        Ok(class)
    }
}

#[cfg(test)]
mod tests;
