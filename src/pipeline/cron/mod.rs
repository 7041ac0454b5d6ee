//! Schedules: when a cron input ticks. All times are UTC.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::model::Timestamp;
use crate::pipeline::spec::parse_duration;

/// A schedule that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cron spec {text:?} is invalid: {rule}")]
pub struct InvalidSchedule {
    /// The text as given.
    pub text: String,
    /// What is wrong with it.
    pub rule: String,
}

/// When something happens again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// So long after the time before.
    Every(Duration),
    /// At every minute that fits.
    At(Box<Fields>),
}

/// The minutes, hours and days that fit, one bit each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fields {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    /// Whether days of the month and of the week are both given: then one of
    /// them fitting is enough.
    either_day: bool,
}

const SHORTHANDS: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

const MINUTE: i64 = 60;
const DAY: i64 = 86_400;

/// A schedule is looked ahead this far; one that fits nowhere in it, such as
/// the 30th of February, never comes.
const HORIZON_DAYS: i64 = 366 * 9;

impl std::str::FromStr for Schedule {
    type Err = InvalidSchedule;

    fn from_str(text: &str) -> Result<Self, InvalidSchedule> {
        let invalid = |rule: String| InvalidSchedule { text: text.to_owned(), rule };
        let trimmed = text.trim();
        if let Some(every) = trimmed.strip_prefix("@every ") {
            return match parse_duration(every.trim()) {
                Some(every) if every >= Duration::from_secs(1) => Ok(Self::Every(every)),
                Some(_) | None => {
                    Err(invalid("@every takes a duration of a second or more".to_owned()))
                }
            };
        }
        let shorthand = SHORTHANDS.iter().find(|(name, _)| *name == trimmed);
        let fields: Vec<&str> =
            shorthand.map_or(trimmed, |(_, fields)| fields).split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(invalid("expected five fields, @every, @hourly, @daily, …".to_owned()));
        };
        let field = |text, low, high, names| set(text, low, high, names).map_err(invalid);
        let weekdays = field(weekday, 0, 7, &WEEKDAYS)?;
        Ok(Self::At(Box::new(Fields {
            minutes: field(minute, 0, 59, &[])?,
            hours: field(hour, 0, 23, &[])?,
            days: field(day, 1, 31, &[])?,
            months: field(month, 1, 12, &MONTHS)?,
            // Both 0 and 7 are Sunday.
            weekdays: weekdays & 0x7f | weekdays >> 7,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        })))
    }
}

/// The numbers a field names: `*`, `a`, `a-b`, each with `/step`, in a list.
fn set(text: &str, low: u64, high: u64, names: &[&str]) -> Result<u64, String> {
    let mut bits = 0;
    for item in text.split(',') {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => {
                (range, step.parse().map_err(|_| format!("{item:?} has a bad step"))?)
            }
            None => (item, 1),
        };
        if step == 0 {
            return Err(format!("{item:?} has a bad step"));
        }
        let number = |text: &str| named(text, low, names);
        let (first, last) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (low, high),
            Some((first, last)) => (number(first)?, number(last)?),
            None if item.contains('/') => (number(range)?, high),
            None => (number(range)?, number(range)?),
        };
        if first < low || last > high || first > last {
            return Err(format!("{item:?} is outside {low}-{high}"));
        }
        (first..=last).step_by(step).for_each(|n| bits |= 1 << n);
    }
    Ok(bits)
}

fn named(text: &str, low: u64, names: &[&str]) -> Result<u64, String> {
    match names.iter().position(|name| text.eq_ignore_ascii_case(name)) {
        Some(index) => Ok(low + index as u64),
        None => text.parse().map_err(|_| format!("{text:?} is not a number")),
    }
}

impl Schedule {
    /// The first time after `after`; `None` when there is none.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(every) => {
                let nanos = i64::try_from(every.as_nanos()).ok()?;
                Some(Timestamp::from_nanos(after.as_nanos().checked_add(nanos)?))
            }
            Self::At(fields) => fields.next_after(after),
        }
    }

    /// The last time after `after` that is not after `now`; `None` when none
    /// has come. What was missed before it is missed.
    #[must_use]
    pub fn due(&self, after: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(every) => {
                let first = self.next_after(after).filter(|next| *next <= now)?;
                let nanos = i64::try_from(every.as_nanos()).ok()?;
                let more = (now.as_nanos() - first.as_nanos()) / nanos;
                Some(Timestamp::from_nanos(first.as_nanos() + more * nanos))
            }
            // A long absence costs a look at each day at most.
            Self::At(fields) => fields.last_by(now).filter(|last| *last > after),
        }
    }
}

impl Schedule {
    /// The time of a schedule begun at `start` that has come since `last`;
    /// the newest, where there were several.
    #[must_use]
    pub fn due_since(
        &self,
        start: Timestamp,
        last: Timestamp,
        now: Timestamp,
    ) -> Option<Timestamp> {
        match self {
            Self::Every(_) => self.due(start, now).filter(|due| *due > last),
            Self::At(_) => self.due(start.max(last), now),
        }
    }

    /// The first time after `now` of a schedule begun at `start`.
    #[must_use]
    pub fn next_since(&self, start: Timestamp, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Every(_) => self.next_after(self.due(start, now).unwrap_or(start)),
            Self::At(_) => self.next_after(start.max(now)),
        }
    }
}

impl Fields {
    fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let (seconds, _) = after.to_parts();
        let first = (seconds.div_euclid(MINUTE) + 1) * MINUTE;
        let day = first.div_euclid(DAY);
        (day..day + HORIZON_DAYS).filter(|day| self.has_day(*day)).find_map(|day| {
            let from = first.max(day * DAY) - day * DAY;
            let minute = (from / MINUTE..DAY / MINUTE).find(|minute| self.has_minute(*minute))?;
            Some(Timestamp::from_parts(day * DAY + minute * MINUTE, 0))
        })
    }

    /// The last time that is not after `now`.
    fn last_by(&self, now: Timestamp) -> Option<Timestamp> {
        let (seconds, _) = now.to_parts();
        let day = seconds.div_euclid(DAY);
        (day - HORIZON_DAYS..=day).rev().filter(|day| self.has_day(*day)).find_map(|day| {
            let until = (seconds - day * DAY).min(DAY - 1) / MINUTE;
            let minute = (0..=until).rev().find(|minute| self.has_minute(*minute))?;
            Some(Timestamp::from_parts(day * DAY + minute * MINUTE, 0))
        })
    }

    fn has_minute(&self, minute_of_day: i64) -> bool {
        self.hours >> (minute_of_day / 60) & 1 == 1 && self.minutes >> (minute_of_day % 60) & 1 == 1
    }

    fn has_day(&self, day: i64) -> bool {
        let Some((month, day_of_month)) = civil(day) else { return false };
        // Day 0, 1970-01-01, was a Thursday.
        let weekday = (day + 4).rem_euclid(7);
        let in_month = self.days >> day_of_month & 1 == 1;
        let in_week = self.weekdays >> weekday & 1 == 1;
        let fits = if self.either_day { in_month || in_week } else { in_month && in_week };
        fits && self.months >> month & 1 == 1
    }
}

/// The month and the day of the month, from 1, of a day counted from
/// 1970-01-01.
fn civil(day: i64) -> Option<(i8, i8)> {
    let date = jiff::Timestamp::from_second(day.checked_mul(DAY)?).ok()?;
    let date = date.to_zoned(jiff::tz::TimeZone::UTC).date();
    Some((date.month(), date.day()))
}

/// A time as RFC 3339 writes it, to the second.
#[must_use]
pub fn rfc3339(time: Timestamp) -> String {
    let (seconds, _) = time.to_parts();
    // Every `Timestamp` lies within the years that can be written.
    jiff::Timestamp::from_second(seconds).unwrap_or_default().to_string()
}
