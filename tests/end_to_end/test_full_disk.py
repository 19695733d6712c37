"""A full disk: what is there is read and served, what cannot be written is told once, by code, and counted."""

import json
import random
import subprocess

import pytest

from harness import binary
from harness.server import HanokServer

DECLARED = """\
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: origin}
spec: {type: string}
---
apiVersion: hanok.dev/v1
kind: OnlineStore
metadata: {name: local}
spec: {embedded: {path: PLACE}}
---
apiVersion: hanok.dev/v1
kind: FeatureView
metadata: {name: weather}
spec: {entities: [origin], store: local, owner: flights, features: [{name: warm, type: float32}]}
---
apiVersion: hanok.dev/v1
kind: FeatureService
metadata: {name: delay}
spec: {owner: flights, features: [weather:warm], deadline_milliseconds: 5000}
"""


@pytest.fixture
def disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode != 0:
        pytest.skip("this account may not mount a small disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(disk):
    with open(disk / "filler", "wb", buffering=0) as filler:
        try:
            while filler.write(bytes(512)):
                pass
        except OSError:
            pass


def features(*arguments, given=None):
    command = [str(binary()), "features", *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, text=True, timeout=60, check=False)


def ride(repository):
    tensors = {"inputs": [("warm", "FP32", [1])], "outputs": [("warm_seen", "FP32", [1])]}
    return repository.add("ride", **tensors, parameters={"feature_service": "delay"}, config="dynamic_batching { }")


def ask(server, origin="JFK"):
    inputs = [{"name": "origin", "datatype": "BYTES", "shape": [1, 1], "data": [origin]}]
    reply = server.post("/v2/models/ride/infer", {"inputs": inputs})
    assert reply.status == 200, reply.body
    return json.loads(reply.body)["outputs"][0]["data"][0]


def test_a_server_starts_and_commands_read_on_a_full_disk(disk, tmp_path, repository):
    declared = tmp_path / "features.yaml"
    declared.write_text(DECLARED.replace("PLACE", str(disk / "rows.db")))
    put = lambda warm: features("put", "-f", declared, "weather", "-", given=json.dumps({"origin": "JFK", "warm": warm}))
    done = put(1.5)
    assert done.returncode == 0, done.stderr
    flags = ["--features", str(declared), "--admin-port", "0", "--state", str(disk / "state.sqlite")]
    with HanokServer(ride(repository), *flags) as server:
        server.signal()
        assert server.exit_code() == 0
    fill(disk)
    got = features("get", "-f", declared, "delay", '{"origin": "JFK"}')
    assert got.returncode == 0 and json.loads(got.stdout)["warm"]["value"] == 1.5, got
    refused = put(2.5)
    assert refused.returncode == 1, refused
    assert "no space is left; free some on its disk" in refused.stderr and refused.stderr.endswith(" (resource_exhausted)\n"), refused.stderr
    with HanokServer(repository, *flags) as server:
        assert ask(server) == 1.5
        (disk / "filler").unlink()
        assert put(2.5).returncode == 0
        server.await_true(lambda: ask(server) == 2.5, "the row that was written when there was room again")


def test_the_log_of_served_features_counts_what_is_durable(disk, tmp_path, repository):
    declared = tmp_path / "features.yaml"
    declared.write_text(DECLARED.replace("PLACE", str(tmp_path / "rows.db")))
    done = features("put", "-f", declared, "weather", "-", given=json.dumps({"origin": "JFK", "warm": 1.5}))
    assert done.returncode == 0, done.stderr
    log = disk / "log"
    count = lambda name: server.metrics().value(f"hanok_feature_log_{name}_total")
    lines = lambda: [json.loads(line) for file in sorted(log.iterdir()) for line in file.read_text().splitlines()]
    with HanokServer(ride(repository), "--features", str(declared), "--feature-log", str(log)) as server:
        for _ in range(10):
            ask(server)
        server.await_true(lambda: count("rows") == 10, "the rows that there is room for")
        fill(disk)
        for _ in range(60):
            ask(server)
        server.await_true(lambda: count("rows") + count("dropped_rows") == 70, "every row to be counted")
        assert count("dropped_rows") > 0
        assert len(lines()) == count("rows"), "a row that counts is there, whole"
        told = [line for line in server.log().splitlines() if "the log of served features cannot be written" in line]
        assert len(told) == 1 and "ERROR" in told[0], told
        (disk / "filler").unlink()
        before = count("rows")
        ask(server)
        server.await_true(lambda: count("rows") == before + 1, "a row, now that there is room again")
        assert len(lines()) == count("rows")


def test_a_join_that_fills_its_disk_says_which_and_leaves_nothing(disk, tmp_path):
    declared = tmp_path / "features.yaml"
    source = "source: {path: weather.csv, event_time: observed}"
    declared.write_text(DECLARED.replace("PLACE", str(tmp_path / "rows.db")).replace("owner: flights, features: [{", f"owner: flights, {source}, features: [{{"))
    (tmp_path / "weather.csv").write_text("origin,observed,warm\nJFK,2013-01-01,1.5\n")
    noise = random.Random(7)
    rows = "".join(f"JFK,2013-01-02,{noise.getrandbits(256):064x}\n" for _ in range(30_000))
    (tmp_path / "entities.csv").write_text("origin,event_timestamp,note\n" + rows)
    for kind in ("csv", "parquet"):
        out = disk / f"out.{kind}"
        done = features("join", "-f", declared, "--features", "weather:*", "--entities", tmp_path / "entities.csv", "--out", out)
        assert done.returncode == 1, done.stdout
        assert f"`{out}`: no space is left where it is written; free some there, and run it again (resource_exhausted)\n" in done.stderr
        assert list(disk.iterdir()) == []


def test_a_lock_file_on_a_full_disk_is_told_as_what_it_is(disk, repository):
    ride(repository)
    lock = lambda file: subprocess.run([binary(), "lock", "--model-repository", repository.path, "--file", file], capture_output=True, text=True, timeout=60, check=False)
    assert lock(disk / "hanok.lock").returncode == 0
    before = (disk / "hanok.lock").read_text()
    (repository.path / "ride" / "2").mkdir()
    fill(disk)
    done = lock(disk / "hanok.lock")
    assert done.returncode == 1, done.stdout
    assert "no space is left for the lock file; free some where it is to lie, or give another `--file`" in done.stderr, done.stderr
    assert done.stderr.endswith(" (resource_exhausted)\n")
    assert sorted(path.name for path in disk.iterdir()) == ["filler", "hanok.lock"], "nothing is left"
    assert (disk / "hanok.lock").read_text() == before
    (disk / "filler").unlink()
    assert lock(disk / "hanok.lock").returncode == 0 and (disk / "hanok.lock").read_text() != before
