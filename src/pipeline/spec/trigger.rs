//! Inputs that wait: a trigger moves the branch they read.

use serde_json::{Value as Json, json};

use super::fields::{Fields, ReadError, fail, text, uint};
use crate::catalog::Trigger;
use crate::model::BranchName;
use crate::pipeline::document::{Node, Value};
use crate::pipeline::trigger::parse_size;

/// Reads a trigger; one that says nothing is none.
pub(super) fn read(node: &Node) -> Result<Option<Trigger>, ReadError> {
    let mut fields = Fields::of(node, "trigger")?;
    let trigger = Trigger {
        branch: fields.text("branch")?.unwrap_or_default(),
        all: fields.flag("all")?,
        rate_limit: fields.text("rate_limit_spec")?.unwrap_or_default(),
        size: fields.take("size").map_or(Ok(0), size)?,
        commits: fields.take("commits").map_or(Ok(0), |node| uint(node, "commits"))?,
        cron: fields.text("cron_spec")?.unwrap_or_default(),
    };
    fields.finish()?;
    Ok((trigger != Trigger::default()).then_some(trigger))
}

fn size(node: &Node) -> Result<u64, ReadError> {
    let written = match &node.value {
        Value::Number(number) => number.clone(),
        _ => text(node, "size")?,
    };
    match parse_size(&written) {
        Some(bytes) => Ok(bytes),
        None if written.is_empty() => Ok(0),
        None => {
            fail(node.at, format!("size must be a number of bytes like \"10M\", not {written:?}"))
        }
    }
}

/// The branch an input reads, and the trigger that moves it: of the `number`th
/// triggered input, a branch of its own unless it names one beside the one
/// that is watched.
pub(super) fn place(
    pipeline: &str,
    number: usize,
    branch: Option<BranchName>,
    mut trigger: Trigger,
) -> (Option<BranchName>, Trigger) {
    let named = branch.filter(|branch| {
        let other = !trigger.branch.is_empty() && trigger.branch != branch.as_str();
        if trigger.branch.is_empty() {
            branch.as_str().clone_into(&mut trigger.branch);
        }
        other
    });
    if trigger.branch.is_empty() {
        BranchName::master().as_str().clone_into(&mut trigger.branch);
    }
    // Names of pipelines and branches are of the same letters.
    (named.or_else(|| format!("{pipeline}-trigger-{number}").parse().ok()), trigger)
}

/// Whether a branch is one that a pipeline's input has to itself.
#[must_use]
pub fn is_of_input(pipeline: &str, branch: &BranchName) -> bool {
    let number =
        branch.as_str().strip_prefix(pipeline).and_then(|rest| rest.strip_prefix("-trigger-"));
    number.is_some_and(|number| number.parse::<usize>().is_ok())
}

/// As JSON with protobuf's names, conditions not given left out.
pub(super) fn write(trigger: &Trigger, name: impl Fn(&str) -> String) -> Json {
    let given = [
        ("branch", !trigger.branch.is_empty(), json!(trigger.branch)),
        ("all", trigger.all, json!(true)),
        ("rate_limit_spec", !trigger.rate_limit.is_empty(), json!(trigger.rate_limit)),
        ("size", trigger.size > 0, json!(trigger.size.to_string())),
        ("commits", trigger.commits > 0, json!(trigger.commits.to_string())),
        ("cron_spec", !trigger.cron.is_empty(), json!(trigger.cron)),
    ];
    let given = given.into_iter().filter(|(_, given, _)| *given);
    given.map(|(key, _, value)| (name(key), value)).collect()
}
