//! Matching text against the parts of a pattern.
//!
//! Patterns without `!(…)` become a regular expression, which matches in
//! linear time. With it they are followed by sets of positions: polynomial,
//! never exponential.

use std::collections::BTreeSet;

use regex::Regex;

use super::syntax::{Part, Times, any, groups};

/// A compiled sequence of parts.
#[derive(Debug)]
pub(super) enum Automaton {
    Regular(Regex),
    Positions(Vec<Part>),
}

impl Automaton {
    pub fn new(parts: &[Part]) -> Result<Self, String> {
        if any(parts, &|part| matches!(part, Part::Group { times: Times::Never, .. })) {
            return Ok(Self::Positions(parts.to_vec()));
        }
        let mut pattern = String::from("(?s)^");
        write(parts, &mut pattern);
        pattern.push('$');
        match regex::RegexBuilder::new(&pattern).size_limit(4 << 20).build() {
            Ok(regex) => Ok(Self::Regular(regex)),
            Err(_) => Err("it is too large".to_owned()),
        }
    }

    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Regular(regex) => regex.is_match(text),
            Self::Positions(parts) => ends(parts, text, 0).contains(&text.len()),
        }
    }

    pub fn captures(&self, text: &str) -> Option<Vec<String>> {
        match self {
            Self::Regular(regex) => {
                let found = regex.captures(text)?;
                let groups = found.iter().skip(1);
                Some(groups.map(|group| group.map_or("", |m| m.as_str()).to_owned()).collect())
            }
            Self::Positions(parts) => {
                let mut captured = vec![String::new(); groups(parts)];
                assign(parts, text, 0, text.len(), &mut captured, 0).then_some(captured)
            }
        }
    }
}

fn write(parts: &[Part], out: &mut String) {
    for part in parts {
        match part {
            Part::Literal(text) => out.push_str(&regex::escape(text)),
            Part::AnyChar => out.push_str("[^/]"),
            Part::AnyName => out.push_str("[^/]*"),
            Part::AnyDepth => out.push_str(".*"),
            Part::Class { negated, ranges } => write_class(*negated, ranges, out),
            Part::OneOf(alternatives) => {
                out.push_str("(?:");
                write_alternatives(alternatives, out);
                out.push(')');
            }
            Part::Group { times, alternatives } => {
                out.push_str("((?:");
                write_alternatives(alternatives, out);
                out.push_str(match times {
                    Times::Once => "))",
                    Times::AtMostOnce => ")?)",
                    Times::Any => ")*)",
                    // `Never` takes the other automaton.
                    Times::AtLeastOnce | Times::Never => ")+)",
                });
            }
        }
    }
}

fn write_alternatives(alternatives: &[Vec<Part>], out: &mut String) {
    for (index, parts) in alternatives.iter().enumerate() {
        if index > 0 {
            out.push('|');
        }
        write(parts, out);
    }
}

fn write_class(negated: bool, ranges: &[(char, char)], out: &mut String) {
    out.push_str(if negated { "[[^" } else { "[[" });
    for (low, high) in ranges {
        out.push_str(&format!("\\u{{{:x}}}-\\u{{{:x}}}", *low as u32, *high as u32));
    }
    out.push_str("]&&[^/]]");
}

/// Every position where a match of `parts` that starts at `start` can end.
fn ends(parts: &[Part], text: &str, start: usize) -> BTreeSet<usize> {
    let mut positions = BTreeSet::from([start]);
    for part in parts {
        positions = positions.iter().flat_map(|at| part_ends(part, text, *at)).collect();
    }
    positions
}

fn part_ends(part: &Part, text: &str, start: usize) -> BTreeSet<usize> {
    let rest = &text[start..];
    let one = |accept: &dyn Fn(char) -> bool| -> BTreeSet<usize> {
        rest.chars()
            .next()
            .filter(|c| accept(*c))
            .map(|c| start + c.len_utf8())
            .into_iter()
            .collect()
    };
    match part {
        Part::Literal(literal) => match rest.starts_with(literal.as_str()) {
            true => BTreeSet::from([start + literal.len()]),
            false => BTreeSet::new(),
        },
        Part::AnyChar => one(&|c| c != '/'),
        Part::Class { negated, ranges } => one(&|c| {
            let within = ranges.iter().any(|(low, high)| (*low..=*high).contains(&c));
            c != '/' && within != *negated
        }),
        Part::AnyName => runs(text, start, true),
        Part::AnyDepth => runs(text, start, false),
        Part::OneOf(alternatives) => union(alternatives, text, start),
        Part::Group { times, alternatives } => group_ends(*times, alternatives, text, start),
    }
}

fn group_ends(
    times: Times,
    alternatives: &[Vec<Part>],
    text: &str,
    start: usize,
) -> BTreeSet<usize> {
    let once = union(alternatives, text, start);
    match times {
        Times::Once => once,
        Times::AtMostOnce => once.into_iter().chain([start]).collect(),
        Times::AtLeastOnce => closure(once, alternatives, text),
        Times::Any => closure(BTreeSet::from([start]), alternatives, text),
        Times::Never => runs(text, start, true).difference(&once).copied().collect(),
    }
}

/// Every position reached from `start` over any characters, or any but `/`.
fn runs(text: &str, start: usize, within: bool) -> BTreeSet<usize> {
    let rest = &text[start..];
    let stop = if within { rest.find('/').unwrap_or(rest.len()) } else { rest.len() };
    let inner = rest[..stop].char_indices().map(|(at, _)| start + at);
    inner.chain([start + stop]).collect()
}

fn union(alternatives: &[Vec<Part>], text: &str, start: usize) -> BTreeSet<usize> {
    alternatives.iter().flat_map(|parts| ends(parts, text, start)).collect()
}

/// Positions reached by any number of further repetitions.
fn closure(from: BTreeSet<usize>, alternatives: &[Vec<Part>], text: &str) -> BTreeSet<usize> {
    let mut reached = from.clone();
    let mut fresh = from;
    while !fresh.is_empty() {
        let next: BTreeSet<usize> =
            fresh.iter().flat_map(|at| union(alternatives, text, *at)).collect();
        fresh = next.difference(&reached).copied().collect();
        reached.extend(&fresh);
    }
    reached
}

/// Finds what each group captures when `parts` match exactly `start..end`,
/// earlier parts taking as much as they can. `first` is the number of the
/// first group within `parts`.
fn assign(
    parts: &[Part],
    text: &str,
    start: usize,
    end: usize,
    captured: &mut [String],
    first: usize,
) -> bool {
    let Some((part, rest)) = parts.split_first() else { return start == end };
    let stop = part_ends(part, text, start)
        .into_iter()
        .rev()
        .find(|stop| ends(rest, text, *stop).contains(&end));
    let Some(stop) = stop else { return false };
    if let Part::Group { .. } = part {
        captured[first].clear();
        captured[first].push_str(&text[start..stop]);
    }
    let (alternatives, mut inner) = match part {
        Part::OneOf(alternatives) => (alternatives.as_slice(), first),
        Part::Group { times: Times::Once | Times::AtMostOnce, alternatives } => {
            (alternatives.as_slice(), first + 1)
        }
        _ => (&[][..], first),
    };
    for parts in alternatives {
        if ends(parts, text, start).contains(&stop) {
            assign(parts, text, start, stop, captured, inner);
            break;
        }
        inner += groups(parts);
    }
    assign(rest, text, stop, end, captured, first + groups(std::slice::from_ref(part)))
}
