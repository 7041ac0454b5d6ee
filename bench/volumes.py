"""Volumes of a node: what a driver does with an agent and a keeper, without Kubernetes."""

import concurrent.futures
import ctypes
import json
import os
import pathlib
import socket
import statistics
import subprocess
import time

from figures import say, timed

COUNT = int(os.environ.get("BENCH_VOLUMES", 250))
FILES = 200

LIBC = ctypes.CDLL(None, use_errno=True)
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOATIME, MNT_DETACH = 1, 2, 4, 1024, 2


class Refused(Exception):
    pass


class Node:
    """A keeper and an agent."""

    def __init__(self, server, work):
        self.run = work / "run"
        self.run.mkdir(parents=True, exist_ok=True)
        self.server = server
        self.keeper = self.spawn("keeper", "--socket", self.run / "keeper.sock")
        self.start()

    def spawn(self, *arguments):
        log = open(self.run / f"{arguments[0]}.log", "a")
        return subprocess.Popen([self.server.binary, *map(str, arguments)], env=self.server.env,
                                stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def start(self):
        self.agent = self.spawn("agent", "--socket", self.run / "agent.sock", "--keeper",
                                self.run / "keeper.sock", "--staging", self.run / "staging",
                                "--cache", self.run / "cache", "--memory", "256MiB")
        while True:
            try:
                if self.ask("ready")["ready"]:
                    return
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.01)

    def ask(self, request, fds=()):
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as agent:
            agent.connect(str(self.run / "agent.sock"))
            text = json.dumps({"version": 1, "request": request}).encode()
            socket.send_fds(agent, [text], list(fds))
            answer = json.loads(agent.recv(1 << 17))
        if "refused" in answer:
            raise Refused(answer["refused"]["message"])
        return answer

    def memory(self):
        """MiB of the agent: all, and what is in no file."""
        lines = pathlib.Path(f"/proc/{self.agent.pid}/status").read_text().splitlines()
        sizes = {name: int(rest.split()[0]) for name, _, rest in
                 (line.partition(":") for line in lines) if rest.strip().endswith("kB")}
        return sizes["VmRSS"] / 1024, (sizes["RssAnon"] + sizes["RssShmem"]) / 1024

    def end(self):
        for process in (self.agent, self.keeper):
            process.terminate()
            process.wait()


def checked(result):
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def key(target):
    return {"volume": f"bench-{target.name}", "target": str(target)}


def publish(node, target, attributes):
    """Mounts a volume as the driver does; answers how long that took."""
    target.mkdir(parents=True, exist_ok=True)
    begin = time.monotonic()
    pod = {"namespace": "bench", "name": target.name, "uid": target.name}
    asked = {**key(target), "attributes": attributes, "pod": pod, "read_only": False,
             "ephemeral": True, "fs_group": None, "access": "", "fingerprint": ""}
    mounting = node.ask({"prepare": asked})["prepared"]
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    flags = MS_NOSUID | MS_NODEV | MS_NOATIME | (MS_RDONLY if mounting["read_only"] else 0)
    data = (f"fd={device},rootmode=40000,user_id=0,group_id=0,default_permissions,"
            "allow_other").encode()
    checked(LIBC.mount(b"bench", str(target).encode(), b"fuse.pfs", flags, data))
    node.ask({"attach": {"key": key(target), "connection": 1}}, [device])
    os.close(device)
    return time.monotonic() - begin


def unpublish(node, target):
    begin = time.monotonic()
    checked(LIBC.umount2(str(target).encode(), MNT_DETACH))
    target.rmdir()
    node.ask({"unpublish": key(target)})
    return time.monotonic() - begin


def told(what, times):
    times.sort()
    say(f"volumes_{what}_p50", statistics.median(times), "s")
    say(f"volumes_{what}_p99", times[(len(times) - 1) * 99 // 100], "s")


def volumes(server):
    """Many volumes of a node, a fifth of them written, published by eight at a time."""
    work = pathlib.Path(server.work) / "volumes"
    source = work / "source"
    source.mkdir(parents=True, exist_ok=True)
    for number in range(FILES):
        (source / f"f{number}").write_bytes(os.urandom(8192))
    server.pfs("create", "repo", "volumes-in")
    server.pfs("create", "repo", "volumes-out")
    server.pfs("put", "file", "-r", "volumes-in@master:/", "-f", str(source))
    node = Node(server, work)
    say("volumes_idle_rss", node.memory()[0], "MiB")
    targets = [work / "pods" / str(number) for number in range(COUNT)]
    written = targets[::5]

    def attributes(target):
        if target in written:
            return {"repo": "volumes-out", "mode": "rw", "commit": "onUnmount"}
        return {"repo": "volumes-in", "follow": "true"}

    def use(target):
        if target in written:
            (target / f"own-{target.name}").write_bytes(b"x" * 65536)
        else:
            for number in range(FILES):
                (target / f"f{number}").read_bytes()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        told("publish", list(pool.map(lambda t: publish(node, t, attributes(t)), targets)))
        list(pool.map(use, targets))
        used, touched = node.memory()
        say("volumes_used_rss", used, "MiB")
        say("volumes_used_rss_without_files", touched, "MiB")
        node.agent.kill()
        node.agent.wait()
        say("volumes_taken_over", timed(node.start), "s")
        list(pool.map(use, [target for target in targets if target not in written]))
        say("volumes_taken_over_rss", node.memory()[0], "MiB")
        told("unpublish", list(pool.map(lambda t: unpublish(node, t), targets)))
    node.end()
