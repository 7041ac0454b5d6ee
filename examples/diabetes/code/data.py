"""Writes the diabetes data that comes with scikit-learn as the files of this example.

usage: data.py DIR

DIR/training_prod.csv     398 patients: ten measurements and the progression of the disease
DIR/holdout.csv           44 other patients, for quality control
DIR/training_corrupt.csv  the training set with its last column in reverse order
DIR/attributes/1.json     bmi and ltg of a patient, to infer from; and 2.json, 3.json
"""

import csv
import json
import pathlib
import sys

from sklearn.datasets import load_diabetes

HOLDOUT_EVERY = 10
BMI, LTG = 2, 8


def write(path, header, rows):
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def main(directory):
    directory = pathlib.Path(directory)
    (directory / "attributes").mkdir(parents=True, exist_ok=True)
    data = load_diabetes()
    header = list(data.feature_names) + ["y"]
    header[LTG] = "ltg"
    rows = [
        [f"{value:.6f}" for value in x] + [f"{y:.1f}"] for x, y in zip(data.data, data.target)
    ]
    holdout = rows[5::HOLDOUT_EVERY]
    training = [row for at, row in enumerate(rows) if at % HOLDOUT_EVERY != 5]
    corrupt = [row[:-1] + other[-1:] for row, other in zip(training, reversed(training))]
    write(directory / "training_prod.csv", header, training)
    write(directory / "training_corrupt.csv", header, corrupt)
    write(directory / "holdout.csv", header, holdout)
    for at, row in enumerate(holdout[:3], start=1):
        patient = {"bmi": float(row[BMI]), "ltg": float(row[LTG])}
        (directory / "attributes" / f"{at}.json").write_text(json.dumps(patient) + "\n")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
