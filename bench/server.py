"""A pfs server for the benchmarks, and the commands they give it."""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time

import data


def run(*command, stdin=None, env=None):
    """Runs a command, returns what it prints; raises with its errors on failure."""
    done = subprocess.run(command, input=stdin, env=env, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def resident_peak(pid):
    """The most memory a process ever held, in MiB."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


@dataclasses.dataclass
class Store:
    """What the object store holds, and the server's count of its requests."""

    objects: int
    bytes: int
    requests: dict


class Server:
    """A server on a state directory of its own; its store is there too, unless
    another is named, with what is needed to reach it."""

    def __init__(self, checkout, work, store=None, environment=None):
        self.binary = os.environ.get("PFS_BINARY", str(checkout / "target/release/pfs"))
        self.work, self.root = work, work / ("root" if store is None else "root-remote")
        self.store_options = [] if store is None else ["--store", store]
        self.environment = environment or {}

    def __enter__(self):
        socket = tempfile.mkdtemp(prefix="pfs-bench.")
        address = f"unix://{socket}/api.sock"
        self.socket = socket
        self.env = dict(os.environ, PFS_ROOT=str(self.root), PFS_ADDRESS=address)
        self.env.update(self.environment)
        self.log = open(self.work / f"{self.root.name}.log", "w")
        command = [self.binary, "serve", "--address", address, *self.store_options]
        self.process = subprocess.Popen(command, env=self.env, stdout=self.log, stderr=self.log)
        for _ in range(100):
            if self.process.poll() is not None:
                break
            try:
                self.pfs("version")
                return self
            except RuntimeError:
                time.sleep(0.1)
        raise RuntimeError(f"the server did not start; see {self.log.name}")

    def __exit__(self, *_):
        for line in open("/proc/self/mountinfo").read().splitlines():
            mount = line.split()[4]
            if mount.startswith(f"{self.work}/"):
                subprocess.run(["umount", "-l", mount])
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        for directory in (self.root, self.work / "cache"):
            shutil.rmtree(directory, ignore_errors=True)
        shutil.rmtree(self.socket, ignore_errors=True)

    def pfs(self, *arguments, stdin=None):
        return run(self.binary, *arguments, stdin=stdin, env=self.env)

    def open(self, *arguments):
        command = [self.binary, *arguments]
        return subprocess.Popen(command, env=self.env, stdin=subprocess.PIPE, bufsize=0)

    def raw(self, *arguments):
        """The entities a command prints with --raw."""
        decoder, text, found = json.JSONDecoder(), self.pfs(*arguments, "--raw").strip(), []
        while text:
            entity, end = decoder.raw_decode(text)
            found.append(entity)
            text = text[end:].lstrip()
        return found

    def head(self, repo):
        return self.raw("inspect", "commit", f"{repo}@master")[0]["commit"]["id"]

    def finished(self, repo):
        return seconds(self.raw("inspect", "commit", f"{repo}@master")[0]["finished"])

    def store(self):
        files = [path for path in (self.root / "objects").rglob("*") if path.is_file()]
        try:
            requests = self.raw("stats")[0]
        except RuntimeError:
            requests = {}
        total = sum(path.stat().st_size for path in files)
        counts = {k.removeprefix("store_"): int(v) for k, v in requests.items() if "store_" in k}
        return Store(len(files), total, counts)

    def rss_peak(self):
        return resident_peak(self.process.pid)

    @contextlib.contextmanager
    def mounted(self, mount, *options, environment=None):
        """Some repos at a directory, within a `with` block."""
        mount.mkdir(exist_ok=True)
        command = [self.binary, "mount", "-d", *options, str(mount)]
        run(*command, env=dict(self.env, **(environment or {})))
        try:
            yield mount
        finally:
            self.pfs("umount", str(mount))

    def change(self, repo, changed):
        """Seconds from umount to commit of the changed files, written through a mount."""
        mount = self.work / "mount"
        mount.mkdir(exist_ok=True)
        head = self.head(repo)
        self.pfs("mount", "-d", "-r", f"{repo}@master+w", str(mount))
        run("cp", "-r", f"{changed}/.", str(mount / repo))
        os.sync()
        start = time.monotonic()
        self.pfs("umount", str(mount))
        took = time.monotonic() - start
        if self.head(repo) == head:
            raise RuntimeError(f"unmounting {repo} made no commit")
        return took

    def mount_rss(self, mount):
        """The peak of the process that serves a mount."""
        return resident_peak(self.mount_process(mount))

    @staticmethod
    def mount_process(mount):
        # Behind a daemon's mount there is a holder as well, of about one MiB.
        return int(os.getxattr(mount, "user.pfs.process"))

    def pipeline(self, name, repo, glob, command, workers=1):
        spec = {
            "pipeline": {"name": name},
            "transform": {"cmd": command},
            "parallelism_spec": {"constant": workers},
            "input": {"pfs": {"repo": repo, "glob": glob}},
        }
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(spec, file)
            file.flush()
            self.pfs("create", "pipeline", "-f", file.name)

    def put_numbered(self, repo, count, work):
        tree = data.numbered(work / "data" / f"numbered{count}", count)
        self.pfs("put", "file", "-r", f"{repo}@master:/", "-f", str(tree))
        shutil.rmtree(tree)

    def job_seconds(self, pipeline, processed, skipped=0):
        """Seconds the newest job took; raises unless it went as it should."""
        self.pfs("wait", "commit", f"{pipeline}@master")
        job = self.raw("list", "job", "--pipeline", pipeline)[0]
        did = int(job.get("data_processed", 0)), int(job.get("data_skipped", 0))
        if did != (processed, skipped) or "SUCCESS" not in job["state"].upper():
            raise RuntimeError(f"job of {pipeline}: {job['state']}, {did} processed, skipped")
        return seconds(job["finished"]) - seconds(job["created"])


def seconds(timestamp):
    """Seconds since the epoch of an RFC 3339 time with nanoseconds."""
    text, fraction = timestamp.rstrip("Z"), "0"
    if "." in text:
        text, fraction = text.split(".")
    whole = datetime.datetime.fromisoformat(text).replace(tzinfo=datetime.timezone.utc)
    return whole.timestamp() + float("0." + fraction)
