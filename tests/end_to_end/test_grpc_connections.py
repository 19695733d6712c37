"""Connections to the gRPC port: how old they get, how a client that is gone is noticed, how replies are compressed (W-55, W-96)."""

import gzip
import queue
import struct
import time
import zlib

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2, service_pb2_grpc

from harness.load import together
from security.grpc_stream import StreamConnection, message_bytes, request
from security.http2_cases import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, SETTINGS, frame, frames, open_connection, request_headers

NUMBER = [("INPUT0", "INT32", [1])]
# Longer than any connection here gets old.
HANGS_MS = 2500


def number(model: str, value: int):
    return request(model, {"INPUT0": ("INT32", np.array([[value]], np.int32))})


@pytest.fixture
def models(repository):
    repository.add("quick", inputs=NUMBER)
    repository.add("wide", inputs=[("INPUT0", "INT32", [4000])])
    repository.add("sleepy", model="sleep", inputs=NUMBER, max_batch_size=1)
    return repository


def kinds(connection, seconds, answers=True):
    """What comes, by name: `ping`, which is answered or not, `goaway` with its code, `closed` or `open`."""
    for one in frames(connection, seconds):
        if isinstance(one, str):
            yield one
        elif one[0] == PING and not one[1] & ACK:
            if answers:
                connection.send(frame(PING, ACK, 0, one[3]))
            yield "ping"
        elif one[0] == GOAWAY:
            yield "goaway", int.from_bytes(one[3][4:8], "big")


def test_a_connection_of_its_age_ends_without_an_error(models, serve):
    server = serve(models, "--grpc-max-connection-age=500")
    started = time.monotonic()
    connection = open_connection(server.grpc)
    seen = list(kinds(connection.send(frame(SETTINGS, ACK, 0)), 10))
    assert time.monotonic() - started > 0.45 and seen[-1] == "closed"
    assert ("goaway", 0) in seen, seen
    assert "connection_age_s=0.5 connection_age_grace_s=none" in server.log()


def test_calls_on_an_old_connection_end_when_they_are_done(models, serve):
    server = serve(models, "--grpc-max-connection-age=300")
    with grpc.insecure_channel(server.grpc) as channel:
        reply = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(number("sleepy", HANGS_MS), timeout=20)
    assert reply.raw_output_contents[0] == struct.pack("<i", HANGS_MS)


def test_calls_that_outlast_the_grace_are_cut(models, serve):
    server = serve(models, "--grpc-max-connection-age=300", "--grpc-max-connection-age-grace=200")
    with grpc.insecure_channel(server.grpc) as channel, pytest.raises(grpc.RpcError) as cut:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(number("sleepy", 20_000), timeout=40)
    assert cut.value.code() == grpc.StatusCode.UNAVAILABLE


def test_clients_do_not_notice_that_their_connections_end(models, serve):
    server = serve(models, "--grpc-max-connection-age=200")

    def client(seed: int):
        tensor = triton.InferInput("INPUT0", [1, 1], "INT32")
        # A pool of channels of its own, or the clients would share one connection.
        with triton.InferenceServerClient(server.grpc, channel_args=[("grpc.use_local_subchannel_pool", 1)]) as client:
            until, asked = time.monotonic() + 4, 0
            while time.monotonic() < until:
                asked += 1
                tensor.set_data_from_numpy(np.array([[seed * 100_000 + asked]], np.int32))
                assert client.infer("quick", [tensor]).as_numpy("OUTPUT0")[0, 0] == seed * 100_000 + asked
        return asked

    asked = sum(together(4, client))
    assert server.metrics().value("nv_inference_request_success", model="quick") == asked


def test_a_client_that_is_gone_is_noticed_by_its_silence(models, serve):
    server = serve(models, "--grpc-keepalive-time=100", "--grpc-keepalive-timeout=300")
    with grpc.insecure_channel(server.grpc) as channel:
        messages = queue.Queue()
        call = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelStreamInfer(iter(messages.get, None))
        messages.put(number("quick", 1))
        assert next(call).infer_response.raw_output_contents[0] == struct.pack("<i", 1)
        for address in (server.grpc, server.http):
            started = time.monotonic()
            seen = list(kinds(open_connection(address).send(frame(SETTINGS, ACK, 0)), 10, answers=False))
            assert "ping" in seen and seen[-1] == "closed" and time.monotonic() - started > 0.35, seen
        # Whoever answers is kept, with the same call.
        messages.put(number("quick", 2))
        assert next(call).infer_response.raw_output_contents[0] == struct.pack("<i", 2)
        messages.put(None)


@pytest.mark.parametrize("flag", ["--grpc-keepalive-time=0", "--grpc-keepalive-timeout=-1", "--grpc-max-connection-age=x", "--grpc-infer-response-compression-level=some"])
def test_values_out_of_range_are_usage_errors(models, serve, flag):
    with pytest.raises(AssertionError) as refused:
        serve(models, flag)
    assert flag.split("=")[0] in str(refused.value)


def replies(address: str, method: str, message, **headers):
    """The messages of one call as (compressed, content)."""
    path = f"/inference.GRPCInferenceService/{method}"
    head = request_headers(path, "POST", **{"content-type": "application/grpc", "te": "trailers"}, **headers)
    connection, content = open_connection(address), b""
    connection.send(frame(SETTINGS, ACK, 0) + frame(HEADERS, END_HEADERS, 1, head) + frame(DATA, END_STREAM, 1, message_bytes(message)))
    for one in frames(connection, 10):
        assert not isinstance(one, str), f"{one} before the call's end"
        content += one[3] if one[0] == DATA else b""
        if one[2] == 1 and one[1] & END_STREAM:
            break
    connection.socket.close()
    while content:
        compressed, length = struct.unpack(">BI", content[:5])
        yield compressed, content[5 : 5 + length]
        content = content[5 + length :]


@pytest.mark.parametrize("level", ["none", "low", "medium", "high"])
def test_replies_are_compressed_for_those_who_take_it(models, serve, level):
    server = serve(models, f"--grpc-infer-response-compression-level={level}")
    kind = {"ModelInfer": service_pb2.ModelInferResponse, "ModelStreamInfer": service_pb2.ModelStreamInferResponse}
    for method, parsed in kind.items():
        of = lambda reply: reply if method == "ModelInfer" else reply.infer_response
        for accepted, expand in (("gzip", gzip.decompress), ("identity, deflate", zlib.decompress), (None, None)):
            headers = {"grpc-accept-encoding": accepted} if accepted else {}
            ((compressed, content),) = replies(server.grpc, method, number("quick", 7), **headers)
            assert compressed == (level != "none" and accepted is not None), (method, accepted)
            reply = of(parsed.FromString(expand(content) if compressed else content))
            assert reply.raw_output_contents[0] == struct.pack("<i", 7)
    # A library that offers several.
    with grpc.insecure_channel(server.grpc) as channel:
        wide = request("wide", {"INPUT0": ("INT32", np.arange(4000, dtype=np.int32).reshape(1, 4000))})
        (output,) = service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(wide).raw_output_contents
        assert np.array_equal(np.frombuffer(output, np.int32), np.arange(4000))


def test_a_stream_that_is_reset_on_an_old_connection_leaves_nothing(models, serve):
    server = serve(models, "--grpc-max-connection-age=300", "--grpc-max-connection-age-grace=200")
    files = server.open_files()
    for _ in range(5):
        with StreamConnection(server.grpc) as connection:
            connection.open(20, message_bytes(number("sleepy", 800)))
            connection.await_frames(headers=20)
            assert any(one == "closed" for one in kinds(connection.raw, 10))
    pending = lambda: server.metrics().value("nv_inference_pending_request_count", model="sleepy")
    server.await_true(lambda: pending() == 0, "an empty queue")
    server.await_true(lambda: server.open_files() <= files + 2, "closed connections")
