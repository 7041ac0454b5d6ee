use super::target::{Source, directory, is_url, target};
use crate::model::{InvalidPath, TreePath};

/// Where a file goes, or why it cannot go there.
fn place(typed: &str, source: &str, several: bool) -> Result<String, InvalidPath> {
    let place = target(Some(typed), &Source::new(source), several, false).unwrap();
    Ok(place.parse::<TreePath>()?.as_str().to_owned())
}

fn dir(typed: &str, source: &str) -> String {
    let place = directory(Some(typed), &Source::new(source), false, false).unwrap();
    place.parse::<TreePath>().unwrap().as_str().to_owned()
}

#[test]
fn a_file_goes_where_the_path_says() {
    let table = [
        // typed path, source, several sources, place
        ("", "cat.png", false, "cat.png"),
        ("", "photos/cat.png", false, "cat.png"),
        ("", "../cat.png", false, "cat.png"),
        ("", "/tmp/cat.png", false, "cat.png"),
        ("/pets/tom.png", "cat.png", false, "pets/tom.png"),
        ("pets/tom.png", "cat.png", false, "pets/tom.png"),
        ("/pets/", "cat.png", false, "pets/cat.png"),
        ("/", "cat.png", false, "cat.png"),
        ("/pets", "a/cat.png", true, "pets/cat.png"),
        ("", "https://example.com/data/iris.csv?v=1", false, "data/iris.csv"),
        ("/i.csv", "https://example.com/data/iris.csv", false, "i.csv"),
        ("/pets", "https://example.com/a%20b.csv", true, "pets/a b.csv"),
        ("", "s3://bucket/some/key", false, "some/key"),
        ("/in", "-", false, "in"),
    ];
    for (typed, source, several, expected) in table {
        assert_eq!(place(typed, source, several).unwrap(), expected, "{source} to {typed:?}");
    }
}

#[test]
fn a_directory_keeps_its_name_unless_told() {
    assert_eq!(dir("", "photos/"), "photos");
    assert_eq!(dir("", "a/photos"), "photos");
    assert_eq!(dir("", "."), "");
    assert_eq!(dir("/", "photos"), "");
    assert_eq!(dir("/x/y", "photos"), "x/y");
}

#[test]
fn the_full_path_is_kept_on_demand() {
    let place = target(None, &Source::new("./a/b/c.txt"), false, true);
    assert_eq!(place.unwrap(), "a/b/c.txt");
}

#[test]
fn what_has_no_name_needs_a_path() {
    for source in ["-", "https://example.com/", "https://example.com"] {
        let failure = target(None, &Source::new(source), false, false).unwrap_err();
        assert_eq!(
            failure.hint.unwrap(),
            "write the path after the branch, as in repo@master:/path"
        );
    }
}

#[test]
fn only_schemes_a_server_can_fetch_are_urls() {
    assert!(is_url("https://example.com/x") && is_url("s3://b/k") && is_url("gs://b"));
    assert!(!is_url("odd://name") && !is_url("C:/x") && !is_url("a.txt"));
}

#[test]
fn odd_paths_stay_odd_so_that_they_are_refused() {
    for path in ["/a//b", "a/../b", "//a", "a/./b"] {
        assert!(place(path, "cat.png", false).is_err(), "{path}");
        assert!(place(&format!("{path}/"), "cat.png", true).is_err(), "{path}/");
    }
}
