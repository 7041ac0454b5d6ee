//! Pipeline specifications: text or API request to a validated value and back.

mod defaults;
mod duration;
mod fields;
mod inert;
mod input;
mod read;
#[cfg(test)]
mod tests;
mod transform;
mod trigger;
mod validate;
mod write;

use std::fmt;
use std::time::Duration;

use serde_json::{Map, Value as Json};

pub use defaults::{check_defaults, project_of};
pub use duration::{format_duration, parse_duration};
pub use input::{CronInput, Input, Leaf, PfsInput};
pub use read::{Parsed, parse, parse_over};
pub use transform::{Secret, SecretTarget, Transform};
pub use trigger::is_of_input;
pub use validate::InvalidSpec;
pub use write::KeyStyle;

use super::document::Position;
use crate::model::{BranchName, PipelineName, ProjectName};

/// How often a datum is tried unless the spec says otherwise.
pub const DEFAULT_DATUM_TRIES: u32 = 3;

/// A pipeline, as its author specified it, defaults filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct PipelineSpec {
    /// The project the pipeline and its output repo live in.
    pub project: ProjectName,
    /// Its name, also that of the output repo.
    pub name: PipelineName,
    /// Free text.
    pub description: String,
    /// The program.
    pub transform: Transform,
    /// How many workers run datums at the same time, at most; 1 or more.
    pub parallelism: u64,
    /// Where datums come from.
    pub input: Input,
    /// The branch of the output repo that results go to.
    pub output_branch: BranchName,
    /// Where results are pushed after a successful job: an object store URL.
    pub egress: Option<String>,
    /// Wall-clock limit of one try of one datum.
    pub datum_timeout: Option<Duration>,
    /// Wall-clock limit of a whole job, from its first datum on.
    pub job_timeout: Option<Duration>,
    /// How often a datum is tried before it counts as failed; 1 or more.
    pub datum_tries: u32,
    /// Which datums may be skipped.
    pub reprocess_policy: ReprocessPolicy,
    /// What happens when two datums write one path.
    pub on_conflict: OnConflict,
    /// Part of every datum's hash; a new one makes every datum run again.
    /// Empty until the pipeline is created.
    pub salt: String,
    /// Whether the request is to update an existing pipeline.
    pub update: bool,
    /// Whether an update is to run every datum again.
    pub reprocess: bool,
    /// Known fields that have no effect here, in their canonical JSON form.
    pub inert: Map<String, Json>,
}

impl PipelineSpec {
    /// A spec with every optional field at its default.
    #[must_use]
    pub fn new(name: PipelineName, transform: Transform, input: Input) -> Self {
        Self {
            project: ProjectName::default_project(),
            name,
            description: String::new(),
            transform,
            parallelism: 1,
            input,
            output_branch: BranchName::master(),
            egress: None,
            datum_timeout: None,
            job_timeout: None,
            datum_tries: DEFAULT_DATUM_TRIES,
            reprocess_policy: ReprocessPolicy::default(),
            on_conflict: OnConflict::default(),
            salt: String::new(),
            update: false,
            reprocess: false,
            inert: Map::new(),
        }
    }
}

/// When a datum that succeeded before is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReprocessPolicy {
    /// Not until its inputs change.
    #[default]
    UntilSuccess,
    /// In every job.
    EveryJob,
}

impl ReprocessPolicy {
    /// The word a spec uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UntilSuccess => "until_success",
            Self::EveryJob => "every_job",
        }
    }
}

/// What happens when two datums of a job write the same path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub enum OnConflict {
    /// The job fails and names both datums and the path.
    #[default]
    Fail,
    /// The contents are joined, in the order of the datum ids.
    Concat,
    /// The datum with the greatest id wins.
    Last,
}

impl OnConflict {
    /// The word a spec uses.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Concat => "concat",
            Self::Last => "last",
        }
    }
}

/// A spec text that cannot be used; prints as `file:line:column: message`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct SpecError {
    /// Where the text came from, as the user named it.
    pub file: String,
    /// The place in it.
    pub at: Position,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

impl fmt::Display for SpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.at, self.message)
    }
}

/// Something the author should know that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The place in the text.
    pub at: Position,
    /// What to know.
    pub message: String,
}
