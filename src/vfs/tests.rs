use super::inode::{Identity, InodeTable};
use super::*;
use crate::model::TreePath;

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn identity(text: &str) -> Identity {
    Identity::of("test", &[text.as_bytes()])
}

#[test]
fn a_collision_is_detected_and_never_served() {
    // Every identity gets the same number first, then its own.
    let table = InodeTable::with_numbering("root", |_, attempt| InodeNo(100 + attempt));
    let (a, b) = (identity("a"), identity("b"));
    let first = table.remember(a, || "a");
    let second = table.remember(b, || "b");
    assert_eq!((first, second), (InodeNo(100), InodeNo(101)));
    assert_eq!(table.remember(b, || "never"), second);
    assert_eq!((table.get(first), table.get(second)), (Some("a"), Some("b")));
    assert_eq!(table.find(&b), Some(second));
    table.forget(second, 2);
    assert_eq!((table.get(second), table.get(first)), (None, Some("a")));
}

#[test]
fn numbers_follow_identity_and_lookups_keep_them() {
    let table = InodeTable::new("root");
    let ino = table.remember(identity("a"), || "a");
    assert_eq!(table.remember(identity("a"), || "again"), ino);
    assert_eq!(InodeTable::new("root").remember(identity("a"), || "a"), ino, "in every process");
    assert_eq!(table.forget(ino, 1), Some("a"));
    assert_eq!(table.get(ino), Some("a"), "one lookup is left");
    table.forget(ino, 1);
    assert_eq!(table.get(ino), None);
    table.forget(InodeNo::ROOT, 1000);
    assert_eq!(table.get(InodeNo::ROOT), Some("root"));
}

#[test]
fn identities_do_not_run_into_each_other() {
    let parts = |parts: &[&str]| {
        Identity::of("test", &parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>())
    };
    assert_ne!(parts(&["ab", "c"]), parts(&["a", "bc"]));
    assert_ne!(Identity::of("one", &[b"x"]), Identity::of("two", &[b"x"]));
}

#[test]
fn a_filter_shows_its_paths_and_the_way_there() {
    let filter = Filter::new(vec![path("b/c"), path("a"), path("a/x"), path("b/d/e"), path("b.x")]);
    let names = |dir: &str, after| filter.names(&path(dir), after, 10);
    assert_eq!(names("/", None), ["a", "b", "b.x"]);
    assert_eq!(names("b", None), ["c", "d"]);
    assert_eq!(names("b", Some("c")), ["d"]);
    assert_eq!(filter.names(&path("/"), None, 2), ["a", "b"]);
    assert!(filter.covers(&path("a/anything/below")) && filter.covers(&path("b/d/e")));
    assert!(!filter.covers(&path("b")) && !filter.covers(&path("b/d/f")));
    assert!(filter.leads(&path("b/d")) && filter.leads(&path("/")));
    assert!(!filter.leads(&path("b/e")) && !filter.leads(&path("c")));
    assert!(Filter::all().covers(&path("/")) && Filter::all().covers(&path("x/y")));
}
