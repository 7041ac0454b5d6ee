"""Second step: texts without markup, links and numbers. `clean_text.CleanText`
is the same behind Seldon's microservice.

usage: clean_text.py [--in-path FILE] [--out-path FILE]
"""

import argparse
import html
import re

import numpy as np
import shared

LINK = re.compile(r"\b(?:https?://|www\.)\S+")
TAG = re.compile(r"<[^>]*>")
NO_WORD = re.compile(r"[^a-z']+")


def clean(text):
    text = html.unescape(str(text)).lower()
    return NO_WORD.sub(" ", TAG.sub(" ", LINK.sub(" ", text))).strip()


class CleanText:
    def predict(self, X, names, meta=None):
        return np.array([clean(text) for text in np.ravel(X)], dtype=object)


def main():
    parser = argparse.ArgumentParser(description="clean texts")
    parser.add_argument("--in-path", default=shared.path("text.data"))
    parser.add_argument("--out-path", default=shared.path("clean.data"))
    asked = parser.parse_args()
    cleaned = CleanText().predict(shared.load(asked.in_path), [])
    shared.save(cleaned, asked.out_path)
    print(f"{sum(map(len, cleaned))} characters left")


if __name__ == "__main__":
    main()
