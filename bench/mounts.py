"""The mount beside ext4: the same bytes, the same programs, in turn."""

import functools
import json
import os
import pathlib
import shutil
import sys
import threading
import time

import data
from figures import Beside, compiled, drop_caches, say
from kernel import Requests
from perf import WANTED, profiled
from server import run

HERE = pathlib.Path(__file__).resolve().parent
ROUNDS = int(os.environ.get("BENCH_ROUNDS", 3))
TEN_GIB = int(os.environ.get("BENCH_TEN_GIB", 10))
BIG_MIB = int(os.environ.get("BENCH_BIG_MIB", 1024))
MILLION = int(os.environ.get("BENCH_MILLION", 1_000_000))
CREATED = 10_000
BIG, TREE = "big.bin", "tree"


def helper(work):
    return compiled(work / "files", ["cc", "-O2", "-pthread"], HERE / "files.c")


def fio(what, directory, *options, kind="read", block="1m"):
    """What fio reads of the big file: MiB or requests a second."""
    command = ["fio", "--output-format=json", "--group_reporting", "--ioengine=psync",
               "--invalidate=0", "--fadvise_hint=0", "--allow_file_create=0", "--name=read",
               f"--filename={directory / BIG}", f"--rw={kind}", f"--bs={block}", *options]
    read = json.loads(run(*command))["jobs"][0]["read"]
    return read["bw_bytes"] / 2**20 if what == "MiB/s" else read["iops"]


def files(program, operation, directory, threads, shuffled, limit=data.MANY_FILES):
    """Files a second of the tree of small files."""
    return float(run(str(program), operation, str(directory / TREE), str(data.MANY_FILES),
                     str(data.SMALL_SIZE), str(threads), str(int(shuffled)), str(limit)))


def find(directory):
    start = time.monotonic()
    found = run("find", str(directory / TREE), "-type", "f").count("\n")
    if found != data.MANY_FILES:
        raise RuntimeError(f"find shows {found} files, not {data.MANY_FILES}")
    return found / (time.monotonic() - start)


def readings(program):
    """name: (unit, speed of a directory)."""
    whole, quarter = f"--size={BIG_MIB}m", BIG_MIB // 4
    four = [f"--size={quarter}m", "--numjobs=4", f"--offset_increment={quarter}m"]
    random = [whole, "--norandommap", "--time_based", "--runtime=3"]
    small = {f"{order}_{threads}t": ("files/s", functools.partial(
                 files_at, program, "read", threads, order == "shuffled"))
             for order in ("shuffled", "ordered") for threads in (1, 8)}
    stat = {f"stat_{order}": ("files/s", functools.partial(
                files_at, program, "stat", 1, order == "shuffled"))
            for order in ("ordered", "shuffled")}
    return {
        "seq_1j": ("MiB/s", lambda at: fio("MiB/s", at, whole)),
        "seq_4j": ("MiB/s", lambda at: fio("MiB/s", at, *four)),
        "rand4k": ("IOPS", lambda at: fio("IOPS", at, *random, kind="randread", block="4k")),
        "rand128k": ("MiB/s",
                     lambda at: fio("MiB/s", at, *random, kind="randread", block="128k")),
        **small,
        "find": ("files/s", find),
        **stat,
    }


def files_at(program, operation, threads, shuffled, directory):
    return files(program, operation, directory, threads, shuffled)


def profiling(name, measure):
    def action(directory):
        with profiled(name):
            return measure(directory)

    return action


def profiles(group, measures, there, here):
    """Those of a group that are wanted, beside ext4."""
    for name, (_, measure) in measures.items():
        if f"{group}_{name}" in WANTED:
            profiling(f"ext4 {group}_{name}", measure)(there)
            profiling(f"{group}_{name}", measure)(here)


def native(work):
    """The big file and the small ones on ext4."""
    at = work / "data/native"
    data.many(at)
    if not (at / BIG).exists():
        os.link(data.big(work / "data/big", BIG_MIB)[0], at / BIG)
    return at


def repo(server, name):
    """The same in a repo; made once."""
    if name not in [found["repo"]["name"] for found in server.raw("list", "repo")]:
        at = native(server.work)
        server.pfs("create", "repo", name)
        server.pfs("put", "file", "-r", f"{name}@master:/{TREE}", "-f", str(at / TREE))
        server.pfs("put", "file", f"{name}@master:/{BIG}", "-f", str(at / BIG))
    return name


def filled(server, name):
    """A directory for the mount's cache, with everything in it."""
    cache = server.work / "cache"
    with server.mounted(server.work / "mount", "-r", name, "--cache", str(cache)) as mount:
        run("cp", "-r", f"{mount / name}/.", str(server.work / "copy"))
    run("diff", "-r", str(native(server.work) / TREE), str(server.work / "copy" / TREE))
    run("rm", "-rf", str(server.work / "copy"))
    return ["-r", name, "--cache", str(cache)]


def warm(server):
    """Everything in the page cache: reads beside ext4, and the requests left."""
    program, there = helper(server.work), native(server.work)
    options = filled(server, repo(server, "reads"))
    beside = Beside("warm", ROUNDS)
    with server.mounted(server.work / "mount", *options) as mount:
        here = mount / "reads"
        for _, measure in readings(program).values():
            measure(there), measure(here)
        for _ in range(ROUNDS):
            for name, (unit, measure) in readings(program).items():
                # The better of two, and the file read before it is read at random:
                # whoever else drops caches here must not show.
                if name.startswith("rand"):
                    for at in (there, here):
                        run("dd", f"if={at / BIG}", "of=/dev/null", "bs=1M")
                beside.take(name, unit, lambda: max(measure(there), measure(there)),
                            lambda: max(measure(here), measure(here)))
        beside.say("ext4")
        profiles("warm", readings(program), there, here)
        epochs = [epoch(program, mount, here) for _ in range(4)]
        requests = min(epochs, key=lambda requests: requests.total)
        say("warm_second_epoch_requests", requests.total, "requests")
        print(f"  {dict(requests.by_name)}", file=sys.stderr)


def passthrough(server):
    """The big file in the page cache of ext4, which a mount lets the kernel read itself."""
    program, there = helper(server.work), native(server.work)
    options = filled(server, repo(server, "reads"))
    wanted = ("seq_1j", "seq_4j", "rand4k", "rand128k")
    measures = {name: readings(program)[name] for name in wanted}
    beside = Beside("warm_passthrough", ROUNDS)
    with server.mounted(server.work / "mount", *options, "--passthrough") as mount:
        here = mount / "reads"
        start = time.monotonic()
        until_passed(mount, here / BIG)
        say("warm_passthrough_ready", time.monotonic() - start, "s")
        before = counted(mount)["bytes_read"]
        for _ in range(ROUNDS):
            for name, (unit, measure) in measures.items():
                for at in (there, here):
                    run("dd", f"if={at / BIG}", "of=/dev/null", "bs=1M")
                beside.take(name, unit, lambda: max(measure(there), measure(there)),
                            lambda: max(measure(here), measure(here)))
        beside.say("ext4")
        profiles("warm_passthrough", measures, there, here)
        say("warm_passthrough_read", counted(mount)["bytes_read"] - before, "bytes")


def until_passed(mount, file):
    """Opens a file until the kernel reads it itself."""
    deadline = time.monotonic() + 300
    while not counted(mount)["passthrough_opens"]:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{file} is not read by the kernel itself")
        os.close(os.open(file, os.O_RDONLY))
        time.sleep(0.05)


def counted(mount):
    """What a mount says of itself."""
    return json.loads(os.getxattr(mount, "user.pfs.stats"))


def epoch(program, mount, here):
    with Requests(mount) as requests:
        files(program, "read", here, 1, True)
        files(program, "read", here, 8, True)
    return requests


def cold(server):
    """The page cache empty, the packs in the local cache; a fresh mount each time."""
    program, there = helper(server.work), native(server.work)
    options = filled(server, repo(server, "reads"))
    at = server.work / "mount"

    def theirs(measure):
        drop_caches()
        return measure(there)

    def ours(measure):
        with server.mounted(at, *options) as mount:
            drop_caches()
            return measure(mount / "reads")

    beside = Beside("cold", ROUNDS)
    for _ in range(ROUNDS):
        for name, (unit, measure) in readings(program).items():
            beside.take(name, unit, lambda: theirs(measure), lambda: ours(measure))
    beside.say("ext4")
    for name, (_, measure) in readings(program).items():
        if f"cold_{name}" in WANTED:
            theirs(profiling(f"ext4 cold_{name}", measure))
            ours(profiling(f"cold_{name}", measure))
    for name, (_, measure) in readings(program).items():
        if not name.startswith(("shuffled", "ordered", "stat", "find")):
            continue
        with server.mounted(at, *options) as mount:
            drop_caches()
            with Requests(mount) as requests:
                measure(mount / "reads")
        say(f"cold_{name}_requests_per_file", requests.total / data.MANY_FILES, "requests")
        print(f"  {dict(requests.by_name)}", file=sys.stderr)


def writes(server):
    """What is written through a mount, beside ext4."""
    program, source = helper(server.work), data.big(server.work / "data/big", BIG_MIB)[0]
    there = server.work / "written"

    def sequential(directory):
        run("dd", f"if={source}", "of=/dev/null", "bs=1M")
        start = time.monotonic()
        run("dd", f"if={source}", f"of={directory / 'seq'}", "bs=1M", "conv=fsync")
        took = time.monotonic() - start
        (directory / "seq").unlink()
        return BIG_MIB / took

    def create(directory):
        (directory / TREE).mkdir()
        speed = float(run(str(program), "create", str(directory / TREE), str(CREATED), "4096",
                          "1", "0"))
        run("rm", "-rf", str(directory / TREE))
        return speed

    there.mkdir(exist_ok=True)
    server.pfs("create", "repo", "written")
    beside = Beside("write", ROUNDS)
    with server.mounted(server.work / "mount", "-r", "written@master+w") as mount:
        here = mount / "written"
        for _ in range(ROUNDS):
            beside.take("seq", "MiB/s", lambda: sequential(there), lambda: sequential(here))
            beside.take("create", "files/s", lambda: create(there), lambda: create(here))
            os.sync()
    beside.say("ext4")
    run("rm", "-rf", str(there))


def ten(server):
    """A repo with one file of 10 GiB; made once."""
    if "ten" not in [found["repo"]["name"] for found in server.raw("list", "repo")]:
        # In the store, in a cache or a staging directory, and in the store again.
        free, wanted = shutil.disk_usage(server.work).free >> 30, 3 * TEN_GIB + 5
        if free < wanted:
            raise RuntimeError(f"{wanted} GiB of disk are wanted and {free} free; "
                               "see BENCH_TEN_GIB")
        server.pfs("create", "repo", "ten")
        data.stream(TEN_GIB, server.open("put", "file", f"ten@master:/{BIG}", "-f", "-"))
    return "ten"


def reflink(server):
    """A file of 10 GiB from an input to an output: no bytes move."""
    name = ten(server)
    server.pfs("create", "repo", "linked")
    before = server.store()
    mount = server.work / "mount"
    with server.mounted(mount, "-r", name, "-r", "linked@master+w"):
        process = server.mount_process(mount)
        moved = io_of(process)
        start = time.monotonic()
        run("cp", "--reflink=auto", str(mount / name / BIG), str(mount / "linked" / BIG))
        say("reflink_10gib", time.monotonic() - start, "s")
        say("reflink_moved", (io_of(process) - moved) / 2**20, "MiB")
    after = server.store()
    say("reflink_stored", (after.bytes - before.bytes) / 2**20, "MiB")
    hashes = [server.raw("inspect", "file", f"{of}@master:/{BIG}")[0]["hash"]
              for of in (name, "linked")]
    if hashes[0] != hashes[1]:
        raise RuntimeError("the copy is not what was copied")


def io_of(process):
    """Bytes a process read and wrote, files and sockets."""
    words = pathlib.Path(f"/proc/{process}/io").read_text().split()
    counts = dict(zip(words[::2], map(int, words[1::2])))
    return counts["rchar:"] + counts["wchar:"]


def memory(server):
    """10 GiB read through a mount that may use 256 MiB."""
    name, mount = ten(server), server.work / "mount"
    with server.mounted(mount, "-r", name, "--memory", "256MiB", "--cache",
                        str(server.work / "cache-ten")):
        drop_caches()
        start = time.monotonic()
        run("dd", f"if={mount / name / BIG}", "of=/dev/null", "bs=1M")
        took = time.monotonic() - start
        say("memory_read", TEN_GIB * 1024 / took, "MiB/s")
        say("memory_rss_peak", server.mount_rss(mount), "MiB")
        jobs = ["--numjobs=8", f"--size={TEN_GIB * 128}m",
                f"--offset_increment={TEN_GIB * 128}m", "--time_based", "--runtime=20"]
        drop_caches()
        fio("MiB/s", mount / name, *jobs)
        drop_caches()
        fio("IOPS", mount / name, *jobs, kind="randread", block="4k")
        say("memory_rss_peak_8_jobs", server.mount_rss(mount), "MiB")
    run("rm", "-rf", str(server.work / "cache-ten"))


def million(server):
    """A commit of a million files: put, mount, look, find, change, follow."""
    server.pfs("create", "repo", "million")
    start = time.monotonic()
    data.pipe_million(MILLION, server.open("put", "file", "million@master:/", "-f", "-", "--untar"))
    say("million_files", MILLION, "files")
    say("million_put", time.monotonic() - start, "s")
    mount = server.work / "mount"
    mount.mkdir(exist_ok=True)
    start = time.monotonic()
    with server.mounted(mount, "-r", "million"):
        names = os.listdir(mount / "million")
        os.stat(mount / "million" / data.deep(MILLION))
        say("million_mount_ls_stat", time.monotonic() - start, "s")
        if len(names) != data.roots(MILLION):
            raise RuntimeError(f"ls shows {len(names)} entries, not {data.roots(MILLION)}")
        say("million_mount_rss", server.mount_rss(mount), "MiB")
    with server.mounted(mount, "-r", "million"):
        drop_caches()
        start = time.monotonic()
        found = run("find", str(mount / "million"), "-type", "f").count("\n")
        say("million_find", time.monotonic() - start, "s")
        say("million_find_rss", server.mount_rss(mount), "MiB")
        if found != MILLION:
            raise RuntimeError(f"find shows {found} files, not {MILLION}")
        follow(server, mount)
        say("million_follow_rss", server.mount_rss(mount), "MiB")


    say("million_change_umount", server.change("million", data.change_of_million(server.work)), "s")


def follow(server, mount):
    """A head moves under a reader who has read some of a million files."""
    # Ten directories whole, so that some siblings of what changes are warm.
    read = [data.name_of(n) for first in range(0, MILLION, MILLION // 10)
            for n in range(first, first + 100)]
    changed = read[50::100]

    def epoch():
        for name in read:
            content(mount / "million" / name)

    latencies = []
    for round_ in range(5):
        epoch()
        new = b"round %d\n" % round_
        seen = {}
        watchers = [threading.Thread(target=watch, args=(mount / "million" / name, new, seen))
                    for name in changed]
        tree = server.work / "changed"
        for name in changed:
            data.write(tree / name, new)
        for watcher in watchers:
            watcher.start()
        server.pfs("put", "file", "-r", "million@master:/", "-f", str(tree))
        for watcher in watchers:
            watcher.join()
        latencies.append(1000 * (max(seen.values()) - server.finished("million")))
        with Requests(mount) as requests:
            epoch()
        say(f"follow_requests_after_{round_}", requests.total, "requests")
        print(f"  {dict(requests.by_name)}", file=sys.stderr)
    latencies.sort()
    say("follow_latency", latencies[len(latencies) // 2], "ms")
    say("follow_latency_worst", latencies[-1], "ms")
    say("follow_requests_after", requests.total, "requests")


def content(path):
    """Of a small file, by system calls alone: before 3.13 Python's own open()
    asks every file whether it is a terminal, which is a request of its own."""
    file = os.open(path, os.O_RDONLY)
    try:
        return os.read(file, 1 << 16)
    finally:
        os.close(file)


def watch(path, new, seen):
    """Notes when a file has that content; looks again and again."""
    deadline = time.time() + 30
    while content(path) != new:
        if time.time() > deadline:
            raise RuntimeError(f"{path} stays as it was")
        time.sleep(0.002)
    seen[path] = time.time()
