#!/usr/bin/env python3
"""Measures the release binary as a user would drive it.

usage: bench/run.py            (or make bench)

Prints `name value unit` lines on stdout, and on stderr what each target is and
whether it was reached. Beside every figure that has one stands that of `cp` in
the same run on the same file system.

BENCH_ONLY=GROUP,…   the groups to run, of small big start datums skip (puts and
                     pipelines), warm passthrough cold writes reflink memory million (the
                     mount beside ext4), volumes (of a node, BENCH_VOLUMES=250 of
                     them), remote (beside rclone and s3fs), replay (a second job
                     in the order of the first)
BENCH_DIR=DIR        where to work (default target/bench)
BENCH_ROUNDS=3       how often the mount and ext4 take turns
BENCH_MILLION=1000000  BENCH_SKIP=100000  BENCH_BIG_MIB=1024  BENCH_TEN_GIB=10
BENCH_PROFILE=NAME,… figures of warm, passthrough, cold and remote to show by perf where
                     the time goes, as in cold_find,warm_seq_1j,remote_8t
BENCH_S3=PROGRAM     a versitygw other than that of scripts/setup.sh
"""

import dataclasses
import os
import pathlib
import shutil
import statistics
import sys
import time

import data
import mounts
import remote
import volumes
from figures import missed, say, timed
from server import Server, run

CHECKOUT = pathlib.Path(__file__).resolve().parent.parent
WORK = pathlib.Path(os.environ.get("BENCH_DIR", CHECKOUT / "target/bench"))
SKIP = int(os.environ.get("BENCH_SKIP", 100_000))
BIG_MIB = int(os.environ.get("BENCH_BIG_MIB", 1024))


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
    say("small_change_umount", server.change("small", changed), "s")


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


GROUPS = [small, big, start, datums, skip, mounts.warm, mounts.passthrough, mounts.cold,
          mounts.writes, mounts.reflink, mounts.memory, mounts.million, volumes.volumes,
          remote.remote, remote.replay]


def main():
    only = os.environ.get("BENCH_ONLY", ",".join(group.__name__ for group in GROUPS)).split(",")
    for left in ("root", "root-remote", "cache", "cache-ten", "s3"):
        shutil.rmtree(WORK / left, ignore_errors=True)
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
