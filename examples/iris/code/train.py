"""Trains a small neural network on prepared measurements.

usage: train.py X_TRAIN.csv Y_TRAIN.csv OUT_DIR

Writes OUT_DIR/model.pkl. The same input gives the same model.
"""

import pathlib
import pickle
import sys

import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler


def main(x_train, y_train, out):
    x = np.loadtxt(x_train, delimiter=",", ndmin=2)
    y = np.loadtxt(y_train, dtype=str, ndmin=1)
    network = MLPClassifier(hidden_layer_sizes=(5,), solver="lbfgs", alpha=0.01, random_state=1234)
    model = make_pipeline(MinMaxScaler(), network).fit(x, y)
    with open(pathlib.Path(out) / "model.pkl", "wb") as file:
        pickle.dump(model, file, protocol=4)
    print(f"{len(y)} rows, {len(model.classes_)} species, right on {model.score(x, y):.1%}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
