use futures::FutureExt as _;

use super::*;

const DIR: InodeNo = InodeNo(10);
const FILES: [InodeNo; 3] = [InodeNo(20), InodeNo(21), InodeNo(22)];

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

/// A directory in which contents are being pushed, and the push; the second
/// of its files is being read, and somebody else keeps who pushes busy.
fn reading(touches: &Touches) -> (Push, Wait) {
    let (dir, other) = (path("all/d0"), path("all/other"));
    touches.lookup(DIR, &other);
    assert!(touches.lookup(DIR, &other)[0].is_some());
    assert!(touches.lookup(DIR, &dir)[0].is_none());
    let listing = touches.lookup(DIR, &dir)[0].clone().unwrap();
    let (none, free) = touches.read(&dir, "b", FILES[0]);
    assert!(none.is_none() && free.is_none(), "nobody knows yet whether contents follow");
    let (none, wait) = touches.read(&dir, "a", FILES[1]);
    assert!(none.is_none(), "not before the listing has ended");
    assert!(touches.begin(&listing));
    let contents = touches.done(&listing, 100).unwrap();
    assert!(matches!(contents.what, What::Contents { .. }));
    (contents, wait.unwrap())
}

#[test]
fn a_read_is_kept_back_until_the_push_has_ended() {
    let touches = Touches::default();
    let (contents, wait) = reading(&touches);
    assert!(touches.begin(&contents));
    let mut over = Box::pin(wait.over());
    assert!((&mut over).now_or_never().is_none());
    assert!(touches.done(&contents, 100).is_none());
    assert!(over.now_or_never().is_some());
    assert!(touches.read(&path("all/d0"), "c", FILES[2]).1.is_none());
}

#[test]
fn a_lookup_is_kept_back_until_the_listing_begins() {
    let (touches, dir) = (Touches::default(), path("all/d0"));
    assert!(touches.before_lookup(&dir).is_none());
    touches.lookup(DIR, &dir);
    let listing = touches.lookup(DIR, &dir)[0].clone().unwrap();
    let mut over = Box::pin(touches.before_lookup(&dir).unwrap().over());
    assert!((&mut over).now_or_never().is_none());
    assert!(touches.begin(&listing));
    assert!(over.now_or_never().is_some());
    assert!(touches.before_lookup(&dir).is_none(), "the listing waits for lookups");
}

#[test]
fn what_a_kept_back_read_has_locked_is_not_handed_over() {
    let touches = Touches::default();
    let (contents, _wait) = reading(&touches);
    assert!(!touches.store(&contents.path, FILES[1]), "its read is kept back");
    assert!(touches.store(&contents.path, FILES[2]));
    let (_, wait) = touches.read(&contents.path, "c", FILES[2]);
    assert!(wait.is_none(), "whoever hands it over may be waiting for this read");
}

#[test]
fn nobody_is_kept_back_by_a_push_that_takes_long() {
    let touches = Touches::default();
    let (contents, _wait) = reading(&touches);
    touches.late(&contents.path);
    assert!(touches.read(&contents.path, "c", FILES[2]).1.is_none());
}

#[test]
fn a_single_reader_goes_on_while_the_first_directory_is_pushed() {
    let (touches, dir) = (Touches::default(), path("all/d0"));
    touches.lookup(DIR, &dir);
    let listing = touches.lookup(DIR, &dir)[0].clone().unwrap();
    touches.done(&listing, 100);
    touches.read(&dir, "b", FILES[0]);
    let (push, wait) = touches.read(&dir, "a", FILES[1]);
    assert!(push.is_some() && wait.is_none());
}

#[test]
fn only_so_many_are_kept_back() {
    let touches = Touches::default();
    let (contents, wait) = reading(&touches);
    let read = |number: u64| touches.read(&contents.path, "c", InodeNo(100 + number)).1;
    let waits: Vec<_> = (0..100).filter_map(read).collect();
    assert_eq!(waits.len() + 1, KEPT_BACK);
    drop((wait, waits));
    assert!(read(200).is_some());
}

#[test]
fn a_program_that_is_faster_than_its_push_lists_for_itself() {
    let touches = Touches::default();
    let dir = path("all/d0");
    touches.lookup(DIR, &dir);
    let waiting = touches.lookup(DIR, &dir)[0].clone().unwrap();
    assert!(touches.list(DIR, &dir).is_none());
    assert!(!touches.begin(&waiting), "it has been listed");
    touches.done(&waiting, 0);

    touches.lookup(DIR, &dir);
    let begun = touches.lookup(DIR, &dir)[0].clone().unwrap();
    assert!(touches.begin(&begun));
    assert!(touches.list(DIR, &dir).is_some());
}

#[test]
fn who_goes_from_directory_to_directory_has_the_next_ones_pushed() {
    let touches = Touches::default();
    let follows = |name: &str| touches.lookup(DIR, &path(name))[1].clone().map(|push| push.what);
    assert_eq!(follows("all/d0"), None);
    let what = What::Following { after: "d1".into(), count: 4, contents: false };
    assert_eq!(follows("all/d1"), Some(what));
    assert_eq!(follows("all/d1"), None, "it is the same visit");
    let names = ["d2", "d3", "d4", "d5"].map(str::to_owned).to_vec();
    assert_eq!(touches.follow(&path("all"), names), ["d2", "d3", "d5"]);
    let push = touches.ahead(DIR, &path("all/d2"), true).unwrap();
    assert_eq!(push.what, What::Listing);
    let contents = touches.done(&push, 10).unwrap();
    assert!(matches!(contents.what, What::Contents { .. }), "though nobody has read any");
}
