//! Ages and durations in words.

use crate::model::Timestamp;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// A span of time in the words that users of both eras know.
///
/// Rounds down, except for hours, which are rounded to the nearest.
#[must_use]
pub fn span(seconds: u64) -> String {
    let minutes = seconds / MINUTE;
    let hours = (seconds + HOUR / 2) / HOUR;
    match (seconds, minutes, hours) {
        (0, ..) => "Less than a second".to_owned(),
        (1, ..) => "1 second".to_owned(),
        (2..MINUTE, ..) => format!("{seconds} seconds"),
        (_, 1, _) => "About a minute".to_owned(),
        (_, 2..60, _) => format!("{minutes} minutes"),
        (_, _, 1) => "About an hour".to_owned(),
        (_, _, 2..48) => format!("{hours} hours"),
        (_, _, 48..336) => format!("{} days", hours / 24),
        (_, _, 336..1440) => format!("{} weeks", hours / 24 / 7),
        (_, _, 1440..17520) => format!("{} months", hours / 24 / 30),
        _ => format!("{} years", seconds / HOUR / 24 / 365),
    }
}

/// How long ago `then` was, as of `now`; a moment to come counts as now.
#[must_use]
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let nanos = now.as_nanos().saturating_sub(then.as_nanos());
    format!("{} ago", span(u64::try_from(nanos / 1_000_000_000).unwrap_or(0)))
}
