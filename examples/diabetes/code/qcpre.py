"""Turns the holdout table into one file per patient.

usage: qcpre.py -inFile=HOLDOUT.csv -outDir=DIR

Writes DIR/1.json, DIR/2.json, …: bmi, ltg and the progression observed.
"""

import argparse
import csv
import json
import pathlib


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-inFile", required=True)
    parser.add_argument("-outDir", required=True)
    args = parser.parse_args()
    with open(args.inFile, newline="") as file:
        patients = list(csv.DictReader(file))
    for at, row in enumerate(patients, start=1):
        patient = {name: float(row[name]) for name in ("bmi", "ltg", "y")}
        (pathlib.Path(args.outDir) / f"{at}.json").write_text(json.dumps(patient) + "\n")
    print(f"{len(patients)} patients")


if __name__ == "__main__":
    main()
