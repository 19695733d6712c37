"""Streams whose client does not read (attack table, case 46): the model is not held up, buffers are bounded, then the request is cancelled."""

import queue
import time

import grpc
import numpy as np
import pytest
from tritonclient.grpc import service_pb2_grpc

from harness.memory import keeps_nothing
from security.attack import wait_until
from security.grpc_stream import StreamConnection, add_repeat, message_bytes, repeat_request, request
from security.http2_cases import DATA, HEADERS, RST_STREAM

# Responses of one request that the server keeps for a client that does not read; the fewest and the most that are seen by one
# that begins to read late: those of the request, those on their way to the client, the one between the two.
KEPT = 1024
KEPT_AT_MOST = 1024 + 64 + 1


@pytest.fixture
def start(repository, serve):
    def with_limits(*arguments):
        add_repeat(repository)
        repository.add("bytes", inputs=[("INPUT0", "UINT8", [-1])], max_batch_size=1)
        return serve(repository, *arguments)

    return with_limits


def is_final(message) -> bool:
    return bool(message.error_message) or message.infer_response.parameters["triton_final_response"].bool_param


def index(message) -> int:
    return int.from_bytes(message.infer_response.raw_output_contents[1], "little")


def asked(count: int, identity: str = "", final: bool = True) -> bytes:
    message = repeat_request(count, identity=identity)
    message.parameters["triton_enable_empty_final_response"].bool_param = final
    return message_bytes(message)


def executions(server) -> int:
    return server.statistics("repeat")["execution_count"]


def count_failures(server, model="repeat") -> dict[str, int]:
    metrics = server.metrics()
    reasons = ("REJECTED", "CANCELED", "BACKEND", "OTHER")
    return {reason: int(metrics.value("nv_inference_request_failure", model=model, reason=reason)) for reason in reasons}


def is_served(server, seconds: float = 15):
    """Another client of the same model, which has one instance: served long before the time for taking a reply (120 s) is over."""
    with StreamConnection(server.grpc) as other:
        stream = other.open(1, asked(3))[0]
        assert [index(message) for message in other.answers(stream, is_final, seconds)[:-1]] == [0, 1, 2]


def test_one_who_reads_late_gets_everything_up_to_the_bound(start):
    server = start()
    with StreamConnection(server.grpc, window=0) as connection:
        stream = connection.open(1, asked(KEPT - 1, "late"))[0]
        server.await_true(lambda: executions(server) == 1, "the end of the execution")
        is_served(server)
        connection.grant(stream, 65_535)
        messages = connection.answers(stream, is_final, 10)
        assert not messages[-1].error_message and messages[-1].infer_response.id == "late"
        assert [index(message) for message in messages[:-1]] == list(range(KEPT - 1))
    server.await_true(lambda: server.metrics().value("nv_inference_request_success", model="repeat") == 2, "two that succeeded")
    assert sum(count_failures(server).values()) == 0


def test_beyond_the_bound_the_request_is_cancelled(start):
    server = start()
    with StreamConnection(server.grpc, window=0) as connection:
        stream = connection.open(1, asked(5000, "deaf"))[0]
        # Else another may be served first, and this client read while its request is still being executed.
        server.await_true(lambda: executions(server) == 1, "the end of the execution")
        # Nobody reads, and yet the instance is soon free for another.
        is_served(server)
        connection.grant(stream, 65_535)
        messages = connection.answers(stream, is_final, 10)
        assert "cancelled" in messages[-1].error_message and "1024" in messages[-1].error_message
        assert messages[-1].infer_response.id == "deaf"
        # What came is the beginning, without a gap.
        assert [index(message) for message in messages[:-1]] == list(range(len(messages) - 1))
        assert KEPT <= len(messages) - 1 <= KEPT_AT_MOST
        # The stream goes on: it was the request that failed.
        connection.send(stream, asked(3))
        assert [index(message) for message in connection.answers(stream, is_final, 5)[:-1]] == [0, 1, 2]
    server.await_true(lambda: count_failures(server) == {"REJECTED": 1, "CANCELED": 0, "BACKEND": 0, "OTHER": 0}, "one outcome")


def test_grpcio_that_does_not_iterate(start):
    """A library reads ahead a little; beyond that it is the same."""
    server = start()
    with grpc.insecure_channel(server.grpc) as channel:
        stub, messages = service_pb2_grpc.GRPCInferenceServiceStub(channel), queue.Queue()
        call = stub.ModelStreamInfer(iter(messages.get, None))
        messages.put(repeat_request(20_000))
        is_served(server)
        messages.put(None)
        replies = list(call)
    assert "1024" in replies[-1].error_message
    assert [index(message) for message in replies[:-1]] == list(range(len(replies) - 1)) and len(replies) > KEPT


def test_one_who_leaves_unread_gives_everything_back(start):
    server = start("--max-in-flight-requests=100")
    executed = 0

    def eight_rounds():
        nonlocal executed
        for _ in range(8):
            executed += 50
            with StreamConnection(server.grpc, window=0) as connection:
                connection.open(50, asked(3000))
                server.await_true(lambda: executions(server) == executed, "the end of all executions")

    eight_rounds()
    keeps_nothing(server, eight_rounds, 4 << 20)
    is_served(server)
    server.await_true(lambda: sum(count_failures(server).values()) == executed, "every request counted once")


def test_what_is_kept_for_one_client_is_bounded(start):
    """One client, 500 small requests, a million small responses: what the server keeps of them is no memory worth to speak of."""
    server = start()
    is_served(server)
    before = server.resident_bytes()
    with StreamConnection(server.grpc, window=0) as connection:
        connection.open(500, asked(2000))
        server.await_true(lambda: executions(server) >= 501, "the end of all executions", 90)
        growth = server.resident_bytes() - before
    assert growth < 64 << 20, f"{growth / 2**20:.0f} MiB kept for a client that does not read"


def test_a_client_that_never_reads_is_cut_off(start):
    """Its request does not hold its place for ever: after the time for taking a reply, the call is over without the client's doing."""
    server = start("--max-in-flight-requests=4", "--write-timeout-secs=1", "--max-request-secs=2")
    with StreamConnection(server.grpc, window=0) as connection:
        connection.open(4, asked(3000))
        connection.await_frames(headers=4)
        server.await_true(lambda: executions(server) == 4, "the end of all executions")
        ended, until = 0, time.monotonic() + 6
        while ended < 4 and time.monotonic() < until:
            one = connection.read(until - time.monotonic())
            if one is None:
                break
            ended += one[0] == RST_STREAM or (one[0] == HEADERS and one[1] & 1)
        # Whether the calls were ended or the connection was closed: the four places are free again.
        is_served(server)


def test_answers_of_an_ordinary_model_that_nobody_reads_hold_the_requests_back(start):
    """The client sends and sends; the server stops taking, with little of it in memory, and goes on when the client reads."""
    server = start()
    size = 60_000
    message = message_bytes(request("bytes", {"INPUT0": ("UINT8", np.zeros((1, size), np.uint8))}))
    before = server.resident_bytes()
    with StreamConnection(server.grpc, window=0) as connection:
        stream, sent = connection.open(1)[0], 0
        while sent < 2000 and connection.may_send(stream, len(message), 4):
            connection.send(stream, message)
            sent += 1
        assert 64 <= sent < 500, f"{sent} requests taken, and no answer read"
        assert server.resident_bytes() < before + (64 << 20)
        done = server.metrics().value("nv_inference_request_success", model="bytes")
        time.sleep(0.2)
        assert server.metrics().value("nv_inference_request_success", model="bytes") == done, "it goes on without a reader"
        # Now the client reads: every request is answered.
        connection.grant(stream, 1 << 26)
        received = 0
        while received < sent * size:
            one = connection.read(5)
            assert one is not None, f"{received} bytes of {sent} answers"
            if one[0] == DATA:
                received += len(one[3])
    wait_until(lambda: server.metrics().value("nv_inference_request_success", model="bytes") == sent, 10)
