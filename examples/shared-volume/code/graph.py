"""Asks model servers one after another: each gets what the one before answered.

usage: graph.py [--listen ADDRESS:PORT] URL…

Stands in for the executor that Seldon's operator puts beside the containers of a
SeldonDeployment, where there is no operator: the same paths, the same messages,
`meta.puid` made when a request has none. Prints its address once it answers.
"""

import argparse
import json
import secrets
import signal
import sys
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PATHS = ["/api/v0.1/predictions", "/api/v1.0/predictions"]


def ask(url, message):
    body = json.dumps(message).encode()
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def through(urls, message):
    """The last answer. `meta` goes along: a server repeats what it is told there."""
    message.setdefault("meta", {}).setdefault("puid", secrets.token_hex(16))
    for url in urls:
        message = ask(f"{url}/predict", message)
    return message


def failure(info, reason):
    return {"status": {"code": -1, "info": info, "reason": reason, "status": 1}}


class Graph(BaseHTTPRequestHandler):
    urls = []

    def do_GET(self):
        if self.path != "/ready":
            return self.answer(404, failure(self.path, "NOT_FOUND"))
        try:
            for url in self.urls:
                urllib.request.urlopen(f"{url}/health/ping", timeout=5).close()
        except OSError as error:
            return self.answer(503, failure(f"{url}: {error}", "NOT_READY"))
        self.answer(200, {"servers": len(self.urls)})

    def do_POST(self):
        if self.path not in PATHS:
            return self.answer(404, failure(self.path, "NOT_FOUND"))
        try:
            message = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
            if not isinstance(message, dict):
                return self.answer(400, failure("a message is an object", "BAD_DATA"))
            self.answer(200, through(self.urls, message))
        except urllib.error.HTTPError as error:
            self.answer(error.code, json.load(error))
        except OSError as error:
            self.answer(503, failure(str(error), "NOT_READY"))
        except ValueError as error:
            self.answer(400, failure(str(error), "BAD_DATA"))

    def answer(self, status, message):
        body = json.dumps(message, separators=(",", ":")).encode() + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *words):
        print(form % words, file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("--listen", default="127.0.0.1:0")
    parser.add_argument("urls", nargs="+")
    asked = parser.parse_args()
    Graph.urls = [url.rstrip("/") for url in asked.urls]
    host, port = asked.listen.rsplit(":", 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ThreadingHTTPServer((host, int(port)), Graph) as server:
        print(f"http://{host}:{server.server_address[1]}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
