"""Writes the iris data that comes with scikit-learn as the files of this example.

usage: data.py DIR

DIR/iris.csv       the training set to begin with: setosa and versicolor only
DIR/virginica.csv  rows of the third species, to add later
DIR/test1.csv      measurements without species, held out of both
DIR/test2.csv
DIR/test3.csv
"""

import csv
import pathlib
import sys

from sklearn.datasets import load_iris

# Rows of the data set (50 per species, in order) that no training set holds.
HELD_OUT = {"test1.csv": [0, 50, 100], "test2.csv": [1, 51, 101], "test3.csv": [2, 52, 102]}


def write(path, rows):
    with open(path, "w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def main(directory):
    directory = pathlib.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    iris = load_iris()
    measured = [[f"{value:.1f}" for value in row] for row in iris.data]
    species = [f"Iris-{iris.target_names[target]}" for target in iris.target]

    for name, rows in HELD_OUT.items():
        write(directory / name, [measured[row] for row in rows])
    held_out = {row for rows in HELD_OUT.values() for row in rows}
    labelled = [
        measured[row] + [species[row]] for row in range(len(measured)) if row not in held_out
    ]
    write(directory / "iris.csv", [row for row in labelled if row[-1] != "Iris-virginica"])
    write(directory / "virginica.csv", [row for row in labelled if row[-1] == "Iris-virginica"])


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
