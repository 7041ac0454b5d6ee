"""Fourth step: tokens as weights of words and phrases (tf-idf).
`vectorize.Vectorize` is the same behind Seldon's microservice.

usage: vectorize.py [--action train|predict] [--max-features N] [--ngram-range N]
                    [--model-path FILE] [--in-path FILE] [--out-path FILE]
"""

import argparse

import numpy as np
import shared
from sklearn.feature_extraction.text import TfidfVectorizer


class Vectorize:
    def __init__(self, model_path=shared.path("tfidf.model")):
        self.model = shared.load(model_path)

    def predict(self, X, names, meta=None):
        return self.model.transform(np.ravel(X).astype(str)).toarray()


def main():
    parser = argparse.ArgumentParser(description="weigh words and phrases")
    parser.add_argument("--action", choices=["train", "predict"], default="predict")
    parser.add_argument("--max-features", type=int, default=10000)
    parser.add_argument("--ngram-range", type=int, default=3)
    parser.add_argument("--model-path", default=shared.path("tfidf.model"))
    parser.add_argument("--in-path", default=shared.path("tokens.data"))
    parser.add_argument("--out-path", default=shared.path("tfidf.data"))
    asked = parser.parse_args()

    texts = shared.load(asked.in_path)
    if asked.action == "train":
        model = TfidfVectorizer(
            max_features=asked.max_features,
            ngram_range=(1, asked.ngram_range),
            token_pattern=r"\S+",
            lowercase=False,
        ).fit(texts)
        shared.save(model, asked.model_path)
    else:
        model = shared.load(asked.model_path)
    weights = model.transform(texts)
    shared.save(weights, asked.out_path)
    print(f"{weights.shape[0]} texts, {weights.shape[1]} features")


if __name__ == "__main__":
    main()
