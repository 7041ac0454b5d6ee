"""Seldon's REST microservice on the loopback.

usage: serve.py MODULE.CLASS [--parameters JSON] [--port N]

The parameters are what the class is made with, as in $PREDICTIVE_UNIT_PARAMETERS.
Prints its address once it answers; SIGTERM ends it. `seldon-core-microservice`
of the same package, which pods run, listens on every address of the machine and
on two more ports; this runs its REST part, with its own code, for programs of
this machine alone.
"""

import argparse
import importlib
import json
import logging
import os
import sys

from seldon_core.gunicorn_utils import UserModelApplication, post_worker_init
from seldon_core.metrics import SeldonMetrics
from seldon_core.microservice import PARAMETERS_ENV_NAME, parse_parameters
from seldon_core.wrapper import get_rest_microservice


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1].removeprefix("usage: "))
    parser.add_argument("model")
    given = os.environ.get(PARAMETERS_ENV_NAME, "[]")
    parser.add_argument("--parameters", default=given, type=json.loads)
    parser.add_argument("--port", default=0, type=int)
    return parser.parse_args()


def say_address(arbiter):
    host, port = arbiter.LISTENERS[0].sock.getsockname()
    print(f"http://{host}:{port}", flush=True)


def main():
    asked = arguments()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    module, name = asked.model.rsplit(".", 1)
    sys.path.insert(0, os.getcwd())
    model = getattr(importlib.import_module(module), name)(**parse_parameters(asked.parameters))
    app = get_rest_microservice(model, SeldonMetrics(worker_id_func=os.getpid))
    options = {
        "bind": f"127.0.0.1:{asked.port}",
        "loglevel": "warning",
        "post_worker_init": post_worker_init,
        "when_ready": say_address,
        "threads": 4,
    }
    UserModelApplication(app, model, 0, None, name, options=options).run()


if __name__ == "__main__":
    main()
