"""Splits labelled measurements into what a model reads and what it should say.

usage: pre_process.py DATA.csv OUT_DIR

Writes OUT_DIR/x_train.csv (four numbers a row) and OUT_DIR/y_train.csv (the
species of that row), both without header. Incomplete rows are left out.
"""

import csv
import pathlib
import sys


def main(data, out):
    out = pathlib.Path(out)
    with open(data, newline="") as file:
        rows = [row for row in csv.reader(file) if len(row) == 5 and all(row)]
    if not rows:
        sys.exit(f"{data} holds no complete row")
    with open(out / "x_train.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(row[:4] for row in rows)
    with open(out / "y_train.csv", "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(row[4:] for row in rows)
    print(f"{len(rows)} rows of {len({row[4] for row in rows})} species")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
