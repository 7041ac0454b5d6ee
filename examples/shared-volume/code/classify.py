"""Fifth step: how likely it is that a moderator removes a text.
`classify.Classify` is the same behind Seldon's microservice.

usage: classify.py [--action train|predict] [--c-param C] [--labels-path FILE]
                   [--model-path FILE] [--in-path FILE] [--out-path FILE]
"""

import argparse

import numpy as np
import shared
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score


class Classify:
    def __init__(self, model_path=shared.path("lr.model")):
        self.model = shared.load(model_path)

    def predict(self, X, names, meta=None):
        return self.model.predict_proba(np.asarray(X, dtype=float))


def main():
    parser = argparse.ArgumentParser(description="predict what is removed")
    parser.add_argument("--action", choices=["train", "predict"], default="predict")
    parser.add_argument("--c-param", type=float, default=0.1)
    parser.add_argument("--labels-path", default=shared.path("labels.data"))
    parser.add_argument("--model-path", default=shared.path("lr.model"))
    parser.add_argument("--in-path", default=shared.path("tfidf.data"))
    parser.add_argument("--out-path", default=shared.path("prediction.data"))
    asked = parser.parse_args()

    weights = shared.load(asked.in_path)
    if asked.action == "train":
        labels = shared.load(asked.labels_path)
        model = LogisticRegression(C=asked.c_param, max_iter=1000)
        right = cross_val_score(model, weights, labels, cv=5).mean()
        shared.save(model.fit(weights, labels), asked.model_path)
        print(f"right on {right:.1%} of what it has not seen")
    else:
        model = shared.load(asked.model_path)
    shared.save(model.predict_proba(weights), asked.out_path)


if __name__ == "__main__":
    main()
