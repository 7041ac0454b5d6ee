"""Writes posts to a forum about machine learning, with what its moderators did.

usage: data.py POSTS.csv

The posts are what scikit-learn and SciPy say of their functions and classes, as
installed here: scikit-learn's are on topic, SciPy's, about signals, integrals
and special functions, were removed. Columns: ID, BODY, REMOVED (0 or 1);
encoding ISO-8859-1, as in exports of old.
"""

import csv
import importlib
import inspect
import re
import sys
import warnings

import sklearn

SCIPY = "fft integrate interpolate linalg ndimage optimize signal spatial special".split()
UNDERLINE = re.compile(r"\n[^\n]+\n-{3,}\n")
MARKUP = re.compile(r"``?|:[a-z:]+:|\.\. \w+::.*|[<>_=]|\{[^}]*\}")


def said(thing):
    """The prose of a docstring, up to its first section."""
    text = UNDERLINE.split(f"\n{inspect.getdoc(thing) or ''}\n")[0]
    text = " ".join(MARKUP.sub(" ", text).split())
    # Generated signatures of compiled functions are no prose.
    return re.sub(r"^(\w+\([^)]*\)( -> \w+)?\s*)+", "", text)


def posts(modules):
    """One post for each public name with something to say, in order of names."""
    found = {}
    for name in modules:
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        for public in sorted(getattr(module, "__all__", [])):
            thing = vars(module).get(public)
            text = said(thing) if callable(thing) else ""
            if len(text.split()) >= 4:
                found.setdefault(text, None)
    return list(found)


def main(path):
    warnings.simplefilter("ignore")
    kept = posts(f"sklearn.{name}" for name in sorted(sklearn.__all__))
    removed = posts(f"scipy.{name}" for name in SCIPY)
    with open(path, "w", newline="", encoding="ISO-8859-1", errors="replace") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["ID", "BODY", "REMOVED"])
        labelled = [(text, 0) for text in kept] + [(text, 1) for text in removed]
        for number, (text, label) in enumerate(labelled, 1):
            rows.writerow([number, text, label])
    print(f"{len(kept)} posts kept, {len(removed)} removed")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
