"""What the benchmarks measure with: made once, the same every time."""

import io
import os
import pathlib
import random
import subprocess
import tarfile

SMALL_FILES, SMALL_SIZE = 10_000, 8192
MANY_FILES = 20_000
PER_DIRECTORY = 1000


def small(directory):
    """A tree of 10,000 files of 8 KiB, and another that holds 1 % of them changed."""
    tree, changed = directory / "tree", directory / "changed"
    if not (directory / "complete").exists():
        noise = random.Random(7)
        for number in range(SMALL_FILES):
            name = f"d{number % 100:03}/f{number:05}"
            write(tree / name, noise.randbytes(SMALL_SIZE))
            if number % 100 == 17:
                write(changed / name, noise.randbytes(SMALL_SIZE))
        (directory / "complete").touch()
    return tree, changed


def many(directory):
    """A tree of 20,000 files of 8 KiB in 100 directories."""
    if not (directory / "complete").exists():
        noise = random.Random(9)
        for number in range(MANY_FILES):
            write(directory / f"tree/d{number % 100:03}/f{number:05}", noise.randbytes(SMALL_SIZE))
        (directory / "complete").touch()
    return directory / "tree"


def stream(gibibytes, process):
    """Writes noise into a process, faster than Python makes it."""
    cipher = ["openssl", "enc", "-aes-128-ctr", "-K", "7" * 32, "-iv", "0" * 32, "-in", "/dev/zero"]
    with subprocess.Popen(cipher, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as source:
        cut = ["head", "-c", str(gibibytes << 30)]
        subprocess.run(cut, stdin=source.stdout, stdout=process.stdin, check=True)
        source.kill()
    process.stdin.close()
    if process.wait():
        raise RuntimeError(f"put file: exit {process.returncode}")


def big(directory, mebibytes):
    """A file of noise, and the same with 1 MiB inserted in the middle."""
    first, second = directory / f"first{mebibytes}", directory / f"second{mebibytes}"
    if not second.exists():
        directory.mkdir(parents=True, exist_ok=True)
        noise = random.Random(8)
        with open(first, "wb") as a, open(f"{second}.part", "wb") as b:
            for at in range(mebibytes):
                if at == mebibytes // 2:
                    b.write(noise.randbytes(1 << 20))
                block = noise.randbytes(1 << 20)
                a.write(block)
                b.write(block)
        os.rename(f"{second}.part", second)
    return first, second


def name_of(number):
    top, middle = number // (PER_DIRECTORY * 100), number // PER_DIRECTORY % 100
    return f"t{top:03}/m{middle:02}/f{number:07}"


def deep(count):
    """A path far from the first of a commit of `count` files."""
    return name_of(count * 2 // 3)


def roots(count):
    """How many entries the root of such a commit has."""
    return -(-count // (PER_DIRECTORY * 100))


def pipe_million(count, process):
    """Writes a tar archive of `count` files of 16 bytes into a process."""
    header = tarfile.TarInfo("x")
    header.size, header.mode, header.mtime = 16, 0o644, 1_600_000_000
    out = io.BufferedWriter(process.stdin, 1 << 20)
    template = header.tobuf(tarfile.USTAR_FORMAT)
    for number in range(count):
        out.write(tar_header(template, name_of(number)))
        out.write(b"%015d\n" % number + bytes(496))
    out.write(bytes(1024))
    out.flush()
    out.close()
    if process.wait():
        raise RuntimeError(f"put file --untar: exit {process.returncode}")


def million(directory, count):
    """The same files as a tree on disk, for a server that takes no archive."""
    if not (directory / "complete").exists():
        for number in range(count):
            write(directory / "tree" / name_of(number), b"%015d\n" % number)
        (directory / "complete").touch()
    return directory / "tree"


def tar_header(template, name):
    """The template with another name; the checksum is the sum of all bytes."""
    head = name.encode().ljust(100, b"\0") + template[100:148] + b" " * 8 + template[156:]
    return head[:148] + b"%06o\0 " % sum(head) + head[156:]


def numbered(directory, count):
    """Files f0000000, f0000001, … in one directory, each with its number."""
    for number in range(count):
        write(directory / f"f{number:07}", b"%d\n" % number)
    return directory


def change_of_million(work):
    """A hundred files of such a commit, changed."""
    changed = work / "data/million-changed"
    for number in range(17, 10_000, 100):
        write(changed / name_of(number), b"changed\n")
    return changed


def write(path, content):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
