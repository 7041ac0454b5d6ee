use proptest::prelude::*;

use super::*;

fn glob(text: &str) -> Glob {
    text.parse().unwrap()
}

fn path(text: &str) -> TreePath {
    text.parse().unwrap()
}

#[track_caller]
fn check(pattern: &str, yes: &[&str], no: &[&str]) {
    let glob = glob(pattern);
    for text in yes {
        assert!(glob.matches(&path(text)), "{pattern} should match {text}");
    }
    for text in no {
        assert!(!glob.matches(&path(text)), "{pattern} should not match {text}");
    }
}

#[test]
fn every_form_matches() {
    check("/", &["/"], &["/a"]);
    check("", &["/"], &["/a"]);
    check("/*", &["/a", "/a.b"], &["/", "/a/b"]);
    check("*", &["/a"], &["/a/b"]);
    check("/*/*", &["/a/b"], &["/a", "/a/b/c"]);
    check("/a/*.csv", &["/a/x.csv", "/a/.csv"], &["/a/x.csvx", "/b/x.csv", "/a/b/x.csv"]);
    check("/a/", &["/a"], &["/a/b", "/"]);
    check("/a?c", &["/abc", "/aéc"], &["/ac", "/a/c"]);
    check("/**", &["/a", "/a/b", "/a/b/c"], &["/"]);
    check("/**.csv", &["/a.csv", "/a/b.csv"], &["/a.tsv"]);
    check("/a/**/z", &["/a/b/z", "/a/b/c/z"], &["/b/z"]);
    check("/[a-c]x", &["/ax", "/cx"], &["/dx"]);
    check("/[!a]x", &["/bx"], &["/ax"]);
    check("/[^a-c]", &["/d"], &["/b"]);
    check("/[]x]", &["/]", "/x"], &["/y"]);
    check("/[[:digit:]_]", &["/7", "/_"], &["/a"]);
    check("/{a,b*}/c", &["/a/c", "/bb/c"], &["/c/c"]);
    check("/{a/x,b}", &["/a/x", "/b"], &["/a"]);
    check("/{a,{b,c}d}", &["/a", "/bd", "/cd"], &["/b"]);
    check("/\\*", &["/*"], &["/a"]);
    check("/a.b", &["/a.b"], &["/axb"]);
}

#[test]
fn extended_globs_match() {
    check("/(a|b)c", &["/ac", "/bc"], &["/c"]);
    check("/@(a|b)c", &["/ac"], &["/abc"]);
    check("/?(a|b)c", &["/c", "/ac"], &["/abc"]);
    check("/*(ab)c", &["/c", "/ababc"], &["/abac"]);
    check("/+(ab)c", &["/abc", "/ababc"], &["/c"]);
    check("/!(a|b)", &["/c", "/ab"], &["/a", "/b", "/c/d"]);
    check("/!(*.csv)", &["/x.txt"], &["/x.csv"]);
    check("/x!(a)*(b)", &["/xabb", "/xb", "/x"], &["/y"]);
}

#[test]
fn captures_and_keys() {
    let simple = glob("/(*)-(*).csv");
    assert_eq!(simple.captures(&path("/r-9.csv")).unwrap(), ["r", "9"]);
    assert_eq!(simple.key(&path("/r-9.csv"), "$2/$1").unwrap(), "9/r");
    assert_eq!(simple.key(&path("/r-9.csv"), "${1}0-$3-$x").unwrap(), "r0--$x");
    assert_eq!(simple.captures(&path("/r9.csv")), None);
    assert_eq!(simple.groups(), 2);
    let negated = glob("/(*)/!(a|b).(csv|t(s)v)");
    assert_eq!(negated.captures(&path("/d/x.tsv")).unwrap(), ["d", "x", "tsv", "s"]);
    assert_eq!(glob("/*(ab)(*)").captures(&path("/ababc")).unwrap(), ["abab", "c"]);
}

#[test]
fn searches_enter_only_what_can_match() {
    let deep = glob("/data/2020-*/x/*.csv");
    assert_eq!(deep.base().as_str(), "data");
    for (dir, enter) in [
        ("/", true),
        ("/data", true),
        ("/data/2020-1", true),
        ("/data/2020-1/x", true),
        ("/data/2021-1", false),
        ("/other", false),
        ("/data/2020-1/x/y.csv", false),
    ] {
        assert_eq!(deep.may_contain(&path(dir)), enter, "{dir}");
    }
    assert!(glob("/a/**").may_contain(&path("/a/b/c/d")));
    assert!(!glob("/a/**").may_contain(&path("/b")));
    assert_eq!(glob("/a/**").base().as_str(), "a");
    assert_eq!(glob("/a/b").literal(), Some(path("/a/b")));
    assert_eq!(glob("/").literal(), Some(TreePath::root()));
    assert_eq!(glob("/a*").literal(), None);
    assert!(!Glob::root().may_contain(&TreePath::root()));
    assert!(Glob::top_level().may_contain(&TreePath::root()));
    assert!(!Glob::top_level().may_contain(&path("/a")));
}

#[test]
fn recursive_patterns_select_files_only() {
    assert!(!glob("/**").selects(&path("/a"), true));
    assert!(glob("/**").selects(&path("/a/b"), false));
    assert!(glob("/*").selects(&path("/a"), true));
}

#[test]
fn malformed_patterns_say_why() {
    for bad in ["/[a", "/{a", "/(a", "/a)", "/a\\", "/[z-a]", "/[[:foo:]]", "/a//b", "/../*"] {
        assert!(bad.parse::<Glob>().is_err(), "{bad}");
    }
    assert!(format!("/{}", "(".repeat(1000)).parse::<Glob>().is_err());
    let error = "/[a".parse::<Glob>().unwrap_err();
    assert_eq!(error.to_string(), "glob \"/[a\" is invalid: a class lacks its ']'");
}

proptest! {
    #[test]
    fn any_text_parses_or_is_refused(text in "[ab/*?!@+(|){},\\[\\]\\\\^-]{0,16}", name in "[ab/]{0,8}") {
        if let (Ok(glob), Ok(path)) = (text.parse::<Glob>(), name.parse::<TreePath>()) {
            let matched = glob.matches(&path);
            prop_assert_eq!(matched, glob.captures(&path).is_some());
            if let Some(captured) = glob.captures(&path) {
                prop_assert_eq!(captured.len(), glob.groups());
            }
        }
    }

    #[test]
    fn both_automata_agree(text in "[ab/*?+@(|){},]{1,10}", name in "[ab/]{1,8}") {
        if let Ok(parts) = syntax::parse(&text) {
            let regular = Automaton::new(&parts).unwrap();
            let positions = Automaton::Positions(parts.clone());
            prop_assert_eq!(regular.matches(&name), positions.matches(&name), "{:?}", parts);
        }
    }

    #[test]
    fn no_match_hides_from_a_search(text in "[ab/*?(|){},!]{1,10}", name in "[ab]{1,2}(/[ab]{1,2}){0,3}") {
        if let (Ok(glob), Ok(path)) = (text.parse::<Glob>(), name.parse::<TreePath>())
            && glob.matches(&path)
        {
            prop_assert!(path.starts_with(glob.base()));
            for dir in path.ancestors() {
                prop_assert!(glob.may_contain(&dir), "{glob} {path} {dir}");
            }
        }
    }
}
