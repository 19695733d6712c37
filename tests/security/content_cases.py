"""Cases 24 to 43: what stands in an inference request."""

import json
import struct

import grpc

from security.attack import Target, case, tensor

ONE = tensor()


def request_of(text: str) -> bytes:
    return b'{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":[' + text.encode() + b"]}]}"


@case(24, "shapes that wrap round")
def wrapping_shapes(target: Target):
    for shape in ([16, 2**60 + 2], [4, 2**60 + 2], [2**32, 2**32], [1, 2**63 - 1], [1, 2**61]):
        target.infer("identity_fp32", {"inputs": [tensor(shape)]}, 400)
        size = 4
        body = json.dumps({"inputs": [{"name": "INPUT0", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": size}}]}).encode()
        target.infer("identity_fp32", body + bytes(4), 400, f"Inference-Header-Content-Length: {len(body)}\r\n")


@case(25, "dimensions that are none")
def dimensions(target: Target):
    for dimension in (-1, -(2**31), 1.5, "1", None, 2**63, 2**64, [1], True):
        target.infer("identity_fp32", {"inputs": [tensor((1, dimension))]}, [400, 500])
    target.infer("identity_fp32", {"inputs": [{**ONE, "shape": 5}]}, [400, 500])
    target.infer("identity_fp32", {"inputs": [{**ONE, "shape": {}}]}, [400, 500])


@case(26, "nothing, and too many dimensions")
def degenerate_shapes(target: Target):
    target.infer("identity_fp32", {"inputs": [tensor((1, 0), [])]}, 200)
    target.infer("identity_fp32", {"inputs": [tensor((0, 1), [])]}, [200, 400])
    target.infer("identity_fp32", {"inputs": [tensor((), [1])]}, 400)
    target.infer("identity_fp32", {"inputs": [tensor([1] * 1000)]}, 400)
    target.infer("identity_fp32", {"inputs": [tensor([1] * 100_000)]}, 400)


@case(27, "more or less data than the shape says")
def lengths(target: Target):
    target.infer("identity_fp32", {"inputs": [tensor((1, 2), [1])]}, [400, 500])
    target.infer("identity_fp32", {"inputs": [tensor((1, 2), [1, 2, 3])]}, [400, 500])
    for size in (0, 3, 5, 8):
        body = json.dumps({"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "FP32", "parameters": {"binary_data_size": size}}]}).encode()
        target.infer("identity_fp32", body + bytes(size), 400, f"Inference-Header-Content-Length: {len(body)}\r\n")


@case(28, "text elements beyond the buffer")
def text_elements(target: Target):
    for data in (b"\xff\xff\xff\xff", b"\x05\0\0\0abcd", b"\xff\xff\xff\x7fabcd", b"\0", b"\0\0\0\0\0"):
        body = json.dumps({"inputs": [{"name": "INPUT0", "shape": [1, 1], "datatype": "BYTES", "parameters": {"binary_data_size": len(data)}}]}).encode()
        target.infer("identity_bytes", body + data, 400, f"Inference-Header-Content-Length: {len(body)}\r\n")


@case(29, "nesting")
def nesting(target: Target):
    for depth in (101, 250_000):
        deep = b"[" * depth
        target.infer("identity_fp32", b'{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":' + deep, [400, 500])
        target.infer("identity_fp32", b'{"parameters":{"a":' + deep, [400, 500])
        target.infer("identity_fp32", b'{"ignored":' + deep, [400, 500])
        target.infer("identity_fp32", b'{"ignored":' + b'{"a":' * depth, [400, 500])
        target.post("/v2/repository/index", b'{"ready":' + deep, [400, 500])
        target.post("/v2/repository/models/identity_fp32/load", b'{"parameters":{"config":' + deep, [400, 500])
    closed = b"[" * 90 + b"1" + b"]" * 90
    target.infer("identity_fp32", b'{"ignored":' + closed + b',"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":[1]}]}', 200)


@case(30, "numbers and text at the edge of JSON")
def edges(target: Target):
    for text, status in (("1e999", 200), ("-1e999", 200), ("NaN", 200), ("-0", 200), ("18446744073709551616", 200), ("1" * 1000, 200), ("0." + "1" * 100_000, 200)):
        target.infer("identity_fp32", request_of(text), status)
    for text in ("01", "1.", ".5", "+1", "0x10", "1e", "--1", "1 2", "true", "null", '"1"', "nan", "infinity", "1,", ",1"):
        target.infer("identity_fp32", request_of(text), [400, 500])
    for text in ('"\\ud800"', '"\\x"', '"\n"', '"\x01"'):
        body = b'{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"BYTES","data":[' + text.encode() + b"]}]}"
        target.infer("identity_bytes", body, [400, 500])
    target.infer("identity_bytes", b'{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"BYTES","data":["\xff\xfe"]}]}', [400, 500])
    # Two members of one name: refused, or the last one counts; never a mixture.
    twice = b'{"inputs":[{"name":"INPUT0","shape":[1,1],"shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
    reply = target.infer("identity_fp32", twice, [200, 400, 500])
    assert reply.status != 200 or reply.json()["outputs"][0]["shape"] == [1, 2]


@case(30, "a number of ten megabytes", quick=False)
def a_long_number(target: Target):
    target.infer("identity_fp32", request_of("1" * 10_000_000), [200, 400, 500])


@case(31, "JSON at the limit and one over", quick=False)
def body_limit(target: Target):
    limit = 64 << 20
    start, end = b'{"ignored":"', b'","inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"FP32","data":[1]}]}'
    target.infer("identity_fp32", start + b"a" * (limit - len(start) - len(end)) + end, 200)
    with target.raw() as connection:
        head = f"POST /v2/models/identity_fp32/infer HTTP/1.1\r\nHost: a\r\nContent-Length: {limit + 1}\r\n\r\n".encode()
        reply = connection.send(head).reply()
        # Refused from the length alone, before a byte of the body; the text names limit and option.
        assert reply.status == 400 and str(limit) in reply.error and "http-max-input-size" in reply.error, reply


@case(32, "JSON that grows as tensors", quick=False)
def growing(target: Target):
    before = target.process.resident_bytes()
    target.infer("identity_fp64", {"inputs": [tensor((1, 2**40), [1], "FP64")]}, 400)
    # Two bytes of text become eight of tensor: within the body's limit, beyond it as a tensor.
    count = 16 << 20
    body = b'{"inputs":[{"name":"INPUT0","shape":[1,%d],"datatype":"FP64","data":[%s]}]}' % (count, b"1," * (count - 1) + b"1")
    target.infer("identity_fp64", body, 400)
    assert target.process.resident_bytes() < before + (400 << 20)


@case(33, "names twice, and a million outputs", quick=False)
def outputs(target: Target):
    target.infer("identity_fp32", {"inputs": [ONE, ONE]}, 400)
    target.infer("identity_fp32", {"inputs": [ONE], "outputs": [{"name": "OUTPUT0"}] * 2}, 400)
    target.infer("identity_fp32", {"inputs": [ONE], "outputs": [{"name": "OUTPUT0"}] * 1_000_000}, 400)
    target.infer("identity_fp32", {"inputs": [ONE], "outputs": [{"name": f"O{number}"} for number in range(200_000)]}, 400)
    target.infer("identity_fp32", {"inputs": [{**ONE, "name": f"I{number}"} for number in range(100_000)]}, 400)


@case(34, "names, types and ranks that are wrong")
def mismatches(target: Target):
    for wrong in ({"name": "input0"}, {"name": ""}, {"name": "INPUT0 "}, {"datatype": "fp32"}, {"datatype": "INT32"}, {"datatype": ""}, {"shape": [1]}, {"shape": [1, 1, 1]}):
        reply = target.infer("identity_fp32", {"inputs": [{**ONE, **wrong}]}, 400)
        assert "INPUT0" in reply.error or "input0" in reply.error or list(wrong.values())[0] in reply.error, reply.error
    target.infer("identity_fp32", {"inputs": []}, 400)
    target.infer("identity_fp32", {"inputs": [ONE, {**ONE, "name": "MORE"}]}, 400)
    for wrong in ("name", "shape", "datatype"):
        target.infer("identity_fp32", {"inputs": [{key: value for key, value in ONE.items() if key != wrong}]}, [400, 500])
    for wrong in ({"name": 5}, {"datatype": 5}, {"parameters": 5}, {"data": 5}, {"data": "1"}, {"data": {}}):
        target.infer("identity_fp32", {"inputs": [{**ONE, **wrong}]}, [400, 500])
    target.infer("identity_fp32", {"inputs": {"name": "INPUT0"}}, [400, 500])
    target.infer("identity_fp32", {"inputs": [5]}, [400, 500])


@case(35, "classification counts")
def classification(target: Target):
    for count, statuses in ((1, 200), (1_000_000, 200), (1_000_001, 400), (2**31, 400), (2**64, [400, 500]), (-1, [400, 500]), (1.5, [400, 500]), ("3", [400, 500])):
        target.infer("identity_fp32", {"inputs": [ONE], "outputs": [{"name": "OUTPUT0", "parameters": {"classification": count}}]}, statuses)
    target.infer("identity_bytes", {"inputs": [tensor(kind="BYTES", data=["a"])], "outputs": [{"name": "OUTPUT0", "parameters": {"classification": 1}}]}, 400)


@case(35, "more than a million classes", quick=False)
def many_classes(target: Target):
    count = 1_000_001
    body = json.dumps({"inputs": [{"name": "INPUT0", "shape": [1, count], "datatype": "FP32", "parameters": {"binary_data_size": 4 * count}}],
                       "outputs": [{"name": "OUTPUT0", "parameters": {"classification": count}}]}).encode()
    target.infer("identity_fp32", body + bytes(4 * count), 400, f"Inference-Header-Content-Length: {len(body)}\r\n")


@case(36, "reserved parameters")
def reserved(target: Target):
    for name in ("triton_x", "triton_final_response", "triton_enable_empty_final_response"):
        target.infer("identity_fp32", {"inputs": [ONE], "parameters": {name: True}}, 400)
    target.infer("identity_fp32", {"inputs": [ONE]}, 400, "triton_final_response: true\r\n")


@case(37, "priorities and time-outs")
def priorities(target: Target):
    for name in ("priority", "timeout"):
        for value in (-1, "5", 1.5, {}, [], 2**64, True, None):
            target.infer("identity_fp32", {"inputs": [ONE], "parameters": {name: value}}, [400, 500])
    target.infer("identity_fp32", {"inputs": [ONE], "parameters": {"timeout": 2**64 - 1}}, 200)


@case(39, "an id of a mebibyte")
def long_ids(target: Target):
    target.infer("identity_fp32", {"id": "a" * (1 << 20), "inputs": [ONE]}, [200, 400])
    target.infer("identity_fp32", {"id": "a" * 4096, "inputs": [ONE]}, 200)
    target.infer("identity_fp32", {"id": "a" * 4097, "inputs": [ONE]}, 400)
    target.infer("identity_fp32", {"id": "a\r\nX-Injected: 1\x1b[31m", "inputs": [ONE]}, [200, 400])


@case(40, "NaN, infinities and subnormals")
def special_floats(target: Target):
    values = struct.pack("<5f", float("nan"), float("inf"), float("-inf"), 1e-45, -0.0)
    body = json.dumps({"parameters": {"binary_data_output": True}, "inputs": [{"name": "INPUT0", "shape": [1, 5], "datatype": "FP32", "parameters": {"binary_data_size": 20}}]}).encode()
    reply = target.infer("identity_fp32", body + values, 200, f"Inference-Header-Content-Length: {len(body)}\r\n")
    assert reply.body.endswith(values)


def call(target: Target, message: bytes, method: str = "ModelInfer", **options) -> grpc.StatusCode:
    """Sends bytes as a message that no library has checked."""
    with grpc.insecure_channel(target.grpc, options=[("grpc.max_send_message_length", -1), *options.items()]) as channel:
        send = channel.unary_unary(f"/inference.GRPCInferenceService/{method}", request_serializer=bytes, response_deserializer=bytes)
        try:
            send(message, timeout=8)
            return grpc.StatusCode.OK
        except grpc.RpcError as error:
            assert "/tmp/" not in error.details() and ".rs:" not in error.details(), error.details()
            return error.code()


def field(number: int, data: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def varint(value: int) -> bytes:
    encoded = b""
    while value >= 0x80:
        encoded += bytes([value & 0x7F | 0x80])
        value >>= 7
    return encoded + bytes([value])


REFUSED = {grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL}


@case(42, "raw and typed contents, and neither")
def contents(target: Target):
    name, kind, shape = field(1, b"INPUT0"), field(2, b"FP32"), field(3, b"\1\1")
    typed = field(5, field(6, struct.pack("<f", 1)))
    for body in (
        field(5, name + kind + shape + typed) + field(7, bytes(4)),
        field(5, name + kind + shape),
        field(5, name + kind + shape) + field(7, bytes(4)) * 2,
        field(5, name + kind + shape) + field(7, bytes(3)),
        field(5, name + kind + shape) * 2 + field(7, bytes(4)) * 2,
        field(5, name + kind + field(3, varint(2**63) + b"\1")) + field(7, bytes(4)),
    ):
        assert call(target, field(1, b"identity_fp32") + body) == grpc.StatusCode.INVALID_ARGUMENT
    assert call(target, field(1, b"identity_fp32") + field(5, name + kind + shape) + field(7, bytes(4))) == grpc.StatusCode.OK


@case(43, "protobuf that no library writes", quick=False)
def strange_messages(target: Target):
    nested = b""
    for _ in range(200):
        nested = field(5, nested)
    for message in (nested, b"\xff" * 100, b"\x0a\xff\xff\xff\xff\x0f", b"\x0b" * 10_000, field(1, b"\xff\xfe"), b"\x00"):
        assert call(target, message) in REFUSED | {grpc.StatusCode.NOT_FOUND}, message[:20]
    # Ten megabytes of fields that nobody knows are passed over.
    good = field(1, b"identity_fp32") + field(5, field(1, b"INPUT0") + field(2, b"FP32") + field(3, b"\1\1")) + field(7, bytes(4))
    assert call(target, good + field(1000, bytes(10 << 20))) == grpc.StatusCode.OK
    # A shape of five million dimensions.
    bomb = field(1, b"identity_fp32") + field(5, field(1, b"INPUT0") + field(2, b"FP32") + field(3, b"\1" * 5_000_000)) + field(7, bytes(4))
    assert call(target, bomb) == grpc.StatusCode.INVALID_ARGUMENT


@case(43, "text that is not UTF 8 in a name")
def names_over_grpc(target: Target):
    for name in (b"", b"..", b"../x", b"a" * 300, "naïve".encode(), b"a\0b"):
        assert call(target, field(1, name)) in REFUSED | {grpc.StatusCode.NOT_FOUND}
        assert call(target, field(1, name), "ModelMetadata") in REFUSED | {grpc.StatusCode.NOT_FOUND}
