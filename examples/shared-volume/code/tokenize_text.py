"""Third step: texts as tokens with a blank between them, words in their base
form as far as endings tell it. `tokenize_text.TokenizeText` is the same behind
Seldon's microservice.

usage: tokenize_text.py [--in-path FILE] [--out-path FILE]
"""

import argparse
import re

import numpy as np
import shared

WORD = re.compile(r"[a-z]+")
ENDINGS = [("ies", "y"), ("sses", "ss"), ("ing", ""), ("ed", ""), ("s", "")]


def base(word):
    for ending, instead in ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 2 and not word.endswith("ss"):
            return stem + instead
    return word


def tokens(text):
    return [base(word) for word in WORD.findall(str(text)) if len(word) > 1]


class TokenizeText:
    def predict(self, X, names, meta=None):
        return np.array([" ".join(tokens(text)) for text in np.ravel(X)], dtype=object)


def main():
    parser = argparse.ArgumentParser(description="cut texts into tokens")
    parser.add_argument("--in-path", default=shared.path("clean.data"))
    parser.add_argument("--out-path", default=shared.path("tokens.data"))
    asked = parser.parse_args()
    cut = TokenizeText().predict(shared.load(asked.in_path), [])
    shared.save(cut, asked.out_path)
    print(f"{sum(len(text.split()) for text in cut)} tokens")


if __name__ == "__main__":
    main()
