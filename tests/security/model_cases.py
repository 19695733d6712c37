"""Cases 50 and 55 to 62: names, configurations and files that a client offers as a model."""

import base64
import json
import pickle

from harness.server import ROOT
from security.attack import Target, case, tensor

CONFIG = {"backend": "onnxruntime", "max_batch_size": 8}


def load(target: Target, name: str, statuses, config: dict | str | None = None, files: dict[str, bytes] | None = None):
    parameters = {}
    if config is not None:
        parameters["config"] = config if isinstance(config, str) else json.dumps(config)
    for path, content in (files or {}).items():
        parameters[f"file:{path}"] = base64.b64encode(content).decode()
    return target.post(f"/v2/repository/models/{name}/load", {"parameters": parameters}, statuses)


def model_bytes() -> bytes:
    return (ROOT / "models/simple/1/model.onnx").read_bytes()


@case(50, "shared memory while it is off")
def shared_memory(target: Target):
    for kind in ("system", "cuda"):
        for action in ("region/a/register", "region/a/unregister", "unregister"):
            reply = target.post(f"/v2/{kind}sharedmemory/{action}", {"key": "///", "offset": 0, "byte_size": 2**63}, 501)
            assert "memory" in reply.error
    reference = {"shared_memory_region": "a", "shared_memory_byte_size": 4}
    target.infer("identity_fp32", {"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "parameters": reference}]}, [400, 501])
    target.infer("identity_fp32", {"inputs": [tensor()], "outputs": [{"name": "OUTPUT0", "parameters": reference}]}, [400, 501])


@case(55, "names of models")
def names(target: Target):
    for name in ("..", ".", "%2e%2e", "..%2f..%2fetc", "a%00b", "a" * 256, "a" * 5000, "%20", "..%20", "a%5cb", "identity_fp32%20", "іdentity_fp32".encode().hex()):
        target.exchange(f"GET /v2/models/{name} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), [400, 404])
        target.post(f"/v2/repository/models/{name}/load", {}, [400, 404, 500])
        target.post(f"/v2/repository/models/{name}/unload", {}, [200, 400, 404])
    for name in ("model..1", "..my_model"):
        target.exchange(f"GET /v2/models/{name}/ready HTTP/1.1\r\nHost: a\r\n\r\n".encode(), 200)


@case(56, "files that leave the model's folder")
def file_overrides(target: Target):
    canary = target.process.outside
    for path in ("../../escaped", "1/../../escaped", "/escaped", "1/a/../../../escaped", "", "1", "1/", "x/model.onnx", "1/" + "a" * 256,
                 "1/a\0b", "..", "1/..", "-1/model.onnx", "1\\..\\..\\escaped"):
        load(target, "uploaded", [400, 500], CONFIG, {path: model_bytes()})
    assert not list(canary.rglob("escaped*")), "a file was written outside the model's folder"
    assert load(target, "uploaded", [400, 500], None, {"1/model.onnx": model_bytes()}).status
    target.post("/v2/repository/models/uploaded/load", {"parameters": {"config": "{}", "file:1/model.onnx": "not base64!"}}, [400, 500])


@case(57, "configurations beyond reason")
def configurations(target: Target):
    base = {"backend": "builtin", "parameters": {"model": {"string_value": "identity"}}, "max_batch_size": 8,
            "input": [{"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [-1]}], "output": [{"name": "OUTPUT0", "data_type": "TYPE_FP32", "dims": [-1]}]}
    for wrong in (
        {"instance_group": [{"kind": "KIND_CPU", "count": 10**9}]},
        {"instance_group": [{"kind": "KIND_CPU", "count": -1}]},
        {"instance_group": [{"kind": "KIND_CPU", "count": 2**40}]},
        {"max_batch_size": -1},
        {"max_batch_size": 2**40},
        {"max_batch_size": "eight"},
        {"input": [{"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [-5]}]},
        {"input": [{"name": "INPUT0", "data_type": "TYPE_NONE", "dims": [1]}]},
        {"input": [{"name": "INPUT0", "data_type": "TYPE_FP32", "dims": [2**62, 2**62]}]},
        {"no_such_field": 1},
        {"dynamic_batching": {"preferred_batch_size": [0]}},
        {"dynamic_batching": {"preferred_batch_size": [9]}},
        {"dynamic_batching": {"max_queue_delay_microseconds": -1}},
        {"model_warmup": [{"name": "w", "batch_size": 9, "inputs": {"INPUT0": {"data_type": "TYPE_FP32", "dims": [1], "zero_data": True}}}]},
        {"model_warmup": [{"name": "w", "inputs": {"INPUT0": {"data_type": "TYPE_FP32", "dims": [2**40], "zero_data": True}}}]},
        {"model_warmup": [{"name": "w", "inputs": {"INPUT0": {"data_type": "TYPE_FP32", "dims": [1], "input_data_file": "../../../etc/passwd"}}}]},
        {"default_model_filename": "../../../etc/passwd"},
        {"output": [{"name": "OUTPUT0", "data_type": "TYPE_FP32", "dims": [-1], "label_filename": "../../../etc/passwd"}]},
        {"backend": "../../lib/evil"},
        {"backend": ""},
    ):
        load(target, "identity_fp32", [400, 500], {**base, **wrong})
    many = [{"name": f"I{number}", "data_type": "TYPE_FP32", "dims": [1]} for number in range(100_000)]
    load(target, "identity_fp32", [400, 500], {**base, "input": many})
    # The old version serves on, whatever was offered.
    target.infer("identity_fp32", {"inputs": [tensor()]}, 200)


@case(57, "a configuration of fifty megabytes", quick=False)
def a_large_configuration(target: Target):
    load(target, "identity_fp32", [400, 500], '{"backend":"builtin","no_such_field":"' + "a" * 50_000_000 + '"}')
    target.infer("identity_fp32", {"inputs": [tensor()]}, 200)


@case(58, "settings that name files")
def settings(target: Target):
    target.post("/v2/logging", {"log_file": "/tmp/hanok-canary"}, [400, 501])
    target.post("/v2/trace/setting", {"trace_file": "/tmp/hanok-canary"}, [400, 501])


def varint(value: int) -> bytes:
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


def field(number: int, data: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(data)) + data


def number_field(number: int, value: int) -> bytes:
    return varint(number << 3) + varint(value)


def onnx_with_initializer(tensor_body: bytes, operator: bytes = b"Add") -> bytes:
    """An ONNX file: OUTPUT0 = operator(INPUT0, w); `tensor_body` is the TensorProto of w."""

    def value_info(name: bytes) -> bytes:
        dimensions = field(1, number_field(1, 1)) + field(1, number_field(1, 4))
        return field(1, name) + field(2, field(1, number_field(1, 1) + field(2, dimensions)))

    node = field(1, b"INPUT0") + field(1, b"w") + field(2, b"OUTPUT0") + field(4, operator)
    graph = field(1, node) + field(2, b"g") + field(5, tensor_body) + field(11, value_info(b"INPUT0")) + field(12, value_info(b"OUTPUT0"))
    return number_field(1, 8) + field(7, graph) + field(8, number_field(2, 17))


@case(60, "weights outside the folder", quick=False)
def external_data(target: Target):
    for location in ("../../../../../../etc/passwd", "/etc/passwd", "../secret", ""):
        entry = field(13, field(1, b"location") + field(2, location.encode()))
        body = number_field(1, 4) + number_field(2, 1) + field(8, b"w") + entry + number_field(14, 1)
        reply = load(target, "uploaded", [400, 500], {"backend": "onnxruntime"}, {"1/model.onnx": onnx_with_initializer(body)})
        assert "passwd" not in reply.error or "root:" not in reply.error
    target.infer("identity_fp32", {"inputs": [tensor()]}, 200)


@case(61, "files that are cut", quick=False)
def truncated_models(target: Target):
    whole = model_bytes()
    before = target.process.resident_bytes()
    for length in sorted({0, 1, 2, 3, 7, *range(11, min(len(whole), 4096), max(1, min(len(whole), 4096) // 60))}):
        load(target, "uploaded", [400, 500], CONFIG, {"1/model.onnx": whole[:length]})
    assert target.process.resident_bytes() < before + (64 << 20)


@case(61, "a tensor of a tebibyte, an operator that nobody knows", quick=False)
def absurd_models(target: Target):
    before = target.process.resident_bytes()
    huge = number_field(1, 2**40) + number_field(2, 1) + field(8, b"w") + field(9, bytes(16))
    load(target, "uploaded", [400, 500], {"backend": "onnxruntime"}, {"1/model.onnx": onnx_with_initializer(huge)})
    small = number_field(1, 4) + number_field(2, 1) + field(8, b"w") + field(9, bytes(16))
    reply = load(target, "uploaded", [400, 500], {"backend": "onnxruntime"}, {"1/model.onnx": onnx_with_initializer(small, b"NoSuchOperator")})
    assert "NoSuchOperator" in reply.error
    assert target.process.resident_bytes() < before + (64 << 20)


class Canary:
    """Would write a file if somebody unpickled it."""

    def __reduce__(self):
        return (open, ("/tmp/hanok-pickle-canary", "w"))


@case(62, "other formats offered as models")
def other_formats(target: Target):
    for content in (pickle.dumps(Canary()), b"PK\x03\x04" + bytes(100), b"\x7fELF" + bytes(100), b"\x89HDF\r\n\x1a\n" + bytes(100), bytes(1000)):
        load(target, "uploaded", [400, 500], CONFIG, {"1/model.onnx": content})
    for backend in ("pytorch", "python", "tensorflow", "keras"):
        load(target, "uploaded", [400, 500], {"backend": backend}, {"1/model.py": b"import os"})
