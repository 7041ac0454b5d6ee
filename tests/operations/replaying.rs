//! Jobs that read in the order of an earlier one.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{noise, number};
use crate::machine::{has_fuse, is_root};
use crate::server::Server;

const FILES: u32 = 60;

/// What a job of its own mount shows that reads all files in some order; the
/// store is where only the server can reach it.
fn job(server: &Server, order: &str) -> Value {
    let hidden = server.root().join("objects");
    let script = format!("mount -t tmpfs tmpfs {hidden} && exec \"$@\"", hidden = hidden.display());
    let inner = "set -e
        \"$0\" mount -d -r data --memory 48MiB --cache \"$2\" --cache-size 6MiB \"$1\"
        for file in $3; do cat \"$1/data/$file\" | cksum; done >&2
        \"$0\" stats \"$1\" -o json
        \"$0\" umount \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    command.args(["sh", "-c", inner]).arg(server.command(&[]).get_program());
    command.args([server.dir("mnt"), server.dir("cache")]).arg(order);
    server.lend_environment(&mut command);
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    serde_json::from_slice(&ran.stdout).unwrap()
}

#[test]
fn a_job_in_the_order_of_the_one_before_finds_what_comes_next() {
    let test = "a_job_in_the_order_of_the_one_before_finds_what_comes_next";
    if !has_fuse(test) || !is_root(test) {
        return;
    }
    let server = Server::start();
    server.pfs(&["create", "repo", "data"]);
    let source = server.dir("source");
    for file in 0..FILES {
        fs::write(source.join(file.to_string()), noise(file, 700_000)).unwrap();
    }
    server.pfs(&["put", "file", "-r", "data@master:/", "-f", source.to_str().unwrap()]);
    let order = |step: u32| {
        let files = (0..FILES).map(|n| (n * step % (FILES + 1) + n * step / (FILES + 1)) % FILES);
        files.map(|file| file.to_string()).collect::<Vec<_>>().join(" ")
    };
    let demanded = |job: &Value| {
        number(job, "/store/gets").saturating_sub(number(job, "/caches/ahead/fetched"))
    };
    let first = job(&server, &order(23));
    assert_eq!(number(&first, "/caches/ahead/fetched"), 0, "{first}");
    assert!(demanded(&first) >= u64::from(FILES) / 2, "{first}");
    let second = job(&server, &order(23));
    let used = number(&second, "/caches/ahead/used");
    assert!(used >= u64::from(FILES) / 2, "{second}");
    assert!(demanded(&second) < demanded(&first) / 2, "{first} {second}");
    // A commit more changes nothing about what was there.
    server.pfs(&["put", "file", "data@master:/more", "-f", source.join("1").to_str().unwrap()]);
    let third = job(&server, &order(23));
    assert!(number(&third, "/caches/ahead/used") >= u64::from(FILES) / 2, "{third}");
}
