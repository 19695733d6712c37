"""Rollouts through the release binary: a candidate that fails is rolled back, one that is as good is promoted, and kill -9
changes nothing of either."""

import json
import random
import threading
import time

import pytest

from harness.control import ControlledServer, arm, resource
from harness.load import in_background
from harness.repository import ModelRepository

INT32 = [("INPUT0", "INT32", [1])]
STEPS = [{"weight": 20, "minimum_samples": 50}, {"weight": 50, "minimum_samples": 100}]


@pytest.fixture
def models(tmp_path) -> ModelRepository:
    repository = ModelRepository(tmp_path / "models")
    repository.add("stable", inputs=INT32, versions=(1, 2), config="version_policy { all { } }")
    repository.add("failing", "fail", inputs=INT32)
    return repository


def traffic(model: str = "stable", version: int = 2) -> dict:
    arms = [arm("baseline", 100, version=1), arm("canary", 0, model=model, version=version)]
    return resource("Traffic", "stable", arms=arms, tell=True)


def rollout(**more) -> dict:
    spec = {
        "traffic": "stable",
        "baseline": "baseline",
        "candidate": "canary",
        "steps": STEPS,
        "metrics": [{"name": "errors", "kind": "error_rate"}],
        "alpha_rollback": 0.01,
        **more,
    }
    return resource("Rollout", "canary", **spec)


def ask(server, failing_share: float, draw: random.Random, lock=threading.Lock()):
    with lock:
        value = -1 if draw.random() < failing_share else draw.randrange(1000)
    body = {"inputs": [{"name": "INPUT0", "datatype": "INT32", "shape": [1, 1], "data": [value]}]}
    return server.post("/v2/models/stable/infer", body)


def phase(server) -> str:
    [found] = json.loads(server.administer("GET", "/v1/rollouts").body)["rollouts"]
    phase = found["phase"]
    return phase if isinstance(phase, str) else phase.get("phase") or next(iter(phase))


def test_a_failing_candidate_is_rolled_back_soon_and_explained(models, tmp_path):
    draw = random.Random(7)
    with ControlledServer(models, tmp_path / "state.sqlite") as server:
        server.apply(traffic("failing", 1), rollout(steps=[{"weight": 20, "minimum_samples": 10_000_000}]))
        with in_background(4, lambda: ask(server, 0.3, draw)) as load:
            server.await_true(lambda: phase(server) == "rolled_back", "the rollback", 60)
            decided = time.monotonic()
            server.await_true(
                lambda: json.loads(server.administer("GET", "/v1/traffic").body)["table"]["models"]["stable"]["arms"][1][
                    "weight_basis_points"
                ]
                == 0,
                "weight 0",
            )
            assert time.monotonic() - decided < 2
        assert all(ask(server, 0.3, draw).header("hanok-arm") == "baseline" for _ in range(100))
        failed = [reply for reply in load.outcomes if reply.status != 200]
        assert failed and all(reply.status == 500 for reply in failed)
        told = server.cli("rollout", "explain", "canary").stdout
        assert "errors" in told and "baseline" in told.lower(), told


def test_an_equal_candidate_is_promoted(models, tmp_path):
    draw = random.Random(11)
    steps = rollout(metrics=[{"name": "errors", "kind": "error_rate"}], on_inconclusive="promote", maximum_duration_seconds=8)
    with ControlledServer(models, tmp_path / "state.sqlite") as server:
        server.apply(traffic(), steps)
        with in_background(4, lambda: ask(server, 0, draw)):
            server.await_true(lambda: phase(server) == "promoted", "the promotion", 60)
        server.await_true(lambda: ask(server, 0, draw).header("hanok-arm") == "canary", "all traffic to the candidate")


def test_kill_9_neither_loses_nor_doubles_a_decision(models, tmp_path):
    draw, state = random.Random(13), tmp_path / "state.sqlite"
    with ControlledServer(models, state) as server:
        # The last step is longer than the test: nothing may be promoted before the candidate fails.
        steps = [{"weight": 10, "minimum_samples": 30}, STEPS[0], {"weight": 50, "minimum_samples": 10_000_000}]
        server.apply(traffic("failing", 1), rollout(steps=steps))
    for seconds in (0.4, 0.9, 0.6, 1.3):
        with ControlledServer(models, state) as server:
            with in_background(3, lambda: ask(server, 0.02, draw)):
                threading.Event().wait(seconds)
                server.process.kill()
                server.process.wait(10)
    with ControlledServer(models, state) as server:
        with in_background(4, lambda: ask(server, 0.3, draw)):
            server.await_true(lambda: phase(server) == "rolled_back", "the rollback", 60)
        records = json.loads(server.administer("GET", "/v1/journal?limit=1000").body)["events"]
        ids = [record["id"] for record in records if "rollout" in record["type"]]
        assert ids and len(ids) == len(set(ids)), ids
        numbers = [int(one.rsplit("/", 1)[1]) for one in ids if one.rsplit("/", 1)[-1].isdigit()]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), ids


def test_an_operator_steps_in(models, tmp_path):
    with ControlledServer(models, tmp_path / "state.sqlite") as server:
        server.apply(traffic(), rollout())
        server.await_true(lambda: phase(server) == "running", "the start")
        server.cli("rollout", "pause", "canary")
        assert phase(server) == "paused"
        server.cli("rollout", "resume", "canary")
        server.cli("rollout", "abort", "canary")
        assert phase(server) == "aborted"
        refused = server.cli("rollout", "promote", "canary", check=False)
        assert refused.returncode == 1 and "aborted" in refused.stderr, refused.stderr
        assert "canary" in server.cli("rollout").stdout


def test_an_experiment_tells_segments_apart(tmp_path):
    """The candidate fails for one country only; whoever looks at all units together would not know where."""
    models = ModelRepository(tmp_path / "models")
    models.add("stable", inputs=INT32, versions=(1,))
    models.add("failing", "fail", inputs=INT32)
    arms = [arm("control", 50, version=1), arm("new", 50, model="failing", version=1)]
    metrics = [{"name": "errors", "source": "error", "better": "lower"}]
    experiment = {"traffic": "stable", "control": "control", "metrics": metrics, "segments": ["KR", "US"], "planned_units": 500}
    with ControlledServer(models, tmp_path / "state.sqlite") as server:
        server.apply(
            resource("Traffic", "stable", arms=arms, segment={"header": "X-Country"}, sticky={"header": "x-user"}),
            resource("Experiment", "countries", **experiment),
        )
        for user in range(1_200):
            country = ("KR", "US")[user % 2]
            value = -1 if country == "KR" and user % 4 == 0 else user
            body = {"inputs": [{"name": "INPUT0", "datatype": "INT32", "shape": [1, 1], "data": [value]}]}
            headers = {"x-user": f"user-{user}", "x-country": country}
            assert server.post("/v2/models/stable/infer", body, headers=headers).status in (200, 500)

        def verdicts() -> dict:
            report = json.loads(server.administer("GET", "/v1/experiments/countries").body)["report"]
            return {comparison["segment"]: comparison["verdict"] for comparison in report["comparisons"]}

        found = server.await_true(lambda: verdicts().get("KR") == "worse" and verdicts(), "the verdict on Korea", 60)
        assert found["US"] not in ("worse", "better"), found


def test_a_bandit_moves_to_what_succeeds_and_keeps_its_floor(models, tmp_path):
    draw = random.Random(17)
    bandit = resource("Bandit", "learner", traffic="stable", floor=5, reward="success", update_seconds=1, seed=1)
    with ControlledServer(models, tmp_path / "state.sqlite") as server:
        arms = [arm("baseline", 50, version=1), arm("canary", 50, model="failing", version=1)]
        server.apply(resource("Traffic", "stable", arms=arms, tell=True), bandit)

        def canary() -> int:
            table = json.loads(server.administer("GET", "/v1/traffic").body)["table"]
            return table["models"]["stable"]["arms"][1]["weight_basis_points"]

        with in_background(4, lambda: ask(server, 0.3, draw)):
            server.await_true(lambda: canary() == 500, "the floor", 30)
        state = json.loads(server.administer("GET", "/v1/bandits/learner").body)
        assert state["updates"] >= 1, state
