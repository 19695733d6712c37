"""One control plane and several runtimes, each a process of its own; and replicas of the control plane on one PostgreSQL."""

import json
import random
from pathlib import Path

import pytest

from harness.control import ControlledServer, arm, resource
from harness.load import in_background
from harness.postgres import Postgres
from harness.repository import ModelRepository

INT32 = [("INPUT0", "INT32", [1])]


@pytest.fixture
def models(tmp_path) -> ModelRepository:
    repository = ModelRepository(tmp_path / "models")
    repository.add("stable", inputs=INT32, versions=(1, 2), config="version_policy { all { } }")
    repository.add("failing", "fail", inputs=INT32)
    return repository


@pytest.fixture
def token(tmp_path) -> Path:
    path = tmp_path / "token"
    path.write_text("%032x" % random.getrandbits(128))
    path.chmod(0o600)
    return path


class SteeredServer(ControlledServer):
    """A runtime without a control plane of its own."""

    def __init__(self, repository, token: Path, port: int = 0):
        super().__init__(repository, Path("unused"), "--steered", "--admin-token-file", str(token))
        at = self.arguments.index("--state")
        del self.arguments[at : at + 2]
        self.arguments[self.arguments.index("--admin-port") + 1] = str(port)


def split(canary: float, model: str = "stable", version: int = 2) -> dict:
    arms = [arm("baseline", 100 - canary, version=1), arm("canary", canary, model=model, version=version)]
    return resource("Traffic", "stable", arms=arms, tell=True)


def ask(server, value: int = 7):
    body = {"inputs": [{"name": "INPUT0", "datatype": "INT32", "shape": [1, 1], "data": [value]}]}
    return server.post("/v2/models/stable/infer", body)


def arm_of(server) -> str | None:
    return ask(server).header("hanok-arm")


def test_a_fleet_goes_by_one_table_and_keeps_it_without_its_control_plane(models, tmp_path, token):
    state = tmp_path / "state.sqlite"
    with SteeredServer(models, token) as one, SteeredServer(models, token) as two:
        fleet = [f"--runtime=one=http://{one.admin}", f"--runtime=two=http://{two.admin}", f"--runtime-token-file={token}"]
        with ControlledServer(models, state, *fleet) as control:
            control.apply(split(100))
            for runtime in (one, two, control):
                control.await_true(lambda: arm_of(runtime) == "canary", "the table everywhere")
            control.process.kill()
            control.process.wait(10)
        assert arm_of(one) == arm_of(two) == "canary", "the last table holds"
        # A runtime that starts anew while nobody steers has no table, and gets it when somebody does.
        port = int(two.admin.rsplit(":", 1)[1])
        two.kill()
        with SteeredServer(models, token, port) as two_again:
            assert arm_of(two_again) is None
            with ControlledServer(models, state, *fleet) as control:
                control.await_true(lambda: arm_of(two_again) == "canary", "the table after the restart")
                control.apply(split(0))
                for runtime in (one, two_again, control):
                    control.await_true(lambda: arm_of(runtime) == "baseline", "the next table everywhere")
                killed = control.administer("POST", "/v1/traffic/kill-switch")
                assert killed.status == 200, killed.body
                for runtime in (one, two_again, control):
                    control.await_true(lambda: arm_of(runtime) == "canary", "the last good table everywhere")


def test_a_candidate_that_fails_on_one_runtime_is_rolled_back_on_all(models, tmp_path, token):
    draw = random.Random(3)
    with SteeredServer(models, token) as one, SteeredServer(models, token) as two:
        fleet = [f"--runtime=one=http://{one.admin}", f"--runtime=two=http://{two.admin}", f"--runtime-token-file={token}"]
        with ControlledServer(models, tmp_path / "state.sqlite", *fleet) as control:
            rollout = {
                "traffic": "stable",
                "baseline": "baseline",
                "candidate": "canary",
                "steps": [{"weight": 50, "minimum_samples": 10_000_000}],
                "metrics": [{"name": "errors", "kind": "error_rate"}],
            }
            control.apply(split(0, "failing", 1), resource("Rollout", "r", **rollout))
            with in_background(2, lambda: ask(one, -1 if draw.random() < 0.3 else 1)), in_background(2, lambda: ask(two)):

                def phase() -> str:
                    return json.loads(control.administer("GET", "/v1/rollouts/r").body)["phase"]

                control.await_true(lambda: phase() == "rolled_back", "the rollback", 60)
                for runtime in (one, two):
                    control.await_true(lambda: {arm_of(runtime) for _ in range(20)} == {"baseline"}, "weight 0 everywhere")


def test_a_runtime_is_steered_with_its_token_only(models, tmp_path, token):
    with SteeredServer(models, token) as runtime:
        assert runtime.administer("GET", "/v1/runtime/table").status == 401
        wrong = runtime.administer("GET", "/v1/runtime/table", headers={"authorization": "Bearer " + "0" * 32})
        assert wrong.status == 401
        right = runtime.administer("GET", "/v1/runtime/table", headers={"authorization": f"Bearer {token.read_text()}"})
        assert right.status == 200 and right.json()["table"]["version"] == 0


@pytest.mark.skipif(not Postgres.is_installed(), reason="PostgreSQL is not installed: no `initdb` and `postgres` in PATH")
def test_of_two_replicas_on_postgresql_one_takes_over(models, token):
    with Postgres() as database, SteeredServer(models, token) as runtime:
        fleet = [f"--runtime=one=http://{runtime.admin}", f"--runtime-token-file={token}"]
        runtime.await_true(database.is_ready, "PostgreSQL", 30)
        with ControlledServer(models, database.address, *fleet) as first, ControlledServer(models, database.address, *fleet) as second:
            revision = first.apply(split(100))["revision"]
            first.await_true(lambda: arm_of(runtime) == "canary", "the first table")
            first.process.kill()
            first.process.wait(10)
            taken_over = lambda: second.cli("apply", "-f", "-", text=json.dumps(split(0)), check=False).returncode == 0  # noqa: E731
            second.await_true(taken_over, "the second acts", 60)
            second.await_true(lambda: arm_of(runtime) == "baseline", "the second's table")
            assert json.loads(second.administer("GET", "/v1/resources").body)["revision"] == revision + 1
