//! Who reads in an order seen before, and what comes next there.
//!
//! A cursor is a reader that goes the way of an earlier one. It begins where
//! several parts read just now lay near each other before, and fetches further
//! ahead the longer it is right; where it is not, it stops.

use std::collections::{HashMap, HashSet, VecDeque};

use super::super::disk::Extent;
use super::super::segments::SEGMENT;
use super::history::{History, Key, Unit};

/// How many readers are told apart.
const CURSORS: usize = 8;
/// How much a reader may come out of order: several threads take its reads.
const NEAR: u64 = 16;
/// How many touches are looked at to find out where a reader is, and how near
/// each other they lay before then.
const RECENT: usize = 24;
const BEFORE: u64 = 8;
const BEHIND: u64 = 4;
/// So many of them agree on a place where a cursor begins, beside what chance
/// may bring; more when much was fetched in vain of late.
const AGREED: usize = 3;
const WARY: usize = 3;
/// How much of what was of use, and in vain, is remembered.
const TRUST: i32 = 16;
/// How many places of one part are looked at.
const PLACES: usize = 16;
/// How many reads elsewhere a new cursor survives, and one that was right often.
const HEALTH: i32 = 4;
const WELL: i32 = 16;
/// How many parts are fetched ahead of a new cursor, up to how many there are
/// twice as many at the next read, and at most.
const FIRST: u32 = 2;
const FAST: u32 = 8;
const MOST: u32 = 256;
/// How much of whether readers came back to parts is remembered, and how much
/// of it stops fetching ahead.
const AGAIN: i32 = 32;
const BACK: i32 = 3;
const FEW: i32 = 4;
/// They are asked for in pieces of such a share.
const PIECES: u32 = 4;
/// How far beyond what is here already.
const REACH: u64 = 4096;
/// After how many touches elsewhere nobody goes on.
const IDLE: u32 = 64;
/// How far behind a reader a part still counts as to come.
const LATE: u64 = 64;
/// How many segments in a row are fetched together, although some of them are
/// wanted a little later.
const ROW: u32 = 8;

/// What was fetched ahead of readers in an order seen before, in parts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in crate::chunk) struct Outcomes {
    pub fetched: u64,
    pub used: u64,
    pub wasted: u64,
}

/// What to fetch now, the first to be read first.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::chunk) struct Plan {
    /// Whose it is.
    pub cursor: u64,
    pub units: Vec<Unit>,
}

struct Cursor {
    id: u64,
    /// What was read last.
    at: u64,
    /// Up to here was looked at.
    planned: u64,
    /// What this round itself has read begins here.
    limit: u64,
    window: u32,
    health: i32,
    idle: u32,
}

/// A part that was planned and has not been read yet.
struct Planned {
    cursor: u64,
    at: u64,
    len: u32,
    begun: bool,
}

/// Those who follow an order.
#[derive(Default)]
pub(in crate::chunk) struct Followers {
    /// The one that went on last comes first.
    cursors: Vec<Cursor>,
    /// What was read last, and where that is noted.
    recent: VecDeque<(Key, u64)>,
    planned: HashMap<Key, Planned>,
    ids: u64,
    /// The limit of the last cursor, unless it came there.
    limit: Option<u64>,
    /// Above 0 as far as readers came back to parts in one round.
    again: i32,
    trust: i32,
    outcomes: Outcomes,
}

/// What is here already, and how many bytes there is room for.
pub(in crate::chunk) struct Room<'a> {
    pub here: &'a dyn Fn(&Unit) -> bool,
    pub bytes: u64,
}

impl Followers {
    pub fn outcomes(&self) -> Outcomes {
        self.outcomes
    }

    /// Notes the touch to come in `history`; answers what to fetch.
    pub fn touch(&mut self, history: &History, unit: &Unit, room: &Room<'_>) -> Option<Plan> {
        let key = history.key(unit);
        let planned = key.and_then(|key| self.planned.remove(&key));
        if planned.as_ref().is_some_and(|planned| planned.begun) {
            self.outcomes.used += 1;
            self.trust = (self.trust + 1).min(TRUST);
        }
        let found = key.and_then(|key| self.matching(history, key, planned.as_ref()));
        let going = if let Some((number, at)) = found {
            key.into_iter().for_each(|key| self.note_return(history, key, at));
            self.advance(number, at);
            // Who came back to parts again and again had no room for them: what
            // is fetched ahead would drive out what others come back to.
            self.again <= FEW
        } else {
            self.miss();
            key.is_some_and(|key| self.begin(history, key))
        };
        if self.recent.len() == RECENT {
            self.recent.pop_front();
        }
        self.recent.extend(key.map(|key| (key, history.end())));
        self.retire();
        if going { self.plan(history, room) } else { None }
    }

    /// The cursor that a touch goes on with, and where it is then.
    fn matching(
        &self,
        history: &History,
        key: Key,
        planned: Option<&Planned>,
    ) -> Option<(usize, u64)> {
        if let Some(Planned { cursor, at, .. }) = planned
            && let Some(number) = self.cursors.iter().position(|known| known.id == *cursor)
        {
            let mut before = self.planned.values().filter(|p| p.cursor == *cursor && p.at < *at);
            if before.nth(NEAR as usize).is_none() {
                return Some((number, *at));
            }
        }
        let near = |cursor: &Cursor| {
            let ahead = cursor.at + 1..=cursor.at + NEAR;
            let behind = (cursor.at.saturating_sub(NEAR)..=cursor.at).rev();
            ahead.chain(behind).find(|at| history.key_at(*at) == Some(key))
        };
        self.cursors.iter().enumerate().find_map(|(number, c)| Some((number, near(c)?)))
    }

    /// Notes whether the reader of before came back to what it has read at `at`
    /// long before it had read everything else.
    fn note_return(&mut self, history: &History, key: Key, at: u64) {
        let later = history.places(&key).take(PLACES).take_while(|place| *place > at);
        let next = later.last();
        let soon = next.is_some_and(|next| next - at < history.parts() as u64 / 2);
        let again = if soon { BACK } else { -1 };
        self.again = (self.again + again).clamp(-AGAIN, AGAIN);
    }

    fn advance(&mut self, number: usize, at: u64) {
        let mut cursor = self.cursors.remove(number);
        self.cursors.iter_mut().for_each(|other| other.idle += 1);
        cursor.idle = 0;
        if at > cursor.at {
            cursor.at = at;
            cursor.health = (cursor.health + 2).min(WELL);
            let more = if cursor.window < FAST { cursor.window } else { FIRST };
            cursor.window = (cursor.window + more).min(MOST);
        }
        // Who is at the same place goes the same way.
        let (id, at) = (cursor.id, cursor.at);
        for other in self.cursors.extract_if(.., |other| other.at.abs_diff(at) <= NEAR) {
            cursor.planned = cursor.planned.max(other.planned);
            let taken = self.planned.values_mut().filter(|planned| planned.cursor == other.id);
            taken.for_each(|planned| planned.cursor = id);
        }
        self.cursors.insert(0, cursor);
    }

    fn miss(&mut self) {
        for cursor in &mut self.cursors {
            cursor.idle += 1;
            cursor.health -= 1;
            if cursor.health < HEALTH {
                cursor.window = (cursor.window / 2).max(FIRST);
            }
        }
    }

    /// Begins a cursor where what was read just now lay together before, unless
    /// that is no more than chance.
    fn begin(&mut self, history: &History, key: Key) -> bool {
        let by_chance = 2 * RECENT * (BEFORE + BEHIND) as usize / history.parts().max(1);
        let wary = if self.trust < 0 { WARY } else { 0 };
        let agreed = (AGREED + by_chance).min(BEFORE as usize) + wary;
        let place = history.places(&key).take(PLACES).find_map(|at| {
            let around = at.saturating_sub(BEFORE)..at + BEHIND;
            let around: HashSet<Key> = around.filter_map(|at| history.key_at(at)).collect();
            let of_now = self.recent.iter().filter(|(_, noted)| *noted > at + NEAR);
            let agree = of_now.filter(|(key, _)| around.contains(key)).map(|(_, noted)| *noted);
            let (count, began) = agree.fold((0, u64::MAX), |(n, min), at| (n + 1, at.min(min)));
            // Where the round began is known best by who follows it for longest.
            let limits = self.cursors.iter().map(|cursor| cursor.limit).chain(self.limit);
            let limit = limits.filter(|limit| at < *limit).fold(began, u64::min);
            (count >= agreed && at + 1 < limit).then_some((at, limit))
        });
        let Some((at, limit)) = place else { return false };
        self.ids += 1;
        let (id, planned, window, health) = (self.ids, at + 1, FIRST, HEALTH);
        self.cursors.insert(0, Cursor { id, at, planned, limit, window, health, idle: 0 });
        true
    }

    /// Lets go of cursors that nobody follows, and of what was read too late.
    fn retire(&mut self) {
        if let Some(cursor) = self.cursors.last() {
            self.limit = Some(cursor.limit).filter(|limit| cursor.at + 1 < *limit);
        }
        self.cursors.truncate(CURSORS);
        self.cursors.retain(|cursor| {
            cursor.health > 0 && cursor.idle <= IDLE && cursor.at + 1 < cursor.limit
        });
        let Self { cursors, planned, outcomes, trust, .. } = self;
        planned.retain(|_, planned| {
            let cursor = cursors.iter().find(|cursor| cursor.id == planned.cursor);
            let on = cursor.is_some_and(|cursor| planned.at + LATE >= cursor.at);
            if !on && planned.begun {
                outcomes.wasted += 1;
                *trust = (*trust - 2).max(-TRUST);
            }
            on
        });
    }

    /// What the first cursor fetches now.
    fn plan(&mut self, history: &History, room: &Room<'_>) -> Option<Plan> {
        let Self { cursors, planned, .. } = self;
        let cursor = cursors.first_mut()?;
        // What came along as a neighbour is not next.
        let next = |planned: &&Planned| planned.cursor == cursor.id && planned.at < cursor.planned;
        let under_way = planned.values().filter(next).count();
        let count = cursor.window.saturating_sub(under_way as u32);
        if count < (cursor.window / PIECES).max(1) {
            return None;
        }
        let (id, limit) = (cursor.id, cursor.limit);
        // What waits for its turn has its room already.
        let waiting = planned.values().filter(|planned| !planned.begun);
        let bytes = waiting.map(|planned| u64::from(planned.len)).sum();
        let mut batch = Batch { history, planned, room, cursor: id, limit, bytes, units: vec![] };
        let start = cursor.planned.max(cursor.at + 1);
        let until = cursor.limit.min(start + REACH);
        let mut at = start;
        while at < until && batch.units.len() < count as usize {
            if !batch.add(at) {
                break;
            }
            at += 1;
        }
        cursor.planned = at;
        let soon = at..until.min(at + u64::from(cursor.window) * 3);
        batch.widen(soon);
        let units = batch.units;
        (!units.is_empty()).then_some(Plan { cursor: cursor.id, units })
    }

    /// Says that of a plan the fetch of `units` begins; `false` when it is no
    /// more wanted.
    pub fn fetching(&mut self, history: &History, cursor: u64, units: &[Unit]) -> bool {
        let on = self.cursors.iter().any(|known| known.id == cursor);
        for key in units.iter().filter_map(|unit| history.key(unit)) {
            if !on {
                self.planned.remove(&key);
            } else if let Some(planned) = self.planned.get_mut(&key) {
                planned.begun = true;
                self.outcomes.fetched += 1;
            }
        }
        on
    }
}

/// Parts to be fetched, as they are chosen.
struct Batch<'a> {
    history: &'a History,
    planned: &'a mut HashMap<Key, Planned>,
    room: &'a Room<'a>,
    cursor: u64,
    limit: u64,
    bytes: u64,
    units: Vec<Unit>,
}

impl Batch<'_> {
    /// Adds what was read at `at`, unless it is here or on its way; `false` when
    /// there is no room.
    fn add(&mut self, at: u64) -> bool {
        let Some(key) = self.history.key_at(at) else { return true };
        let Some(unit) = self.history.unit(&key) else { return true };
        // What this round has read already it does not read again.
        let read = self.history.has_since(&unit, self.limit);
        if read || self.planned.contains_key(&key) || (self.room.here)(&unit) {
            return true;
        }
        let len = unit.extent().len;
        self.bytes += u64::from(len);
        if self.bytes > self.room.bytes {
            return false;
        }
        self.planned.insert(key, Planned { cursor: self.cursor, at, len, begun: false });
        self.units.push(unit);
        true
    }

    /// Adds segments that lie beside those chosen, and are wanted `soon`.
    fn widen(&mut self, soon: std::ops::Range<u64>) {
        let wanted = soon.filter_map(|at| Some((self.history.key_at(at)?, at)));
        let wanted: HashMap<Key, u64> = wanted.collect();
        for unit in self.units.clone() {
            let Unit::Segment(extent) = unit else { continue };
            let row = extent.start / SEGMENT / ROW * ROW;
            for number in row..row + ROW {
                let Some(start) = number.checked_mul(SEGMENT) else { break };
                let beside = Unit::Segment(Extent { start, ..extent });
                let at = self.history.key(&beside).and_then(|key| wanted.get(&key));
                if let Some(at) = at
                    && !self.add(*at)
                {
                    return;
                }
            }
        }
    }
}
