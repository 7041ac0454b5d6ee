//! The value of an input tree, from scratch or from what changed.
//!
//! Every node of the tree has a set of datums. A node's change follows from
//! its members' changes; only crosses, joins and groups need more than that,
//! the full sets of members, and [`needs_full`] says of which.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::{Datum, DatumInput, Delta, Match};
use crate::pipeline::spec::Input;

/// What is known about the matches of one leaf.
#[derive(Debug, Clone, Default)]
pub struct LeafMatches {
    /// How the matches changed since the base.
    pub delta: Delta<Arc<Match>>,
    /// All matches as they are now; needed where [`needs_full`] says so.
    pub full: Option<Vec<Arc<Match>>>,
}

/// For each leaf whether [`evaluate`] needs all its matches, given which
/// leaves changed.
#[must_use]
pub fn needs_full(input: &Input, changed: &[bool]) -> Vec<bool> {
    if may_repeat(input) && changed.contains(&true) {
        return vec![true; changed.len()];
    }
    let mut needed = Vec::with_capacity(changed.len());
    mark(input, changed, false, &mut needed);
    needed
}

fn mark(input: &Input, changed: &[bool], full: bool, needed: &mut Vec<bool>) {
    let moved = |member: &Input, first: usize| {
        changed[first..first + member.leaves().len()].contains(&true)
    };
    let start = needed.len();
    match input {
        Input::Pfs(_) | Input::Cron(_) => needed.push(full),
        Input::Union(members) => {
            members.iter().for_each(|member| mark(member, changed, full, needed));
        }
        Input::Cross(members) => {
            let moving = moving(members, start, &moved);
            for (index, member) in members.iter().enumerate() {
                let others =
                    moving.iter().enumerate().any(|(other, moves)| *moves && other != index);
                mark(member, changed, full || others, needed);
            }
        }
        Input::Join(members) | Input::Group(members) => {
            let any = moved(input, start);
            members.iter().for_each(|member| mark(member, changed, full || any, needed));
        }
    }
}

fn moving(members: &[Input], start: usize, moved: &dyn Fn(&Input, usize) -> bool) -> Vec<bool> {
    let mut first = start;
    members
        .iter()
        .map(|member| {
            let moves = moved(member, first);
            first += member.leaves().len();
            moves
        })
        .collect()
}

/// Whether a datum could be in the value twice: two members of a union that
/// read the same branch under the same name.
fn may_repeat(input: &Input) -> bool {
    match input {
        Input::Pfs(_) | Input::Cron(_) => false,
        Input::Cross(members) | Input::Join(members) | Input::Group(members) => {
            members.iter().any(may_repeat)
        }
        Input::Union(members) => {
            let mut seen = HashSet::new();
            let fresh = members
                .iter()
                .flat_map(Input::leaves)
                .all(|leaf| seen.insert((leaf.name(), leaf.repo().clone(), leaf.branch())));
            !fresh || members.iter().any(may_repeat)
        }
    }
}

/// How the datums of `input` changed, given how the matches of its leaves did.
///
/// Equal to the difference of [`evaluate_all`] on old and new matches. A full
/// set that [`needs_full`] asked for and is absent counts as empty.
#[must_use]
pub fn evaluate(input: &Input, leaves: &[LeafMatches]) -> Delta<Datum> {
    if leaves.iter().all(|leaf| leaf.delta.is_empty()) {
        return Delta::default();
    }
    if may_repeat(input) {
        let full = |leaf: &LeafMatches| leaf.full.clone().unwrap_or_default();
        let new: Vec<_> = leaves.iter().map(full).collect();
        let old: Vec<_> = leaves.iter().map(|leaf| leaf.delta.old(&full(leaf))).collect();
        return Delta::between(&evaluate_all(input, &old), &evaluate_all(input, &new));
    }
    Evaluation { leaves, next: 0 }.node(input, false).delta
}

/// All datums of `input`, given all matches of its leaves; each once.
#[must_use]
pub fn evaluate_all(input: &Input, leaves: &[Vec<Arc<Match>>]) -> Vec<Datum> {
    let leaves: Vec<LeafMatches> = leaves
        .iter()
        .map(|found| LeafMatches {
            delta: Delta { removed: Vec::new(), added: found.clone() },
            full: Some(found.clone()),
        })
        .collect();
    let mut seen = HashSet::new();
    let mut datums = Evaluation { leaves: &leaves, next: 0 }.node(input, true).full;
    // A datum is what it shows; which member of a union selected it is not.
    let origins = super::Origins::of(input);
    datums.retain(|datum| seen.insert(origins.identify(datum.clone(), "").id));
    datums
}

/// A node's change and, when asked for, its full new value.
struct Evaluated {
    delta: Delta<Datum>,
    full: Vec<Datum>,
}

struct Evaluation<'l> {
    leaves: &'l [LeafMatches],
    next: usize,
}

impl Evaluation<'_> {
    fn node(&mut self, input: &Input, full: bool) -> Evaluated {
        match input {
            Input::Pfs(_) | Input::Cron(_) => self.leaf(full),
            Input::Union(members) => {
                let members = self.members(members, &vec![full; members.len()]);
                union(members)
            }
            Input::Cross(members) => self.cross(members, full),
            Input::Join(members) => {
                let outer: Vec<bool> = members.iter().map(is_outer).collect();
                let want = full || self.any_changed(input);
                let members = self.members(members, &vec![want; members.len()]);
                keyed(&members, full, join_key, |sides| join(sides, &outer))
            }
            Input::Group(members) => {
                let want = full || self.any_changed(input);
                let members = self.members(members, &vec![want; members.len()]);
                keyed(&members, full, group_key, group)
            }
        }
    }

    fn any_changed(&self, input: &Input) -> bool {
        let count = input.leaves().len();
        self.leaves[self.next..self.next + count].iter().any(|leaf| !leaf.delta.is_empty())
    }

    fn members(&mut self, members: &[Input], full: &[bool]) -> Vec<Evaluated> {
        members.iter().zip(full).map(|(member, full)| self.node(member, *full)).collect()
    }

    fn leaf(&mut self, full: bool) -> Evaluated {
        let index = self.next;
        self.next += 1;
        let leaf = &self.leaves[index];
        let single = |found: &Arc<Match>| Datum {
            inputs: Arc::new([DatumInput { leaf: index, found: Arc::clone(found) }]),
        };
        Evaluated {
            delta: Delta {
                removed: leaf.delta.removed.iter().map(single).collect(),
                added: leaf.delta.added.iter().map(single).collect(),
            },
            full: match (full, &leaf.full) {
                (true, Some(found)) => found.iter().map(single).collect(),
                (true, None) | (false, _) => Vec::new(),
            },
        }
    }

    fn cross(&mut self, members: &[Input], full: bool) -> Evaluated {
        let mut first = self.next;
        let changed: Vec<bool> = members
            .iter()
            .map(|member| {
                let count = member.leaves().len();
                let leaves = &self.leaves[first..first + count];
                first += count;
                leaves.iter().any(|leaf| !leaf.delta.is_empty())
            })
            .collect();
        let others =
            |index: usize| changed.iter().enumerate().any(|(i, moves)| *moves && i != index);
        let want: Vec<bool> = (0..members.len()).map(|index| full || others(index)).collect();
        let mut members = self.members(members, &want).into_iter();
        let Some(mut product) = members.next() else {
            return Evaluated { delta: Delta::default(), full: Vec::new() };
        };
        for (index, member) in members.enumerate() {
            // The product so far stands at 0..=index; is its full value needed on?
            let later = full || changed[index + 2..].contains(&true);
            product = multiply(&product, &member, later);
        }
        product
    }
}

fn union(members: Vec<Evaluated>) -> Evaluated {
    let mut sum = Evaluated { delta: Delta::default(), full: Vec::new() };
    for member in members {
        sum.delta.removed.extend(member.delta.removed);
        sum.delta.added.extend(member.delta.added);
        sum.full.extend(member.full);
    }
    sum
}

fn multiply(a: &Evaluated, b: &Evaluated, full: bool) -> Evaluated {
    let mut delta = Delta {
        removed: product(&a.delta.removed, &b.delta.old(&b.full)),
        added: product(&a.delta.added, &b.full),
    };
    if !b.delta.is_empty() {
        let kept = a.delta.kept(&a.full);
        delta.removed.extend(product(&kept, &b.delta.removed));
        delta.added.extend(product(&kept, &b.delta.added));
    }
    Evaluated { delta, full: if full { product(&a.full, &b.full) } else { Vec::new() } }
}

fn product(a: &[Datum], b: &[Datum]) -> Vec<Datum> {
    a.iter().flat_map(|left| b.iter().map(move |right| combined([left, right]))).collect()
}

fn combined<'d>(datums: impl IntoIterator<Item = &'d Datum>) -> Datum {
    Datum { inputs: datums.into_iter().flat_map(|datum| datum.inputs.iter().cloned()).collect() }
}

fn is_outer(input: &Input) -> bool {
    matches!(input, Input::Pfs(pfs) if pfs.outer_join)
}

fn join_key(datum: &Datum) -> &str {
    datum.inputs.first().map_or("", |input| &input.found.join_key)
}

fn group_key(datum: &Datum) -> &str {
    let keys = datum.inputs.iter().map(|input| &*input.found.group_key);
    keys.into_iter().find(|key| !key.is_empty()).unwrap_or("")
}

/// Joins and groups: each key is on its own, so only keys touched by a change
/// are worked out, once with the old members and once with the new.
fn keyed(
    members: &[Evaluated],
    full: bool,
    key: fn(&Datum) -> &str,
    combine: impl Fn(&[Vec<&Datum>]) -> Vec<Datum>,
) -> Evaluated {
    let touched: BTreeSet<&str> = members
        .iter()
        .flat_map(|member| member.delta.removed.iter().chain(&member.delta.added))
        .map(key)
        .collect();
    let old: Vec<Vec<Datum>> = match touched.is_empty() {
        true => vec![Vec::new(); members.len()],
        false => members.iter().map(|member| member.delta.old(&member.full)).collect(),
    };
    let old: Vec<&[Datum]> = old.iter().map(Vec::as_slice).collect();
    let new: Vec<&[Datum]> = members.iter().map(|member| member.full.as_slice()).collect();
    let value = |sets: &[&[Datum]], wanted: &dyn Fn(&str) -> bool| -> Vec<Datum> {
        by_key(sets, key, wanted).values().flat_map(|sides| combine(sides)).collect()
    };
    let affected = |key: &str| touched.contains(key);
    let delta = Delta::between(&value(&old, &affected), &value(&new, &affected));
    Evaluated { delta, full: if full { value(&new, &|_| true) } else { Vec::new() } }
}

/// For each wanted key, the datums of each member that have it.
fn by_key<'d>(
    sets: &[&'d [Datum]],
    key: fn(&Datum) -> &str,
    wanted: &dyn Fn(&str) -> bool,
) -> BTreeMap<&'d str, Vec<Vec<&'d Datum>>> {
    let mut keys: BTreeMap<&str, Vec<Vec<&Datum>>> = BTreeMap::new();
    for (index, datums) in sets.iter().enumerate() {
        for datum in datums.iter().filter(|datum| wanted(key(datum))) {
            let sides = keys.entry(key(datum)).or_insert_with(|| vec![Vec::new(); sets.len()]);
            sides[index].push(datum);
        }
    }
    keys
}

/// Every combination of one datum per side. When a side has none, only sides
/// of outer joins remain.
fn join(sides: &[Vec<&Datum>], outer: &[bool]) -> Vec<Datum> {
    let complete = sides.iter().all(|side| !side.is_empty());
    let present =
        sides.iter().zip(outer).filter(|(side, outer)| complete || (**outer && !side.is_empty()));
    let mut joined: Vec<Datum> = Vec::new();
    for (index, (side, _)) in present.enumerate() {
        joined = match index {
            0 => side.iter().map(|datum| (*datum).clone()).collect(),
            _ => joined
                .iter()
                .flat_map(|left| side.iter().map(move |right| combined([left, *right])))
                .collect(),
        };
    }
    joined
}

/// One datum with everything, each match once.
fn group(sides: &[Vec<&Datum>]) -> Vec<Datum> {
    let mut inputs: Vec<DatumInput> =
        sides.iter().flatten().flat_map(|datum| datum.inputs.iter().cloned()).collect();
    inputs.sort_by(|a, b| (a.leaf, &a.found.path).cmp(&(b.leaf, &b.found.path)));
    inputs.dedup();
    vec![Datum { inputs: inputs.into() }]
}
