#!/usr/bin/env python3
"""Measures the release binary as a user would drive it.

usage: bench/run.py            (or make bench)

Prints `name value unit` lines on stdout, and on stderr what each target is and
whether it was reached. Beside every figure that has one stands that of `cp` in
the same run on the same file system.

BENCH_ONLY=small,big,million,start,datums,skip   the groups to run
BENCH_DIR=DIR                                    where to work (default target/bench)
BENCH_MILLION=1000000  BENCH_SKIP=100000  BENCH_BIG_MIB=1024
"""

import dataclasses
import os
import pathlib
import shutil
import statistics
import sys
import time

import data
from server import Server, run

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
WORK = pathlib.Path(os.environ.get("BENCH_DIR", CHECKOUT / "target/bench"))
MILLION = int(os.environ.get("BENCH_MILLION", 1_000_000))
SKIP = int(os.environ.get("BENCH_SKIP", 100_000))
BIG_MIB = int(os.environ.get("BENCH_BIG_MIB", 1024))

# name: (to reach, in the unit the figure is printed in)
TARGETS = {
    "small_put_ratio": 2.0,
    "small_store_objects": 20,
    "small_change_umount": 0.25,
    "million_change_umount": 0.25,
    "big_put_ratio": 1.5,
    "big_insert_stored": 8,
    "big_get_ratio": 1.5,
    "million_mount_ls_stat": 0.3,
    "million_mount_rss": 150,
    "start_latency_median": 50,
    "datum_cost": 15,
    "skip_job": 2.0,
    "server_rss_peak": 300,
}
missed = []


def say(name, value, unit):
    print(f"{name} {value:.4g} {unit}" if isinstance(value, float) else f"{name} {value} {unit}")
    sys.stdout.flush()
    target = TARGETS.get(name)
    if target is not None:
        reached = value < target or (name.endswith("_ratio") and value <= target)
        missed.extend([] if reached else [name])
        print(f"  {'reached' if reached else 'MISSED'}: {name} {value:.4g}, "
              f"to reach {target} {unit}", file=sys.stderr)


def timed(action):
    """Seconds an action takes on a quiet disk."""
    os.sync()
    start = time.monotonic()
    action()
    return time.monotonic() - start


def copied(source, target, sync=True):
    def action():
        run("cp", "-a", str(source), str(target))
        if sync:
            os.sync()

    seconds = timed(action)
    run("rm", "-rf", str(target))
    return seconds


def small(server):
    """10,000 files of 8 KiB: the first commit, then 1 % changed through a mount."""
    tree, changed = data.small(WORK / "data/small")
    cp = copied(tree, WORK / "copy")
    server.pfs("create", "repo", "small")
    before = server.store()
    put = timed(lambda: server.pfs("put", "file", "-r", "small@master:/", "-f", str(tree)))
    after = server.store()
    say("small_cp_sync", cp, "s")
    say("small_put", put, "s")
    say("small_put_ratio", put / cp, "x")
    say("small_store_objects", after.objects - before.objects, "objects")
    say("small_store_bytes", (after.bytes - before.bytes) / 2**20, "MiB")
    requests("small_put", before, after)
    say("small_change_umount", change(server, "small", changed), "s")


def change(server, repo, changed):
    """Seconds from umount to commit of the changed files, written through a mount."""
    mount = WORK / "mount"
    mount.mkdir(exist_ok=True)
    head = server.head(repo)
    server.pfs("mount", "-d", "-r", f"{repo}@master+w", str(mount))
    run("cp", "-r", f"{changed}/.", str(mount / repo))
    seconds = timed(lambda: server.pfs("umount", str(mount)))
    if server.head(repo) == head:
        sys.exit(f"error: unmounting {repo} made no commit")
    return seconds


def big(server):
    """A file of 1 GiB, the same with 1 MiB inserted in the middle, and back."""
    first, second = data.big(WORK / "data/big", BIG_MIB)
    cp = copied(first, WORK / "copy")
    server.pfs("create", "repo", "big")
    before = server.store()
    put = timed(lambda: server.pfs("put", "file", "big@master:/big.bin", "-f", str(first)))
    middle = server.store()
    again = timed(lambda: server.pfs("put", "file", "big@master:/big.bin", "-f", str(second)))
    after = server.store()
    back = WORK / "back"
    cp_back = copied(second, back, sync=False)
    get = timed(lambda: server.pfs("get", "file", "big@master:/big.bin", "-o", str(back)))
    run("cmp", str(second), str(back))
    back.unlink()
    say("big_cp_sync", cp, "s")
    say("big_put", put, "s")
    say("big_put_ratio", put / cp, "x")
    requests("big_put", before, middle)
    say("big_insert_put", again, "s")
    say("big_insert_stored", (after.bytes - middle.bytes) / 2**20, "MiB")
    say("big_cp_back", cp_back, "s")
    say("big_get", get, "s")
    say("big_get_ratio", get / cp_back, "x")


def million(server):
    """A commit of a million files: mount, ls of the root, one stat deep inside."""
    server.pfs("create", "repo", "million")
    if "--untar" in server.pfs("put", "file", "--help"):
        put = timed(lambda: data.pipe_million(
            MILLION, server.open("put", "file", "million@master:/", "-f", "-", "--untar")))
    else:
        tree = data.million(WORK / f"data/million{MILLION}", MILLION)
        put = timed(lambda: server.pfs("put", "file", "-r", "million@master:/", "-f", str(tree)))
    say("million_files", MILLION, "files")
    say("million_put", put, "s")
    mount = WORK / "mount"
    mount.mkdir(exist_ok=True)

    def look():
        server.pfs("mount", "-d", "-r", "million@master", str(mount))
        names = os.listdir(mount / "million")
        os.stat(mount / "million" / data.deep(MILLION))
        if len(names) != data.roots(MILLION):
            sys.exit(f"error: ls shows {len(names)} entries, not {data.roots(MILLION)}")

    say("million_mount_ls_stat", timed(look), "s")
    say("million_mount_rss", server.mount_rss(mount), "MiB")
    server.pfs("umount", str(mount))
    say("million_change_umount", change(server, "million", data.change_of_million(WORK)), "s")


def start(server):
    """From the move of a head to the user's program of the first datum running."""
    server.pfs("create", "repo", "clock")
    server.pipeline("started", "clock", "/", ["/bin/sh", "-c", "date +%s.%N > /pfs/out/at"])
    latencies = []
    for round_ in range(20):
        server.pfs("put", "file", "clock@master:/tick", "-f", "-", stdin=f"{round_}\n")
        server.pfs("wait", "commit", "started@master")
        began = float(server.pfs("get", "file", "started@master:/at"))
        latencies.append(1000 * (began - server.finished("clock")))
    say("start_latency_median", statistics.median(latencies), "ms")
    say("start_latency_worst", max(latencies), "ms")


def datums(server):
    """1,000 trivial datums on two workers."""
    server.pfs("create", "repo", "thousand")
    server.put_numbered("thousand", 1000, WORK)
    server.pipeline("trivial", "thousand", "/*", ["/bin/true"], workers=2)
    took = server.job_seconds("trivial", processed=1000)
    say("datum_cost", 1000 * took / 1000, "ms")


def skip(server):
    """A job that skips many unchanged datums after one changed."""
    server.pfs("create", "repo", "many")
    server.put_numbered("many", SKIP, WORK)
    server.pipeline("skipping", "many", "/*", ["/bin/true"], workers=2)
    say("skip_first_job", server.job_seconds("skipping", processed=SKIP), "s")
    server.pfs("put", "file", "many@master:/f0000007", "-f", "-", stdin="changed\n")
    say("skip_datums", SKIP - 1, "datums")
    say("skip_job", server.job_seconds("skipping", processed=1, skipped=SKIP - 1), "s")


def requests(name, before, after):
    for what, count in after.requests.items():
        unit = "bytes" if what.startswith("bytes") else "requests"
        say(f"{name}_store_{what}", count - before.requests.get(what, 0), unit)


GROUPS = [small, big, million, start, datums, skip]


def main():
    only = os.environ.get("BENCH_ONLY", ",".join(group.__name__ for group in GROUPS)).split(",")
    shutil.rmtree(WORK / "root", ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    failed = []
    with Server(CHECKOUT, WORK) as server:
        for group in (group for group in GROUPS if group.__name__ in only):
            print(f"== {group.__name__}: {group.__doc__}", file=sys.stderr)
            try:
                group(server)
                say(f"{group.__name__}_server_rss", server.rss_peak(), "MiB")
            except Exception as error:  # one group must not hide the others' figures
                failed.append(group.__name__)
                print(f"  FAILED: {group.__name__}: {error}", file=sys.stderr)
        say("server_rss_peak", server.rss_peak(), "MiB")
        nothing = dataclasses.replace(server.store(), requests={})
        requests("all", nothing, server.store())
    if missed:
        print("missed: " + ", ".join(missed), file=sys.stderr)
    if failed:
        sys.exit("error: failed groups: " + ", ".join(failed))


if __name__ == "__main__":
    main()
