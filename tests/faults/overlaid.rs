//! A server whose state lies on an overlay, as in most containers.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::machine;
use crate::server::Server;

#[test]
fn datums_run_where_inputs_cannot_be_overlaid() {
    let test = "datums_run_where_inputs_cannot_be_overlaid";
    if !machine::is_root(test) {
        return;
    }
    let scratch = tempfile::Builder::new().prefix("pfs-overlaid.").tempdir().unwrap();
    let at = |name: &str| scratch.path().join(name);
    for name in ["lower", "upper", "work", "merged"] {
        fs::create_dir(at(name)).unwrap();
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        at("lower").display(),
        at("upper").display(),
        at("work").display(),
    );
    let mut mount = Command::new("mount");
    mount.args(["-t", "overlay", "-o", &options, "overlay"]).arg(at("merged"));
    let mounted = mount.stderr(Stdio::null()).status().unwrap().success();
    if !machine::noted(test, "overlays cannot be mounted here", mounted) {
        return;
    }
    let root = at("merged").join("root");
    // It takes away what is mounted below the scratch directory.
    let server = Server::start_on(scratch, root);
    server.pfs(&["create", "repo", "in"]);
    let spec = r#"{"pipeline": {"name": "p"}, "input": {"pfs": {"repo": "in", "glob": "/*"}},
        "transform": {"cmd": ["/bin/sh"],
                      "stdin": ["echo more >> $in", "ln -s $in /pfs/out/", "echo $in"]}}"#;
    for (arguments, text) in [
        (&["create", "pipeline", "-f", "-"][..], spec),
        (&["put", "file", "in@master:/x", "-f", "-"], "x"),
    ] {
        let mut child = server.command(arguments).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{arguments:?}");
    }
    server.pfs(&["wait", "commit", "p@master"]);
    assert_eq!(server.pfs(&["get", "file", "p@master:/x"]), "xmore\n");
}
