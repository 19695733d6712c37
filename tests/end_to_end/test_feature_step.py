"""Inputs of models that come from features: clients send keys, over every protocol, and get what the store knows."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http

from harness import binary
from harness.server import ROOT

sys.path.insert(0, str(ROOT / "tests" / "compat"))
from triton_clients import VARIANTS, TritonClient  # noqa: E402

HEAD = """\
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: origin}
spec: {type: string}
---
apiVersion: hanok.dev/v1
kind: Entity
metadata: {name: hour}
spec: {type: int64}
---
apiVersion: hanok.dev/v1
kind: OnlineStore
metadata: {name: main}
spec: STORE
---
apiVersion: hanok.dev/v1
kind: FeatureView
metadata: {name: weather}
spec:
  entities: [origin, hour]
  store: main
  owner: flights
  features: FEATURES
---
apiVersion: hanok.dev/v1
kind: FeatureService
metadata: {name: delay}
spec:
  owner: flights
  deadline_milliseconds: 2000
  CACHE
  features: [weather:wind, weather:sky]
"""
FEATURES = "[{name: wind, type: float32, default: -1.5}, {name: sky, type: string, fallback: fail}]"
EMBEDDED = "{embedded: {path: features.db}}"
INPUTS = [("wind", "FP32", [1]), ("origin", "BYTES", [1]), ("sky", "BYTES", [1]), ("seats", "INT32", [1])]
OUTPUTS = [(f"{name}_seen", kind, dims) for name, kind, dims in INPUTS]


def declare(tmp_path, store=EMBEDDED, features=FEATURES, cache=""):
    file = tmp_path / "features.yaml"
    file.write_text(HEAD.replace("STORE", store).replace("FEATURES", features).replace("  CACHE\n", cache))
    return file


def put(declared, *rows):
    command = [str(binary()), "features", "put", "-f", str(declared), "weather", "-"]
    done = subprocess.run(command, input="\n".join(map(json.dumps, rows)), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def with_features(repository, **more):
    parameters = {"feature_service": "delay", **more.pop("parameters", {})}
    more.setdefault("config", "dynamic_batching { }")
    return repository.add("ride", inputs=INPUTS, outputs=OUTPUTS, parameters=parameters, **more)


@pytest.fixture
def server(repository, tmp_path, serve):
    declared = declare(tmp_path)
    put(declared, {"origin": "JFK", "hour": 5, "wind": 11.5, "sky": "clear"}, {"origin": "EWR", "hour": 5, "wind": None, "sky": "fog"})
    started = serve(with_features(repository), "--features", str(declared))
    started.declared = declared
    return started


KEYS = {"origin": ("BYTES", [2, 1], ["JFK", "EWR"]), "seats": ("INT32", [2, 1], [3, 4]), "hour": ("INT64", [2, 1], [5, 5])}


def outputs(reply) -> dict:
    assert reply.status == 200, reply.body
    return {output["name"]: output["data"] for output in reply.json()["outputs"]}


def test_json_clients_send_keys_and_may_send_features(server):
    seen = outputs(server.infer("ride", KEYS))
    assert seen == {"wind_seen": [11.5, -1.5], "origin_seen": ["JFK", "EWR"], "sky_seen": ["clear", "fog"], "seats_seen": [3, 4]}
    seen = outputs(server.infer("ride", {**KEYS, "wind": ("FP32", [2, 1], [1.25, 2.5])}))
    assert (seen["wind_seen"], seen["sky_seen"]) == ([1.25, 2.5], ["clear", "fog"])
    # Who sends every feature needs no key that only features need.
    own = {**KEYS, "wind": ("FP32", [2, 1], [0, 0]), "sky": ("BYTES", [2, 1], ["a", "b"])}
    own.pop("hour")
    assert outputs(server.infer("ride", own))["sky_seen"] == ["a", "b"]


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_client_of_triton_is_served_by_keys(server, variant):
    client = TritonClient(variant, server)
    try:
        inputs = [
            client.input("origin", np.array([["JFK"], ["EWR"]], dtype=np.object_)),
            client.input("seats", np.array([[3], [4]], dtype=np.int32)),
            client.input("hour", np.array([[5], [5]], dtype=np.int64)),
        ]
        answer = client.infer("ride", inputs, parameters={"hanok_features": True})
        assert answer.as_numpy("wind_seen").tolist() == [[11.5], [-1.5]]
        assert answer.as_numpy("sky_seen").tolist() == [[b"clear"], [b"fog"]]
        assert answer.as_numpy("origin_seen").tolist() == [[b"JFK"], [b"EWR"]]
        response = answer.get_response()
        parameter = response["parameters"]["hanok_features"] if client.over_http else response.parameters["hanok_features"].string_param
        told = json.loads(parameter)
        assert told["wind"]["from"] == {"store": 1, "default": 1}
        assert told["sky"]["from"] == {"store": 2}
        assert 0 <= told["sky"]["oldest_seconds"] < 60
        overriding = [*inputs, client.input("wind", np.array([[1], [2]], dtype=np.float32))]
        answer = client.infer("ride", overriding)
        assert answer.as_numpy("wind_seen").tolist() == [[1], [2]]
        assert "hanok_features" not in str(answer.get_response())
        metadata = client.plain("get_model_metadata", "ride")
        shown = [(tensor["name"], tensor["datatype"], [int(size) for size in tensor["shape"]]) for tensor in metadata["inputs"]]
        assert shown == [("origin", "BYTES", [-1, 1]), ("seats", "INT32", [-1, 1]), ("hour", "INT64", [-1, 1])]
        config = client.plain("get_model_config", "ride")
        config = config.get("config", config)
        assert [tensor["name"] for tensor in config["input"]] == ["wind", "origin", "sky", "seats"]
    finally:
        client.close()


def test_streams_are_served_by_keys_in_order(server):
    client = triton_grpc.InferenceServerClient(server.grpc)
    answers, come = [], threading.Event()

    def take(result, error):
        answers.append((result, error))
        if len(answers) == 40:
            come.set()

    client.start_stream(take)
    for number in range(40):
        inputs = []
        for name, kind, value in [("origin", np.object_, "JFK" if number % 4 else "QQQ"), ("seats", np.int32, number), ("hour", np.int64, 5)]:
            array = np.array([[value]], dtype=kind)
            tensor = triton_grpc.InferInput(name, [1, 1], {"origin": "BYTES", "seats": "INT32", "hour": "INT64"}[name])
            tensor.set_data_from_numpy(array)
            inputs.append(tensor)
        client.async_stream_infer("ride", inputs, request_id=str(number))
    assert come.wait(20)
    client.stop_stream()
    for number, (result, error) in enumerate(answers):
        if number % 4:
            assert result.as_numpy("seats_seen").tolist() == [[number]]
            assert result.as_numpy("sky_seen").tolist() == [[b"clear"]]
        else:
            assert "feature `weather:sky` of row `0`: the store has no row for the key" in str(error)


def test_rows_that_are_written_while_the_server_runs_are_seen(server):
    one = {"origin": ("BYTES", [1, 1], ["LGA"]), "seats": ("INT32", [1, 1], [1]), "hour": ("INT64", [1, 1], [6])}
    assert server.infer("ride", one).status == 404
    put(server.declared, {"origin": "LGA", "hour": 6, "wind": 2, "sky": "rain"})
    server.await_true(lambda: server.infer("ride", one).status == 200, "the row")
    assert outputs(server.infer("ride", one))["sky_seen"] == ["rain"]


@pytest.mark.parametrize(
    ("change", "status", "told"),
    [
        ({"hour": None}, 400, "key `hour`: expected values of type `int64` for view `weather`, got none"),
        ({"hour": ("INT32", [2, 1], [5, 5])}, 400, "inference input 'hour' data-type is 'INT32', but model 'ride' expects 'INT64'"),
        ({"hour": ("INT64", [1, 1], [5])}, 400, "input 'hour' batch size does not match other inputs for 'ride'"),
        ({"hour": ("INT64", [2, 2], [5, 5, 5, 5])}, 400, "unexpected shape for input 'hour' for model 'ride'"),
        ({"origin": ("BYTES", [2, 1], ["JFK", "x" * (1 << 20)])}, 400, "row `1`: expected at most `4096` bytes with the names"),
        ({"origin": ("BYTES", [2, 1], ["JFK", "nowhere"])}, 404, "feature `weather:sky` of row `1`: the store has no row for the key"),
        ({"origin": ("BYTES", [2, 1], ["JFK", "a:b{c}\\u0000/../d"])}, 404, "feature `weather:sky` of row `1`: the store has no row"),
        ({"hours": ("INT64", [2, 1], [5, 5])}, 400, "unexpected inference input 'hours' for model 'ride'"),
        ({"seats": None}, 400, "but got 2 inputs for model 'ride'. Got input(s) ['origin','hour'], but missing required input(s) ['seats']"),
    ],
)
def test_bad_requests_are_told_and_the_server_serves_on(server, change, status, told):
    asked = {name: tensor for name, tensor in {**KEYS, **change}.items() if tensor is not None}
    reply = server.infer("ride", asked)
    assert told in reply.json()["error"]
    assert reply.status == status
    assert server.infer("ride", KEYS).status == 200
    statistics = server.statistics("ride")["inference_stats"]
    assert int(statistics["success"]["count"]) == 1
    assert int(statistics["fail"]["count"]) == 1


@pytest.mark.parametrize(
    ("features", "config", "flag", "reason"),
    [
        (FEATURES, "", False, "the server knows no features: give it their declarations with --features=FILE"),
        ("[{name: wind, type: string, default: x}, {name: sky, type: string}]", "", True, "expected a feature that fits `FP32` of input `wind`, got `string`"),
        (FEATURES, "sequence_batching { }", True, "model 'ride' takes sequences, whose requests cannot wait"),
    ],
)
def test_models_that_features_do_not_fit_are_not_loaded_and_say_why(repository, tmp_path, serve, features, config, flag, reason):
    declared = declare(tmp_path, features=features)
    repository.add("plain")
    started = serve(with_features(repository, config=config), *(["--features", str(declared)] if flag else []))
    index = {entry["name"]: entry for entry in started.post("/v2/repository/index").json()}
    assert index["plain"]["state"] == "READY"
    assert index["ride"]["state"] == "UNAVAILABLE"
    assert reason in index["ride"]["reason"]


def test_faults_of_the_declarations_end_the_start_with_their_lines(repository, tmp_path, serve):
    declared = declare(tmp_path, features=FEATURES.replace("float32", "float33"))
    started = serve(with_features(repository), "--features", str(declared), wait=None)
    assert started.exit_code() == 1
    text = declared.read_text()
    line = text[: text.index("float33")].count("\n") + 1
    assert f"{declared}:{line}: FeatureView/weather: spec.features[0].type: expected one of" in started.log()


class Redis:
    """A Redis server that can be stopped and killed."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as found:
            self.port = found.getsockname()[1]
        self.boot()

    def boot(self):
        command = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        end = time.monotonic() + 20
        while True:
            try:
                self.say("PING")
                return
            except OSError:
                assert time.monotonic() < end

    def say(self, line: str):
        with socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(line.encode() + b"\r\n")
            assert connection.recv(100)[:1] in (b"+", b":")

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def redis():
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    server = Redis()
    yield server
    server.kill()


STORE = '{redis_hash: {url: "redis://127.0.0.1:PORT/0", key: "weather:{origin}:{hour}"}}'


def test_a_store_that_goes_leaves_each_feature_what_is_declared_for_it_within_the_deadline(redis, repository, tmp_path, serve):
    features = "[{name: wind, type: float32, default: -1.5}, {name: sky, type: string, fallback: last_known}]"
    declared = declare(tmp_path, STORE.replace("PORT", str(redis.port)), features)
    started = serve(with_features(repository), "--features", str(declared))
    redis.say("HSET weather:JFK:5 wind 11.5 sky clear")
    one = {"origin": ("BYTES", [1, 1], ["JFK"]), "seats": ("INT32", [1, 1], [1]), "hour": ("INT64", [1, 1], [5])}
    ask = lambda **more: started.infer("ride", one, parameters={"hanok_features": True}, **more)
    told = lambda reply: {name: list(one["from"]) for name, one in json.loads(reply.json()["parameters"]["hanok_features"]).items()}
    reply = ask()
    assert (outputs(reply)["wind_seen"], told(reply)) == ([11.5], {"wind": ["store"], "sky": ["store"]})

    # It hangs: the answer comes at the deadline of 2 s, from what is declared and remembered.
    redis.process.send_signal(19)
    began = time.monotonic()
    reply = ask()
    assert 1.9 < time.monotonic() - began < 5
    assert (outputs(reply)["wind_seen"], outputs(reply)["sky_seen"]) == ([-1.5], ["clear"])
    assert told(reply) == {"wind": ["default"], "sky": ["last_known"]}
    # The request's own deadline is sooner than the service's, and what is fallen back to makes it.
    began = time.monotonic()
    reply = started.infer("ride", one, parameters={"timeout": 1_200_000})
    assert time.monotonic() - began < 1.9
    assert (outputs(reply)["wind_seen"], outputs(reply)["sky_seen"]) == ([-1.5], ["clear"])
    assert started.log().count("a feature store cannot be read") == 1
    redis.process.send_signal(18)
    redis.kill()
    assert told(ask()) == {"wind": ["default"], "sky": ["last_known"]}
    unseen = {**one, "hour": ("INT64", [1, 1], [6])}
    reply = started.infer("ride", unseen)
    assert reply.status == 503, reply.body
    assert "feature `weather:sky` of row `0`: the feature store is unavailable" in reply.json()["error"]
    assert str(redis.port) not in reply.json()["error"]
    redis.boot()
    redis.say("HSET weather:JFK:5 wind 12.5 sky rain")
    started.await_true(lambda: told(ask()) == {"wind": ["store"], "sky": ["store"]}, "the store")
    assert outputs(ask())["sky_seen"] == ["rain"]
    assert started.log().count("a feature store answers again") == 1


LISTS = [("wind", "FP32", [2]), ("origin", "BYTES", [1]), ("sky", "BYTES", [1]), ("hour", "INT64", [1])]


@pytest.mark.parametrize(("fallback", "status"), [("fallback: last_known, default: [8, 9]", 200), ("fallback: last_known", 503)])
def test_a_remembered_list_of_another_length_is_not_served(redis, repository, tmp_path, serve, fallback, status):
    features = f"[{{name: wind, type: list<float32>, {fallback}}}, {{name: sky, type: string, default: x}}]"
    declared = declare(tmp_path, STORE.replace("PORT", str(redis.port)), features)
    outputs_of = [(f"{name}_seen", kind, dims) for name, kind, dims in LISTS]
    repository.add("ride", inputs=LISTS, outputs=outputs_of, parameters={"feature_service": "delay"}, max_batch_size=0)
    started = serve(repository, "--features", str(declared))
    redis.say("HSET weather:JFK:5 wind [1,2,3]")
    one = {"origin": ("BYTES", [1], ["JFK"]), "hour": ("INT64", [1], [5])}
    # The model takes two; the row is remembered as it is stored.
    reply = started.infer("ride", one)
    assert reply.status == (200 if status == 200 else 501), reply.body
    redis.kill()
    reply = started.infer("ride", one)
    assert reply.status == status, reply.body
    if status == 200:
        assert outputs(reply)["wind_seen"] == [8, 9]
    else:
        assert "feature `weather:wind` of row `0`: the feature store is unavailable" in reply.json()["error"]


def test_lists_of_two_lengths_in_a_request_are_the_clients_to_part(repository, tmp_path, serve):
    declared = declare(tmp_path, features="[{name: wind, type: list<float32>, fallback: fail}, {name: sky, type: string, default: x}]")
    wide = [("wind", "FP32", [-1]), *LISTS[1:]]
    repository.add("ride", inputs=wide, outputs=[(f"{name}_seen", kind, dims) for name, kind, dims in wide], parameters={"feature_service": "delay"}, config="dynamic_batching { }")
    put(declared, {"origin": "JFK", "hour": 5, "wind": [1, 2, 3]}, {"origin": "EWR", "hour": 5, "wind": [4, 5]})
    started = serve(repository, "--features", str(declared))
    ask = lambda *origins: started.infer("ride", {"origin": ("BYTES", [len(origins), 1], list(origins)), "hour": ("INT64", [len(origins), 1], [5] * len(origins))})
    reply = ask("JFK", "JFK", "EWR")
    assert reply.status == 400, reply.body
    told = "feature `weather:wind` for input 'wind': expected lists of one length in a request, got `3` elements in row `0` and `2` in row `2`"
    assert told in reply.json()["error"] and "send rows with lists of different lengths in requests of their own" in reply.json()["error"]
    assert outputs(ask("JFK", "JFK"))["wind_seen"] == [1, 2, 3, 1, 2, 3]
    assert outputs(ask("EWR"))["wind_seen"] == [4, 5]


def test_stored_values_of_another_type_are_told_to_the_operator_and_not_to_the_client(redis, repository, tmp_path, serve):
    features = "[{name: wind, type: float32, fallback: fail}, {name: sky, type: string, fallback: fail}]"
    declared = declare(tmp_path, STORE.replace("PORT", str(redis.port)), features)
    started = serve(with_features(repository), "--features", str(declared))
    redis.say("HSET weather:JFK:5 wind secret-wind sky clear")
    one = {"origin": ("BYTES", [1, 1], ["JFK"]), "seats": ("INT32", [1, 1], [1]), "hour": ("INT64", [1, 1], [5])}
    reply = started.infer("ride", one)
    assert reply.status == 501, reply.body
    assert b"secret-wind" not in reply.body
    assert "stored features cannot be used as declared" in started.log()
    assert "expected a value of type `float32`, got `secret-wind`" in started.log()


def test_a_store_s_file_may_come_after_the_server_and_be_replaced(repository, tmp_path, serve):
    declared = declare(tmp_path)
    started = serve(with_features(repository), "--features", str(declared))
    assert "a feature store has no file yet" in started.log()
    wind = lambda: outputs(started.infer("ride", {**KEYS, "sky": ("BYTES", [2, 1], ["a", "b"])}))["wind_seen"]
    assert wind() == [-1.5, -1.5]
    for value in (11.5, 12.5):
        for file in tmp_path.glob("features.db*"):
            file.unlink()
        put(declared, {"origin": "JFK", "hour": 5, "wind": value, "sky": "clear"})
        started.await_true(lambda: wind() == [value, -1.5], "the rows of the file that is there now")


def test_a_look_up_by_hand_makes_no_file_and_no_pipe_is_read(tmp_path):
    declared = declare(tmp_path)
    run = lambda *command: subprocess.run([str(binary()), "features", *command], capture_output=True, text=True, timeout=60, check=False)
    got = run("get", "-f", str(declared), "delay", '{"origin": "JFK", "hour": 5}')
    assert got.returncode != 0 and "store `main` has no file" in got.stderr
    assert list(tmp_path.glob("features.db*")) == []
    pipe = tmp_path / "pipe.yaml"
    os.mkfifo(pipe)
    for endless in (pipe, "/dev/zero"):
        checked = run("validate", str(endless))
        assert checked.returncode != 0 and "it is no regular file" in checked.stderr


def test_a_person_may_override_a_feature(server):
    command = [str(binary()), "infer", "ride", "--json", "--server", f"http://{server.http}"]
    given = {"origin": "JFK", "seats": "3", "hour": "5", "wind": "13"}
    command += [part for name, value in given.items() for part in ("--input", f"{name}={value}")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = {output["name"]: output["data"] for output in json.loads(done.stdout)["outputs"]}
    assert seen["wind_seen"] in ([13.0], [[13.0]]), done.stdout
    done = subprocess.run([*command, "--input", "win=1"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0 and "has no input `win`" in done.stderr


def test_keys_of_many_requests_are_read_together_and_hot_keys_not_at_all(redis, repository, tmp_path, serve):
    store = STORE.replace("PORT", str(redis.port))
    declared = declare(tmp_path, store, cache="  cache: {maximum_age_milliseconds: 600000}\n")
    started = serve(with_features(repository), "--features", str(declared))
    for hour in range(64):
        redis.say(f"HSET weather:JFK:{hour} wind {hour} sky s{hour}")

    def ask(hour):
        client = triton_http.InferenceServerClient(started.http)
        inputs = []
        for name, kind, datatype, value in [("origin", np.object_, "BYTES", "JFK"), ("seats", np.int32, "INT32", 1), ("hour", np.int64, "INT64", hour)]:
            tensor = triton_http.InferInput(name, [1, 1], datatype)
            tensor.set_data_from_numpy(np.array([[value]], dtype=kind))
            inputs.append(tensor)
        for _ in range(10):
            answer = client.infer("ride", inputs)
            assert answer.as_numpy("wind_seen").tolist() == [[hour]]
            assert answer.as_numpy("sky_seen").tolist() == [[f"s{hour}".encode()]]
        client.close()

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(ask, range(64)))
    metrics = started.metrics()
    count = lambda name, **labels: metrics.value(name, service="delay", **labels)
    assert count("hanok_feature_requests_total") == 640
    assert count("hanok_feature_store_keys_total") == 64
    assert count("hanok_feature_store_reads_total") <= 64
    assert count("hanok_feature_values_total", **{"from": "cache"}) == 2 * (640 - 64)
