"""The gRPC half of a scenario's step: a message written as YAML, sent to any method of the inference service.

Messages come from the descriptors that `tritonclient` carries, so the schema is the protocol's and not ours.
"""

import re

import grpc
from google.protobuf import json_format
from tritonclient.grpc import service_pb2

from compat.scenario_steps import Mismatch, expect
from compat.tensor_codec import decode, encode, same

_SERVICE = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]


def call(address: str, step: dict):
    """Sends `{method, request, raw, metadata}`; gives (status name, message, details)."""
    method = _SERVICE.methods_by_name[step["method"]]
    request_type = getattr(service_pb2, method.input_type.name)
    reply_type = getattr(service_pb2, method.output_type.name)
    requests = step["requests"] if "requests" in step else [step]
    messages = []
    for written in requests:
        message = json_format.ParseDict(written.get("request", {}), request_type())
        for part in written.get("raw", []):
            raw = bytes.fromhex(part["hex"]) if "hex" in part else encode(part["datatype"], part["data"])
            message.raw_input_contents.append(raw)
        messages.append(message)
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    with grpc.insecure_channel(address, options=options) as channel:
        path = f"/{_SERVICE.full_name}/{method.name}"
        metadata = [(name, str(value)) for name, value in step.get("metadata", {}).items()]
        streams = method.server_streaming
        open_call = channel.stream_stream if streams else channel.unary_unary
        stub = open_call(path, request_serializer=request_type.SerializeToString, response_deserializer=reply_type.FromString)
        try:
            if streams:
                return "OK", list(stub(iter(messages), metadata=metadata, timeout=30)), ""
            return "OK", stub(messages[0], metadata=metadata, timeout=30), ""
        except grpc.RpcError as error:
            return error.code().name, None, error.details()


def check_grpc(result, wanted: dict):
    code, message, details = result
    shown = f"{code} {details!r} {str(message)[:400]}"
    codes = wanted.get("code", "OK")
    expect(code in (codes if isinstance(codes, list) else [codes]), f"expected {codes}, got {shown}")
    if "error" in wanted:
        expect(re.search(wanted["error"], details or "", re.I | re.S), f"details should match {wanted['error']!r}, got {shown}")
        expect(not re.search(r"/tmp/|\.rs:\d|0x[0-9a-f]{8}", details or ""), f"the details show an internal: {shown}")
    if code != "OK":
        return
    replies = message if isinstance(message, list) else [message]
    expected = wanted.get("messages", [wanted])
    if "messages" in wanted:
        expect(len(replies) == len(expected), f"expected {len(expected)} replies, got {len(replies)}: {shown}")
    for reply, one in zip(replies, expected):
        if "json" in one:
            value = plain(reply)
            expect(same(one["json"], value), f"expected {one['json']}, got {value}")
        if "tensors" in one:
            check_tensors(reply.infer_response if hasattr(reply, "infer_response") else reply, one["tensors"])


def plain(message) -> dict:
    """The message as JSON values, with 64-bit numbers as numbers and fields at their default shown."""
    return _numbers(json_format.MessageToDict(message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True))


def _numbers(value, name=""):
    if isinstance(value, dict):
        return {key: _numbers(item, key) for key, item in value.items()}
    if isinstance(value, list):
        return [_numbers(item, name) for item in value]
    text_fields = ("version", "model_version", "id", "versions", "string_value", "string_param", "name", "data")
    return int(value) if isinstance(value, str) and re.fullmatch(r"-?\d+", value) and name not in text_fields else value


def check_tensors(reply, wanted: list[dict]):
    names = [output.name for output in reply.outputs]
    expect(names == [tensor["name"] for tensor in wanted], f"expected the outputs {[tensor['name'] for tensor in wanted]}, got {names}")
    expect(len(reply.raw_output_contents) == len(reply.outputs), "one raw content per output")
    for output, raw, tensor in zip(reply.outputs, reply.raw_output_contents, wanted):
        for member, actual in (("datatype", output.datatype), ("shape", list(output.shape))):
            if member in tensor and tensor[member] != actual:
                raise Mismatch(f"{member} of {output.name} should be {tensor[member]}, got {actual}")
        if "data" in tensor:
            data = decode(output.datatype, raw)
            expect(same(tensor["data"], data), f"data of {output.name} should be {tensor['data']}, got {data}")
