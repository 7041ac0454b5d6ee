"""Drives a server through the unmodified pachyderm-sdk.

Usage: conformance.py ADDRESS SCRATCH PART...

Each part is a function below; the first failing check ends the run.
"""

import datetime
import http.server
import io
import os
import sys
import tarfile
import threading
import time

import grpc
from pachyderm_sdk import Client
from pachyderm_sdk.api import pfs, pps
from pachyderm_sdk.errors import AuthServiceNotActivated


def expect(code, text, call):
    """The call must fail with this status and mention this text."""
    try:
        answer = call()
        if hasattr(answer, "__next__"):
            list(answer)
    except grpc.RpcError as error:
        assert error.code() == code, f"{error.code()}: {error.details()}"
        assert text in error.details(), error.details()
        return
    raise AssertionError(f"expected {code} ({text!r})")


def listed(client, uri):
    return [info.file.path for info in client.pfs.list_file(file=pfs.File.from_uri(uri))]


def read(client, uri):
    with client.pfs.pfs_file(file=pfs.File.from_uri(uri)) as file:
        return file.read()


def put(client, branch, **files):
    """One commit with these files; underscores become slashes."""
    with client.pfs.commit(branch=pfs.Branch.from_uri(branch)) as commit:
        for name, data in files.items():
            commit.put_file_from_bytes("/" + name.replace("_", "/"), data)
    return commit


def cluster(client, _):
    version = client.get_version()
    assert (version.major, version.minor) == (2, 12), version
    info = client.admin.inspect_cluster()
    assert info.id == client.admin.inspect_cluster().id and len(info.id) == 32, info
    try:
        client.auth.who_am_i()
    except AuthServiceNotActivated:
        pass
    else:
        raise AssertionError("auth must not be activated")
    expect(
        grpc.StatusCode.UNIMPLEMENTED,
        "unknown method GetState for service enterprise_v2.API",
        client.enterprise.get_state,
    )
    expect(grpc.StatusCode.UNIMPLEMENTED, "PutCache", lambda: client.pfs.put_cache(key="k"))


def projects(client, _):
    project = pfs.Project(name="sdk")
    assert not client.pfs.project_exists(project)
    client.pfs.create_project(project=project, description="for the SDK")
    assert client.pfs.project_exists(project)
    assert client.pfs.inspect_project(project=project).description == "for the SDK"
    names = [info.project.name for info in client.pfs.list_project()]
    assert {"default", "sdk"} <= set(names), names
    repo = pfs.Repo.from_uri("sdk/inside")
    client.pfs.create_repo(repo=repo)
    expect(grpc.StatusCode.ALREADY_EXISTS, "repo sdk/inside already exists",
           lambda: client.pfs.create_repo(repo=repo))
    assert [i.repo.name for i in client.pfs.list_repo(projects=[project])] == ["inside"]
    client.pfs.delete_repo(repo=repo)
    client.pfs.delete_project(project=project)
    assert not client.pfs.project_exists(project)


def repos(client, _):
    repo = pfs.Repo.from_uri("images")
    assert not client.pfs.repo_exists(repo)
    expect(grpc.StatusCode.NOT_FOUND, "repo default/images not found",
           lambda: client.pfs.inspect_repo(repo=repo))
    client.pfs.create_repo(repo=repo, description="first")
    client.pfs.create_repo(repo=repo, description="second", update=True)
    info = client.pfs.inspect_repo(repo=repo)
    assert info.description == "second" and info.repo.type == "user", info
    assert "images" in [i.repo.name for i in client.pfs.list_repo()]
    assert client.pfs.delete_repo(repo=repo).deleted
    assert not client.pfs.delete_repo(repo=repo).deleted


def commits(client, _):
    repo = pfs.Repo.from_uri("data")
    client.pfs.create_repo(repo=repo)
    branch = pfs.Branch.from_uri("data@master")
    first = client.pfs.start_commit(branch=branch, description="by hand")
    client.pfs.put_file_from_bytes(commit=first, path="/greeting", data=b"hello")
    assert client.pfs.inspect_commit(commit=first).finished.year < 1990
    client.pfs.finish_commit(commit=first)
    info = client.pfs.wait_commit(first)
    assert info.commit.id == first.id and info.description == "by hand", info
    assert info.details.size_bytes == 5, info
    expect(grpc.StatusCode.FAILED_PRECONDITION, "has already finished",
           lambda: client.pfs.finish_commit(commit=first))

    with client.pfs.commit(branch=branch) as second:
        second.put_file_from_bytes("/dir/more", b"more")
    second.wait()
    assert [i.commit.id for i in second.wait_all()] == [second.id]
    assert client.pfs.inspect_commit(commit=second).parent_commit.id == first.id
    assert client.pfs.inspect_commit(commit=first).child_commits[0].id == second.id
    ids = [i.commit.id for i in client.pfs.list_commit(repo=repo)]
    assert ids == [second.id, first.id], ids
    ids = [i.commit.id for i in client.pfs.list_commit(repo=repo, number=1)]
    assert ids == [second.id], ids
    assert client.pfs.commit_exists(pfs.Commit.from_uri("data@master^"))
    assert not client.pfs.commit_exists(pfs.Commit.from_uri("data@" + "0" * 12 + "4" + "0" * 19))
    assert client.pfs.inspect_commit(commit=pfs.Commit.from_uri("data@master.1")).commit.id == first.id
    sets = [s.commit_set.id for s in client.pfs.list_commit_set()]
    assert sets[:2] == [second.id, first.id], sets
    following = client.pfs.subscribe_commit(repo=repo, branch="master",
                                            state=pfs.CommitState.FINISHED)
    assert [next(following).commit.id for _ in range(2)] == [first.id, second.id]


def files(client, scratch):
    client.pfs.create_repo(repo=pfs.Repo.from_uri("files"))
    branch = pfs.Branch.from_uri("files@master")
    big = os.urandom(1 << 20) * 45
    with client.pfs.commit(branch=branch) as commit:
        commit.put_file_from_bytes("/a", b"one")
        commit.put_file_from_bytes("/a", b"two", append=True)
        commit.put_file_from_bytes("/b", b"first")
        commit.put_file_from_bytes("/b", b"second")
        commit.put_file_from_bytes("/empty", b"")
        commit.put_file_from_file(path="/big", file=io.BytesIO(big))
        for at in range(3):
            commit.put_file_from_bytes(f"/dir/sub/{at}.txt", b"%d" % at)
    assert read(client, "files@master:/a") == b"onetwo"
    assert read(client, "files@master:/b") == b"second"
    assert read(client, "files@master:/empty") == b""
    assert read(client, "files@master:/big") == big
    parts = client.pfs.get_file(file=pfs.File.from_uri("files@master:/big"), offset=len(big) - 3)
    assert b"".join(part.value for part in parts) == big[-3:]
    assert listed(client, "files@master:/") == ["/a", "/b", "/big", "/dir/", "/empty"]
    assert listed(client, "files@master:/dir/sub") == [f"/dir/sub/{at}.txt" for at in range(3)]

    info = client.pfs.inspect_file(file=pfs.File.from_uri("files@master:/dir"))
    assert info.file_type == pfs.FileType.DIR and info.file.path == "/dir/", info
    assert info.size_bytes == 3, info
    info = client.pfs.inspect_file(file=pfs.File.from_uri("files@master:/big"))
    assert info.size_bytes == len(big) and info.file_type == pfs.FileType.FILE, info
    assert len(info.hash) == 32, info
    assert client.pfs.path_exists(pfs.File.from_uri("files@master:/a"))
    assert not client.pfs.path_exists(pfs.File.from_uri("files@master:/nothing"))
    expect(grpc.StatusCode.NOT_FOUND, "file /nothing not found in repo default/files at commit",
           lambda: client.pfs.inspect_file(file=pfs.File.from_uri("files@master:/nothing")))

    walked = [i.file.path for i in client.pfs.walk_file(file=pfs.File.from_uri("files@master:/dir"))]
    assert walked == ["/dir/", "/dir/sub/"] + [f"/dir/sub/{at}.txt" for at in range(3)], walked
    head = pfs.Commit.from_uri("files@master")
    globbed = [i.file.path for i in client.pfs.glob_file(commit=head, pattern="/dir/*/[12].txt")]
    assert globbed == ["/dir/sub/1.txt", "/dir/sub/2.txt"], globbed
    globbed = [i.file.path for i in client.pfs.glob_file(commit=head, pattern="/*")]
    assert globbed == ["/a", "/b", "/big", "/dir/", "/empty"], globbed

    with client.pfs.pfs_tar_file(file=pfs.File.from_uri("files@master:/dir")) as tar:
        out = os.path.join(scratch, "untarred")
        tar.extractall(out)
    with open(os.path.join(out, "dir/sub/2.txt"), "rb") as file:
        assert file.read() == b"2"

    with client.pfs.commit(branch=branch) as commit:
        commit.delete_file(path="/dir/sub/1.txt")
        commit.copy_file(src=pfs.File.from_uri("files@master:/a"), dst="/copy")
        commit.put_file_from_bytes("/b", b"third")
    changes = {}
    for change in client.pfs.diff_file(new_file=pfs.File.from_uri("files@master:/")):
        new, old = change.new_file.file.path, change.old_file.file.path
        changes[new or old] = (bool(new), bool(old))
    files = {path: sides for path, sides in changes.items() if not path.endswith("/")}
    assert files == {"/copy": (True, False), "/b": (True, True),
                     "/dir/sub/1.txt": (False, True)}, changes
    found = list(client.pfs.find_commits(start=head, file_path="/b"))
    assert sum(1 for answer in found if answer.found_commit.id) == 2, found

    source = os.path.join(scratch, "source")
    os.makedirs(os.path.join(source, "x/y"))
    for name in ("1", "x/2", "x/y/3"):
        with open(os.path.join(source, name), "w") as file:
            file.write(name)
    with client.pfs.commit(branch=branch) as commit:
        commit.put_files(source=source, path="/tree")
    assert read(client, "files@master:/tree/x/y/3") == b"x/y/3"


def urls(client, scratch):
    directory = os.path.join(scratch, "served")
    os.makedirs(directory)
    with open(os.path.join(directory, "page.txt"), "w") as file:
        file.write("served")

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, directory=directory, **kwargs)

        def log_message(self, *_):
            pass

    web = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=web.serve_forever, daemon=True).start()
    client.pfs.create_repo(repo=pfs.Repo.from_uri("urls"))
    url = f"http://127.0.0.1:{web.server_port}/page.txt"
    with client.pfs.commit(branch=pfs.Branch.from_uri("urls@master")) as commit:
        commit.put_file_from_url(path="/page", url=url)
    assert read(client, "urls@master:/page") == b"served"
    web.shutdown()


def streams(client, _):
    """Several paths interleaved in one stream; a stream to a branch is a commit."""
    client.pfs.create_repo(repo=pfs.Repo.from_uri("streams"))
    to = pfs.Commit(branch=pfs.Branch.from_uri("streams@master"))
    add = lambda path, data: pfs.ModifyFileRequest(add_file=pfs.AddFile(path=path, raw=data))
    requests = [
        pfs.ModifyFileRequest(set_commit=to),
        add("/x", b"1"), add("/y", b"a"), add("/x", b"2"), add("/y", b"b"),
        pfs.ModifyFileRequest(delete_file=pfs.DeleteFile(path="/y")), add("/y", b"c"),
    ]
    client.pfs.modify_file(iter(requests))
    assert read(client, "streams@master:/x") == b"12"
    assert read(client, "streams@master:/y") == b"c"
    before = [i.commit.id for i in client.pfs.list_commit(repo=to.branch.repo)]
    assert len(before) == 1, before

    def breaks():
        yield pfs.ModifyFileRequest(set_commit=to)
        yield add("/half", b"half")
        yield add("/../escape", b"no")

    expect(grpc.StatusCode.INVALID_ARGUMENT, "escape", lambda: client.pfs.modify_file(breaks()))
    assert [i.commit.id for i in client.pfs.list_commit(repo=to.branch.repo)] == before
    assert not client.pfs.path_exists(pfs.File.from_uri("streams@master:/half"))


def branches(client, _):
    repo = pfs.Repo.from_uri("branches")
    client.pfs.create_repo(repo=repo)
    first = put(client, "branches@master", a=b"1")
    second = put(client, "branches@master", a=b"2")
    staging = pfs.Branch.from_uri("branches@staging")
    client.pfs.create_branch(branch=staging, head=pfs.Commit(id=first.id, repo=repo))
    assert client.pfs.inspect_branch(branch=staging).head.id == first.id
    assert read(client, "branches@staging:/a") == b"1"
    names = sorted(i.branch.name for i in client.pfs.list_branch(repo=repo))
    assert names == ["master", "staging"], names
    assert client.pfs.branch_exists(staging)
    client.pfs.delete_branch(branch=staging)
    assert not client.pfs.branch_exists(staging)
    expect(grpc.StatusCode.NOT_FOUND, "not found",
           lambda: client.pfs.inspect_branch(branch=staging))
    client.pfs.squash_commit_set(commit_set=pfs.CommitSet(id=first.id))
    assert [i.commit.id for i in client.pfs.list_commit(repo=repo)] == [second.id]
    client.pfs.drop_commit_set(commit_set=pfs.CommitSet(id=second.id))
    assert [i.commit.id for i in client.pfs.list_commit(repo=repo)] == []


def transactions(client, _):
    project = pfs.Project(name="default")
    names = ["txn-a", "txn-b"]
    with client.transaction.transaction() as txn:
        for name in names:
            client.pfs.create_repo(repo=pfs.Repo(name=name, type="user", project=project))
        expect(grpc.StatusCode.ALREADY_EXISTS, "repo default/txn-a already exists",
               lambda: client.pfs.create_repo(repo=pfs.Repo.from_uri("txn-a")))
        expect(grpc.StatusCode.UNIMPLEMENTED, "CreateProject cannot be part of a transaction",
               lambda: client.pfs.create_project(project=pfs.Project(name="never")))
        assert not client.pfs.repo_exists(pfs.Repo.from_uri("txn-a"))
        info = client.transaction.inspect_transaction(transaction=txn)
        assert len(info.requests) == 2 and len(info.responses) == 2, info
        assert txn.id in [t.transaction.id for t in
                          client.transaction.list_transaction().transaction_info]
    assert all(client.pfs.repo_exists(pfs.Repo.from_uri(name)) for name in names)
    assert not client.transaction.transaction_exists(txn)

    # Commits made in a transaction have one id, known from the start.
    with client.transaction.transaction() as txn:
        with client.pfs.commit(branch=pfs.Branch.from_uri("txn-a@master")) as first:
            pass
        with client.pfs.commit(branch=pfs.Branch.from_uri("txn-b@master")) as second:
            pass
        client.pfs.create_branch(branch=pfs.Branch.from_uri("txn-a@side"),
                                 head=pfs.Commit.from_uri("txn-a@master"))
        assert first.id == second.id == txn.id, (first, second, txn)
        assert not client.pfs.branch_exists(pfs.Branch.from_uri("txn-a@master"))
    first.wait()
    found = {i.commit.repo.name for i in
             client.pfs.inspect_commit_set(commit_set=pfs.CommitSet(id=txn.id))}
    assert found == set(names), found
    assert client.pfs.inspect_branch(branch=pfs.Branch.from_uri("txn-a@side")).head.id == txn.id

    # Files are put into open commits of a transaction once it has finished.
    with client.transaction.transaction() as txn:
        opened = client.pfs.start_commit(branch=pfs.Branch.from_uri("txn-a@master"))
    client.pfs.put_file_from_bytes(commit=opened, path="/file", data=b"put")
    client.pfs.finish_commit(commit=opened)
    assert read(client, "txn-a@master:/file") == b"put"

    # What fails leaves nothing behind.
    try:
        with client.transaction.transaction() as txn:
            client.pfs.create_repo(repo=pfs.Repo.from_uri("txn-c"))
            raise KeyError("changed my mind")
    except KeyError:
        pass
    assert not client.pfs.repo_exists(pfs.Repo.from_uri("txn-c"))
    expect(grpc.StatusCode.NOT_FOUND, txn.id,
           lambda: client.transaction.finish_transaction(transaction=txn))
    client.transaction_id = None

    # Finishing is all or nothing, on what is there then.
    txn = client.transaction.start_transaction()
    client.pfs.create_repo(repo=pfs.Repo.from_uri("txn-d"))
    client.pfs.create_repo(repo=pfs.Repo.from_uri("txn-e"))
    client.transaction_id = ""
    client.pfs.create_repo(repo=pfs.Repo.from_uri("txn-e"))
    expect(grpc.StatusCode.ALREADY_EXISTS, "txn-e",
           lambda: client.transaction.finish_transaction(transaction=txn))
    assert not client.pfs.repo_exists(pfs.Repo.from_uri("txn-d"))
    client.pfs.delete_repo(repo=pfs.Repo.from_uri("txn-e"))
    client.transaction.finish_transaction(transaction=txn)
    client.transaction_id = None
    assert client.pfs.repo_exists(pfs.Repo.from_uri("txn-d"))

    from pachyderm_sdk.api import transaction
    create = lambda name: transaction.TransactionRequest(
        create_repo=pfs.CreateRepoRequest(repo=pfs.Repo.from_uri(name)))
    start = transaction.TransactionRequest(
        start_commit=pfs.StartCommitRequest(branch=pfs.Branch.from_uri("txn-f@master")))
    done = client.transaction.batch_transaction(requests=[create("txn-f"), start])
    assert done.responses[1].commit.id == done.transaction.id, done
    assert client.pfs.inspect_branch(branch=pfs.Branch.from_uri("txn-f@master")).head.id \
        == done.transaction.id
    expect(grpc.StatusCode.ALREADY_EXISTS, "txn-f", lambda: client.transaction.batch_transaction(
        requests=[create("txn-g"), create("txn-f")]))
    assert not client.pfs.repo_exists(pfs.Repo.from_uri("txn-g"))
    expect(grpc.StatusCode.UNIMPLEMENTED, "StopJob", lambda: client.transaction.batch_transaction(
        requests=[transaction.TransactionRequest(stop_job=pps.StopJobRequest(reason="x"))]))

    client.transaction.start_transaction()
    client.transaction_id = None
    client.transaction.delete_all()
    assert not client.transaction.list_transaction().transaction_info


def pipelines_in_transactions(client, _):
    """A repo, its data and what reads it, in one step: one job."""
    copy = lambda repo: dict(
        transform=pps.Transform(cmd=["/bin/sh"], stdin=[f"cp -r /pfs/{repo}/. /pfs/out/"]),
        input=pps.Input(pfs=pps.PfsInput(repo=repo, glob="/")),
    )
    with client.transaction.transaction() as txn:
        client.pfs.create_repo(repo=pfs.Repo.from_uri("at-once"))
        with client.pfs.commit(branch=pfs.Branch.from_uri("at-once@master")):
            pass
        client.pps.create_pipeline(pipeline=pps.Pipeline(name="one"), **copy("at-once"))
        client.pps.create_pipeline(pipeline=pps.Pipeline(name="two"), **copy("one"))
        assert not client.pps.pipeline_exists(pps.Pipeline(name="one"))
    jobs = list(client.pps.inspect_job_set(job_set=pps.JobSet(id=txn.id), wait=True))
    assert sorted(job.job.pipeline.name for job in jobs) == ["one", "two"], jobs
    assert {job.state for job in jobs} == {pps.JobState.JOB_SUCCESS}, jobs
    with client.transaction.transaction():
        client.pps.create_pipeline(pipeline=pps.Pipeline(name="two"), update=True, **copy("one"))
    assert client.pps.inspect_pipeline(pipeline=pps.Pipeline(name="two")).version == 2
    for name in ("two", "one"):
        client.pps.delete_pipeline(pipeline=pps.Pipeline(name=name))


def file_sets(client, _):
    repo = pfs.Repo.from_uri("sets")
    client.pfs.create_repo(repo=repo)
    add = lambda path, data: pfs.ModifyFileRequest(add_file=pfs.AddFile(path=path, raw=data))
    put = lambda *files: client.pfs.create_file_set(iter([add(*f) for f in files])).file_set_id
    first = put(("/a", b"one"), ("/dir/b", b"two"), ("/dir-c", b"three"))
    second = put(("/a", b"other"), ("/d", b"four"))
    paths = lambda id: [i.file.path for i in client.pfs.walk_file(
        file=pfs.File(commit=pfs.Commit(id=id, repo=pfs.Repo(name="__filesets__")), path="/"))]
    assert paths(first) == ["/", "/a", "/dir/", "/dir/b", "/dir-c"], paths(first)
    both = client.pfs.compose_file_set(file_set_ids=[first, second], ttl_seconds=60).file_set_id
    client.pfs.renew_file_set(file_set_id=both, ttl_seconds=600)
    in_set = lambda path: pfs.File(commit=pfs.Commit(id=both), path=path)
    assert [i.file.path for i in client.pfs.list_file(file=in_set("/"))] \
        == ["/a", "/d", "/dir/", "/dir-c"]
    with client.pfs.pfs_file(file=in_set("/a")) as file:
        assert file.read() == b"other"
    shards = client.pfs.shard_file_set(file_set_id=both, num_files=2).shards
    assert len(shards) == 2, shards
    globbed = [i.file.path for shard in shards for i in client.pfs.glob_file(
        commit=pfs.Commit(id=both), pattern="/**", path_range=shard) if i.file_type == 1]
    assert globbed == ["/a", "/d", "/dir/b", "/dir-c"], globbed
    commit = client.pfs.start_commit(branch=pfs.Branch.from_uri("sets@master"))
    client.pfs.add_file_set(commit=commit, file_set_id=both)
    client.pfs.finish_commit(commit=commit)
    assert read(client, "sets@master:/dir/b") == b"two"
    whole = client.pfs.get_file_set(commit=commit).file_set_id
    assert paths(whole) == paths(both)
    expect(grpc.StatusCode.NOT_FOUND, "file set", lambda: client.pfs.renew_file_set(
        file_set_id="0" * 32, ttl_seconds=1))
    expect(grpc.StatusCode.FAILED_PRECONDITION, "has already finished",
           lambda: client.pfs.add_file_set(commit=commit, file_set_id=both))

    from pachyderm_sdk.api import storage
    append = lambda path, data: storage.CreateFilesetRequest(
        append_file=storage.AppendFile(path=path, data=data))
    third = client.storage.create_fileset(iter([
        append("/x", b"1"), append("/x", b"2"), append("/y", b""),
        storage.CreateFilesetRequest(copy_file=storage.CopyFile(fileset_id=both, src="/dir")),
    ])).fileset_id
    contents = {m.path: m.data for m in client.storage.read_fileset(fileset_id=third)}
    assert contents == {"/x": b"12", "/y": b"", "/dir/b": b"two"}, contents
    only = storage.FileFilter(path_regex="^/dir/")
    assert [m.path for m in client.storage.read_fileset(fileset_id=third, filters=[only])] \
        == ["/dir/b"]
    client.storage.renew_fileset(fileset_id=third, ttl_seconds=60)
    fourth = client.storage.compose_fileset(fileset_ids=[third, second], ttl_seconds=60)
    shards = client.storage.shard_fileset(fileset_id=fourth.fileset_id, size_bytes=4).shards
    assert shards[0].lower == "" and shards[-1].upper == "" and len(shards) > 1, shards


def defaults(client, _):
    import json
    set_cluster = lambda spec, **how: client.pps.set_cluster_defaults(
        cluster_defaults_json=json.dumps({"createPipelineRequest": spec}), **how)
    assert json.loads(client.pps.get_cluster_defaults().cluster_defaults_json) == {}
    client.pfs.create_repo(repo=pfs.Repo.from_uri("plain"))
    set_cluster({"datumTries": "5", "transform": {"env": {"A": "cluster", "B": "cluster"}}})
    project = pfs.Project(name="default")
    client.pps.set_project_defaults(project=project, project_defaults_json=json.dumps(
        {"create_pipeline_request": {"transform": {"env": {"B": "project"}}}}))
    shown = json.loads(client.pps.get_project_defaults(project=project).project_defaults_json)
    assert shown["create_pipeline_request"]["transform"]["env"] == {"B": "project"}, shown
    user = {
        "pipeline": {"name": "lean"},
        "transform": {"cmd": ["true"], "env": {"C": "spec"}},
        "input": {"pfs": {"repo": "plain", "glob": "/"}},
    }
    create = lambda **how: client.pps.create_pipeline_v2(
        create_pipeline_request_json=json.dumps(user), **how)
    effective = json.loads(create().effective_create_pipeline_request_json)
    env = {"A": "cluster", "B": "project", "C": "spec"}
    assert effective["transform"]["env"] == env and effective["datum_tries"] == "5", effective
    lean = pps.Pipeline(name="lean", project=project)
    info = client.pps.inspect_pipeline(pipeline=lean, details=True)
    assert json.loads(info.user_spec_json) == user, info.user_spec_json
    assert json.loads(info.effective_spec_json)["transform"]["env"] == env, info
    assert info.details.datum_tries == 5 and info.details.transform.env == env, info

    dry = set_cluster({"datum_tries": 7}, dry_run=True)
    assert [p.name for p in dry.affected_pipelines] == ["lean"], dry
    assert "7" not in client.pps.get_cluster_defaults().cluster_defaults_json
    set_cluster({"datum_tries": 7})
    assert client.pps.inspect_pipeline(pipeline=lean).version == 1
    done = set_cluster({"datum_tries": 8}, regenerate=True)
    assert [p.name for p in done.affected_pipelines] == ["lean"], done
    info = client.pps.inspect_pipeline(pipeline=lean, details=True)
    assert info.version == 2 and info.details.datum_tries == 8, info
    assert info.details.transform.env == {"B": "project", "C": "spec"}, info
    again = set_cluster({"datum_tries": 8}, regenerate=True)
    assert again.affected_pipelines == [], again

    for bad, text in [({"datum_trys": 1}, "datum_trys"), ({"input": {}}, "input")]:
        expect(grpc.StatusCode.INVALID_ARGUMENT, text, lambda: set_cluster(bad))
    expect(grpc.StatusCode.INVALID_ARGUMENT, "unknown field", lambda:
           client.pps.set_cluster_defaults(cluster_defaults_json='{"x": {}}'))
    client.pps.delete_pipeline(pipeline=lean)


def pipelines(client, _):
    repo = pfs.Repo.from_uri("numbers")
    client.pfs.create_repo(repo=repo)
    put(client, "numbers@master", one=b"1\n", two=b"2\n")
    client.pps.create_secret(name="sdk-secret", data={"word": "hush"})
    secrets = client.pps.list_secret().secret_info
    assert [s.secret.name for s in secrets] == ["sdk-secret"], secrets
    double = pps.Pipeline(name="double", project=pfs.Project(name="default"))
    spec = dict(
        pipeline=double,
        transform=pps.Transform(
            cmd=["/bin/sh"],
            stdin=[
                "echo working on $numbers",
                'for file in /pfs/numbers/*; do',
                '  echo $(( $(cat "$file") * 2 )) > /pfs/out/$(basename "$file")',
                "done",
                'test "$WORD" = hush',
            ],
            secrets=[pps.SecretMount(name="sdk-secret", key="word", env_var="WORD")],
        ),
        input=pps.Input(pfs=pps.PfsInput(repo="numbers", glob="/*")),
        datum_timeout=datetime.timedelta(minutes=5),
    )
    client.pps.create_pipeline(**spec)
    assert client.pps.pipeline_exists(double)
    info = client.pps.inspect_pipeline(pipeline=double, details=True)
    assert info.version == 1 and info.details.input.pfs.glob == "/*", info
    assert info.details.transform.cmd == ["/bin/sh"], info
    assert info.details.datum_timeout == datetime.timedelta(minutes=5), info
    assert [i.pipeline.name for i in client.pps.list_pipeline()] == ["double"]

    jobs = list(client.pps.list_job(pipeline=double))
    assert len(jobs) == 1, jobs
    job = client.pps.inspect_job(job=jobs[0].job, wait=True, details=True)
    assert job.state == pps.JobState.JOB_SUCCESS, job
    assert (job.data_processed, job.data_total) == (2, 2), job
    assert read(client, "double@master:/one") == b"2\n"

    datums = list(client.pps.list_datum(job=job.job))
    assert [d.state for d in datums] == [pps.DatumState.SUCCESS] * 2, datums
    inspected = client.pps.inspect_datum(datum=datums[0].datum)
    assert inspected.data[0].file.path in ("/one", "/two"), inspected
    lines = [line.message for line in client.pps.get_logs(job=job.job)]
    assert sum("working on /pfs/numbers/" in line for line in lines) == 2, lines
    only = [line.message for line in client.pps.get_logs(datum=datums[0].datum)]
    assert sum("working on /pfs/numbers/" in line for line in only) == 1, only

    commit = put(client, "numbers@master", two=b"20\n")
    infos = commit.wait_all()
    assert {i.commit.repo.name for i in infos} >= {"numbers", "double"}, infos
    assert {i.commit.id for i in infos} == {commit.id}, infos
    job = client.pps.inspect_job(job=pps.Job(pipeline=double, id=commit.id), wait=True)
    assert (job.data_processed, job.data_skipped, job.data_total) == (1, 1, 2), job
    assert read(client, "double@master:/two") == b"40\n"
    out = client.pfs.inspect_commit(commit=pfs.Commit.from_uri("double@master"))
    sources = {c.repo.name for c in out.direct_provenance}
    assert "numbers" in sources, out
    jobs = list(client.pps.inspect_job_set(job_set=pps.JobSet(id=commit.id)))
    assert [j.job.pipeline.name for j in jobs] == ["double"], jobs

    client.pps.create_pipeline(**spec, update=True, reprocess=True)
    assert client.pps.inspect_pipeline(pipeline=double).version == 2
    client.pps.stop_pipeline(pipeline=double)
    assert client.pps.inspect_pipeline(pipeline=double).stopped
    client.pps.start_pipeline(pipeline=double)
    assert not client.pps.inspect_pipeline(pipeline=double).stopped
    expect(grpc.StatusCode.NOT_FOUND, "pipeline default/nobody not found",
           lambda: client.pps.inspect_pipeline(pipeline=pps.Pipeline(name="nobody")))
    client.pps.delete_pipeline(pipeline=double)
    assert not client.pps.pipeline_exists(double)
    client.pps.delete_secret(secret=pps.Secret(name="sdk-secret"))


def main():
    address, scratch, parts = sys.argv[1], sys.argv[2], sys.argv[3:]
    client = Client.from_pachd_address(address)
    for part in parts:
        started = time.monotonic()
        globals()[part](client, scratch)
        print(f"{part}: ok ({time.monotonic() - started:.1f} s)", flush=True)


main()
