//! When a branch follows the one it watches.

#[cfg(test)]
mod tests;

use super::cron::Schedule;
use crate::catalog::Trigger;
use crate::model::{BranchName, Timestamp};

/// A trigger that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{rule}")]
pub struct InvalidTrigger {
    /// What is wrong with it.
    pub rule: String,
    /// What to do instead.
    pub remedy: &'static str,
}

/// What happened on the watched branch since the trigger moved the other.
#[derive(Debug, Clone, Copy, Default)]
pub struct Growth {
    /// Commits finished, counted as far as the trigger asks for.
    pub commits: u64,
    /// Bytes by which it has grown.
    pub bytes: u64,
    /// When the commit finished that the other branch is at.
    pub before: Option<Timestamp>,
    /// When the newest finished.
    pub now: Timestamp,
}

/// Refuses triggers that could never work as written.
///
/// # Errors
/// The first rule broken.
pub fn check(trigger: &Trigger) -> Result<(), InvalidTrigger> {
    let invalid = |rule: String, remedy| Err(InvalidTrigger { rule, remedy });
    if let Err(error) = trigger.branch.parse::<BranchName>() {
        return invalid(
            format!("a trigger watches no branch: {error}"),
            "name the branch to watch",
        );
    }
    for spec in [&trigger.cron, &trigger.rate_limit].into_iter().filter(|spec| !spec.is_empty()) {
        if let Err(error) = spec.parse::<Schedule>() {
            return invalid(error.to_string(), "e.g. \"0 * * * *\", \"@daily\", \"@every 10m\"");
        }
    }
    let more = trigger.all || trigger.size > 0 || trigger.commits > 0;
    if !trigger.cron.is_empty() && (more || !trigger.rate_limit.is_empty()) {
        let rule = "a trigger with a cron spec can have no other condition".to_owned();
        return invalid(rule, "a rate limit goes together with size and commits");
    }
    Ok(())
}

/// Whether a commit that finishes moves the branch. One moved by a schedule
/// waits for that; one without any condition follows every commit.
#[must_use]
pub fn holds(trigger: &Trigger, growth: &Growth) -> bool {
    if !trigger.cron.is_empty() {
        return false;
    }
    let mut given = Vec::new();
    if trigger.commits > 0 {
        given.push(growth.commits >= trigger.commits);
    }
    if trigger.size > 0 {
        given.push(growth.bytes >= trigger.size);
    }
    if !trigger.rate_limit.is_empty() {
        given.push(is_time(&trigger.rate_limit, growth));
    }
    match trigger.all {
        true => given.into_iter().all(|holds| holds),
        false => given.is_empty() || given.into_iter().any(|holds| holds),
    }
}

/// Whether the rate limit's next time since the last move has come.
fn is_time(rate_limit: &str, growth: &Growth) -> bool {
    let (Ok(schedule), Some(before)) = (rate_limit.parse::<Schedule>(), growth.before) else {
        return true;
    };
    schedule.next_after(before).is_some_and(|next| next <= growth.now)
}

/// A number of bytes with an optional unit: `100`, `10K`, `1.5GiB`.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: f64 = number.parse().ok()?;
    let factor: u64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" => 1000,
        "ki" | "kib" => 1 << 10,
        "m" | "mb" => 1_000_000,
        "mi" | "mib" => 1 << 20,
        "g" | "gb" => 1_000_000_000,
        "gi" | "gib" => 1 << 30,
        "t" | "tb" => 1_000_000_000_000,
        "ti" | "tib" => 1 << 40,
        _ => return None,
    };
    // A size beyond 2^53 loses its last digits, which no trigger notices.
    Some((number * factor as f64) as u64)
}
