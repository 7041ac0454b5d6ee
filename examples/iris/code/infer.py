"""Names the species of measured flowers.

usage: infer.py MODEL.pkl ATTRIBUTES.csv OUT_DIR

Writes OUT_DIR/<name of the attributes file>: one species a line, in the order
of the measurements.
"""

import pathlib
import pickle
import sys

import numpy as np


def main(model, attributes, out):
    with open(model, "rb") as file:
        classifier = pickle.load(file)
    x = np.loadtxt(attributes, delimiter=",", ndmin=2)
    answer = pathlib.Path(out) / pathlib.Path(attributes).name
    answer.write_text("".join(f"{species}\n" for species in classifier.predict(x)))


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
