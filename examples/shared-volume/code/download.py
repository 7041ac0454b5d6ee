"""First step: fetches posts and what was done with them.

usage: download.py --csv-url URL [--csv-encoding NAME]
                   [--features-column NAME] [--labels-column NAME]
                   [--features-path FILE] [--labels-path FILE]
"""

import argparse
import csv
import io
import urllib.request

import numpy as np
import shared


def main():
    parser = argparse.ArgumentParser(description="fetch texts and labels")
    parser.add_argument("--csv-url", required=True)
    parser.add_argument("--csv-encoding", default="ISO-8859-1")
    parser.add_argument("--features-column", default="BODY")
    parser.add_argument("--labels-column", default="REMOVED")
    parser.add_argument("--features-path", default=shared.path("text.data"))
    parser.add_argument("--labels-path", default=shared.path("labels.data"))
    asked = parser.parse_args()

    with urllib.request.urlopen(asked.csv_url, timeout=60) as answer:
        text = answer.read().decode(asked.csv_encoding)
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    texts = np.array([row[asked.features_column] for row in rows], dtype=object)
    shared.save(texts, asked.features_path)
    shared.save(np.array([int(row[asked.labels_column]) for row in rows]), asked.labels_path)
    print(f"{len(rows)} texts")


if __name__ == "__main__":
    main()
