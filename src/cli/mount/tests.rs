use super::fstab::{Call, parse};
use super::*;
use crate::api::client::Address;
use crate::model::ProjectName;

fn helper(args: &str) -> Outcome<Call> {
    let args: Vec<_> = args.split_whitespace().map(str::to_owned).collect();
    parse(&args, &Address::Plain("127.0.0.1:30650".to_owned()))
}

fn plan(args: &str) -> MountPlan {
    match helper(args).unwrap() {
        Call::Mount(plan) => *plan,
        other => panic!("{other:?}"),
    }
}

#[test]
fn repos_are_read_in_every_form() {
    let parse = |text: &str| MountedRepo::parse(text, &ProjectName::default_project());
    let one = |text: &str| {
        let MountedRepo { repo, reference, writable } = parse(text).unwrap();
        let reference = reference.map(|r| r.to_string()).unwrap_or_default();
        format!("{repo} [{reference}] {writable}")
    };
    assert_eq!(one("images"), "images [] false");
    assert_eq!(one("images@dev+w"), "images [dev] true");
    assert_eq!(one("vision/images@dev^"), "vision/images [dev^] false");
    let id = "7f0f3c3a5ae14b0c9b4bd38a2d4b2f11";
    assert_eq!(one(&format!("images@master={id}")), format!("images [{id}] false"));
    assert!(parse(&format!("images@{id}+w")).unwrap_err().message.contains("no branch"));
}

#[test]
fn the_helper_takes_what_mount_passes_on() {
    let plan = plan("images@master /mnt -o rw,nosuid,allow_other,uid=5,umask=022,commit=explicit");
    assert_eq!(plan.dir.to_str(), Some("/mnt"));
    assert!(plan.repos[0].writable && plan.allow_other && plan.daemon);
    assert_eq!((plan.uid, plan.umask, plan.commit), (Some(5), Some(0o022), CommitWhen::Explicit));
}

#[test]
fn the_helper_mounts_everything_and_what_is_pinned_read_only() {
    assert!(plan("all /mnt -o rw,_netdev").repos.is_empty());
    for spec in ["none /mnt", "/somewhere/none /mnt", "/mnt"] {
        assert!(plan(&format!("{spec} -o rw")).repos.is_empty(), "{spec}");
    }
    assert!(!plan("images@7f0f3c3a5ae14b0c9b4bd38a2d4b2f11 /mnt -o rw").repos[0].writable);
    assert!(!plan("images /mnt -o rw").repos[0].writable);
    assert!(!plan("images@master /mnt -o ro").repos[0].writable);
}

#[test]
fn a_comma_after_a_backslash_is_part_of_a_value() {
    let plan = plan(r"images /mnt -o ro,,log=/a\,b\,\,c,uid=5,cache=/d\e\");
    assert_eq!(plan.log.unwrap().to_str(), Some("/a,b,,c"));
    assert_eq!(plan.cache.unwrap().to_str(), Some(r"/d\e\"));
    assert_eq!(plan.uid, Some(5));
    assert!(helper(r"images /mnt -o ro\,uid=5").unwrap_err().message.contains("ro,uid=5"));
}

#[test]
fn the_helper_refuses_what_it_does_not_know() {
    assert!(helper("images /mnt -o ro,wings").unwrap_err().message.contains("wings"));
    assert!(helper("images").is_err());
    assert_eq!(helper("-f images /mnt").unwrap(), Call::Fake);
    assert!(matches!(helper("--help").unwrap(), Call::Help(_)));
}

#[test]
fn the_helper_takes_every_option_of_mount() {
    let plan = plan(
        "images@master /mnt -o ro,prefetch=/a/*,cache=/c,cache-size=1GiB,memory=64M,slow-op=0,\
         metrics=:9100,log=/l,repo=labels@dev,repo=vision/more,project=p,gid=7",
    );
    let repos: Vec<_> = plan.repos.iter().map(|one| one.repo.to_string()).collect();
    assert_eq!(repos, ["p/images", "p/labels", "vision/more"]);
    assert_eq!(plan.prefetch.to_string(), "/a/*");
    assert_eq!((plan.cache_size, plan.memory, plan.gid), (1 << 30, 64 << 20, Some(7)));
    assert!(plan.slow_op.is_zero());
    assert_eq!(plan.metrics.unwrap().to_string(), "http://127.0.0.1:9100");
    assert_eq!(plan.log.unwrap().to_str(), Some("/l"));
    assert!(helper("images /mnt -o metrics=nowhere").is_err());
    assert!(helper("images /mnt -o slow-op=soon").unwrap_err().message.contains("soon"));
}

#[test]
fn what_is_fetched_ahead_is_read_as_it_is_shown() {
    for text in ["none", "meta", "all", "/**/*.npy"] {
        assert_eq!(text.parse::<Prefetch>().unwrap().to_string(), text);
    }
    assert!("/a[".parse::<Prefetch>().is_err());
}

#[test]
fn what_the_kernel_cannot_read_by_itself_is_refused() {
    let refused = |args: &str, is_root| {
        let refused = plan(args).check_passthrough(is_root).err();
        refused.map(|failure| format!("{} ({})", failure.message, failure.hint.unwrap()))
    };
    let all = "data@master /mnt -o ro,cache=/cache,passthrough";
    assert_eq!(refused(all, true), None);
    assert_eq!(refused("data@master /mnt", false), None);
    let said = |args: &str, is_root, word: &str| {
        let said = refused(args, is_root).unwrap();
        assert!(said.contains(word), "{said}");
    };
    said(all, false, "mount as root");
    said("data@master /mnt -o ro,passthrough", true, "--cache DIR");
    said("data@master /mnt -o rw,cache=/cache,passthrough", true, "not to write data");
    said("all /mnt -o repo=data@dev+w,cache=/cache,passthrough", true, "not to write data");
}
