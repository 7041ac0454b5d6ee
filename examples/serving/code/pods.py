"""Prints the pods inside manifests, each as a Pod that an API server can check.

usage: pods.py MANIFEST.yaml… | kubectl apply --dry-run=server -f -

An API server that does not know SeldonDeployments or InferenceServices still
knows pods, and says what is misspelt in one.
"""

import sys

import yaml


def specs(manifest):
    """The pod specs of a manifest."""
    kind, spec = manifest["kind"], manifest.get("spec", {})
    if kind == "Pod":
        return [spec]
    if kind in ("Deployment", "Job"):
        return [spec["template"]["spec"]]
    if kind == "SeldonDeployment":
        return [part["spec"] for one in spec["predictors"] for part in one["componentSpecs"]]
    if kind == "InferenceService":
        own = {"minReplicas", "maxReplicas", "model"}
        return [{key: value for key, value in spec["predictor"].items() if key not in own}]
    return []


def main(paths):
    pods = []
    for path in paths:
        with open(path) as file:
            manifests = [manifest for manifest in yaml.safe_load_all(file) if manifest]
        for manifest in manifests:
            for spec in specs(manifest):
                name = f"{manifest['kind'].lower()}-{manifest['metadata']['name']}"
                metadata = {"name": name, "labels": {"check": "pods"}}
                pods.append({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    yaml.Dumper.ignore_aliases = lambda *_: True
    yaml.dump_all(pods, sys.stdout, sort_keys=False)


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
