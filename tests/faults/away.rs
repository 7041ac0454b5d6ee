//! The server is away: mounts go on with what they have, and afterwards
//! without having been mounted again.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::until;
use crate::machine;
use crate::server::Server;

const FILES: usize = 200;

/// A server with repo `in`, which holds numbered files, and an empty repo
/// `out`; `in` mounted at `in`, `out` writable at `out`.
fn mounted() -> Server {
    let server = Server::start();
    let source = server.dir("source");
    for number in 0..FILES {
        fs::create_dir_all(source.join(format!("d{}", number % 10))).unwrap();
        fs::write(source.join(name(number)), format!("{number}")).unwrap();
    }
    server.pfs(&["create", "repo", "in"]);
    server.pfs(&["create", "repo", "out"]);
    server.pfs(&["put", "file", "-r", "in@master:/", "-f", source.to_str().unwrap()]);
    server.pfs(&["mount", "-d", "-r", "in", server.dir("in").to_str().unwrap()]);
    assert_eq!(fs::read_to_string(server.dir("in").join("in").join(name(0))).unwrap(), "0");
    mount_out(&server);
    server
}

fn mount_out(server: &Server) {
    server.pfs(&["mount", "-d", "-r", "out@master+w", server.dir("out").to_str().unwrap()]);
}

fn name(number: usize) -> String {
    format!("d{}/f{number}", number % 10)
}

fn write_durably(path: &Path, content: &str) -> io::Result<()> {
    let mut file = fs::File::create(path)?;
    file.write_all(content.as_bytes())?;
    file.sync_all()
}

#[test]
fn a_mount_goes_on_while_its_server_is_away() {
    if !machine::has_fuse("a_mount_goes_on_while_its_server_is_away") {
        return;
    }
    let mut server = mounted();
    let (read, write) = (server.dir("in"), server.dir("out"));
    let at = write.to_str().unwrap().to_owned();
    server.kill();

    for number in 0..FILES {
        let content = fs::read_to_string(read.join("in").join(name(number))).unwrap();
        assert_eq!(content, number.to_string());
    }
    write_durably(&write.join("out/during"), "during").unwrap();
    fs::create_dir(write.join("out/dir")).unwrap();
    fs::rename(write.join("out/during"), write.join("out/dir/moved")).unwrap();
    server.refused(&["commit", &at]);

    server.resume();
    server.pfs(&["commit", &at]);
    assert_eq!(server.pfs(&["get", "file", "out@master:/dir/moved"]), "during");
    server.pfs(&["copy", "file", "in@master:/d1/f1", "in@master:/later"]);
    until("the head is followed again", || read.join("in/later").exists());
    for mount in [&read, &write] {
        server.pfs(&["umount", mount.to_str().unwrap()]);
    }
    server.pfs(&["fsck"]);
}

#[test]
fn what_cannot_be_committed_is_kept_and_gone_on_with() {
    if !machine::has_fuse("what_cannot_be_committed_is_kept_and_gone_on_with") {
        return;
    }
    let mut server = mounted();
    let write = server.dir("out");
    write_durably(&write.join("out/kept"), "kept").unwrap();
    server.kill();
    let error = server.refused(&["umount", write.to_str().unwrap()]);
    assert!(error.contains("not committed") && error.contains("kept"), "{error}");

    server.resume();
    server.refused(&["get", "file", "out@master:/kept"]);
    mount_out(&server);
    assert_eq!(fs::read_to_string(write.join("out/kept")).unwrap(), "kept");
    server.pfs(&["umount", write.to_str().unwrap()]);
    assert_eq!(server.pfs(&["get", "file", "out@master:/kept"]), "kept");
}

#[test]
fn no_error_reaches_readers_and_writers_while_the_server_comes_and_goes() {
    let test = "no_error_reaches_readers_and_writers_while_the_server_comes_and_goes";
    if !machine::has_fuse(test) {
        return;
    }
    let mut server = mounted();
    let (read, write) = (server.dir("in").join("in"), server.dir("out").join("out"));
    let over = AtomicBool::new(false);
    let written = thread::scope(|scope| {
        // Over whatever happens, or a failure would never be seen.
        let _over = Ends(&over);
        let reader = scope.spawn(|| {
            let numbers = (0..FILES).cycle().take_while(|_| !over.load(Ordering::Relaxed));
            numbers.for_each(|number| {
                let content = fs::read_to_string(read.join(name(number))).unwrap();
                assert_eq!(content, number.to_string());
            });
        });
        let writer = scope.spawn(|| {
            let numbers = (0..).take_while(|_| !over.load(Ordering::Relaxed));
            let written = numbers.inspect(|number| {
                write_durably(&write.join(format!("w{number}")), &number.to_string()).unwrap();
                thread::sleep(Duration::from_millis(5));
            });
            written.count()
        });
        for _ in 0..5 {
            server.kill();
            thread::sleep(Duration::from_millis(300));
            server.resume();
        }
        over.store(true, Ordering::Relaxed);
        reader.join().unwrap();
        writer.join().unwrap()
    });
    server.pfs(&["umount", server.dir("out").to_str().unwrap()]);
    let names = server.pfs(&["list", "file", "out@master", "--raw"]).matches("\"path\"").count();
    assert_eq!(names, written);
}

/// Tells threads to end when it goes.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
