"""A watched alias of a real MLflow server: when it moves, the new version becomes a canary, and nothing is lost meanwhile."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

from harness import ModelRepository
from harness.control import ControlledServer
from harness.held_proxy import HeldProxy
from harness.load import in_background
from harness.mlflow_server import MlflowServer
from harness.server import binary

PLAN = """
apiVersion: hanok.dev/v1
kind: Traffic
metadata: {name: adder}
spec: {arms: [{name: any, weight: 100}], tell: true}
---
apiVersion: hanok.dev/v1
kind: Rollout
metadata: {name: adder}
spec:
  traffic: adder
  baseline: any
  candidate: other
  steps: [{weight: 20, minimum_samples: 100000}]
  metrics: [{name: errors, kind: error_rate}]
"""


@pytest.fixture(scope="module")
def mlflow():
    with MlflowServer() as server:
        server.log_models("adder", [1, 2, 3], other_flavour=True)
        yield server


def watching(
    mlflow, folder, *arguments, plan: str = PLAN, source: str = "mlflow://adder@champion", uri: str = ""
) -> ControlledServer:
    (folder / "plan.yaml").write_text(plan)
    flags = ["--watch", f"{source}=adder", "--watch-plan", str(folder / "plan.yaml"), "--registry", str(folder / "registry")]
    return ControlledServer(
        ModelRepository(folder / "models"),
        folder / "state.sqlite",
        *flags,
        *("--allow-private", "127.0.0.1"),
        *arguments,
        environment={"MLFLOW_TRACKING_URI": uri or mlflow.url},
    )


def ask(server):
    return server.infer("adder", {"x": ("FP32", [1, 4], [0.0, 1.0, 2.0, 3.0])})


def addend(reply) -> float:
    """Which of the models answered, from what it computed."""
    assert reply.status == 200, reply
    return reply.json()["outputs"][0]["data"][0]


def rollout(server) -> dict | None:
    found = json.loads(server.administer("GET", "/v1/rollouts").body)["rollouts"]
    return found[0] if found else None


def served(server, value: float):
    server.await_true(lambda: ask(server).status == 200 and addend(ask(server)) == value, f"version {value}", 60)


def settled(server, value: float):
    """It serves, and the watch is done with it: a version answers a moment before what was noted of its arrival is removed."""
    served(server, value)
    server.await_true(lambda: ") serves" in server.log(), "the watch to be done", 60)


def test_an_alias_that_moves_begins_a_rollout(mlflow, tmp_path):
    mlflow.set_alias("adder", "champion", 1)
    with watching(mlflow, tmp_path) as server:
        served(server, 1.0)
        # The first version serves a moment before its traffic is declared.
        server.await_true(lambda: ask(server).header("hanok-arm") == "v1", "its arm", 30)
        first = []

        def noted():
            reply = ask(server)
            if not first and reply.header("hanok-arm") == "v2":
                first.append(time.monotonic())
            return reply

        with in_background(2, noted) as load:
            begun = time.monotonic()
            mlflow.set_alias("adder", "champion", 2)
            asked = time.monotonic() - begun
            server.await_true(lambda: first, "the first canary request", 30)
            took = first[0] - begun
            server.await_true(lambda: len(load.outcomes) > 1000, "some load")
        print(f"alias move to first canary request: {took:.2f} s, of which MLflow took {asked:.2f} s to move it")
        # Where MLflow itself is slow, on a busy machine, a look takes as long as a dozen calls at most.
        assert took < max(2, 1 + 12 * asked), f"{took:.2f} s, MLflow's own call {asked:.2f} s"
        assert load.failures() == []
        # Who answered is what the arm says, and the baseline keeps its share.
        arms = {(addend(one), one.header("hanok-arm"), one.header("hanok-version")) for one in load.outcomes}
        assert arms == {(1.0, "v1", "1"), (2.0, "v2", "2")}
        assert sum(addend(one) == 1.0 for one in load.outcomes) > len(load.outcomes) / 2
        found = rollout(server)
        assert (found["baseline"], found["candidate"], found["candidate_share_basis_points"]) == ("v1", "v2", 2000), found
        # Moved back: the rollout ends. Moved on: the next one begins from what serves.
        mlflow.set_alias("adder", "champion", 1)
        server.await_true(lambda: rollout(server)["phase"] == "aborted", "the end of the rollout", 30)
        # The table follows its decision.
        server.await_true(lambda: {addend(ask(server)) for _ in range(50)} == {1.0}, "all traffic to what served")
        mlflow.set_alias("adder", "champion", 3)
        server.await_true(lambda: rollout(server)["candidate"] == "v3", "the rollout of version 3", 30)
        server.await_true(lambda: any(addend(ask(server)) == 3.0 for _ in range(20)), "its first request", 30)
        # What serves no more can be pulled again, and is not kept.
        server.await_true(lambda: not (tmp_path / "models" / "adder" / "2").exists(), "version 2 to go", 30)
        assert (tmp_path / "models" / "adder" / "1").exists()
        lock = server.cli("lock", "--model-repository", str(tmp_path / "models"), "--file", str(tmp_path / "hanok.lock"),
                          "--registry", str(tmp_path / "registry"))  # fmt: skip
        assert lock.returncode == 0 and "mlflow://adder/3" in (tmp_path / "hanok.lock").read_text()
    # After a restart it goes on where it was: nothing is declared anew.
    with watching(mlflow, tmp_path) as server:
        before = json.loads(server.administer("GET", "/v1/resources").body)["revision"]
        server.await_true(lambda: "is under way" in server.log(), "the watch to find its rollout", 60)
        found = rollout(server)
        assert (found["baseline"], found["candidate"], found["phase"]) == ("v1", "v3", {"running": {"step": 0}}), found
        assert json.loads(server.administer("GET", "/v1/resources").body)["revision"] == before
        assert {addend(ask(server)) for _ in range(100)} == {1.0, 3.0}


def test_a_candidate_that_wins_is_the_next_baseline(mlflow, tmp_path):
    mlflow.set_alias("adder", "winner", 1)
    plan = PLAN.replace("minimum_samples: 100000", "minimum_duration_seconds: 1")
    plan = plan.replace("metrics:", "on_inconclusive: promote\n  maximum_duration_seconds: 2\n  metrics:")
    with watching(mlflow, tmp_path, plan=plan, source="mlflow://adder@winner") as server:
        served(server, 1.0)
        with in_background(2, lambda: ask(server)) as load:
            mlflow.set_alias("adder", "winner", 2)
            server.await_true(lambda: (rollout(server) or {}).get("phase") == "promoted", "the promotion", 60)
            server.await_true(lambda: {addend(ask(server)) for _ in range(50)} == {2.0}, "all traffic", 30)
            mlflow.set_alias("adder", "winner", 3)
            server.await_true(lambda: rollout(server)["candidate"] == "v3", "the next rollout", 30)
        assert rollout(server)["baseline"] == "v2"
        assert load.failures() == []


def test_what_cannot_be_served_changes_nothing(mlflow, tmp_path):
    mlflow.set_alias("adder", "tried", 1)
    with watching(mlflow, tmp_path, source="mlflow://adder@tried") as server:
        served(server, 1.0)
        mlflow.set_alias("adder", "tried", 4)
        server.await_true(lambda: "python_function" in server.log() and "(unsupported)" in server.log(), "the refusal", 30)
        assert "log_model" in server.log(), "it says how to get ONNX"
        assert addend(ask(server)) == 1.0 and rollout(server) is None
        # The pause after a failure ends when the alias moves.
        mlflow.set_alias("adder", "tried", 2)
        server.await_true(lambda: any(addend(ask(server)) == 2.0 for _ in range(30)), "version 2", 30)


def log_with_a_damaged_version(mlflow, name: str, ballast_bytes: int = 0):
    """Version 1 is good, the graph of version 2 has an operator that nobody has; version 3 is good again. Gives version 2's file."""
    before = mlflow.files()
    mlflow.log_models(name, [1, 2, 3], ballast_bytes=ballast_bytes)
    _, damaged, _ = sorted(mlflow.files() - before, key=lambda file: file.stat().st_mtime_ns)
    whole = damaged.read_bytes()
    damaged.write_bytes(whole.replace(b"Add", b"Odd"))
    assert damaged.read_bytes() != whole
    return damaged


def lying(folder) -> dict[str, bytes]:
    """The model repository, file by file."""
    models = folder / "models"
    return {str(path.relative_to(models)): path.read_bytes() for path in sorted(models.rglob("*")) if path.is_file()}


def refused(server, what: str, times: int = 1):
    server.await_true(lambda: server.log().count(what) >= times, f"{what}, {times} times", 60)


def test_a_damaged_version_leaves_what_serves(mlflow, tmp_path):
    log_with_a_damaged_version(mlflow, "damaged")
    mlflow.set_alias("damaged", "champion", 1)
    source = "mlflow://damaged@champion"
    with watching(mlflow, tmp_path, source=source) as server:
        settled(server, 1.0)
        before = lying(tmp_path)
        with in_background(2, lambda: ask(server)) as load:
            mlflow.set_alias("damaged", "champion", 2)
            # Twice: what failed is tried again, and is no success because nothing changed meanwhile.
            refused(server, "is not in service", 2)
        assert load.failures() == [] and {addend(one) for one in load.outcomes} == {1.0}
        assert lying(tmp_path) == before and rollout(server) is None
        server.signal(signal.SIGTERM)
        server.exit_code()
    # After a restart, while the alias still names it.
    with watching(mlflow, tmp_path, source=source) as server:
        served(server, 1.0)
        refused(server, "is not in service")
        assert addend(ask(server)) == 1.0 and lying(tmp_path) == before
        mlflow.set_alias("damaged", "champion", 1)
        refused(server, ") serves")
        assert addend(ask(server)) == 1.0 and lying(tmp_path) == before
        mlflow.set_alias("damaged", "champion", 3)
        server.await_true(lambda: any(addend(ask(server)) == 3.0 for _ in range(20)), "version 3", 30)


def test_a_version_that_is_mended_at_its_source_comes_into_service(mlflow, tmp_path):
    damaged = log_with_a_damaged_version(mlflow, "mended")
    odd = damaged.read_bytes()
    mlflow.set_alias("mended", "champion", 1)
    source = "mlflow://mended@champion"
    with watching(mlflow, tmp_path, source=source) as server:
        served(server, 1.0)
        # No model at all: nothing is registered, and the next attempt fetches again.
        damaged.write_bytes(random.Random(1).randbytes(4096))
        mlflow.set_alias("mended", "champion", 2)
        refused(server, "(invalid-model)")
        damaged.write_bytes(odd)
        refused(server, "`hanok pull --again` brings it anew")
        damaged.write_bytes(odd.replace(b"Odd", b"Add"))
        # A model by its form: what is registered stays, until somebody asks for it anew.
        command = [str(binary()), "pull", source, "adder", "--registry", str(tmp_path / "registry"), "--allow-private", "127.0.0.1"]
        environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow.url}
        for flags, told in (((), "is here already"), (("--again",), "fetched and registered as")):
            done = subprocess.run([*command, *flags], env=environment, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0 and told in done.stdout, done
        server.await_true(lambda: any(addend(ask(server)) == 2.0 for _ in range(20)), "version 2", 60)


def test_another_signature_is_refused_before_anything_is_touched(mlflow, tmp_path):
    mlflow.log_models("shape", [1])
    mlflow.log_models("shape", [2], width=5)
    mlflow.set_alias("shape", "champion", 1)
    source = "mlflow://shape@champion"
    with watching(mlflow, tmp_path, source=source) as server:
        settled(server, 1.0)
        before, revision = lying(tmp_path), json.loads(server.administer("GET", "/v1/resources").body)["revision"]
        with in_background(2, lambda: ask(server)) as load:
            mlflow.set_alias("shape", "champion", 2)
            refused(server, "(signature-changed)", 2)
        assert "expected FP32[-1,4], got FP32[-1,5]" in server.log()
        assert load.failures() == []
        assert lying(tmp_path) == before and rollout(server) is None
        assert json.loads(server.administer("GET", "/v1/resources").body)["revision"] == revision
    with watching(mlflow, tmp_path, source=source) as server:
        served(server, 1.0)
        refused(server, "(signature-changed)")
        assert addend(ask(server)) == 1.0 and lying(tmp_path) == before


def test_killed_while_a_version_is_brought(mlflow, tmp_path):
    log_with_a_damaged_version(mlflow, "killed", ballast_bytes=40_000_000)
    source, model = "mlflow://killed@champion", tmp_path / "models" / "adder"
    note = tmp_path / "models" / ".hanok-watch-adder.json"
    mlflow.set_alias("killed", "champion", 1)
    with watching(mlflow, tmp_path, source=source) as server:
        settled(server, 1.0)
        assert not note.exists(), "what it noted for the case of its end"
        before = lying(tmp_path)
    stages = {
        "noted": lambda: note.exists(),
        "configured": lambda: "2" in (model / "config.pbtxt").read_text().rsplit("versions", 1)[1],
        "laid": lambda: (model / "2").exists(),
    }
    halfway = 0
    for stage, reached in stages.items():
        with watching(mlflow, tmp_path, source=source) as server:
            served(server, 1.0)
            mlflow.set_alias("killed", "champion", 2)
            server.await_true(reached, stage, 60)
            server.kill()
        halfway += note.exists()
        mlflow.set_alias("killed", "champion", 1)
        with watching(mlflow, tmp_path, source=source) as server:
            # Ready means that it is loaded: nobody has to wait for the watch.
            assert addend(ask(server)) == 1.0, stage
            assert lying(tmp_path) == before, stage
    assert halfway > 0, "the kills came too late"


def test_an_alias_that_moves_back_during_the_download(mlflow, tmp_path):
    mlflow.log_models("slow", [1])
    mlflow.log_models("slow", [2], ballast_bytes=8 << 20)
    mlflow.set_alias("slow", "champion", 1)
    with HeldProxy(mlflow.address) as proxy, watching(mlflow, tmp_path, source="mlflow://slow@champion", uri=proxy.url) as server:
        settled(server, 1.0)
        before = lying(tmp_path)
        mlflow.set_alias("slow", "champion", 2)
        server.await_true(proxy.held.is_set, "the download", 30)
        mlflow.set_alias("slow", "champion", 1)
        refused(server, "is not brought into service")
        server.await_true(lambda: server.log().rsplit("is not brought into service", 1)[1].count(") serves"), "version 1", 30)
        assert not proxy._released.is_set() and lying(tmp_path) == before and rollout(server) is None
        proxy.release()
        # It can still be had.
        mlflow.set_alias("slow", "champion", 2)
        server.await_true(lambda: any(addend(ask(server)) == 2.0 for _ in range(20)), "version 2", 30)


def test_a_lost_state_promotes_no_candidate(mlflow, tmp_path):
    mlflow.set_alias("adder", "forgotten", 1)
    source = "mlflow://adder@forgotten"
    with watching(mlflow, tmp_path, source=source) as server:
        settled(server, 1.0)
        mlflow.set_alias("adder", "forgotten", 2)
        server.await_true(lambda: any(addend(ask(server)) == 2.0 for _ in range(20)), "the canary", 30)
    for path in tmp_path.glob("state.sqlite*"):
        path.unlink()
    with watching(mlflow, tmp_path, source=source) as server:
        server.await_true(lambda: (rollout(server) or {}).get("candidate") == "v2", "the rollout to begin again", 30)
        answers = [addend(ask(server)) for _ in range(200)]
        assert answers.count(1.0) > 100, "most are still served by what served"


def test_a_registry_that_is_gone_changes_nothing(tmp_path):
    with MlflowServer() as mlflow:
        mlflow.log_models("adder", [5])
        mlflow.set_alias("adder", "champion", 1)
        with watching(mlflow, tmp_path) as server:
            settled(server, 5.0)
            mlflow.kill()
            server.await_true(lambda: "cannot be looked at" in server.log(), "the warning", 30)
            assert addend(ask(server)) == 5.0
        # Also for one that starts meanwhile: what lies in the repository is served.
        for flags in ((), ("--model-control-mode", "explicit")):
            with watching(mlflow, tmp_path, *flags) as server:
                served(server, 5.0)


def test_without_permission_nobody_private_is_asked(mlflow, tmp_path):
    mlflow.set_alias("adder", "champion", 1)
    with watching(mlflow, tmp_path) as server:
        settled(server, 1.0)
        arguments = [argument for argument in server.arguments if argument not in ("--allow-private", "127.0.0.1")]
    server.arguments = arguments
    with server:
        server.await_true(lambda: "--allow-private" in server.log(), "the refusal", 30)
        served(server, 1.0)


def test_a_webhook_makes_the_watch_look_at_once(tmp_path):
    secret = "a secret that both sides know"
    (tmp_path / "secret").write_text(secret + "\n")
    with MlflowServer(
        MLFLOW_WEBHOOK_ALLOWED_SCHEMES="http,https",
        MLFLOW_WEBHOOK_ALLOW_PRIVATE_IPS="true",
        MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY="c2l4dGVlbiBieXRlcyB0d2ljZSBpbiBhIHJvdyAuLi4=",
    ) as mlflow:
        mlflow.log_models("adder", [1, 2])
        # So seldom that only a webhook can be the reason.
        seldom = ("--watch-interval-ms", "3600000", "--webhook-secret-file", f"mlflow={tmp_path / 'secret'}")
        with watching(mlflow, tmp_path, *seldom) as server:
            # Before the first alias: MLflow remembers for a minute that an event has no webhooks.
            hook = {"name": "hanok", "url": f"http://{server.admin}/v1/webhooks/mlflow", "secret": secret}
            mlflow.call("POST", "webhooks", {**hook, "events": [{"entity": "MODEL_VERSION_ALIAS", "action": "CREATED"}]})
            mlflow.set_alias("adder", "champion", 1)
            served(server, 1.0)
            begun = time.monotonic()
            mlflow.set_alias("adder", "champion", 2)
            server.await_true(lambda: addend(ask(server)) == 2.0, "the first canary request", 30)
            print(f"alias move to first canary request, by webhook: {time.monotonic() - begun:.2f} s")
            forged = {"X-MLflow-Signature": "v1,AAAA", "X-MLflow-Delivery-Id": "1", "X-MLflow-Timestamp": str(int(time.time()))}
            reply = server.administer("POST", "/v1/webhooks/mlflow", {}, headers=forged)
            assert (reply.status, json.loads(reply.body)["code"]) == (401, "signature-refused")
            assert server.administer("POST", "/v1/webhooks/github", {}).status == 404, "nobody expects any from there"
