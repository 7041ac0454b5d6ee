"""Fisher's irises for Seldon's Python microservice: `iris.Iris`.

It answers with the probability of each species, from the model that is in its
file at that moment. It knows nothing of pfs: a file that is another one than at
the last request is read again, that is all.
"""

import hashlib
import logging
import os
import pickle
import threading

import numpy as np
from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.user_model import SeldonResponse

log = logging.getLogger(__name__)

MEASURED = ["sepal length", "sepal width", "petal length", "petal width"]


class Version:
    """A model and the digest of the file that it was."""

    def __init__(self, data):
        self.digest = hashlib.sha256(data).hexdigest()[:12]
        self.classifier = pickle.loads(data)


def identity(status):
    """What differs when a path names another file, or the same one written to."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)


class Iris:
    def __init__(self, model="/mnt/model.pkl"):
        self.path = model
        self.loading = threading.Lock()
        self.seen = None
        self.version = None
        self.answered = threading.local()

    def load(self):
        """Seldon calls it when a process starts; there may be no model yet."""
        self.look()

    def look(self):
        """Reads the file if it is not the one seen last.

        As long as nothing changes this is one stat(2). A file that is not there
        or cannot be read leaves the version before.
        """
        try:
            if identity(os.stat(self.path)) != self.seen:
                with self.loading:
                    self.read()
        except OSError as error:
            self.refuse("not there", error)

    def read(self):
        with open(self.path, "rb") as file:
            opened = identity(os.fstat(file.fileno()))
            if opened == self.seen:
                return
            data = file.read()
        try:
            self.version = Version(data)
        except Exception as error:  # whatever a damaged pickle may raise
            self.refuse(opened, error)
            return
        self.seen = opened
        log.info("model %s of %s", self.version.digest, self.path)

    def refuse(self, what, error):
        """Says so once, not at every request."""
        if what != self.seen:
            kept = self.version.digest if self.version else "none"
            log.warning("%s: %s; answering with: %s", self.path, error, kept)
        self.seen = what

    def current(self):
        self.look()
        version = self.version
        if version is None:
            raise SeldonMicroserviceException(
                f"there is no model in {self.path}", status_code=503, reason="NO_MODEL"
            )
        return version

    def predict(self, X, names, meta=None):
        version = self.current()
        rows = numbers(X)
        # class_names() is asked next, by the same thread; meanwhile another
        # thread may have found a new version, with other species.
        self.answered.species = [str(name) for name in version.classifier.classes_]
        return SeldonResponse(
            version.classifier.predict_proba(rows), tags={"model": version.digest}
        )

    def class_names(self):
        return self.answered.species

    def health_status(self):
        return self.current().digest


def numbers(rows):
    try:
        rows = np.asarray(rows, dtype=float)
    except (TypeError, ValueError) as error:
        raise bad_data(str(error)) from None
    if rows.ndim != 2 or rows.shape[1] != len(MEASURED):
        raise bad_data(f"a row is {len(MEASURED)} numbers: {', '.join(MEASURED)}")
    return rows


def bad_data(message):
    return SeldonMicroserviceException(message, status_code=400, reason="BAD_DATA")
