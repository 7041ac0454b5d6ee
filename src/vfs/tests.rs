use super::*;
use crate::model::TreePath;

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
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
