"""Fits a linear regression of disease progression on bmi and ltg.

usage: train.py -inFile=TRAINING.csv -outDir=DIR

Writes DIR/model.json: the intercept and the two coefficients.
"""

import argparse
import csv
import json
import pathlib
import sys

from sklearn.linear_model import LinearRegression

COLUMNS = 11


def read(path):
    with open(path, newline="") as file:
        rows = list(csv.reader(file))
    header, rows = rows[0], rows[1:]
    if len(header) != COLUMNS or any(len(row) != COLUMNS for row in rows):
        sys.exit(f"{path}: every row must have {COLUMNS} columns")
    bmi, ltg = header.index("bmi"), header.index("ltg")
    x = [[float(row[bmi]), float(row[ltg])] for row in rows]
    return x, [float(row[-1]) for row in rows]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-inFile", required=True)
    parser.add_argument("-outDir", required=True)
    args = parser.parse_args()
    x, y = read(args.inFile)
    fitted = LinearRegression().fit(x, y)
    bmi, ltg = (round(float(value), 6) for value in fitted.coef_)
    model = {"intercept": round(float(fitted.intercept_), 6), "bmi": bmi, "ltg": ltg}
    (pathlib.Path(args.outDir) / "model.json").write_text(json.dumps(model, indent=2) + "\n")
    print(f"{len(y)} patients, R² {fitted.score(x, y):.3f}")


if __name__ == "__main__":
    main()
