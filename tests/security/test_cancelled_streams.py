"""Streams that are cancelled before, during and after their batch, by the ten thousand (attack table, case 44)."""

import itertools
import queue
import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.grpc import service_pb2_grpc

from harness.load import together
from harness.memory import keeps_nothing
from security.grpc_stream import StreamConnection, add_repeat, message_bytes, repeat_request, request

# Calls that are open at once. The server takes few more requests than that: a place that is not given back is soon missed.
AT_ONCE = 400
IN_FLIGHT = AT_ONCE + 20
# The allocator settles within some hundred rounds; three hundred bytes lost per call would be more than this.
ALLOWED_MIB = 3


@pytest.fixture
def server(repository, serve):
    number = [("INPUT0", "INT32", [1])]
    repository.add("sleepy", model="sleep", inputs=number, max_batch_size=1, config="dynamic_batching { }\n")
    repository.add("slow", inputs=number, parameters={"execute_delay_ms": "5"}, max_batch_size=256, config="dynamic_batching { }\n")
    repository.add("quick", inputs=number)
    add_repeat(repository)
    return serve(repository, f"--max-in-flight-requests={IN_FLIGHT}")


def number(model: str, value: int = 0):
    return request(model, {"INPUT0": ("INT32", np.array([[value]], np.int32))})


def pending(server, model) -> float:
    return server.metrics().value("nv_inference_pending_request_count", model=model)


def counted(server, model) -> tuple[int, int]:
    """Requests that succeeded and that were cancelled; fails when one ended in another way."""
    metrics = server.metrics()
    others = sum(metrics.value("nv_inference_request_failure", model=model, reason=reason) for reason in ("REJECTED", "BACKEND", "OTHER"))
    assert others == 0
    failed = metrics.value("nv_inference_request_failure", model=model, reason="CANCELED")
    return int(metrics.value("nv_inference_request_success", model=model)), int(failed)


def rounds(server, seconds: float, one_round, least: int = 2) -> int:
    """Repeats `one_round` for so long, and so often at least; memory and files may not grow in the second half. Gives the number of rounds."""
    started, done = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds / 2 or done < least / 2:
        assert elapsed < 30, f"{done} rounds in half a minute"
        one_round()
        done += 1
    half = done

    def lot():
        nonlocal done
        for _ in range(half):
            one_round()
        done += half

    keeps_nothing(server, lot, ALLOWED_MIB << 20)
    return done


def is_whole(server):
    """Every place is free: as many requests as the server takes are taken at once."""
    infer = lambda _: server.infer("slow", {"INPUT0": ("INT32", [1, 1], [1])}).status
    assert together(64, infer) == [200] * 64
    assert server.process.poll() is None and "panicked" not in server.log()


def test_before_the_first_message(server):
    with StreamConnection(server.grpc) as connection:

        def one_round():
            streams = connection.open(AT_ONCE)
            connection.await_frames(headers=AT_ONCE)
            connection.reset(streams)

        assert rounds(server, 4, one_round, least=26) * AT_ONCE > 10_000
    assert counted(server, "quick") == (0, 0)
    is_whole(server)


def test_before_the_batch(server):
    """All wait behind one request that takes long: none of them is executed, each is counted as cancelled."""
    message = message_bytes(number("sleepy"))
    with StreamConnection(server.grpc) as busy, StreamConnection(server.grpc) as connection:
        # On one call, which keeps their order: the second waits for as long as the first is executed.
        busy.open(1, message_bytes(number("sleepy", 15_000)) + message)
        server.await_true(lambda: pending(server, "sleepy") == 1, "the long request's start")

        def one_round():
            streams = connection.open(AT_ONCE, message)
            server.await_true(lambda: pending(server, "sleepy") == AT_ONCE + 1, "all in the queue")
            connection.reset(streams)
            server.await_true(lambda: pending(server, "sleepy") == 1, "an empty queue")

        cancelled = rounds(server, 4, one_round, least=13) * AT_ONCE
        assert cancelled > 5_000
        server.await_true(lambda: counted(server, "sleepy") == (0, cancelled), "every request counted once")
        busy.timeout = 30
        busy.await_frames(data=1)
    server.await_true(lambda: counted(server, "sleepy") == (2, cancelled), "the long request")
    # Counted after it was answered.
    server.await_true(lambda: server.statistics("sleepy")["execution_count"] >= 2, "the count of what was executed")
    assert server.statistics("sleepy")["execution_count"] == 2
    is_whole(server)


def test_during_the_batch(server):
    """Some calls are queued when they are reset, some are executed, some are answered."""
    message, answered = message_bytes(number("slow")), itertools.cycle([0, 1, AT_ONCE // 2, AT_ONCE - 1])
    with StreamConnection(server.grpc) as connection:

        def one_round():
            streams = connection.open(AT_ONCE, message)
            # A call that was not taken yet must not be reset by the hundred: that is another attack, with another answer.
            connection.await_frames(headers=AT_ONCE, data=next(answered))
            connection.reset(streams)

        sent = rounds(server, 4, one_round, least=8) * AT_ONCE
    server.await_true(lambda: pending(server, "slow") == 0, "an empty queue")
    is_whole(server)
    succeeded, cancelled = counted(server, "slow")
    # Those that were reset before the server had read their request were never asked.
    assert succeeded > sent / 4 and cancelled > 100 and succeeded + cancelled <= sent + 64, (succeeded, cancelled, sent)


def test_after_the_batch(server):
    message = message_bytes(number("quick"))
    with StreamConnection(server.grpc) as connection:

        def one_round():
            streams = connection.open(AT_ONCE, message)
            connection.await_frames(headers=AT_ONCE, data=AT_ONCE)
            connection.reset(streams)

        answered = rounds(server, 4, one_round, least=26) * AT_ONCE
    assert answered > 10_000
    assert counted(server, "quick") == (answered, 0)
    is_whole(server)


def test_between_the_responses_of_one_request(server):
    """A decoupled model: one request is executed and has answered in part, the others wait; then all leave."""
    message = message_bytes(repeat_request(200, delay=5))
    with StreamConnection(server.grpc) as connection:

        def one_round():
            streams = connection.open(AT_ONCE, message)
            server.await_true(lambda: pending(server, "repeat") == AT_ONCE - 1, "one in execution, the others in the queue")
            connection.await_frames(headers=AT_ONCE, data=2)
            connection.reset(streams)
            server.await_true(lambda: pending(server, "repeat") == 0, "an empty queue")

        cancelled = rounds(server, 4, one_round, least=6) * AT_ONCE
        # Whole requests would take one second each.
        assert cancelled > 2_000
        server.await_true(lambda: counted(server, "repeat") == (0, cancelled), "every request counted once")
        stream = connection.open(1, message_bytes(repeat_request(3)))[0]
        last = lambda message: message.infer_response.raw_output_contents[1] == b"\2\0\0\0"
        assert len(connection.answers(stream, last, 5)) == 3
    is_whole(server)


@pytest.mark.parametrize("stage", ["before", "during", "after"])
def test_the_client_is_told_that_it_cancelled(server, stage):
    """With grpcio: the call ends as CANCELLED, and the next call on the same channel is served."""
    with grpc.insecure_channel(server.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for _ in range(200):
            messages = queue.Queue()
            call = stub.ModelStreamInfer(iter(messages.get, None))
            if stage != "before":
                messages.put(repeat_request(100, delay=1) if stage == "during" else number("quick"))
                next(call)
            call.cancel()
            with pytest.raises(grpc.RpcError) as raised:
                for _ in call:
                    pass
            assert raised.value.code() == grpc.StatusCode.CANCELLED
            messages.put(None)
        reply = next(stub.ModelStreamInfer(iter([number("quick", 5)])))
        assert not reply.error_message and reply.infer_response.raw_output_contents[0] == b"\5\0\0\0"
    if stage == "during":
        server.await_true(lambda: counted(server, "repeat") == (0, 200), "every request counted once")
    expected = 201 if stage == "after" else 1
    server.await_true(lambda: counted(server, "quick") == (expected, 0), "every request counted once")
    is_whole(server)


def test_tritonclient_stops_a_stream_with_its_requests(server):
    answers = queue.Queue()
    with triton.InferenceServerClient(server.grpc) as client:
        for stream in range(50):
            client.start_stream(lambda result, error: answers.put((result, error)))
            tensor = triton.InferInput("INPUT0", [1, 1], "INT32")
            tensor.set_data_from_numpy(np.array([[200]], np.int32))
            for _ in range(10):
                client.async_stream_infer("sleepy", [tensor])
            server.await_true(lambda: pending(server, "sleepy") >= 5, "requests in the queue")
            # What the client has not sent when it cancels never comes, and is not counted.
            come = lambda: sum(counted(server, "sleepy")) + server.metrics().value("hanok_in_flight_requests")  # noqa: E731
            server.await_true(lambda: come() == 10 * (stream + 1), "all ten")
            client.stop_stream(cancel_requests=True)
            server.await_true(lambda: pending(server, "sleepy") == 0, "an empty queue")
            while not answers.empty():
                result, error = answers.get()
                assert result is not None or error.status() == "StatusCode.CANCELLED"
    server.await_true(lambda: sum(counted(server, "sleepy")) == 500, "every request counted once")
    is_whole(server)
