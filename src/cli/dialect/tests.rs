use clap::Parser;

use super::*;
use crate::cli::grammar::NativeCli;

#[derive(Debug, Parser)]
struct Dash {
    #[command(subcommand)]
    command: DashCommand,
}

fn translate(line: &str) -> Outcome<Translation> {
    let words = std::iter::once("pachctl").chain(line.split_whitespace());
    Dash::try_parse_from(words).unwrap().command.translate()
}

#[test]
fn dash_commands_become_native_ones() {
    let table = [
        ("create-repo images -d photos", "create repo --description=photos images"),
        ("update-repo images -d x", "update repo --description=x images"),
        ("inspect-repo images --raw", "inspect repo --raw images"),
        ("list-repo", "list repo"),
        ("delete-repo images -f", "delete repo --force images"),
        ("delete-repo --all", "delete repo --all"),
        (
            "create-branch m master -p a/b -p c/d",
            "create branch --provenance=a@b --provenance=c@d m@master",
        ),
        ("set-branch images staging master", "create branch --head=staging images@master"),
        ("list-branch images", "list branch images"),
        ("delete-branch images dev", "delete branch images@dev"),
        ("start-commit images", "start commit images@master"),
        (
            "start-commit images dev -p master -m why",
            "start commit --parent=master --message=why images@dev",
        ),
        ("finish-commit images master", "finish commit images@master"),
        ("inspect-commit images master^2", "inspect commit images@master^2"),
        ("list-commit images", "list commit images"),
        ("list-commit images master -n 3 -f x", "list commit --from=x --number=3 images@master"),
        ("flush-commit images/master a/b -r out", "flush commit --repos=out images@master a@b"),
        ("subscribe-commit images master --new", "subscribe commit --new images@master"),
        ("delete-commit images master", "delete commit --recursive images@master"),
        ("put-file i master -f a.csv", "put file --append --file=a.csv i@master"),
        ("put-file i master p -o -f a", "put file --file=a i@master:p"),
        (
            "put-file i master -c -r -f d -p 3",
            "put file --append --file=d --recursive --parallelism=3 i@master",
        ),
        (
            "put-file i master d --split csv --target-file-datums 3 --header-records 1 -f a",
            "put file --append --file=a --split=csv --target-file-datums=3 --header-records=1 i@master:d",
        ),
        ("put-file i master -i list", "put file --append --input-file=list i@master"),
        ("copy-file a master x b dev y", "copy file --append a@master:x b@dev:y"),
        ("copy-file a master x b dev y -o", "copy file a@master:x b@dev:y"),
        ("get-file i master a/b -o out -r", "get file --output=out --recursive i@master:a/b"),
        ("inspect-file i master a", "inspect file i@master:a"),
        ("list-file i master", "list file i@master:"),
        ("list-file i master dir --raw", "list file --raw i@master:dir"),
        ("glob-file i master /*", "glob file i@master:/*"),
        ("diff-file i master /", "diff file i@master:/"),
        ("diff-file i master a i master^ a -s", "diff file --shallow i@master:a i@master^:a"),
        ("delete-file i master a", "delete file i@master:a"),
        ("create-pipeline -f a.json", "create pipeline --file=a.json"),
        ("update-pipeline -f a.json --reprocess", "update pipeline --file=a.json --reprocess"),
        ("inspect-pipeline p", "inspect pipeline p"),
        ("list-pipeline -s", "list pipeline --spec"),
        ("extract-pipeline p", "extract pipeline p"),
        ("edit-pipeline p --editor vi", "edit pipeline --editor=vi p"),
        ("delete-pipeline --all -f", "delete pipeline --all --force"),
        ("start-pipeline p", "start pipeline p"),
        ("stop-pipeline p", "stop pipeline p"),
        ("list-job", "list job --expand --history=all"),
        (
            "list-job -p p -i a/b c/d",
            "list job --expand --history=all --pipeline=p --input=c@d --input=a@b",
        ),
        ("list-job -o p/id", "list job --expand --history=all --output-commit=p@id"),
        ("inspect-job j -b", "inspect job --wait j"),
        ("flush-job a/b -p p", "flush job --pipeline=p a@b"),
        ("delete-job j", "delete job j"),
        ("stop-job j", "stop job j"),
        ("list-datum j --pageSize 5 --page 1", "list datum --page=1 --page-size=5 j"),
        ("inspect-datum j d", "inspect datum j d"),
        ("restart-datum j /a,/b", "restart datum j /a,/b"),
        ("get-logs --job j -t 5 -f", "logs --job=j --follow --tail=5"),
        ("get-logs -p p --inputs /a", "logs --pipeline=p --inputs=/a"),
        ("create-secret -f s.yaml", "create secret --file=s.yaml"),
        ("delete-all -y", "delete all --yes"),
        ("inspect-cluster --raw", "inspect cluster --raw"),
    ];
    for (dash, native) in table {
        let words = translate(dash).unwrap().words;
        assert_eq!(words.join(" ".as_ref()), native, "{dash}");
        let parsed = NativeCli::try_parse_from(std::iter::once("pfs".into()).chain(words));
        parsed.unwrap_or_else(|error| panic!("{dash}: {error}"));
    }
}

#[test]
fn a_deprecated_flag_is_told_about_and_works() {
    let translation = translate("put-file images master -c -f a").unwrap();
    assert!(translation.notices[0].contains("deprecated"));
    assert!(translate("put-file images master -f a").unwrap().notices.is_empty());
}

#[test]
fn what_looks_like_a_flag_is_an_argument() {
    let words = translate("inspect-pipeline -- -x").unwrap().words;
    assert_eq!(words.join(" ".as_ref()), "inspect pipeline -- -x");
}

#[test]
fn what_is_not_there_says_so() {
    for line in ["garbage-collect --memory 1", "get-object x", "debug-dump", "restore -u x"] {
        let failure = translate(line).unwrap_err();
        assert!(failure.message.contains("is not part of pfs"), "{line}: {failure}");
    }
}
