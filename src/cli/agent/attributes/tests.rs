use pfs_daemonset::Code;

use super::*;

fn parse(given: &[(&str, &str)]) -> Result<Attributes, Refusal> {
    parse_as(given, false, true)
}

fn parse_as(given: &[(&str, &str)], read_only: bool, inline: bool) -> Result<Attributes, Refusal> {
    let given = given.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Attributes::parse(&given.collect(), read_only, inline)
}

#[track_caller]
fn refused(given: &[(&str, &str)], says: &str) {
    let refusal = parse(given).unwrap_err();
    assert_eq!(refusal.code, Code::InvalidArgument);
    assert!(refusal.message.contains(says), "{refusal}");
}

fn when(given: &[(&str, &str)], inline: bool) -> When {
    let given = [&[("repo", "model"), ("mode", "rw")], given].concat();
    match parse_as(&given, false, inline).unwrap().shown {
        Shown::Written { when, .. } => when,
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_not_said_is_read_only_pinned_master() {
    assert_eq!(parse(&[]).unwrap().shown, Shown::All);
    assert_eq!(parse(&[]).unwrap().prefetch, Prefetch::None);
    let Shown::Read { repo, reference, path, follow } = parse(&[("repo", "a")]).unwrap().shown
    else {
        panic!("not read");
    };
    assert_eq!((repo.name.as_str(), reference, path.is_root(), follow), ("a", None, true, false));
}

#[test]
fn an_unknown_attribute_is_refused_with_the_nearest_one() {
    refused(&[("repo", "a"), ("folow", "true")], "\"folow\": did you mean \"follow\"?");
    refused(&[("xyzzy", "1")], "the attributes of a volume are");
    refused(&[("repo", "a"), ("mode", "rW+")], "cannot be \"rW+\": did you mean \"rw\"?");
    let odd = [("repo", "a"), ("mode", "rw"), ("commit", "onsucces")];
    refused(&odd, "did you mean \"onSuccess\"?");
}

#[test]
fn what_does_not_go_together_is_refused() {
    refused(&[("mode", "rw")], "needs a repo");
    refused(&[("ref", "master")], "\"ref\" needs a repo");
    refused(&[("path", "a")], "\"path\" needs a repo");
    refused(&[("follow", "false")], "needs a repo");
    refused(&[("repo", "a"), ("commit", "onUnmount")], "\"commit\" goes with mode: rw");
    refused(&[("repo", "a"), ("message", "m")], "\"message\" goes with mode: rw");
    refused(&[("repo", "a"), ("mode", "rw"), ("follow", "true")], "goes with mode: ro");
    refused(&[("repo", "a"), ("mode", "rw"), ("ref", "master^")], "is no branch");
    refused(&[("repo", "a@b")], "write it as \"ref\"");
    refused(&[("repo", "a"), ("path", "../b")], "\"path\"");
    let commit = "7f0f3c3a5ae14b0c9b4bd38a2d4b2f11";
    refused(&[("repo", "a"), ("ref", commit), ("follow", "true")], "never moves");
}

#[test]
fn a_commit_waits_for_what_is_said_or_for_the_pod() {
    assert_eq!(when(&[], true), When::OnSuccess);
    assert_eq!(when(&[], false), When::OnUnmount);
    assert_eq!(when(&[("commit", "onMarker")], true), When::OnMarker);
    assert_eq!(when(&[("commit", "explicit")], true), When::Explicit);
    assert_eq!(when(&[("commit", "interval=10m")], true), When::Interval(Duration::from_secs(600)));
    let rw = [("repo", "a"), ("mode", "rw")];
    refused(&[&rw[..], &[("commit", "interval=0s")]].concat(), "\"commit\"");
    refused(&[&rw[..], &[("commit", "interval=soon")]].concat(), "\"commit\"");
}

#[test]
fn patterns_are_of_paths_in_the_volume() {
    let fetched = |given: &[(&str, &str)]| parse(given).unwrap().prefetch.to_string();
    let of = |path, pattern| fetched(&[("repo", "a"), ("path", path), ("prefetch", pattern)]);
    assert_eq!(of("images", "/*.jpg"), "images/*.jpg");
    assert_eq!(of("im[1]/a-b/", "**.jpg"), "im\\[1\\]/a\\-b/**.jpg");
    assert_eq!((of("images", "all"), of("images", "meta")), ("all".into(), "meta".into()));
    assert_eq!(of("", "/*.jpg"), "/*.jpg");
}

#[test]
fn a_read_only_publish_of_a_written_volume_is_read() {
    let given = [("repo", "a"), ("mode", "rw"), ("path", "/deep/er/"), ("commit", "onMarker")];
    let shown = parse_as(&given, true, false).unwrap().shown;
    let Shown::Read { path, follow: false, .. } = shown else { panic!("{shown:?}") };
    assert_eq!(path.as_str(), "deep/er");
}
