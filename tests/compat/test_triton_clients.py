"""Every call of `tritonclient`, in its four variants, against the release binary (W-103, W-104)."""

import base64
import json
import time

import ml_dtypes
import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from compat.triton_clients import VARIANTS, TritonClient
from harness.server import ROOT


@pytest.fixture(params=VARIANTS)
def client(request, compat_server):
    client = TritonClient(request.param, compat_server)
    yield client
    client.close()


def add_sub_inputs(client, **options):
    left, right = np.arange(16, dtype=np.int32).reshape(1, 16), np.ones((1, 16), np.int32)
    return [client.input("INPUT0", left, **options), client.input("INPUT1", right, **options)], left, right


def test_health(client):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("simple")
    assert client.is_model_ready("simple", "1")
    assert not client.is_model_ready("simple", "2")
    assert not client.is_model_ready("nothing")


def test_server_metadata(client):
    metadata = client.plain("get_server_metadata")
    assert metadata["name"] == "triton" and metadata["version"]
    assert {"classification", "model_repository", "binary_tensor_data", "statistics", "parameters"} <= set(metadata["extensions"])


def test_model_metadata(client):
    metadata = client.plain("get_model_metadata", "simple")
    assert metadata["name"] == "simple" and metadata["versions"] == ["1"] and metadata["platform"]
    assert [(one["name"], one["datatype"], [int(size) for size in one["shape"]]) for one in metadata["inputs"]] == [
        ("INPUT0", "INT32", [-1, 16]), ("INPUT1", "INT32", [-1, 16]),
    ]


def test_model_config(client):
    config = client.plain("get_model_config", "simple")
    config = config.get("config", config)
    assert config["max_batch_size"] == 8 and config["input"][1]["name"] == "INPUT1"


@pytest.mark.parametrize("call", ["get_model_metadata", "get_model_config", "get_inference_statistics"])
def test_an_unknown_model_is_an_exception(client, call):
    with pytest.raises(InferenceServerException, match="nothing") as raised:
        getattr(client, call)("nothing")
    assert raised.value.status()


def test_binary_inference(client):
    inputs, left, right = add_sub_inputs(client)
    result = client.infer("simple", inputs)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), left + right)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)
    assert result.get_output("OUTPUT0") is not None and result.as_numpy("OTHER") is None


@pytest.mark.parametrize("model, dtype", [("simple_int8", np.int8), ("simple", np.int32)])
def test_eight_rows(client, model, dtype):
    left, right = np.arange(128, dtype=dtype).reshape(8, 16) // 2, np.full((8, 16), 3, dtype)
    result = client.infer(model, [client.input("INPUT0", left), client.input("INPUT1", right)])
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), left + right)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)


def test_strings(client):
    left = np.array([[str(number) for number in range(16)]], dtype=np.object_)
    right = np.array([["1"] * 16], dtype=np.object_)
    result = client.infer("simple_string", [client.input("INPUT0", left), client.input("INPUT1", right)])
    assert [int(text) for text in result.as_numpy("OUTPUT0")[0]] == [number + 1 for number in range(16)]


def test_any_bytes(client):
    values = np.array([[b"", b"\x00\xff\xfe", "naïve".encode(), b"x" * 100_000]], dtype=np.object_)
    result = client.infer("simple_identity", [client.input("INPUT0", values)])
    assert list(result.as_numpy("OUTPUT0")[0]) == list(values[0])


ARRAYS = {
    "bool": np.array([[True, False]]),
    **{f"{sign}int{bits}": np.array([[np.iinfo(f"{sign}int{bits}").min, np.iinfo(f"{sign}int{bits}").max]], f"{sign}int{bits}")
       for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "fp16": np.array([[1.5, -65504, np.nan]], np.float16),
    "fp32": np.array([[0.1, np.inf, -0.0, np.nan]], np.float32),
    "fp64": np.array([[0.1, -np.inf, 1e308]], np.float64),
}


@pytest.mark.parametrize("kind", ARRAYS)
def test_every_data_type_as_binary(client, kind):
    array = ARRAYS[kind]
    result = client.infer(f"identity_{kind}", [client.input("INPUT0", array)]).as_numpy("OUTPUT0")
    assert result.dtype == array.dtype
    assert result.tobytes() == array.tobytes()


def test_bf16(client):
    array = np.array([[1.5, -2.0, 3.140625]], ml_dtypes.bfloat16)
    result = client.infer("identity_bf16", [client.input("INPUT0", array, "BF16")])
    assert result.as_numpy("OUTPUT0").astype(np.float32).tolist() == array.astype(np.float32).tolist()


@pytest.mark.parametrize("kind", ["bool", "int8", "uint16", "int64", "uint64", "fp32", "fp64"])
def test_json_tensors(compat_server, kind):
    for variant in ("http", "http.aio"):
        client = TritonClient(variant, compat_server)
        array = np.nan_to_num(ARRAYS[kind], nan=2, posinf=3, neginf=4) if "fp" in kind else ARRAYS[kind]
        result = client.infer(
            f"identity_{kind}", [client.input("INPUT0", array, binary_data=False)], outputs=[client.output("OUTPUT0", binary_data=False)]
        )
        np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), array)
        client.close()


def test_only_the_outputs_asked_for(client):
    inputs, left, right = add_sub_inputs(client)
    result = client.infer("simple", inputs, outputs=[client.output("OUTPUT1")])
    np.testing.assert_array_equal(result.as_numpy("OUTPUT1"), left - right)
    assert result.as_numpy("OUTPUT0") is None


def test_request_id_and_parameters(client):
    inputs, *_ = add_sub_inputs(client)
    result = client.infer("simple", inputs, request_id="abc-1", parameters={"tenant": "a", "level": 3, "fast": True})
    response = result.get_response()
    assert (response["id"] if client.over_http else response.id) == "abc-1"
    with pytest.raises(InferenceServerException):
        client.infer("simple", inputs, parameters={"priority": 1})


def test_priority_and_timeout(client):
    inputs, *_ = add_sub_inputs(client)
    assert client.infer("simple", inputs, priority=1, timeout=5_000_000).as_numpy("OUTPUT0") is not None


def test_classification(client):
    array = np.array([[0.1, 0.9, 0.3, 0.2]], np.float32)
    result = client.infer("labelled", [client.input("INPUT0", array)], outputs=[client.output("OUTPUT0", class_count=2)])
    assert [text.decode() for text in result.as_numpy("OUTPUT0").ravel()] == ["0.900000:1:one", "0.300000:2:two"]


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_compression(client, coding):
    array = np.tile(np.arange(16, dtype=np.float32), 4096).reshape(1, -1)
    if client.over_http:
        options = {"request_compression_algorithm": coding, "response_compression_algorithm": coding}
    else:
        options = {"compression_algorithm": coding}
    result = client.infer("identity_fp32", [client.input("INPUT0", array)], **options)
    np.testing.assert_array_equal(result.as_numpy("OUTPUT0"), array)


def test_zero_size(client):
    result = client.infer("identity_fp32", [client.input("INPUT0", np.zeros((1, 0), np.float32))])
    assert list(result.as_numpy("OUTPUT0").shape) == [1, 0]


def test_large_tensor(client):
    array = np.random.default_rng(7).random((2, 2_000_000), np.float32)
    result = client.infer("identity_fp32", [client.input("INPUT0", array)])
    assert result.as_numpy("OUTPUT0").tobytes() == array.tobytes()


def test_versions(client):
    array = np.ones((1, 1), np.float32)

    def version(**options):
        response = client.infer("two_versions", [client.input("INPUT0", array)], **options).get_response()
        return response["model_version"] if client.over_http else response.model_version

    assert version() == "2"
    assert version(model_version="1") == "1"
    with pytest.raises(InferenceServerException):
        version(model_version="3")


def test_wrong_inputs_are_exceptions(client):
    array = np.ones((1, 1), np.float32)
    for name, value, text in [("OTHER", array, "OTHER|INPUT0"), ("INPUT0", array.astype(np.int32), "INT32|FP32"), ("INPUT0", np.ones((9, 1), np.float32), "batch")]:
        with pytest.raises(InferenceServerException, match=text):
            client.infer("identity_fp32", [client.input(name, value)])


def test_statistics(client):
    array = np.ones((3, 1), np.float32)

    def numbers():
        entry = client.plain("get_inference_statistics", "identity_fp32", "1")["model_stats"][0]
        return int(entry.get("inference_count", 0)), int(entry["inference_stats"]["success"].get("count", 0))

    # What the tests before asked for may be counted by now.
    rows, requests = before = numbers()
    while time.sleep(0.1) or numbers() != before:
        rows, requests = before = numbers()
    client.infer("identity_fp32", [client.input("INPUT0", array)])
    client.infer("identity_fp32", [client.input("INPUT0", array)])
    # A batch is counted when its last answer is on its way.
    end = time.monotonic() + 10
    while numbers() < (rows + 6, requests + 2) and time.monotonic() < end:
        time.sleep(0.01)
    assert numbers() == (rows + 6, requests + 2)
    assert len(client.plain("get_inference_statistics")["model_stats"]) > 5


def test_repository(client):
    def states():
        index = client.plain("get_model_repository_index")
        return {one["name"]: one.get("state") for one in (index if isinstance(index, list) else index["models"])}

    assert states()["identity_text"] == "READY"
    client.unload_model("identity_text")
    assert not client.is_model_ready("identity_text")
    assert states()["identity_text"] in ("UNAVAILABLE", "UNLOADING", None)
    client.load_model("identity_text")
    assert client.is_model_ready("identity_text")
    with pytest.raises(InferenceServerException, match="failed to load 'nothing'"):
        client.load_model("nothing")
    client.unload_model("nothing")


CONFIG = {
    "backend": "builtin", "max_batch_size": 2,
    "input": [{"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [-1]}],
    "output": [{"name": "OUTPUT0", "data_type": "TYPE_FP32", "dims": [-1]}],
    "parameters": {"model": {"string_value": "identity"}},
}


def test_load_with_a_configuration(client):
    client.load_model("slow", config=json.dumps(CONFIG))
    config = client.plain("get_model_config", "slow")
    assert config.get("config", config)["max_batch_size"] == 2
    client.load_model("slow")
    config = client.plain("get_model_config", "slow")
    assert config.get("config", config)["max_batch_size"] == 8


def test_load_with_files(client):
    name = f"from_files_{client.variant.replace('.', '_')}"
    model = (ROOT / "models/simple/1/model.onnx").read_bytes()
    config = {"backend": "onnxruntime", "max_batch_size": 8}
    client.load_model(name, config=json.dumps(config), files={"file:1/model.onnx": model})
    inputs, left, right = add_sub_inputs(client)
    np.testing.assert_array_equal(client.infer(name, inputs).as_numpy("OUTPUT0"), left + right)
    client.unload_model(name)
    for path in ("file:1/../../model.onnx", "file:/etc/model.onnx", f"file:1/{'a' * 256}"):
        with pytest.raises(InferenceServerException):
            client.load_model(name, config=json.dumps(config), files={path: model})
    assert client.is_server_live()


def test_what_is_not_offered_says_so(client):
    with pytest.raises(InferenceServerException, match="shared.memory"):
        client.register_system_shared_memory("region", "/key", 64)
    with pytest.raises(InferenceServerException, match="shared.memory"):
        client.register_cuda_shared_memory("region", base64.b64encode(b"0" * 64), 0, 64)
    with pytest.raises(InferenceServerException, match="Attempting to set invalid trace setting :trace file name is not given"):
        client.update_trace_settings(settings={"trace_level": ["TIMESTAMPS"]})


def test_a_client_timeout(compat_server):
    array = np.array([[400]], np.int32)
    for variant in ("grpc", "grpc.aio"):
        client = TritonClient(variant, compat_server)
        with pytest.raises(InferenceServerException, match="(?i)deadline"):
            client.infer("sleepy", [client.input("INPUT0", array)], client_timeout=0.05)
        client.close()
    client = TritonClient("http", compat_server, network_timeout=0.05, connection_timeout=0.5)
    with pytest.raises(Exception, match="(?i)time"):
        client.infer("sleepy", [client.input("INPUT0", array)])
    client.close()
    assert compat_server.get("/v2/health/live").status == 200
