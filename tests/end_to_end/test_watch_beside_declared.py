"""`--watch` beside `--declared` on one server: each keeps its own, of one Traffic the declared place decides, and no request is lost."""

import json

import pytest
from test_watch import addend, ask, mlflow, rollout, served, watching  # noqa: F401

from harness import ModelRepository
from harness.control import arm, resource
from harness.load import in_background


def traffic(name: str, *arms: dict, **more) -> str:
    return json.dumps(resource("Traffic", name, arms=list(arms), **more))


def declared(server) -> dict:
    answer = server.administer("GET", "/v1/declared")
    assert answer.status == 200, answer
    return answer.json()


def shares(server, model: str) -> dict[str, int]:
    table = server.administer("GET", "/v1/traffic").json()["table"]
    return {one["name"]: one["weight_basis_points"] for one in table["models"].get(model, {"arms": []})["arms"]}


def in_force(server, model: str, expected: dict[str, int], resources: int = 1):
    """Waits until the place was read with so many resources, and what it says is what serves: a watch may say the same before."""

    def is_so() -> bool:
        status = declared(server)
        return shares(server, model) == expected and status["state"] == "in_step" and status["read"]["resources"] == resources

    server.await_true(is_so, f"{model} as {expected}", 60)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "declared").mkdir()
    (tmp_path / "declared/simple.json").write_text(traffic("simple", arm("one", 90, version=1), arm("two", 10, version=2)))
    ModelRepository(tmp_path / "models").add("simple", versions=(1, 2), config="version_policy { all {} }")
    return tmp_path


def test_each_keeps_its_own_and_the_place_decides_about_what_it_declares(mlflow, place):
    mlflow.set_alias("adder", "shared", 1)
    flags = ("--declared", str(place / "declared"), "--declared-poll-secs", "1")
    with watching(mlflow, place, *flags, source="mlflow://adder@shared") as server:
        served(server, 1.0)
        in_force(server, "simple", {"one": 9000, "two": 1000})
        server.await_true(lambda: shares(server, "adder") == {"v1": 10000}, "the watch's Traffic", 60)
        with in_background(2, lambda: ask(server)) as load:
            # A rollout of the watch is no drift, and goes on while the place changes something else.
            mlflow.set_alias("adder", "shared", 2)
            server.await_true(lambda: (rollout(server) or {}).get("candidate") == "v2", "the rollout of version 2", 60)
            (place / "declared/simple.json").write_text(traffic("simple", arm("one", 70, version=1), arm("two", 30, version=2)))
            in_force(server, "simple", {"one": 7000, "two": 3000})
            assert rollout(server)["candidate"] == "v2" and set(shares(server, "adder")) == {"v1", "v2"}
            mlflow.set_alias("adder", "shared", 1)
            server.await_true(lambda: rollout(server)["phase"] == "aborted", "the end of the rollout", 60)

            # The place takes the Traffic over: from now on the watch changes nothing, and says so.
            kept = [json.loads((place / "declared/simple.json").read_text()), resource("Traffic", "adder", arms=[arm("v1", 100, version=1), arm("v2", 0, version=2)])]
            (place / "declared/adder.json").write_text(json.dumps(kept[1]))
            in_force(server, "adder", {"v1": 10000, "v2": 0}, resources=2)
            mlflow.set_alias("adder", "shared", 3)
            server.await_true(lambda: "(declared-elsewhere)" in server.log(), "the refusal", 60)
            assert "`Traffic/adder` is declared in" in server.log() and "end the watch" in server.log()
            assert shares(server, "adder") == {"v1": 10000, "v2": 0} and {addend(ask(server)) for _ in range(20)} == {1.0}
            assert declared(server)["state"] == "in_step"

            # The place lets it go. The rollout that the watch has left stands in the way, until a person removes it.
            (place / "declared/adder.json").unlink()
            told = "Rollout/adder: spec.traffic: expected the name of a `Traffic`, got `adder`; it is in force and not declared here"
            server.await_true(lambda: told in server.log(), "the reason why it stays", 60)
            assert shares(server, "adder") == {"v1": 10000, "v2": 0}, "nothing changes until then"
            server.apply(*kept, flags=("--prune",))
            # The watch goes on from what serves.
            server.await_true(lambda: (rollout(server) or {}).get("candidate") == "v3", "the rollout of version 3", 90)
            server.await_true(lambda: any(addend(one) == 3.0 for one in load.outcomes[-200:]), "its first request", 60)
            assert declared(server)["state"] == "in_step"
        assert load.failures() == []
        assert {addend(one) for one in load.outcomes} == {1.0, 2.0, 3.0}
    # After a restart each still has its own.
    with watching(mlflow, place, *flags, source="mlflow://adder@shared") as server:
        in_force(server, "simple", {"one": 7000, "two": 3000})
        server.await_true(lambda: "is under way" in server.log(), "the watch to find its rollout", 60)
        found = rollout(server)
        assert (found["baseline"], found["candidate"]) == ("v1", "v3"), found
