"""Traffic splits through the release binary: weights, sticky keys, rules, labels, shadows, the kill switch."""

import collections
import json
import math

import numpy as np
import pytest
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient

from harness.control import ControlledServer, arm, resource
from harness.load import in_background
from harness.repository import ModelRepository
from harness.server import ROOT

INT32 = [("INPUT0", "INT32", [1])]


@pytest.fixture
def models(tmp_path) -> ModelRepository:
    repository = ModelRepository(tmp_path / "models")
    for name in ("stable", "candidate"):
        repository.add(name, inputs=INT32, versions=(1, 2), config="version_policy { all { } }")
    repository.add("broken", "fail", inputs=INT32)
    return repository


@pytest.fixture
def server(models, tmp_path):
    with ControlledServer(models, tmp_path / "state" / "state.sqlite") as server:
        yield server


def split(share: float, **more) -> dict:
    """`stable` with version 2 of itself as the canary."""
    arms = [arm("baseline", 100 - share, version=1), arm("canary", share, version=2)]
    return resource("Traffic", "stable", arms=arms, tell=True, **more)


def ask(server, model="stable", value=7, headers=None, **options):
    inputs = {"INPUT0": ("INT32", [1, 1], [value])}
    tensors = [{"name": name, "datatype": kind, "shape": shape, "data": data} for name, (kind, shape, data) in inputs.items()]
    version = options.pop("version", "")
    at = f"/versions/{version}" if version else ""
    return server.post(f"/v2/models/{model}{at}/infer", {"inputs": tensors, **options}, headers=headers or {})


def served_by(reply) -> str:
    assert reply.status == 200, reply
    return reply.header("hanok-arm") or ""


def test_without_a_table_nothing_changes(server):
    reply = ask(server)
    assert reply.json()["model_version"] == "2" and reply.header("hanok-arm") is None
    assert server.arm_counts("stable") == {}


def test_weights_are_kept_and_told_over_http_and_grpc(server):
    server.apply(split(25))
    count = 4000
    with httpclient.InferenceServerClient(server.http) as http, grpcclient.InferenceServerClient(server.grpc) as grpc:
        for client, kind in ((http, httpclient), (grpc, grpcclient)):
            served = collections.Counter()
            for number in range(count // 2):
                tensor = kind.InferInput("INPUT0", [1, 1], "INT32")
                tensor.set_data_from_numpy(np.array([[number]], np.int32))
                result = client.infer("stable", [tensor])
                assert result.as_numpy("OUTPUT0")[0, 0] == number
                response = result.get_response()
                if kind is httpclient:
                    name, arm_name, version = response["model_name"], response["parameters"]["hanok_arm"], response["model_version"]
                else:
                    name, version = response.model_name, response.model_version
                    arm_name = response.parameters["hanok_arm"].string_param
                assert name == "stable" and version == {"baseline": "1", "canary": "2"}[arm_name]
                served[arm_name] += 1
            # Five standard deviations of a binomial.
            assert abs(served["canary"] - count / 2 * 0.25) < 5 * math.sqrt(count / 2 * 0.25 * 0.75), served
    counts = server.arm_counts("stable")
    assert sum(outcomes["success"] for outcomes in counts.values()) == count, counts


def test_an_arm_may_be_another_model_and_keeps_the_public_name(server):
    server.apply(resource("Traffic", "shop", arms=[arm("only", 100, model="candidate", version=1)], tell=True))
    reply = ask(server, "shop")
    assert reply.json()["model_name"] == "shop" and reply.header("hanok-arm") == "only"
    assert server.get("/v2/models/shop").json()["name"] == "shop"
    assert server.get("/v2/models/shop/ready").status == 200
    with grpcclient.InferenceServerClient(server.grpc) as client:
        assert client.get_model_metadata("shop").name == "shop" and client.is_model_ready("shop")


def test_a_sticky_key_keeps_its_arm_and_only_the_moved_share_moves(server):
    def assignment() -> dict[str, str]:
        return {user: served_by(ask(server, headers={"x-user": user})) for user in users}

    users = [f"user-{number}" for number in range(400)]
    server.apply(split(10, sticky={"header": "X-User"}))
    few = assignment()
    assert assignment() == few
    server.apply(split(40, sticky={"header": "X-User"}))
    more = assignment()
    assert all(more[user] == "canary" for user in users if few[user] == "canary")
    assert 0.28 < sum(more[user] == "canary" for user in users) / len(users) < 0.52
    server.apply(split(10, sticky={"header": "X-User"}))
    assert assignment() == few


def test_sticky_by_parameter_tensor_and_sequence(server):
    server.apply(split(50, sticky={"parameter": "account"}))
    accounts = {account: served_by(ask(server, parameters={"account": account})) for account in range(60)}
    assert set(accounts.values()) == {"baseline", "canary"}
    # An integer and its text are the same key.
    assert all(served_by(ask(server, parameters={"account": str(key)})) == name for key, name in accounts.items())
    server.apply(split(50, sticky={"tensor": "INPUT0"}))
    tensors = {value: served_by(ask(server, value=value)) for value in range(60)}
    assert all(served_by(ask(server, value=value)) == name for value, name in tensors.items())


def test_rules_go_before_weights_and_an_explicit_version_before_rules(server):
    rules = [
        {"when": {"header": "x-tester"}, "matches": {"exact": "yes"}, "arm": "canary"},
        {"when": {"parameter": "country"}, "matches": {"prefix": "k"}, "arm": "canary"},
        {"when": {"header": "user-agent"}, "matches": {"regex": "bot/[0-9]+$"}, "arm": "baseline"},
    ]
    server.apply(split(0, rules=rules, labels={"stable": 1, "canary": 2}))
    assert served_by(ask(server)) == "baseline"
    assert served_by(ask(server, headers={"x-tester": "yes"})) == "canary"
    assert served_by(ask(server, headers={"x-tester": "yes!"})) == "baseline"
    assert served_by(ask(server, parameters={"country": "kr"})) == "canary"
    explicit = ask(server, version="1", headers={"x-tester": "yes"})
    assert explicit.json()["model_version"] == "1" and explicit.header("hanok-arm") is None
    assert ask(server, version="canary").json()["model_version"] == "2"
    assert ask(server, version="stable").json()["model_version"] == "1"
    assert server.get("/v2/models/stable/versions/canary").json()["versions"] == ["2"]
    unknown = ask(server, version="nightly")
    assert unknown.status == 404


def test_a_sequence_that_began_before_the_table_stays_where_it_is(tmp_path):
    repository = ModelRepository(tmp_path / "models")
    batching = "sequence_batching { max_sequence_idle_microseconds: 60000000 }\nversion_policy { all { } }"
    repository.add("sums", "identity", inputs=INT32, max_batch_size=0, versions=(1, 2), config=batching)

    def step(server, sequence, **control) -> str:
        body = {"inputs": [{"name": "INPUT0", "datatype": "INT32", "shape": [1], "data": [1]}]}
        body["parameters"] = {"sequence_id": sequence, "sequence_start": False, "sequence_end": False, **control}
        reply = server.post("/v2/models/sums/infer", body)
        assert reply.status == 200, reply
        return reply.json()["model_version"]

    with ControlledServer(repository, tmp_path / "state.sqlite") as server:
        assert step(server, 7, sequence_start=True) == "2"
        arms = [arm("old", 100, version=1)]
        server.apply(resource("Traffic", "sums", arms=arms))
        assert step(server, 8, sequence_start=True) == "1"
        server.apply(resource("Traffic", "sums", arms=[arm("old", 0, version=1), arm("new", 100, version=2)]))
        assert step(server, 7) == "2" and step(server, 8) == "1" and step(server, 8, sequence_end=True) == "1"
        assert step(server, 7, sequence_end=True) == "2" and step(server, 8, sequence_start=True) == "2"


def test_an_arm_that_is_not_there_costs_no_answer(server):
    server.apply(resource("Traffic", "stable", arms=[arm("baseline", 1, version=1), arm("gone", 99, version=9)], tell=True))
    assert {served_by(ask(server)) for _ in range(50)} == {"baseline"}
    assert server.arm_counts("stable")["gone"]["server_error"] >= 30


def test_shadows_get_copies_and_never_cost_an_answer(server):
    shadow = [{"target": {"version": {"model": "broken"}}, "share": 100}]
    server.apply(resource("Traffic", "stable", arms=[arm("all", 100, version=1)], shadow=shadow))
    def copies() -> dict[str, int]:
        samples = server.metrics().labelled("hanok_shadow_copies_total")
        return {labels["result"]: int(value) for labels, value in samples if labels["model"] == "stable"}

    for number, value in enumerate([1, 2, -1, 3], 1):
        assert ask(server, value=value).json()["outputs"][0]["data"] == [value]
        # One at a time: a copy that finds the candidate at work is dropped, and may be the one that fails.
        counts = server.await_true(lambda: sum(copies().values()) == number and copies(), f"{number} copies")
    assert counts["agreed"] + counts["dropped"] == 3 and counts["candidate_failed"] == 1, counts


def test_the_table_survives_kill_9(models, tmp_path):
    state = tmp_path / "state.sqlite"
    with ControlledServer(models, state) as server:
        server.apply(split(100))
        assert served_by(ask(server)) == "canary"
        server.process.kill()
        server.process.wait(10)
    with ControlledServer(models, state) as server:
        server.await_true(lambda: ask(server).header("hanok-arm") == "canary", "the stored table")


def test_swaps_under_load_fail_and_misroute_nothing(server):
    server.apply(split(50))
    with in_background(4, lambda: ask(server)) as load:
        for number in range(60):
            server.apply(split(number % 101))
    assert len(load.outcomes) > 100
    for reply in load.outcomes:
        assert reply.status == 200, reply
        assert reply.json()["model_version"] == {"baseline": "1", "canary": "2"}[reply.header("hanok-arm")]


def test_apply_shows_a_plan_refuses_nonsense_and_rolls_back(server):
    dry = server.cli("apply", "-f", "-", "--dry-run", text=json.dumps(split(20))).stdout
    assert "stable" in dry and "nothing was changed" in dry
    assert ask(server).header("hanok-arm") is None
    first = server.apply(split(100))["revision"]
    assert "nothing to change" in server.cli("apply", "-f", "-", text=json.dumps(split(100))).stdout
    server.apply(split(0))
    assert served_by(ask(server)) == "baseline"
    server.cli("rollback", str(first))
    assert served_by(ask(server)) == "canary"
    wrong = split(20)
    wrong["spec"]["arms"][0]["weight"] = 20
    wrong["spec"]["arms"][1]["colour"] = "red"
    refused = server.cli("apply", "-f", "-", text=json.dumps(wrong), check=False)
    assert refused.returncode == 1 and "colour" in refused.stderr, refused.stderr
    assert served_by(ask(server)) == "canary"


def test_the_kill_switch_goes_back_at_once(server):
    server.apply(split(0))
    assert served_by(ask(server)) == "baseline"
    server.apply(split(100))
    assert served_by(ask(server)) == "canary"
    server.cli("traffic", "kill-switch")
    assert served_by(ask(server)) == "baseline"


def test_where_a_shadow_disagrees_is_shown_with_what_was_asked_and_said(tmp_path):
    models = ModelRepository(tmp_path / "models").copy("flight_delay")
    golden = json.loads((ROOT / "models/flight_delay/golden.json").read_text())
    exact = {"inline": {"otherwise": {"tolerance": {"absolute": 1e-9, "relative": 0}}}}
    shadow = [{"target": {"version": {"version": 2}}, "share": 100, "compare": exact}]
    with ControlledServer(models, tmp_path / "state.sqlite") as server:
        server.apply(resource("Traffic", "flight_delay", arms=[arm("old", 100, version=1)], shadow=shadow))
        inputs = golden[0]["request"]["inputs"]
        reply = server.post("/v2/models/flight_delay/infer", {"id": "the-odd-one", "inputs": inputs})
        [ours] = reply.json()["outputs"][0]["data"]

        def shown(query: str = "") -> list[dict]:
            [runtime] = json.loads(server.administer("GET", f"/v1/shadows{query}").body)["runtimes"]
            return runtime["shadows"]

        [found] = server.await_true(lambda: shown() and shown()[0]["counts"]["disagreed"] == 1 and shown(), "the disagreement")
        assert (found["public_model"], found["candidate_version"]) == ("flight_delay", "2")
        [example] = found["examples"]
        assert (example["request_id"], example["primary_version"], example["candidate_version"]) == ("the-odd-one", 1, 2)
        carrier = next(tensor for tensor in inputs if tensor["name"] == "carrier")
        assert {"name": "carrier", "datatype": "BYTES", "shape": [1, 1], "data": carrier["data"]} in example["inputs"]
        [primary], [candidate] = example["primary"], example["candidate"]
        theirs = server.post("/v2/models/flight_delay/versions/2/infer", {"inputs": inputs}).json()["outputs"][0]["data"][0]
        assert primary["data"] == pytest.approx([ours]) and candidate["data"] == pytest.approx([theirs]) and ours != theirs
        assert example["outputs"][0]["most_absolute"] == pytest.approx(abs(ours - theirs), rel=1e-4)
        assert shown("?examples=0")[0]["examples"] == [] and shown("?model=nobody") == []


def test_a_rule_on_the_identity_believes_the_named_header_only(models, tmp_path):
    def served(server, header: str) -> str:
        return ask(server, headers={header: "batch-jobs"}).header("hanok-arm")

    rules = [{"when": "identity", "matches": {"prefix": "batch-"}, "arm": "canary"}]
    arms = [arm("baseline", 100, version=1), arm("canary", 0, version=2)]
    with ControlledServer(models, tmp_path / "state.sqlite", "--identity-header", "X-Caller") as server:
        server.apply(resource("Traffic", "stable", arms=arms, rules=rules, tell=True))
        assert served(server, "x-caller") == "canary" and served(server, "x-forwarded-user") == "baseline"
    with ControlledServer(models, tmp_path / "state.sqlite") as server:
        server.await_true(lambda: served(server, "x-caller") == "baseline", "the stored table")
