"""Predicts the progression of the disease for every patient of a directory.

usage: infer.py -inModelDir=DIR -inVarDir=DIR -outDir=DIR

Reads DIR/model.json and every file below the variables' directory; writes a
file of the same name with the prediction added.
"""

import argparse
import json
import os
import pathlib


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-inModelDir", required=True)
    parser.add_argument("-inVarDir", required=True)
    parser.add_argument("-outDir", required=True)
    args = parser.parse_args()
    model = json.loads((pathlib.Path(args.inModelDir) / "model.json").read_text())
    for parent, _, names in os.walk(args.inVarDir):
        for name in names:
            patient = json.loads((pathlib.Path(parent) / name).read_text())
            y = model["intercept"] + sum(model[key] * patient[key] for key in ("bmi", "ltg"))
            answer = patient | {"y": round(y, 3)}
            (pathlib.Path(args.outDir) / name).write_text(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
