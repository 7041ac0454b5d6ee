"""The five steps as a pipeline of Kubeflow Pipelines, over one volume at /mnt.

usage: pipeline.py PIPELINE.yaml

Needs no cluster. Upload what it writes, or start it with `kfp run create`. Each
run makes a claim of the class pfs-nlp, which is a branch of the repo nlp, and
keeps it, for servers to mount.
"""

import sys

from kfp import compiler, dsl, kubernetes

IMAGE = "pfs-examples:dev"
STEPS = "/app/shared-volume"


@dsl.container_component
def download(csv_url: str, csv_encoding: str, features_column: str, labels_column: str):
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["python3", f"{STEPS}/download.py"],
        args=[
            "--csv-url", csv_url,
            "--csv-encoding", csv_encoding,
            "--features-column", features_column,
            "--labels-column", labels_column,
            "--features-path", "/mnt/text.data",
            "--labels-path", "/mnt/labels.data",
        ],
    )  # fmt: skip


@dsl.container_component
def clean_text():
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["python3", f"{STEPS}/clean_text.py"],
        args=["--in-path", "/mnt/text.data", "--out-path", "/mnt/clean.data"],
    )


@dsl.container_component
def tokenize_text():
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["python3", f"{STEPS}/tokenize_text.py"],
        args=["--in-path", "/mnt/clean.data", "--out-path", "/mnt/tokens.data"],
    )


@dsl.container_component
def vectorize(max_features: int, ngram_range: int):
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["python3", f"{STEPS}/vectorize.py", "--action", "train"],
        args=[
            "--max-features", max_features,
            "--ngram-range", ngram_range,
            "--model-path", "/mnt/tfidf.model",
            "--in-path", "/mnt/tokens.data",
            "--out-path", "/mnt/tfidf.data",
        ],
    )  # fmt: skip


@dsl.container_component
def classify(c_param: float):
    return dsl.ContainerSpec(
        image=IMAGE,
        command=["python3", f"{STEPS}/classify.py", "--action", "train"],
        args=[
            "--c-param", c_param,
            "--labels-path", "/mnt/labels.data",
            "--model-path", "/mnt/lr.model",
            "--in-path", "/mnt/tfidf.data",
            "--out-path", "/mnt/prediction.data",
        ],
    )  # fmt: skip


@dsl.pipeline(name="nlp", description="Content moderation in five steps over one volume")
def nlp(
    csv_url: str = "file:///posts/posts.csv",
    csv_encoding: str = "ISO-8859-1",
    features_column: str = "BODY",
    labels_column: str = "REMOVED",
    max_features: int = 10000,
    ngram_range: int = 3,
    c_param: float = 10.0,
):
    claim = kubernetes.CreatePVC(
        pvc_name_suffix="-nlp",
        access_modes=["ReadWriteMany"],
        size="1Gi",
        storage_class_name="pfs-nlp",
    )
    steps = [
        download(
            csv_url=csv_url,
            csv_encoding=csv_encoding,
            features_column=features_column,
            labels_column=labels_column,
        ),
        clean_text(),
        tokenize_text(),
        vectorize(max_features=max_features, ngram_range=ngram_range),
        classify(c_param=c_param),
    ]
    kubernetes.mount_pvc(steps[0], pvc_name="posts", mount_path="/posts")
    # A run may not get the claim of another one.
    claim.set_caching_options(False)
    before = claim
    for step in steps:
        kubernetes.mount_pvc(step, pvc_name=claim.outputs["name"], mount_path="/mnt")
        kubernetes.set_image_pull_policy(step, "IfNotPresent")
        # What a step does is in the volume, where the cache of KFP does not look.
        step.set_caching_options(False).after(before)
        before = step


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    compiler.Compiler().compile(nlp, sys.argv[1])
