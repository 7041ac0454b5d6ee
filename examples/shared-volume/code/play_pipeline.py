"""Runs the steps of a compiled pipeline one after another on this machine.

usage: play_pipeline.py PIPELINE.yaml [PARAMETER=VALUE]…

Stands in for Kubeflow Pipelines where there is none: the commands, their order
and the parameters are the pipeline's. The programs are those beside this one,
instead of an image's, and /mnt is $SHARED.
"""

import pathlib
import re
import subprocess
import sys

import shared
import yaml

CODE = pathlib.Path(__file__).resolve().parent
PARAMETER = re.compile(r"\{\{\$\.inputs\.parameters\['(\w+)'\]\}\}")


class Pipeline:
    def __init__(self, path, given):
        with open(path) as file:
            self.spec, platforms = yaml.safe_load_all(file)
        self.mounts = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        known = self.spec["root"]["inputDefinitions"]["parameters"]
        unknown = set(given) - set(known)
        if unknown:
            sys.exit(f"the pipeline has no parameter {', '.join(sorted(unknown))}")
        self.parameters = {name: given.get(name, default(it)) for name, it in known.items()}

    def steps(self):
        """The name, the executor and the command of each step, in an order that may be."""
        waiting = dict(self.spec["root"]["dag"]["tasks"])
        executors = self.spec["deploymentSpec"]["executors"]
        while waiting:
            name = next(
                name
                for name, task in waiting.items()
                if not set(task.get("dependentTasks", [])) & set(waiting)
            )
            task = waiting.pop(name)
            component = self.spec["components"][task["componentRef"]["name"]]
            executor = component["executorLabel"]
            container = executors[executor]["container"]
            # What makes the claim has no command: $SHARED is there already.
            if "command" in container:
                words = container["command"] + container["args"]
                yield name, executor, [self.filled(word, task) for word in words]

    def filled(self, word, task):
        found = PARAMETER.fullmatch(word)
        if not found:
            return word
        return self.parameters[task["inputs"]["parameters"][found[1]]["componentInputParameter"]]


def default(parameter):
    value = parameter["defaultValue"]
    return str(int(value) if parameter["parameterType"] == "NUMBER_INTEGER" else value)


def here(word):
    """A word of a command with this machine's paths."""
    if word == "python3":
        return sys.executable
    if word.startswith("/app/"):
        return str(CODE / pathlib.Path(word).name)
    return re.sub(r"^/mnt/", f"{shared.DIRECTORY}/", word)


def main(path, assignments):
    given = dict(assignment.split("=", 1) for assignment in assignments)
    pipeline = Pipeline(path, given)
    for name, executor, command in pipeline.steps():
        places = [mount["mountPath"] for mount in pipeline.mounts[executor]["pvcMount"]]
        if "/mnt" not in places:
            sys.exit(f"{name} mounts no claim at /mnt")
        print(f"{name}: ", end="", flush=True)
        subprocess.run([here(word) for word in command], check=True)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], sys.argv[2:])
