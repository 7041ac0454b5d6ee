use std::time::Duration;

use super::*;

const EXPORT: &str = r#"{
  "pipeline": {
    "name": "export"
  },
  "transform": {
    "image": "docker:18.04",
    "cmd": [ "/bin/ash" ],
    "stdin": [
	"export DOCKER_API_VERSION=1.23",
	"cd /pfs/build/build"
    ],
    "secrets": [ {"name":"dockersecret","mountPath":"/tmp/dockersecret"} ]
  },
  "parallelism_spec": {
       "constant": "1"
  },
  "input": {
    "atom": {
      "repo": "build",
      "glob": "/"
    }
  }
}
"#;

const INFER: &str = "
pipeline: {name: inference}
transform:
  image: dwhitena/nb-to-prod:infer
  cmd: [/bin/bash]
  stdin:
    - python3 /code/infer.py /pfs/train/model.pt $attributes /pfs/out/
parallelism_spec: {constant: 3}
datumTimeout: 1h30m
input:
  cross:
    - pfs: {repo: attributes, glob: '/*'}
    - atom: {repo: train, glob: /}
";

fn read(text: &str) -> Result<Vec<Parsed>, SpecError> {
    parse("p.json", text, &ProjectName::default_project())
}

fn one(text: &str) -> PipelineSpec {
    let mut specs = read(text).unwrap();
    assert_eq!(specs.len(), 1);
    specs.remove(0).spec
}

/// A small valid spec with `extra` fields and this input.
fn with(extra: &str, input: &str) -> String {
    format!(
        r#"{{"pipeline":{{"name":"p"}},"transform":{{"cmd":["true"]}},{extra}"input":{input}}}"#
    )
}

const PFS: &str = r#"{"pfs":{"repo":"r","glob":"/*"}}"#;

#[track_caller]
fn refused(text: &str, message: &str) -> SpecError {
    let error = read(text).unwrap_err();
    assert!(error.to_string().contains(message), "{error}");
    error
}

#[test]
fn a_tutorial_spec_of_the_first_era_reads() {
    let spec = one(EXPORT);
    assert_eq!(spec.name.as_str(), "export");
    assert_eq!(spec.parallelism, 1);
    assert_eq!(spec.transform.stdin.len(), 2);
    let target = SecretTarget::Files { mount_path: "/tmp/dockersecret".to_owned() };
    assert_eq!(spec.transform.secrets, [Secret { name: "dockersecret".to_owned(), target }]);
    let Input::Pfs(pfs) = &spec.input else { panic!("not a pfs input") };
    assert_eq!((pfs.name.as_str(), pfs.branch.as_str()), ("build", "master"));
    assert!(pfs.glob.is_root());
    assert_eq!((spec.output_branch.as_str(), spec.datum_tries), ("master", 3));
}

#[test]
fn yaml_and_camel_case_read_alike() {
    let spec = one(INFER);
    assert_eq!(spec.parallelism, 3);
    assert_eq!(spec.datum_timeout, Some(Duration::from_secs(5400)));
    assert_eq!(spec.input.shorthand(), "(attributes:/* ⨯ train:/)");
    assert_eq!(spec.input.leaves().len(), 2);
}

#[test]
fn several_documents_and_lists_read() {
    assert_eq!(read(&format!("{EXPORT}\n{EXPORT}")).unwrap().len(), 2);
    assert_eq!(read(&format!("{INFER}\n---\n{INFER}")).unwrap().len(), 2);
    assert_eq!(read(&format!("[{EXPORT},{EXPORT}]")).unwrap().len(), 2);
    refused("", "p.json:1:1: there is no pipeline spec");
}

#[test]
fn unknown_fields_name_their_place_and_a_neighbour() {
    let error = refused(&EXPORT.replace("\"stdin\"", "\"stdinn\""), "unknown field \"stdinn\"");
    assert_eq!(error.to_string(), "p.json:8:5: unknown field \"stdinn\" in transform");
    assert_eq!(error.hint.as_deref(), Some("did you mean \"stdin\"?"));
    let error = refused(&INFER.replace("repo: train", "rpo: train"), "unknown field \"rpo\"");
    assert_eq!(error.hint.as_deref(), Some("did you mean \"repo\"?"));
    refused(&with("\"zzz\":1,", PFS), "unknown field \"zzz\" in pipeline spec");
    refused(&with("\"resource_limits\":{\"cpus\":1},", PFS), "unknown field \"cpus\"");
}

#[test]
fn fields_without_effect_are_notices() {
    let text = with(
        "\"enable_stats\":true,\"resourceRequests\":{\"memory\":\"1G\",\"cpu\":0.5},\"standby\":\"false\",\
         \"parallelism_spec\":{\"strategy\":\"CONSTANT\",\"constant\":2},",
        r#"{"cron":{"name":"t","spec":"@daily","commit":"x"}}"#,
    );
    let parsed = read(&text).unwrap().remove(0);
    let messages: Vec<&str> = parsed.notices.iter().map(|n| n.message.as_str()).collect();
    assert_eq!(
        messages,
        [
            "enable_stats is ignored: statistics and logs are always kept",
            "resource_requests is ignored: it has no effect outside Kubernetes",
            "parallelism_spec.strategy is ignored: the numbers say it all",
            "commit is ignored: a pipeline reads the head of the branch",
        ]
    );
    assert_eq!(parsed.spec.inert["resource_requests"]["memory"], "1G");
    assert!(parsed.spec.has_inert_fields());
}

#[test]
fn refused_kinds_say_what_to_do_instead() {
    assert!(refused(&with("\"spout\":{},", PFS), "spout is not supported").hint.is_some());
    assert!(refused(&with("\"incremental\":true,", PFS), "incremental").hint.is_some());
    for off in ["false", "\"false\"", "null"] {
        assert!(read(&with(&format!("\"incremental\":{off},"), PFS)).is_ok(), "{off}");
    }
    refused(&with("", r#"{"git":{"url":"https://example.com/x.git"}}"#), "git inputs");
}

#[test]
fn rules_of_inputs() {
    refused(&with("", r#"{"pfs":{"repo":"out","glob":"/"}}"#), "may not be named \"out\"");
    refused(&with("", r#"{"pfs":{"repo":"r"}}"#), "glob is missing");
    refused(&with("", r#"{"pfs":{"glob":"/"}}"#), "repo is missing");
    refused(&with("", r#"{"pfs":{"repo":"r","glob":"/[a"}}"#), "a class lacks");
    refused(&with("", r#"{"pfs":{"repo":"p","glob":"/"}}"#), "reads its own output");
    refused(&with("", "{}"), "input is empty");
    refused(&with("", r#"{"cross":[]}"#), "cross has no members");
    refused(&with("", &format!(r#"{{"pfs":{{}},"cross":[{PFS}]}}"#)), "second kind");
    let twice = with("", &format!(r#"{{"cross":[{PFS},{PFS}]}}"#));
    let error = refused(&twice, "input name \"r\" is used more than once");
    assert_eq!(&twice[error.at.column - 1..][..1], "{");
    assert!(read(&with("", &format!(r#"{{"union":[{PFS},{PFS}]}}"#))).is_ok());
    let nested = format!(r#"{{"cross":[{PFS},{{"union":[{PFS},{PFS}]}}]}}"#);
    refused(&with("", &nested), "used more than once");
    refused(&with("", &format!(r#"{{"join":[{PFS}]}}"#)), "lacks join_on");
    refused(&with("", &format!(r#"{{"group":[{PFS}]}}"#)), "lacks group_by");
}

#[test]
fn joins_groups_and_crons_read() {
    let member = |repo: &str| {
        format!(r#"{{"pfs":{{"repo":"{repo}","glob":"/(*).csv","joinOn":"$1","group_by":"$1"}}}}"#)
    };
    let text = with(
        "",
        &format!(r#"{{"group":[{{"join":[{},{}]}},{}]}}"#, member("a"), member("b"), member("c")),
    );
    assert_eq!(one(&text).input.shorthand(), "(Group: (a:/(*).csv ⋈ b:/(*).csv), c:/(*).csv)");
    let cron = one(&with("", r#"{"cron":{"name":"tick","spec":"@every 30s"}}"#));
    let Input::Cron(cron) = &cron.input else { panic!("not a cron input") };
    assert_eq!(cron.repo.name.as_str(), "p_tick");
}

#[test]
fn numbers_and_words_are_checked() {
    refused(&with("\"parallelism_spec\":{\"constant\":0},", PFS), "must be 1 or more");
    refused(&with("\"parallelism_spec\":{\"constant\":\"many\"},", PFS), "whole number");
    assert_eq!(one(&with("\"parallelism_spec\":{\"coefficient\":1.5},", PFS)).parallelism, 2);
    refused(&with("\"datum_timeout\":\"soon\",", PFS), "must be a duration");
    refused(&with("\"on_conflict\":\"maybe\",", PFS), "must be one of fail, concat, last");
    refused(&with("\"egress\":{\"URL\":\"ftp://x/y\"},", PFS), "not one of an object store");
    assert_eq!(
        one(&with("\"egress\":{\"URL\":\"s3://b/k\"},", PFS)).egress.as_deref(),
        Some("s3://b/k")
    );
    refused(r#"{"pipeline":{"name":"-x"},"transform":{"cmd":["a"]}}"#, "start and end");
    refused(r#"{"pipeline":{"name":"x"},"input":{}}"#, "transform is missing");
    refused(
        r#"{"pipeline":{"name":"x"},"transform":{},"input":{"pfs":{"repo":"r","glob":"/"}}}"#,
        "neither",
    );
}

#[test]
fn canonical_json_reads_back() {
    let rich = with(
        "\"description\":\"d\",\"egress\":{\"url\":\"s3://b\"},\"datumTries\":\"5\",\"jobTimeout\":\"90m\",\
         \"podPatch\":\"[]\",\"metadata\":{\"labels\":{\"aB\":\"c\"}},\"salt\":\"s\",\"reprocessSpec\":\"every_job\",",
        r#"{"cross":[{"pfs":{"name":"n","repo":"r","glob":"/*","lazy":true,"emptyFiles":true}},{"cron":{"name":"t","spec":"@daily","overwrite":true}}]}"#,
    );
    for text in [EXPORT, INFER, &rich] {
        let spec = one(text);
        for style in [KeyStyle::Snake, KeyStyle::Camel] {
            let written = spec.to_json(style).to_string();
            assert_eq!(PipelineSpec::from_json(&written).unwrap(), spec, "{written}");
        }
    }
    insta::assert_snapshot!(one(&rich).to_json(KeyStyle::Camel).to_string());
    insta::assert_snapshot!(one(EXPORT).to_json(KeyStyle::Snake).to_string());
}

#[test]
fn inputs_with_a_trigger_read_a_branch_of_their_own() {
    let input = |branch: &str, trigger: &str| {
        let text =
            format!(r#"{{"pfs":{{"repo":"r","glob":"/",{branch}"trigger":{{{trigger}}}}}}}"#);
        one(&with("", &text))
    };
    let placed = |branch: &str, trigger: &str| {
        let spec = input(branch, trigger);
        assert_eq!(
            PipelineSpec::from_json(&spec.to_json(KeyStyle::Snake).to_string()),
            Ok(spec.clone())
        );
        let leaf = spec.input.leaves()[0];
        (leaf.branch().to_string(), leaf.watched().to_string())
    };
    let hidden = |watched: &str| ("p-trigger-1".to_owned(), watched.to_owned());
    assert_eq!(placed("", r#""commits":"5""#), hidden("master"));
    assert_eq!(placed(r#""branch":"dev","#, r#""size":"10M""#), hidden("dev"));
    assert_eq!(placed("", r#""branch":"dev","cronSpec":"@daily""#), hidden("dev"));
    let named = placed(r#""branch":"slow","#, r#""branch":"dev","all":true,"size":5"#);
    assert_eq!(named, ("slow".to_owned(), "dev".to_owned()));
    assert_eq!(placed("", ""), ("master".to_owned(), "master".to_owned()));
    let trigger =
        |trigger: &str| format!(r#"{{"pfs":{{"repo":"r","glob":"/","trigger":{trigger}}}}}"#);
    refused(&with("", &trigger(r#"{"cron_spec":"soon"}"#)), "cron spec \"soon\" is invalid");
    refused(&with("", &trigger(r#"{"size":"big"}"#)), "must be a number of bytes");
    refused(&with("", &trigger(r#"{"comits":1}"#)), "unknown field \"comits\" in trigger");
    refused(&with("", &trigger(r#"{"cron_spec":"@daily","all":true}"#)), "no other condition");
    let two = |branch: &str, commits: u8| {
        format!(
            r#"{{"pfs":{{"name":"n{commits}","repo":"r","branch":"{branch}","glob":"/",
                 "trigger":{{"branch":"master","commits":{commits}}}}}}}"#
        )
    };
    let pair =
        |a: &str, b: &str| with("", &format!(r#"{{"cross":[{},{}]}}"#, two(a, 1), two(b, 2)));
    assert!(read(&pair("x", "y")).is_ok());
    refused(&pair("x", "x"), "two different triggers");
}

#[test]
fn inputs_of_other_projects_and_times_are_kept_as_given() {
    let text = with(
        "",
        r#"{"cross":[
        {"pfs":{"repo":"a","project":"default","glob":"/"}},
        {"pfs":{"repo":"b","glob":"/"}},
        {"cron":{"name":"t","spec":"@daily","start":"2026-01-01T00:00:00Z"}}]}"#,
    );
    let text = text.replace(r#""name":"p""#, r#""name":"p","project":{"name":"own"}"#);
    let spec = one(&text);
    let projects: Vec<_> =
        spec.input.leaves().iter().map(|l| l.repo().project.to_string()).collect();
    assert_eq!(projects, ["default", "own", "own"]);
    let written = spec.to_json(KeyStyle::Snake).to_string();
    assert_eq!(PipelineSpec::from_json(&written).unwrap(), spec, "{written}");
    let start = r#"{"cron":{"name":"t","spec":"@daily","start":"tomorrow"}}"#;
    refused(&with("", start), "start \"tomorrow\" is no time");
    let pinned = r#"{"pfs":{"repo":"r","glob":"/","commit":"7f0f3c3a5ae14b0c9b4bd38a2d4b2f11"}}"#;
    let notices = read(&with("", pinned)).unwrap().remove(0).notices;
    assert!(notices[0].message.starts_with("commit is ignored"), "{notices:?}");
}

#[test]
fn durations_read_and_print() {
    let parsed = |text: &str| parse_duration(text).map(format_duration);
    assert_eq!(parsed("1h30m").as_deref(), Some("5400s"));
    assert_eq!(parsed("1.5s").as_deref(), Some("1.5s"));
    assert_eq!(parsed("2ms500us").as_deref(), Some("0.0025s"));
    assert_eq!(parsed("0").as_deref(), Some("0s"));
    for bad in ["", "1", "h", "-1s", "1.2.3s", "1 s", "99999999999999999999h"] {
        assert_eq!(parsed(bad), None, "{bad}");
    }
}
