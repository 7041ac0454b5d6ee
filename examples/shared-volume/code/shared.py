"""The directory that the steps share, and the files in it.

$SHARED says where, else it is /mnt. The files are pickles, written with dill.
"""

import os
import pathlib

import dill

DIRECTORY = pathlib.Path(os.environ.get("SHARED", "/mnt"))


def path(name):
    return str(DIRECTORY / name)


def load(name):
    with open(name, "rb") as file:
        return dill.load(file)


def save(what, name):
    with open(name, "wb") as file:
        dill.dump(what, file)
