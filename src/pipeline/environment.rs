//! What a program sees while it works on a datum.

use std::collections::BTreeMap;

use crate::model::{BranchName, CommitId, DatumId, Repo, TreePath};
use crate::pipeline::datum::{Datum, Origins};
use crate::pipeline::spec::{SecretTarget, Transform};

/// The names and commits of a job that every datum sees.
#[derive(Debug, Clone, Copy)]
pub struct JobFacts<'a> {
    /// The project.
    pub project: &'a str,
    /// The pipeline.
    pub pipeline: &'a str,
    /// The job, and with it the output commit.
    pub job: CommitId,
    /// The commit of the pipeline's spec.
    pub spec_commit: CommitId,
    /// The commit each leaf of the input tree is read at.
    pub commits: &'a [CommitId],
}

/// A directory under `/pfs` with the files of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputDirectory {
    /// Its name under `/pfs`.
    pub name: String,
    /// Where its files come from; several when a group or union takes files
    /// of one name from several repos. A later one wins where paths are equal.
    pub sources: Vec<InputSource>,
}

/// Files of one commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputSource {
    /// The repo.
    pub repo: Repo,
    /// The branch the commit was taken from.
    pub branch: BranchName,
    /// The commit.
    pub commit: CommitId,
    /// Files and whole directories, at their repo paths; sorted.
    pub paths: Vec<TreePath>,
    /// Whether files appear with zero length.
    pub empty_files: bool,
}

/// The directories under `/pfs` that a datum sees, by name.
#[must_use]
pub fn layout(origins: &Origins, datum: &Datum, commits: &[CommitId]) -> Vec<InputDirectory> {
    let mut by_name: BTreeMap<&str, BTreeMap<usize, Vec<TreePath>>> = BTreeMap::new();
    for input in datum.inputs.iter() {
        let sources = by_name.entry(&origins.get(input).name).or_default();
        sources.entry(input.leaf).or_default().push(input.found.path.clone());
    }
    let source = |(leaf, mut paths): (usize, Vec<TreePath>)| {
        paths.sort();
        paths.dedup();
        let origin = &origins.all()[leaf];
        InputSource {
            repo: origin.repo.clone(),
            branch: origin.branch.clone(),
            commit: commits[leaf],
            paths,
            empty_files: origin.empty_files,
        }
    };
    by_name
        .into_iter()
        .map(|(name, sources)| InputDirectory {
            name: name.to_owned(),
            sources: sources.into_iter().map(source).collect(),
        })
        .collect()
}

/// The environment variables of a datum, later ones over earlier ones.
///
/// The secrets of the transform are not among them: their values are known to
/// the executor only.
#[must_use]
pub fn variables(
    transform: &Transform,
    facts: &JobFacts<'_>,
    origins: &Origins,
    datum: &Datum,
    id: DatumId,
) -> Vec<(String, String)> {
    let mut variables = transform.env.clone();
    let mut set = |name: String, value: String| variables.push((name, value));
    for input in datum.inputs.iter() {
        let origin = origins.get(input);
        let name = &origin.name;
        set(name.clone(), pfs_path(name, &input.found.path));
        set(format!("{name}_COMMIT"), facts.commits[input.leaf].to_string());
        if !input.found.join_key.is_empty() {
            set(format!("PACH_DATUM_{name}_JOIN_ON"), input.found.join_key.to_string());
        }
        if !input.found.group_key.is_empty() {
            set(format!("PACH_DATUM_{name}_GROUP_BY"), input.found.group_key.to_string());
        }
    }
    for (name, value) in [
        ("PACH_JOB_ID", facts.job.to_string()),
        ("PACH_OUTPUT_COMMIT_ID", facts.job.to_string()),
        ("PACH_DATUM_ID", id.to_string()),
        ("PACH_PIPELINE_NAME", facts.pipeline.to_owned()),
        ("PPS_PIPELINE_NAME", facts.pipeline.to_owned()),
        ("PPS_PROJECT_NAME", facts.project.to_owned()),
        ("PPS_SPEC_COMMIT", facts.spec_commit.to_string()),
    ] {
        set(name.to_owned(), value);
    }
    variables
}

/// Where a file of an input appears; without a slash at the end.
#[must_use]
pub fn pfs_path(name: &str, path: &TreePath) -> String {
    match path.is_root() {
        true => format!("/pfs/{name}"),
        false => format!("/pfs/{name}/{}", path.as_str()),
    }
}

/// The lines joined by newlines, with one at the end; nothing for no lines.
#[must_use]
pub fn stdin_text(lines: &[String]) -> String {
    match lines.is_empty() {
        true => String::new(),
        false => format!("{}\n", lines.join("\n")),
    }
}

impl Transform {
    /// Whether an exit code counts as success.
    #[must_use]
    pub fn accepts(&self, code: i32) -> bool {
        code == 0 || self.accept_return_code.contains(&code)
    }

    /// The names of all secrets the program needs.
    #[must_use]
    pub fn secret_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.secrets.iter().map(|secret| secret.name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// The directories secrets appear in as files.
    pub fn secret_directories(&self) -> impl Iterator<Item = (&str, &str)> {
        self.secrets.iter().filter_map(|secret| match &secret.target {
            SecretTarget::Files { mount_path } => Some((secret.name.as_str(), mount_path.as_str())),
            SecretTarget::Variable { .. } => None,
        })
    }
}
