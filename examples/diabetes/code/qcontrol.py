"""Lets a model pass only when it errs little on patients it has not seen.

usage: qcontrol.py -inModelFile=MODEL.json -inTestDir=DIR -threshold=RMSE -outDir=DIR

Writes DIR/model.json, with its root mean square error added, when that error
is below the threshold; otherwise writes nothing. Both are success.
"""

import argparse
import json
import os
import pathlib

import numpy as np
from sklearn.metrics import root_mean_squared_error


def read_patients(directory):
    """Every file below the directory is a patient; there is nothing else in it."""
    for parent, _, names in os.walk(directory):
        for name in names:
            yield json.loads((pathlib.Path(parent) / name).read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-inModelFile", required=True)
    parser.add_argument("-inTestDir", required=True)
    parser.add_argument("-threshold", type=float, required=True)
    parser.add_argument("-outDir", required=True)
    args = parser.parse_args()
    model = json.loads(pathlib.Path(args.inModelFile).read_text())
    patients = list(read_patients(args.inTestDir))
    x = np.array([[patient["bmi"], patient["ltg"]] for patient in patients])
    predicted = model["intercept"] + x @ [model["bmi"], model["ltg"]]
    error = root_mean_squared_error([patient["y"] for patient in patients], predicted)
    if error >= args.threshold:
        print(f"stopped: error {error:.2f} is not below {args.threshold:.2f}")
        return
    passed = model | {"rmse": round(float(error), 6)}
    (pathlib.Path(args.outDir) / "model.json").write_text(json.dumps(passed, indent=2) + "\n")
    print(f"passed: error {error:.2f} on {len(patients)} patients")


if __name__ == "__main__":
    main()
