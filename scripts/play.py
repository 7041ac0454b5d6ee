#!/usr/bin/env python3
"""Plays the console blocks of a document and compares what they print.

usage: play.py DOCUMENT.md

A line `$ command` is run, all of them in one shell; it must exit 0. Lines
below it are its standard output: runs of blanks count as one, `…` stands for
any text, a line of `…` alone for any lines. Without such lines the output is
not compared. What the commands left running in the background is ended.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time


def commands(text):
    """The commands of a document, each with the lines it should print."""
    found = []
    for block in re.findall(r"^```console\n(.*?)^```", text, re.M | re.S):
        for line in block.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def pattern(lines):
    parts = []
    for line in lines:
        if line.strip() == "…":
            parts.append(r"(?:.*\n)*?")
            continue
        words = " ".join(line.split())
        parts.append(re.escape(words).replace("…", ".*") + r"\n")
    return "".join(parts)


def squeeze(output):
    return "".join(" ".join(line.split()) + "\n" for line in output.splitlines())


def play(found, out):
    """One shell runs all; the output of command n goes to the file n."""
    script = []
    for at, (command, _) in enumerate(found):
        script.append(f"printf '$ %s\\n' {quoted(command)}")
        script.append(f"{{ {command}\n}} > {out}/{at}")
        script.append(f"status=$?; cat {out}/{at}")
        script.append(f"[ $status = 0 ] || {{ echo {at} > {out}/failed; exit 1; }}")
    shell = subprocess.Popen(
        ["bash", "-c", "\n".join(script)], stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return shell.wait()
    finally:
        end_group(shell.pid)


def end_group(group):
    """Ends what is left of a process group; what takes longer than 10 s is killed."""
    for number in [signal.SIGTERM] + [0] * 100 + [signal.SIGKILL]:
        try:
            os.killpg(group, number)
        except ProcessLookupError:
            return
        time.sleep(0.1)


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def main(document):
    found = commands(pathlib.Path(document).read_text())
    if not found:
        sys.exit(f"error: {document} has no console block")
    with tempfile.TemporaryDirectory() as out:
        status = play(found, out)
        wrong = 0
        for at, (command, lines) in enumerate(found):
            file = pathlib.Path(out) / str(at)
            if not lines or not file.exists():
                continue
            said = squeeze(file.read_text())
            if not re.fullmatch(pattern(lines), said):
                wrong += 1
                print(f"error: $ {command}", file=sys.stderr)
                print("  the document says:\n    " + "\n    ".join(lines), file=sys.stderr)
                print("  it prints:\n    " + "\n    ".join(said.splitlines()), file=sys.stderr)
    if status:
        sys.exit(f"error: {document}: the last command above failed")
    if wrong:
        sys.exit(f"error: {document}: {wrong} commands print something else")
    print(f"{len(found)} commands as {pathlib.Path(document).name} says")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
