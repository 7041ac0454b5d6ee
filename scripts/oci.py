#!/usr/bin/env python3
"""Makes an image from a directory, as a tar in the OCI layout.

usage: oci.py OUT.tar NAME DIRECTORY [--user UID:GID] [--replaceable] -- COMMAND…

NAME is whole, as in docker.io/library/pfs:dev. The directory is the image's
root; all in it will be root's. COMMAND is what arguments are added to, or what
they replace. The same directory makes the same bytes.
"""

import argparse
import hashlib
import io
import json
import os
import tarfile


def layer(directory):
    """The tar of the directory, in memory."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for parent, directories, files in os.walk(directory):
            directories.sort()
            links = [name for name in directories if os.path.islink(os.path.join(parent, name))]
            for name in sorted(files + links):
                add(tar, directory, os.path.join(parent, name))
            for name in directories:
                if name not in links:
                    add(tar, directory, os.path.join(parent, name))
    return out.getvalue()


def add(tar, directory, path):
    entry = tar.gettarinfo(path, os.path.relpath(path, directory))
    entry.mtime, entry.uid, entry.gid, entry.uname, entry.gname = 0, 0, 0, "", ""
    if entry.isreg():
        with open(path, "rb") as file:
            tar.addfile(entry, file)
    else:
        tar.addfile(entry)


class Layout:
    """An image layout under way: blobs go straight to the tar."""

    def __init__(self, path):
        self.tar = tarfile.open(path, mode="w", format=tarfile.USTAR_FORMAT)

    def file(self, path, content):
        entry = tarfile.TarInfo(path)
        entry.size, entry.mode = len(content), 0o644
        self.tar.addfile(entry, io.BytesIO(content))

    def blob(self, kind, content):
        digest = hashlib.sha256(content).hexdigest()
        self.file(f"blobs/sha256/{digest}", content)
        media = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(content)}


def encoded(value):
    return json.dumps(value, sort_keys=True).encode()


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("usage: ")[1].split("\n")[0])
    parser.add_argument("out")
    parser.add_argument("name")
    parser.add_argument("directory")
    parser.add_argument("--user", default="")
    parser.add_argument("--replaceable", action="store_true")
    parser.add_argument("command", nargs="+")
    wanted = parser.parse_args()

    platform = {"architecture": machine(), "os": "linux"}
    layout = Layout(wanted.out)
    content = layout.blob("layer.v1.tar", layer(wanted.directory))
    settings = {"Env": ["PATH=/bin:/"]}
    settings["Cmd" if wanted.replaceable else "Entrypoint"] = wanted.command
    if wanted.user:
        settings["User"] = wanted.user
    rootfs = {"type": "layers", "diff_ids": [content["digest"]]}
    config = layout.blob(
        "config.v1+json", encoded({**platform, "config": settings, "rootfs": rootfs})
    )
    manifest = layout.blob(
        "manifest.v1+json",
        encoded({"schemaVersion": 2, "config": config, "layers": [content]}),
    )
    tag = wanted.name.rpartition(":")[2]
    manifest["platform"] = platform
    manifest["annotations"] = {
        "org.opencontainers.image.ref.name": tag,
        "io.containerd.image.name": wanted.name,
    }
    layout.file("index.json", encoded({"schemaVersion": 2, "manifests": [manifest]}))
    layout.file("oci-layout", encoded({"imageLayoutVersion": "1.0.0"}))
    layout.tar.close()


def machine():
    names = {"x86_64": "amd64", "aarch64": "arm64"}
    return names.get(os.uname().machine, os.uname().machine)


if __name__ == "__main__":
    main()
