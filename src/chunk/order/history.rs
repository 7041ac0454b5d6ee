//! What was read, in order: a bounded log, and where in it a part was last.

use std::collections::{HashMap, HashSet, VecDeque};

use super::super::ChunkRef;
use super::super::disk::Extent;
use super::super::fetch::frame_extent;
use super::super::segments::{SEGMENT, segment_extent};
use crate::model::{ChunkId, PackId};

/// What an entry takes in memory, its share of the index included.
pub(in crate::chunk) const ENTRY: usize = 96;

/// Packs are counted anew when there are so many more than needed.
const PACKS: usize = 1024;

/// A part of a pack as it is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::chunk) enum Unit {
    /// Around small frames.
    Segment(Extent),
    /// The frame of a small chunk alone.
    Alone(Extent),
    /// A large chunk.
    Large(ChunkRef),
}

impl Unit {
    pub fn extent(&self) -> Extent {
        match self {
            Self::Segment(extent) | Self::Alone(extent) => *extent,
            Self::Large(place) => frame_extent(place),
        }
    }

    /// What a frame that is fetched alone now may have come with before.
    pub fn around(&self) -> Option<Self> {
        match self {
            Self::Alone(Extent { pack, start, .. }) => {
                Some(Self::Segment(segment_extent(*pack, start / SEGMENT)))
            }
            Self::Segment(_) | Self::Large(_) => None,
        }
    }
}

/// A unit as the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pack: u32,
    start: u32,
    len: u32,
    kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Segment,
    Alone,
    Large,
}

struct Entry {
    key: Key,
    /// How far back the same is once more; 0 when it is not.
    back: u32,
}

/// The newest touches, the oldest dropped.
pub(in crate::chunk) struct History {
    most: usize,
    entries: VecDeque<Entry>,
    /// The position of the first entry.
    base: u64,
    /// Where each is last.
    last: HashMap<Key, u64>,
    /// What is known of large chunks beside their place.
    large: HashMap<Key, (ChunkId, u32)>,
    packs: Vec<PackId>,
    numbers: HashMap<PackId, u32>,
}

impl History {
    /// A log of up to `most` touches.
    pub fn new(most: usize) -> Self {
        Self {
            most: most.clamp(1, u32::MAX as usize),
            entries: VecDeque::new(),
            base: 0,
            last: HashMap::new(),
            large: HashMap::new(),
            packs: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// The position of the touch to come.
    pub fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    pub fn push(&mut self, unit: &Unit) {
        self.forget_packs();
        let key = self.new_key(unit);
        let at = self.end();
        let back = self.last.insert(key, at).map_or(0, |last| at - last);
        // What is so far back has been dropped.
        self.entries.push_back(Entry { key, back: u32::try_from(back).unwrap_or(0) });
        while self.entries.len() > self.most {
            let Some(old) = self.entries.pop_front() else { break };
            if self.last.get(&old.key) == Some(&self.base) {
                self.last.remove(&old.key);
                self.large.remove(&old.key);
            }
            self.base += 1;
        }
    }

    fn new_key(&mut self, unit: &Unit) -> Key {
        let pack = unit.extent().pack;
        let number = *self.numbers.entry(pack).or_insert_with(|| {
            self.packs.push(pack);
            (self.packs.len() - 1) as u32
        });
        let key = key_in(number, unit);
        if let Unit::Large(place) = unit {
            self.large.insert(key, (place.id, place.len));
        }
        key
    }

    /// The key of a unit whose pack is in the log.
    pub(super) fn key(&self, unit: &Unit) -> Option<Key> {
        Some(key_in(*self.numbers.get(&unit.extent().pack)?, unit))
    }

    pub(super) fn key_at(&self, at: u64) -> Option<Key> {
        let index = usize::try_from(at.checked_sub(self.base)?).ok()?;
        self.entries.get(index).map(|entry| entry.key)
    }

    pub(super) fn unit(&self, key: &Key) -> Option<Unit> {
        let pack = *self.packs.get(key.pack as usize)?;
        let extent = Extent { pack, start: key.start, len: key.len };
        Some(match key.kind {
            Kind::Segment => Unit::Segment(extent),
            Kind::Alone => Unit::Alone(extent),
            Kind::Large => {
                let (id, len) = *self.large.get(key)?;
                Unit::Large(ChunkRef::checked(id, pack, (key.start, key.len), len)?)
            }
        })
    }

    /// Where a unit is, the latest first.
    pub(super) fn places(&self, key: &Key) -> impl Iterator<Item = u64> {
        std::iter::successors(self.last.get(key).copied(), |at| {
            let index = usize::try_from(at.checked_sub(self.base)?).ok()?;
            match u64::from(self.entries.get(index)?.back) {
                0 => None,
                back => at.checked_sub(back).filter(|at| *at >= self.base),
            }
        })
    }

    /// Whether a unit is in the log.
    pub fn knows(&self, unit: &Unit) -> bool {
        self.has_since(unit, 0)
    }

    /// How many different units there are.
    pub fn parts(&self) -> usize {
        self.last.len()
    }

    /// Whether a unit was touched at `since` or later.
    pub fn has_since(&self, unit: &Unit, since: u64) -> bool {
        let last = self.key(unit).and_then(|key| self.last.get(&key));
        last.is_some_and(|last| *last >= since)
    }

    /// The touches from `since` on.
    pub fn since(&self, since: u64) -> impl Iterator<Item = Unit> {
        let skip = usize::try_from(since.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.entries.iter().skip(skip).filter_map(|entry| self.unit(&entry.key))
    }

    #[cfg(test)]
    pub fn packs(&self) -> usize {
        self.packs.len()
    }

    /// Numbers the packs anew when many of them are in no entry any more.
    fn forget_packs(&mut self) {
        if self.packs.len() < 2 * PACKS || self.packs.len() < self.most / 4 {
            return;
        }
        let used: HashSet<u32> = self.entries.iter().map(|entry| entry.key.pack).collect();
        if used.len() + PACKS > self.packs.len() {
            return;
        }
        let (units, base) = (self.since(0).collect::<Vec<_>>(), self.base);
        *self = Self { base, ..Self::new(self.most) };
        units.iter().for_each(|unit| self.push(unit));
    }
}

fn key_in(pack: u32, unit: &Unit) -> Key {
    let Extent { start, len, .. } = unit.extent();
    let kind = match unit {
        Unit::Segment(_) => Kind::Segment,
        Unit::Alone(_) => Kind::Alone,
        Unit::Large(_) => Kind::Large,
    };
    Key { pack, start, len, kind }
}
