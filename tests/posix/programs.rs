//! Programs that rely on more than most: build tools, databases, installers.

use std::fs;
use std::process::Command;

use super::{Disk, count, run};
use crate::machine::{has_command, python};

#[test]
fn cargo_builds_a_crate() {
    let test = "cargo_builds_a_crate";
    if !has_command(test, "cargo") {
        return;
    }
    let Some(disk) = Disk::new(test) else { return };
    let dir = disk.dir("crate");
    fs::create_dir(dir.join("src")).unwrap();
    let manifest =
        "[package]\nname = \"small\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n";
    fs::write(dir.join("Cargo.toml"), manifest).unwrap();
    let program = "fn main() { println!(\"built\") }\n#[test]\nfn it_works() {}\n";
    fs::write(dir.join("src/main.rs"), program).unwrap();
    let cargo = |arguments: &[&str]| {
        run(Command::new("cargo")
            .args(arguments)
            .args(["--offline", "--quiet"])
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .current_dir(&dir))
    };
    assert_eq!(cargo(&["run"]), "built\n");
    assert!(cargo(&["test"]).contains("1 passed"));
    fs::write(dir.join("src/main.rs"), "fn main() { println!(\"again\") }\n").unwrap();
    assert_eq!(cargo(&["run"]), "again\n", "a newer file is built anew");
}

/// Several processes add to one table, each in transactions of its own.
const SQLITE: &str = r#"
import multiprocessing, os, sqlite3, sys

def work(path, process, rounds):
    db = sqlite3.connect(path, timeout=120, isolation_level=None)
    for i in range(rounds):
        db.execute("begin immediate")
        db.execute("insert into t values (?, ?)", (process * 1000000 + i, os.urandom(200)))
        db.execute("update total set n = n + 1")
        db.execute("commit")

def run(path, mode, rounds):
    db = sqlite3.connect(path, timeout=120, isolation_level=None)
    assert db.execute("pragma journal_mode = " + mode).fetchone()[0] == mode
    db.execute("create table t(a integer primary key, b blob)")
    db.execute("create table total(n)")
    db.execute("insert into total values (0)")
    all = [multiprocessing.Process(target=work, args=(path, n, rounds)) for n in range(4)]
    for p in all: p.start()
    for p in all: p.join()
    assert all and not any(p.exitcode for p in all)
    assert db.execute("select count(*) from t").fetchone()[0] == 4 * rounds
    assert db.execute("select n from total").fetchone()[0] == 4 * rounds
    assert db.execute("pragma integrity_check").fetchone()[0] == "ok"

for mode in ("wal", "delete"):
    run(os.path.join(sys.argv[1], mode + ".db"), mode, int(sys.argv[2]))
"#;

#[test]
fn processes_share_an_sqlite_database() {
    let test = "processes_share_an_sqlite_database";
    if !has_command(test, "python3") {
        return;
    }
    let Some(disk) = Disk::new(test) else { return };
    let dir = disk.dir("db");
    run(Command::new("python3").args(["-c", SQLITE]).arg(&dir).arg(count(20, 500)));
}

/// Makes a wheel without the network and installs it.
const WHEEL: &str = r#"
import os, subprocess, sys, zipfile
scratch, target = sys.argv[1:]
wheel = os.path.join(scratch, "small-1.0-py3-none-any.whl")
with zipfile.ZipFile(wheel, "w") as file:
    for i in range(200):
        file.writestr("small/part%d.py" % i, "value = %d\n" % i)
    file.writestr("small/__init__.py", "from .part7 import value\n")
    info = "small-1.0.dist-info/"
    file.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
    file.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    file.writestr(info + "RECORD", "")
pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps",
       "--disable-pip-version-check", "--no-cache-dir"]
subprocess.run(pip + ["--target", target, wheel], check=True)
subprocess.run(pip + ["--target", target, "--upgrade", wheel], check=True)
sys.path.insert(0, target)
import small
assert small.value == 7 and small.__file__.startswith(target)
"#;

#[test]
fn pip_installs_into_a_mount() {
    let test = "pip_installs_into_a_mount";
    let Some(python) = python(test) else { return };
    let Some(disk) = Disk::new(test) else { return };
    let target = disk.dir("site");
    run(Command::new(python).args(["-c", WHEEL]).arg(disk.server.dir("wheel")).arg(target));
}
