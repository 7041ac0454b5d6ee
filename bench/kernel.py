"""What the kernel says of FUSE: the requests a file system was sent."""

import collections
import json
import os
import pathlib
import re
import subprocess

TRACING = pathlib.Path("/sys/kernel/tracing")


def connection(mount):
    """The number of the FUSE connection behind a mount."""
    for line in pathlib.Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        if words[4] == str(mount):
            return int(words[2].split(":")[1])
    raise RuntimeError(f"{mount} is not mounted")


class Requests:
    """Counts the requests sent to a mount within a `with` block.

    The kernel's own count where it has tracepoints for it (Linux 6.11, root);
    else what the mount says of itself. Forgets are not counted: nobody waits
    for them.
    """

    def __init__(self, mount):
        self.mount = str(mount)
        self.by_name = collections.Counter()

    @property
    def total(self):
        return sum(self.by_name.values())

    def __enter__(self):
        self.instance = instance()
        if self.instance:
            event = self.instance / "events/fuse/fuse_request_send"
            (self.instance / "buffer_size_kb").write_text("32768")
            (event / "filter").write_text(f"connection=={connection(self.mount)}")
            (event / "enable").write_text("1")
        else:
            self.before = own_count(self.mount)
        return self

    def __exit__(self, *_):
        if not self.instance:
            self.by_name = own_count(self.mount) - self.before
            return
        (self.instance / "events/fuse/fuse_request_send/enable").write_text("0")
        with open(self.instance / "trace") as lines:
            for line in lines:
                if found := re.search(r"\(FUSE_(\w+)\)", line):
                    self.by_name[found[1]] += 1
        lost = 0
        for stats in self.instance.glob("per_cpu/cpu*/stats"):
            lost += int(re.search(r"overrun: (\d+)", stats.read_text())[1])
        self.by_name["LOST"] += lost
        self.instance.rmdir()


def instance():
    """A trace buffer of our own, or nothing where the kernel gives none."""
    if not TRACING.joinpath("events").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", str(TRACING)], capture_output=True)
    if not TRACING.joinpath("events/fuse/fuse_request_send").exists():
        return None
    try:
        own = TRACING / f"instances/pfs-bench-{os.getpid()}"
        own.mkdir()
        return own
    except OSError:
        return None


def own_count(mount):
    """What a pfs mount counted itself, by operation."""
    try:
        stats = json.loads(os.getxattr(mount, "user.pfs.stats"))
    except OSError as error:
        raise RuntimeError(f"nobody counts the requests of {mount}: {error}") from error
    return collections.Counter({k: v["count"] for k, v in stats["operations"].items()})
