//! A pattern may be any text; a search never misses what it matches.
#![no_main]

use pfs::model::TreePath;
use pfs::pipeline::glob::Glob;

libfuzzer_sys::fuzz_target!(|input: (&str, &str)| {
    let (Ok(glob), Ok(path)) = (input.0.parse::<Glob>(), input.1.parse::<TreePath>()) else {
        return;
    };
    let captures = glob.captures(&path);
    assert_eq!(glob.matches(&path), captures.is_some());
    if let Some(captures) = captures {
        assert_eq!(captures.len(), glob.groups());
        assert!(path.ancestors().all(|dir| glob.may_contain(&dir)));
    }
});
