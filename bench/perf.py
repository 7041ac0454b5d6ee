"""Where the time of the whole machine goes while something is measured."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time

# Names of figures, as in BENCH_PROFILE=cold_find,warm_seq_1j.
WANTED = frozenset(filter(None, os.environ.get("BENCH_PROFILE", "").split(",")))
LINES = 25


@contextlib.contextmanager
def profiled(name):
    """Prints what perf sees of all programs, by program and by function."""
    with tempfile.TemporaryDirectory() as scratch:
        data = pathlib.Path(scratch) / "data"
        perf = subprocess.Popen(["perf", "record", "-q", "-a", "-g", "-F", "2999", "-o", str(data)])
        while perf.poll() is None and not (data.exists() and data.stat().st_size):
            time.sleep(0.05)
        try:
            yield
        finally:
            perf.terminate()
            perf.wait()
        for keys in ("comm", "comm,sym"):
            report(name, data, keys)


def report(name, data, keys):
    """The share of each of `keys`, idle processors included."""
    told = subprocess.run(["perf", "report", "-i", str(data), "--no-children", "--call-graph",
                           "none", "--sort", keys], capture_output=True, text=True).stdout
    lines = [line for line in told.splitlines() if line.strip() and not line.startswith("#")]
    print(f"  profile of {name} by {keys}:", file=sys.stderr)
    for line in lines[:LINES]:
        print(f"    {line.strip()}", file=sys.stderr)
