use super::follow::{Followers, Outcomes, Plan, Room};
use super::format::{decode, encode, parse};
use super::history::{History, Unit};
use crate::chunk::disk::Extent;
use crate::chunk::segments::SEGMENT;
use crate::chunk::{ChunkRef, fuzz};
use crate::model::{ChunkId, PackId};

fn segment(number: u32) -> Unit {
    let (pack, start) = (PackId::new([(number / 32) as u8; 16]), number % 32 * 3 % 32 * SEGMENT);
    Unit::Segment(Extent { pack, start, len: SEGMENT })
}

fn large() -> Unit {
    let (id, pack) = (ChunkId::new([9; 32]), PackId::new([8; 16]));
    Unit::Large(ChunkRef { id, pack, offset: 77, stored: 300_001, len: 300_000 })
}

fn alone() -> Unit {
    Unit::Alone(Extent { pack: PackId::new([1; 16]), start: 5, len: 700 })
}

/// A mount whose caches keep nothing, and what was fetched for it.
#[derive(Default)]
struct Mount {
    followers: Followers,
    fetched: Vec<Unit>,
    /// Reads of what was not fetched before.
    late: usize,
}

impl Mount {
    fn read(&mut self, history: &mut History, unit: Unit, bytes: u64) -> Option<Plan> {
        match self.fetched.iter().position(|known| *known == unit) {
            Some(at) => {
                self.fetched.swap_remove(at);
            }
            None => self.late += 1,
        }
        let room = Room { here: &|_| false, bytes };
        let plan = self.followers.touch(history, &unit, &room);
        history.push(&unit);
        if let Some(Plan { cursor, units }) = &plan {
            assert!(self.followers.fetching(history, *cursor, units));
            self.fetched.extend(units);
        }
        plan
    }

    fn read_all(&mut self, history: &mut History, units: impl IntoIterator<Item = u32>) {
        units.into_iter().for_each(|unit| drop(self.read(history, segment(unit), u64::MAX)));
    }
}

/// The numbers below `count`, each once and in no order.
fn shuffled(count: u32, seed: u64) -> impl Iterator<Item = u32> {
    let key =
        |n: &u32| *blake3::hash(&[seed, u64::from(*n)].map(u64::to_le_bytes).concat()).as_bytes();
    let mut all: Vec<u32> = (0..count).collect();
    all.sort_by_cached_key(key);
    all.into_iter()
}

fn history(count: u32) -> History {
    let mut history = History::new(100_000);
    shuffled(count, 7).for_each(|n| history.push(&segment(n)));
    history
}

#[test]
fn who_reads_in_the_order_of_before_is_expected_everywhere() {
    let (mut history, mut mount) = (history(1000), Mount::default());
    for round in 1..4 {
        mount.read_all(&mut history, shuffled(1000, 7));
        assert!(mount.late <= 4 + round * 2, "{} of {round} rounds", mount.late);
    }
    let Outcomes { fetched, used, wasted } = mount.followers.outcomes();
    // The rest is what the next round begins with.
    assert!(fetched - used <= 64, "{fetched} fetched, {used} used");
    assert_eq!(wasted, 0);
}

#[test]
fn several_workers_and_little_disorder_are_followed() {
    let (mut history, mut mount) = (history(2000), Mount::default());
    let order: Vec<u32> = shuffled(2000, 7).collect();
    // Eight workers take the next one each, and come back in any order.
    for batch in order.chunks(8) {
        mount.read_all(&mut history, batch.iter().rev().copied());
    }
    assert!(mount.late <= 60, "{}", mount.late);
    // Four that go through a quarter each, and at their own pace.
    let (mut mount, mut at) = (Mount::default(), [0; 4]);
    for step in 0..4000_usize {
        let worker = step * 7 % 11 % 4;
        let next = &mut at[worker];
        if *next < 500 {
            mount.read_all(&mut history, [order[worker * 500 + *next]]);
            *next += 1;
        }
    }
    assert!(mount.late <= 60, "{}", mount.late);
    // One that leaves out every tenth, and jumps.
    let mut mount = Mount::default();
    let left = order.iter().enumerate().filter(|(n, _)| n % 10 != 0 && !(500..900).contains(n));
    mount.read_all(&mut history, left.map(|(_, unit)| *unit));
    assert!(mount.late <= 30, "{}", mount.late);
}

#[test]
fn who_came_back_to_parts_for_want_of_room_is_fetched_little() {
    // Each part four times in a round, far apart.
    let order: Vec<u32> = shuffled(2000, 7).map(|n| n % 500).collect();
    let (mut history, mut mount) = (History::new(100_000), Mount::default());
    order.iter().for_each(|n| history.push(&segment(*n)));
    mount.read_all(&mut history, order.iter().copied());
    let Outcomes { fetched, .. } = mount.followers.outcomes();
    assert!(fetched <= 200, "{fetched}");
}

#[test]
fn another_order_costs_little() {
    for count in [100, 300, 1000, 5000] {
        let (mut history, mut mount) = (history(count), Mount::default());
        mount.read_all(&mut history, shuffled(count, 7));
        let before = mount.followers.outcomes();
        for seed in [1, 2, 3] {
            mount.read_all(&mut history, shuffled(count, seed));
        }
        let Outcomes { fetched, used, .. } = mount.followers.outcomes();
        let vain = (fetched - before.fetched) - (used - before.used);
        assert!(vain <= 32, "{vain} of {count}");
    }
}

#[test]
fn a_reader_who_turns_elsewhere_is_fetched_nothing_more() {
    let (mut history, mut mount) = (history(1000), Mount::default());
    let order: Vec<u32> = shuffled(1000, 7).collect();
    mount.read_all(&mut history, order[..100].iter().copied());
    let outcomes = mount.followers.outcomes();
    assert!(outcomes.fetched >= 100, "{outcomes:?}");
    mount.read_all(&mut history, 2000..2100);
    let after = mount.followers.outcomes();
    assert_eq!(after.fetched, outcomes.fetched);
    assert_eq!(after.used + after.wasted, after.fetched, "all of it is known to be in vain");
}

#[test]
fn no_more_is_planned_than_there_is_room() {
    let (mut history, mut mount) = (history(1000), Mount::default());
    let room = u64::from(3 * SEGMENT);
    for n in shuffled(1000, 7) {
        let plan = mount.read(&mut history, segment(n), room).unwrap_or_default();
        assert!(plan.units.len() <= 3);
    }
    assert!(mount.followers.outcomes().fetched > 300);
}

#[test]
fn the_oldest_is_forgotten_first() {
    let mut history = History::new(10);
    for n in 0..25 {
        history.push(&segment(n % 7));
        history.push(&large());
    }
    assert_eq!(history.end(), 50);
    let kept: Vec<Unit> = history.since(0).collect();
    let expected = (20..25).flat_map(|n| [segment(n % 7), large()]);
    assert_eq!(kept, expected.collect::<Vec<_>>());
    assert_eq!(history.since(48).count(), 2);
    let key = history.key(&large()).unwrap();
    assert_eq!(history.places(&key).collect::<Vec<_>>(), [49, 47, 45, 43, 41]);
    assert!(history.has_since(&segment(3), 48) && !history.has_since(&segment(3), 49));
    // Of a unit that is gone nothing is left.
    (100..130).for_each(|n| history.push(&segment(n)));
    assert_eq!(history.places(&key).count(), 0);
    assert_eq!(history.unit(&key), None);
}

#[test]
fn packs_that_are_in_no_touch_are_forgotten() {
    let mut history = History::new(100);
    for n in 0..10_000_u32 {
        let mut pack = [0; 16];
        pack[..4].copy_from_slice(&n.to_le_bytes());
        history.push(&Unit::Segment(Extent { pack: PackId::new(pack), start: 0, len: SEGMENT }));
    }
    assert_eq!((history.end(), history.since(0).count()), (10_000, 100));
    assert!(history.packs() <= 2048, "{}", history.packs());
}

#[test]
fn golden_file() {
    let units = [segment(1), large(), alone(), segment(40), segment(1)];
    let file = encode(units.iter().copied());
    insta::assert_snapshot!(hex::encode(&file));
    assert_eq!(decode(&file).as_deref(), Some(&units[..]));
    assert_eq!(decode(&encode(std::iter::empty())), Some(Vec::new()));
}

#[test]
fn what_is_damaged_or_foreign_is_no_order() {
    let file = encode([segment(1), large(), alone()].into_iter());
    for at in 0..file.len() {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        assert_eq!(decode(&damaged), None, "byte {at}");
        assert_eq!(decode(&file[..at]), None);
        fuzz::order(&damaged);
        fuzz::order(&damaged[..at]);
    }
    let body = &file[..file.len() - 16];
    assert!(parse(body).is_some());
    let mut newer = body.to_vec();
    newer[9] = 2;
    assert_eq!(parse(&newer), None);
    fuzz::order(body);
}
