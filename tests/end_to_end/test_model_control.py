"""Which models are served, and how that changes: control modes, reload, version policies, warm-up (W-70 to W-76)."""

import json
import shutil
import threading
import time

import pytest

from harness import ModelRepository
from harness.load import in_background


def index(server) -> dict[str, list[tuple]]:
    entries = server.post("/v2/repository/index", {}).json()
    found: dict[str, list[tuple]] = {}
    for entry in entries:
        found.setdefault(entry["name"], []).append((entry.get("version"), entry.get("state")))
    return found


def ask(server, model="m", version="", value=1):
    return server.infer(model, {"INPUT0": ("FP32", [1, 1], [value])}, version)


def load(server, model="m", body=None):
    return server.post(f"/v2/repository/models/{model}/load", body or {})


def unload(server, model="m"):
    return server.post(f"/v2/repository/models/{model}/unload", {})


def test_none_serves_all_and_refuses_changes(repository, serve):
    server = serve(repository.add("m").add("other"))
    assert ask(server).status == 200 and ask(server, "other").status == 200
    for change in (load, unload):
        reply = change(server)
        assert reply.status == 503 and "explicit" in reply.error
    repository.add("late")
    assert load(server, "late").status == 503
    assert set(index(server)) >= {"m", "other"}


def test_explicit_serves_what_it_is_told(repository, serve):
    server = serve(repository.add("m").add("other").add("third"), "--model-control-mode=explicit", "--load-model=m", "--load-model=third")
    assert ask(server).status == 200 and ask(server, "third").status == 200
    assert ask(server, "other").status in (400, 404)
    assert index(server)["other"] == [(None, None)] or index(server)["other"][0][1] in (None, "UNAVAILABLE")
    assert load(server, "other").status == 200
    assert ask(server, "other").status == 200
    repository.add("late")
    assert load(server, "late").status == 200 and ask(server, "late").status == 200


def test_explicit_serves_nothing_by_itself(repository, serve):
    server = serve(repository.add("m"), "--model-control-mode=explicit")
    assert ask(server).status in (400, 404)
    assert server.get("/v2/health/ready").status == 200


def test_poll_follows_the_folder(repository, serve):
    server = serve(repository.add("m"), "--model-control-mode=poll", "--repository-poll-secs=1")
    assert load(server).status == 503
    repository.add("new")
    server.await_true(lambda: ask(server, "new").status == 200, "the new model")
    repository.remove("m")
    server.await_true(lambda: server.get("/v2/models/m/ready").status == 400, "the removed model's end")
    repository.add("new", versions=(1, 2))
    server.await_true(lambda: ask(server, "new").json().get("model_version") == "2", "the new version")


def test_unload_answers_before_the_drain_and_loses_nothing(repository, serve):
    repository.add("m", parameters={"execute_delay_ms": "30"})
    server = serve(repository, "--model-control-mode=explicit", "--load-model=m")
    with in_background(4, lambda: ask(server)) as traffic:
        server.await_true(lambda: len(traffic.outcomes) > 20, "traffic")
        assert unload(server).status == 200
        server.await_true(lambda: index(server)["m"][0][1] in (None, "UNAVAILABLE"), "the end of the drain")
    # Every answer is a result or says that the model is not there.
    for one in traffic.failures():
        assert one.status in (400, 404, 503) and "m" in one.error
    assert "unloaded" in str(server.post("/v2/repository/index", {}).json()).lower()


def test_reload_under_load_loses_nothing(repository, serve):
    server = serve(repository.add("m"), "--model-control-mode=explicit", "--load-model=m")
    with in_background(4, lambda: ask(server)) as traffic:
        for _ in range(20):
            assert load(server).status == 200
    assert len(traffic.outcomes) > 20
    assert traffic.failures() == []


def test_a_failed_reload_keeps_the_old_version_serving(repository, serve):
    server = serve(repository.add("m"), "--model-control-mode=explicit", "--load-model=m")
    with in_background(2, lambda: ask(server)) as traffic:
        repository.add("m", model="no_such_kind")
        reply = load(server)
        assert reply.status == 400 and "no_such_kind" in reply.error
        repository.write("m/config.pbtxt", "this is { not pbtxt")
        assert load(server).status == 400
        server.await_true(lambda: len(traffic.outcomes) > 50, "traffic")
    assert traffic.failures() == []
    assert ask(server).status == 200 and server.get("/v2/models/m/ready").status == 200
    repository.add("m", max_batch_size=3)
    assert load(server).status == 200
    assert server.get("/v2/models/m/config").json()["max_batch_size"] == 3


def test_the_number_of_instances_changes_in_place(repository, serve):
    server = serve(repository.add("m"), "--model-control-mode=explicit", "--load-model=m")
    for _ in range(3):
        ask(server)
    repository.add("m", config="instance_group { kind: KIND_CPU count: 3 }\n")
    assert load(server).status == 200
    assert server.get("/v2/models/m/config").json()["instance_group"][0]["count"] == 3
    # In place: the statistics of the version go on (W-75). The last batch may be counted after it was answered.
    server.await_true(lambda: server.statistics("m")["inference_count"] >= 3, "the count of rows")
    assert server.statistics("m")["inference_count"] == 3


@pytest.mark.parametrize(
    "policy, served",
    [
        ("", ["3"]),
        ("version_policy { latest { num_versions: 2 } }", ["2", "3"]),
        ("version_policy { all { } }", ["1", "2", "3"]),
        ("version_policy { specific { versions: [ 1, 3 ] } }", ["1", "3"]),
    ],
)
def test_version_policies(repository, serve, policy, served):
    repository.add("m", versions=(1, 2, 3), config=policy + "\n")
    repository.write("m/04/ignored", "")
    repository.write("m/name/ignored", "")
    server = serve(repository)
    assert server.get("/v2/models/m").json()["versions"] == served
    assert ask(server).json()["model_version"] == served[-1]
    for version in ("1", "2", "3", "4"):
        assert (ask(server, version=version).status == 200) == (version in served)


def test_a_model_that_fails_to_load_does_not_end_the_server(repository, serve):
    repository.add("good").add("bad", model="no_such_kind")
    server = serve(repository, "--strict-readiness=false", wait="listening")
    server.await_true(lambda: ask(server, "good").status == 200, "the good model")
    entry = next(one for one in server.post("/v2/repository/index", {}).json() if one["name"] == "bad")
    assert entry["state"] == "UNAVAILABLE" and "no_such_kind" in entry["reason"]
    assert server.get("/v2/health/ready").status == 200
    assert server.get("/v2/models/bad/ready").status == 400


def test_strict_readiness_waits_for_all_models(repository, serve):
    repository.add("good").add("bad", model="no_such_kind")
    server = serve(repository, "--strict-readiness=true", "--exit-on-error=false", wait="live")
    server.await_true(lambda: ask(server, "good").status == 200, "the good model")
    assert server.get("/v2/health/live").status == 200
    assert server.get("/v2/health/ready").status == 400


def test_a_model_is_not_ready_while_it_loads(repository, serve):
    repository.add("quick").add("heavy", parameters={"creation_delay_sec": "4"})
    server = serve(repository, "--model-control-mode=explicit", "--load-model=quick")
    loading = threading.Thread(target=lambda: load(server, "heavy"))
    loading.start()
    server.await_true(lambda: index(server)["heavy"][0][1] == "LOADING", "the loading state", 3)
    assert server.get("/v2/models/heavy/ready").status == 400
    # Loading never runs on a thread that serves.
    assert ask(server, "quick").status == 200
    loading.join()
    assert ask(server, "heavy").status == 200


def test_warm_up_runs_before_the_model_is_ready(repository, serve):
    warmup = """model_warmup { name: "zeroes" batch_size: 2 count: 3
      inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 4 ] zero_data: true } } }
    model_warmup { name: "file" batch_size: 1
      inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: [ 1 ] input_data_file: "four_bytes" } } }
    """
    files = {"warmup/four_bytes": b"\0\0\x80\x3f"}
    repository.add("m", config=warmup, files=files, parameters={"execute_delay_ms": "200"})
    server = serve(repository, "--model-control-mode=explicit")
    started = time.monotonic()
    assert load(server).status == 200
    # Four executions of 200 ms, none of which is a client's.
    assert time.monotonic() - started >= 0.8
    assert ask(server).status == 200
    server.await_true(lambda: server.statistics("m")["inference_count"] >= 1, "the count of rows")
    assert server.statistics("m")["inference_count"] == 1


def test_a_warm_up_that_fails_keeps_the_model_out(repository, serve):
    warmup = """model_warmup { name: "w" batch_size: 1
      inputs { key: "INPUT0" value { data_type: TYPE_INT32 dims: [ 1 ] input_data_file: "minus_one" } } }
    """
    repository.add("m", model="fail", inputs=[("INPUT0", "INT32", [1])], config=warmup, files={"warmup/minus_one": b"\xff" * 4})
    server = serve(repository, "--model-control-mode=explicit")
    reply = load(server)
    assert reply.status == 400, reply
    assert server.get("/v2/models/m/ready").status == 400


def test_two_repositories(repository, serve, tmp_path):
    second = ModelRepository(tmp_path / "second").add("b")
    server = serve(repository.add("a"), "--model-repository", str(second.path))
    assert ask(server, "a").status == 200 and ask(server, "b").status == 200


def test_a_configuration_override_and_back(repository, serve):
    server = serve(repository.add("m"), "--model-control-mode=explicit", "--load-model=m")
    override = server.get("/v2/models/m/config").json()
    override["max_batch_size"] = 2
    assert load(server, body={"parameters": {"config": json.dumps(override)}}).status == 200
    assert server.infer("m", {"INPUT0": ("FP32", [3, 1], [1, 2, 3])}).status == 400
    assert load(server).status == 200
    assert server.infer("m", {"INPUT0": ("FP32", [3, 1], [1, 2, 3])}).status == 200


def test_auto_completion_fills_and_says_why(repository, serve):
    source = repository.copy("digits").path / "digits"
    (source / "config.pbtxt").unlink()
    server = serve(repository)
    metadata = server.get("/v2/models/digits").json()
    assert [(one["name"], one["datatype"], one["shape"]) for one in metadata["inputs"]] == [("image", "FP32", [-1, 1, 8, 8])]
    config = server.get("/v2/models/digits/config").json()
    assert config["max_batch_size"] > 0 and "dynamic_batching" in config
    assert "max_batch_size" in server.log()


@pytest.mark.parametrize("flag", ["--disable-auto-complete-config", "--disable-auto-complete-config=true"])
def test_without_auto_completion_a_model_must_say_everything(repository, serve, flag):
    source = repository.copy("digits").path / "digits"
    (source / "config.pbtxt").write_text('name: "digits"\nbackend: "onnxruntime"\n')
    server = serve(repository, flag, "--strict-readiness=false", wait="listening")
    server.await_true(lambda: "must specify at least one input" in server.log(), "the refusal in the log")
    assert server.get("/v2/models/digits/ready").status == 400 and "digits" in index(server)


def test_an_unknown_field_is_refused_with_its_place(repository, serve):
    repository.add("m", config="\nno_such_field: 3\n")
    server = serve(repository, "--model-control-mode=explicit")
    reply = load(server)
    assert reply.status == 400 and "no_such_field" in reply.error
    line = (repository.path / "m/config.pbtxt").read_text().splitlines().index("no_such_field: 3") + 1
    assert str(line) in reply.error
    shutil.rmtree(repository.path / "m")
