"""The mount over an S3 server on the loopback, beside rclone and s3fs."""

import contextlib
import json
import os
import pathlib
import shutil
import socket
import statistics
import subprocess
import sys
import time
import urllib.request

import data
import mounts
from figures import Beside, compiled, drop_caches, say
from perf import WANTED, profiled
from server import Server, run

HERE = pathlib.Path(__file__).resolve().parent
# So many files the peers read: their files a second do not depend on it.
PEER_FILES = int(os.environ.get("BENCH_PEER_FILES", 1000))
PEER_FILES_SLOW = 200
# What the jobs read one after the other, and how little of it is kept on disk.
REPLAY_FILES = int(os.environ.get("BENCH_REPLAY_FILES", 4000))
REPLAY_CACHE = "16MiB"
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secretsecret",
        "AWS_REGION": "us-east-1"}


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class S3:
    """An S3 server over a directory, and before it a proxy that counts."""

    def __init__(self, checkout, work):
        self.directory, self.work = work / "s3", work
        self.gateway = os.environ.get(
            "BENCH_S3", str(checkout / "target/bench-tools/versitygw"))
        self.tool = compiled(work / "s3-tool", ["go", "build"], *HERE.glob("s3/*.go"))

    def __enter__(self):
        self.directory.mkdir(parents=True, exist_ok=True)
        port = free_port()
        keys = {"ROOT_ACCESS_KEY": KEYS["AWS_ACCESS_KEY_ID"],
                "ROOT_SECRET_KEY": KEYS["AWS_SECRET_ACCESS_KEY"]}
        self.log = open(self.work / "s3.log", "w")
        # Without --keep-alive every request is a connection of its own.
        self.server = subprocess.Popen(
            [self.gateway, "--quiet", "--keep-alive", "-p", f"127.0.0.1:{port}",
             "posix", str(self.directory)],
            env=dict(os.environ, **keys), stdout=self.log, stderr=self.log)
        self.proxy = subprocess.Popen([self.tool, "proxy", f"127.0.0.1:{port}"],
                                      stdout=subprocess.PIPE, text=True)
        self.direct = f"http://127.0.0.1:{port}"
        self.counted, self.control = self.proxy.stdout.readline().split()
        for _ in range(50):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port)).close()
                return self
            time.sleep(0.1)
        raise RuntimeError(f"no S3 server; see {self.log.name}")

    def __exit__(self, *_):
        for process in (self.proxy, self.server):
            process.terminate()
            process.wait()
        self.log.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def environment(self, endpoint):
        return dict(KEYS, AWS_ENDPOINT_URL=endpoint)

    def client(self, *arguments):
        return run(str(self.tool), *arguments, env=dict(os.environ, **KEYS))

    def set(self, **faults):
        """How the proxy misbehaves from now on: delay="20ms", fail=0.1, …"""
        query = "&".join(f"{name}={value}" for name, value in faults.items())
        urllib.request.urlopen(f"{self.control}/set?{query}", data=b"").read()

    def reset(self):
        urllib.request.urlopen(f"{self.control}/reset", data=b"").read()

    def counts(self):
        counts = json.load(urllib.request.urlopen(f"{self.control}/counts"))
        return {"requests": 0, "bytes": 0} | counts


@contextlib.contextmanager
def rclone(s3, work):
    """rclone as its manual advises for S3: times of the server, not of metadata."""
    keys = ["--s3-provider", "Other", "--s3-endpoint", s3.counted, "--s3-access-key-id",
            KEYS["AWS_ACCESS_KEY_ID"], "--s3-secret-access-key", KEYS["AWS_SECRET_ACCESS_KEY"]]
    with peer(work, "rclone", "--config", "/dev/null", "mount", ":s3:plain", "{}", "--read-only",
              "--use-server-modtime", "--dir-cache-time", "24h", *keys) as at:
        yield at


@contextlib.contextmanager
def s3fs(s3, work):
    """s3fs with room for the attributes of every file."""
    with peer(work, "s3fs", "plain", "{}", "-f", "-o", f"url={s3.counted}", "-o",
              "use_path_request_style,ro,max_stat_cache_size=200000") as at:
        yield at


@contextlib.contextmanager
def peer(work, *command):
    at = work / f"mount-{command[0]}"
    at.mkdir(exist_ok=True)
    keys = dict(KEYS, AWSACCESSKEYID=KEYS["AWS_ACCESS_KEY_ID"],
                AWSSECRETACCESSKEY=KEYS["AWS_SECRET_ACCESS_KEY"])
    # What a user has for the real cloud (a CA bundle, say) is not for this one.
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with open(work / f"{command[0]}.log", "w") as log:
        process = subprocess.Popen([word.format(at) for word in command],
                                   env=dict(clean, **keys), stdout=log, stderr=log)
        try:
            for _ in range(100):
                if process.poll() is not None or (at.is_mount() and (at / "tree").exists()):
                    break
                time.sleep(0.1)
            if not at.is_mount():
                raise RuntimeError(f"{command[0]} does not mount; see {log.name}")
            yield at
        finally:
            subprocess.run(["umount", "-l", str(at)], capture_output=True, check=False)
            process.terminate()
            process.wait()


def remote(server):
    """Cold everything, from an S3 server: beside rclone, s3fs and a download."""
    work, native = server.work, mounts.native(server.work)
    with S3(HERE.parent, work) as s3:
        for bucket in ("bench", "plain"):
            s3.client("put", s3.direct, bucket)
        plain = s3.directory / "plain"
        shutil.copytree(native / mounts.TREE, plain / mounts.TREE)
        os.link(native / mounts.BIG, plain / mounts.BIG)
        with Server(HERE.parent, work, "s3://bench/pfs", s3.environment(s3.counted)) as far:
            mounts.repo(far, "reads")
            small(s3, far, "remote", PEER_FILES)
            s3.set(delay="20ms")
            small(s3, far, "remote_20ms", PEER_FILES_SLOW)
            s3.set()
            sequential(s3, far)


def small(s3, far, prefix, limit):
    program = mounts.helper(far.work)
    for threads in (1, 8):
        name = f"{prefix}_{threads}t"
        best = 0.0
        for mounted in (rclone, s3fs):
            with mounted(s3, far.work) as at:
                # Their listings are not timed: few files would pay for all.
                run("find", str(at), "-type", "f")
                drop_caches()
                s3.reset()
                speed = mounts.files(program, "read", at, threads, True, limit)
                say(f"{name}_{mounted.__name__}", speed, "files/s")
                say(f"{name}_{mounted.__name__}_store_requests_per_file",
                    s3.counts()["requests"] / limit, "requests")
                best = max(best, speed)
        took, mount_took = [], []
        for _ in range(mounts.ROUNDS):
            s3.reset()
            start = time.monotonic()
            with far.mounted(far.work / "mount", "-r", "reads") as at:
                mount_took.append(time.monotonic() - start)
                drop_caches()
                start = time.monotonic()
                mounts.files(program, "read", at / "reads", threads, True)
                took.append(time.monotonic() - start)
                counts = s3.counts()
        seconds = statistics.median(took)
        say(f"{name}_pfs", data.MANY_FILES / seconds, "files/s")
        say(f"{name}_speed", data.MANY_FILES / seconds / best, "x")
        say(name, seconds + statistics.median(mount_took), "s")
        say(f"{name}_store_requests", counts["requests"], "requests")
        say(f"{name}_store_bytes", counts["bytes"] / 2**20, "MiB")
        print(f"  {counts}", file=sys.stderr)
        if name in WANTED:
            with far.mounted(far.work / "mount", "-r", "reads") as at:
                drop_caches()
                with profiled(name):
                    mounts.files(program, "read", at / "reads", threads, True)


def replay(server):
    """A second job in the shuffled order of the first, 20 ms away, little kept."""
    work = server.work
    program = mounts.helper(work)
    with S3(HERE.parent, work) as s3:
        s3.client("put", s3.direct, "bench")
        with Server(HERE.parent, work, "s3://bench/pfs", s3.environment(s3.counted)) as far:
            mounts.repo(far, "reads")
            s3.set(delay="20ms")
            for memory in ("64MiB", "1GiB"):
                for threads in (1, 8):
                    rounds = [jobs(s3, far, program, memory, threads)
                              for _ in range(mounts.ROUNDS)]
                    replayed(f"replay_{memory.lower()}_{threads}t", rounds)
            s3.set()


def jobs(s3, far, program, memory, threads):
    """Seconds, requests and MiB of two jobs of one order, each on a mount of its own."""
    cache = far.work / "cache-replay"
    shutil.rmtree(cache, ignore_errors=True)
    took = []
    for _ in range(2):
        with far.mounted(far.work / "mount", "-r", "reads", "--memory", memory, "--cache",
                         str(cache), "--cache-size", REPLAY_CACHE) as at:
            drop_caches()
            s3.reset()
            start = time.monotonic()
            mounts.files(program, "read", at / "reads", threads, True, REPLAY_FILES)
            seconds, counts = time.monotonic() - start, s3.counts()
            print(f"  {far.pfs('stats', str(at), '-o', 'json')}", file=sys.stderr)
            took.append((seconds, counts["requests"], counts["bytes"] / 2**20))
    shutil.rmtree(cache)
    return took


def replayed(name, rounds):
    for number, job in enumerate(("first", "second")):
        for at, (what, unit) in enumerate((("", "s"), ("_requests", "requests"),
                                           ("_bytes", "MiB"))):
            median = statistics.median(jobs[number][at] for jobs in rounds)
            say(f"{name}_{job}{what}", median, unit)
    say(f"{name}_ratio", statistics.median(a[0] / b[0] for a, b in rounds), "x")


def sequential(s3, far):
    """A large file, beside a download of the same bytes in parallel ranges."""
    def download():
        drop_caches()
        return mounts.BIG_MIB / float(s3.client("get", s3.direct, f"plain/{mounts.BIG}"))

    def ours(*options):
        with far.mounted(far.work / "mount", "-r", "reads", *options,
                         environment=s3.environment(s3.direct)) as at:
            drop_caches()
            start = time.monotonic()
            run("dd", f"if={at / 'reads' / mounts.BIG}", "of=/dev/null", "bs=1M")
            return mounts.BIG_MIB / (time.monotonic() - start)

    def profile(name, measure):
        if name in WANTED:
            with profiled(name):
                measure()

    def cached():
        cache = far.work / "cache-remote"
        try:
            return ours("--cache", str(cache))
        finally:
            shutil.rmtree(cache)

    beside = Beside("remote", mounts.ROUNDS)
    for _ in range(mounts.ROUNDS):
        beside.take("seq", "MiB/s", download, ours)
        beside.take("seq_cached", "MiB/s", download, cached)
    beside.say("download")
    profile("remote_download", download)
    profile("remote_seq", ours)
    profile("remote_seq_cached", cached)
