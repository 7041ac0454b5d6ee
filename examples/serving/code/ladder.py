"""Climbs Seldon's REST API rung by rung, and stops at the first that gives way.

usage: ladder.py URL

Each rung asks one thing of a model server and compares the shape of what it
says with Seldon's: `data` with `names` and one of `ndarray` and `tensor`,
`meta`, `status`. Every answer must also be a SeldonMessage to the letter: a field
that message does not have is an error.
"""

import json
import sys
import urllib.error
import urllib.parse
import urllib.request

from seldon_core.flask_utils import SeldonMicroserviceException
from seldon_core.utils import json_to_seldon_message

FEATURES = ["sepal length", "sepal width", "petal length", "petal width"]
FLOWERS = [[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]]
PREDICT = ["/predict", "/api/v0.1/predictions", "/api/v1.0/predictions"]


class Gave(Exception):
    """What was expected, and what came instead."""


# What a rung gives way with, whatever a server answers.
GAVE = (Gave, SeldonMicroserviceException, OSError, ValueError, KeyError, TypeError)


def expect(true, wanted, got):
    if not true:
        raise Gave(f"{wanted}, not {json.dumps(got)}")


def ask(url, body=None, kind="application/json"):
    """The status and the text of an answer, also of one that says no."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": kind} if data else {})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def message(status, text, wanted=200):
    expect(status == wanted, f"status {wanted}", status)
    answer = json.loads(text)
    json_to_seldon_message(answer)
    return answer


def probabilities(answer, kind, rows):
    """`names`, and for every row a probability of each."""
    expect(set(answer) == {"data", "meta"}, "data and meta", answer)
    data = answer["data"]
    expect(set(data) == {"names", kind}, f"names and {kind}", data)
    names, found = data["names"], data[kind]
    expect(names and all(isinstance(name, str) for name in names), "names of classes", names)
    if kind == "tensor":
        expect(found["shape"] == [rows, len(names)], "rows and classes as shape", found)
        width = len(names)
        found = [found["values"][at : at + width] for at in range(0, rows * width, width)]
    expect(len(found) == rows, f"{rows} rows", found)
    for row in found:
        expect(len(row) == len(names), "one number per name", row)
        expect(all(0 <= value <= 1 for value in row), "probabilities", row)
        expect(abs(sum(row) - 1) < 1e-9, "probabilities of 1 together", row)


def alive(url):
    status, text = ask(f"{url}/health/ping")
    expect((status, text) == (200, "pong"), "pong", text)


def ready(url):
    answer = message(*ask(f"{url}/health/status"))
    expect(set(answer) == {"strData", "meta"}, "strData and meta", answer)


def described(url):
    status, text = ask(f"{url}/metadata")
    keys = {"name", "versions", "platform", "inputs", "outputs", "custom"}
    expect(status == 200 and set(json.loads(text)) == keys, "a model's metadata", text)
    paths = json.loads(ask(f"{url}/seldon.json")[1])["paths"]
    expect("/predict" in paths, "an OpenAPI document", sorted(paths))


def rows_of(path):
    def rung(url):
        body = {"data": {"names": FEATURES, "ndarray": FLOWERS}}
        probabilities(message(*ask(url + path, body)), "ndarray", len(FLOWERS))

    return rung


def tensor(url):
    values = [value for row in FLOWERS for value in row]
    body = {"data": {"tensor": {"shape": [len(FLOWERS), len(FEATURES)], "values": values}}}
    probabilities(message(*ask(url + PREDICT[-1], body)), "tensor", len(FLOWERS))


def nameless(url):
    answer = message(*ask(url + PREDICT[-1], {"data": {"ndarray": FLOWERS[:1]}}))
    probabilities(answer, "ndarray", 1)


def meta(url):
    body = {"meta": {"puid": "ladder"}, "data": {"ndarray": FLOWERS[:1]}}
    said = message(*ask(url + PREDICT[-1], body))["meta"]
    expect(said.get("puid") == "ladder", "the puid of the request", said)
    expect(set(said.get("tags", {})) == {"model"}, "a tag, the model", said)


def form(url):
    body = urllib.parse.urlencode({"json": json.dumps({"data": {"ndarray": FLOWERS[:1]}})})
    kind = "application/x-www-form-urlencoded"
    answer = message(*ask(f"{url}/predict", body.encode(), kind))
    probabilities(answer, "ndarray", 1)
    answer = message(*ask(f"{url}/predict?{body}"))
    probabilities(answer, "ndarray", 1)


def refusal(body):
    def rung(url):
        answer = message(*ask(url + PREDICT[-1], body), wanted=400)
        expect(set(answer) == {"status"}, "only a status", answer)
        fields = {"code", "info", "reason", "status"}
        expect(set(answer["status"]) == fields, ", ".join(sorted(fields)), answer)

    return rung


RUNGS = [
    ("alive", alive),
    ("ready", ready),
    *((f"ndarray {path}", rows_of(path)) for path in PREDICT),
    ("ndarray without names", nameless),
    ("tensor", tensor),
    ("meta", meta),
    ("form and query", form),
    ("too short a row is refused", refusal({"data": {"ndarray": [[1.0, 2.0]]}})),
    ("words are refused", refusal({"data": {"ndarray": [["a", "b", "c", "d"]]}})),
    ("what is no message is refused", refusal({"flowers": FLOWERS})),
    ("described", described),
]


def main(url):
    for name, rung in RUNGS:
        try:
            rung(url.rstrip("/"))
        except GAVE as error:
            sys.exit(f"{name}: {error}")
        print(f"{name}: ok")
    print(f"{len(RUNGS)} rungs")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
