"""Work that nobody waits for any more costs nothing: HTTP disconnect, gRPC cancel, deadlines (R8, R9, table 45)."""

import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton

from harness.memory import keeps_nothing

BUSY_MS = 3000


@pytest.fixture
def server(repository, serve):
    repository.add("sleepy", model="sleep", inputs=[("INPUT0", "INT32", [1])], max_batch_size=1, config="dynamic_batching { }\n")
    return serve(repository)


def body(milliseconds) -> bytes:
    tensor = {"name": "INPUT0", "datatype": "INT32", "shape": [1, 1], "data": [milliseconds]}
    return json.dumps({"inputs": [tensor]}).encode()


def open_request(server, milliseconds) -> socket.socket:
    """Sends a whole request and leaves the connection open."""
    host, port = server.http.split(":")
    connection = socket.create_connection((host, int(port)))
    content = body(milliseconds)
    connection.sendall(b"POST /v2/models/sleepy/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(content), content))
    return connection


def pending(server) -> float:
    return server.metrics().value("nv_inference_pending_request_count", model="sleepy")


def test_http_disconnects_leave_the_queue(server):
    busy = open_request(server, BUSY_MS)
    server.await_requests("sleepy", executing=1)
    waiting = [open_request(server, 0) for _ in range(20)]
    server.await_requests("sleepy", executing=1, queued=20)
    for connection in waiting:
        connection.close()
    # Long before anybody could have executed them: the first is still being executed.
    server.await_requests("sleepy", executing=1)
    busy.settimeout(10)
    assert b" 200 " in busy.recv(4096)
    # Only the first was executed; the others are counted as cancelled, once each.
    server.await_true(lambda: server.metrics().value("nv_inference_request_failure", model="sleepy", reason="CANCELED") == 20, "twenty cancelled")
    # Counted after it was answered.
    server.await_true(lambda: server.statistics("sleepy")["execution_count"] > 0, "the count of what was executed")
    assert server.statistics("sleepy")["execution_count"] == 1


def test_grpc_cancels_leave_the_queue(server):
    tensor = triton.InferInput("INPUT0", [1, 1], "INT32")
    tensor.set_data_from_numpy(np.array([[0]], np.int32))
    busy = open_request(server, BUSY_MS)
    server.await_requests("sleepy", executing=1)
    with triton.InferenceServerClient(server.grpc) as client:
        client.is_server_live()
        calls = [client.async_infer("sleepy", [tensor], lambda result, error: None) for _ in range(20)]
        server.await_requests("sleepy", executing=1, queued=20)
        for call in calls:
            call.cancel()
        server.await_requests("sleepy", executing=1)
    busy.settimeout(10)
    assert b" 200 " in busy.recv(4096)
    server.await_true(lambda: server.metrics().value("nv_inference_request_failure", model="sleepy", reason="CANCELED") == 20, "twenty cancelled")
    # Counted after it was answered.
    server.await_true(lambda: server.statistics("sleepy")["execution_count"] > 0, "the count of what was executed")
    assert server.statistics("sleepy")["execution_count"] == 1


def test_an_http_request_past_its_deadline_is_never_executed(repository, serve):
    policy = "default_queue_policy { allow_timeout_override: true }"
    repository.add("sleepy", model="sleep", inputs=[("INPUT0", "INT32", [1])], max_batch_size=1, config=f"dynamic_batching {{ {policy} }}\n")
    server = serve(repository)

    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(server.infer, "sleepy", {"INPUT0": ("INT32", [1, 1], [BUSY_MS])})
        server.await_requests("sleepy", executing=1)
        others = [pool.submit(server.infer, "sleepy", {"INPUT0": ("INT32", [1, 1], [0])}, parameters={"timeout": 1000}) for _ in range(4)]
        replies = [call.result() for call in others]
        assert not first.done(), "told when their time is over, not when the instance is free"
        assert first.result().status == 200
    for reply in replies:
        assert reply.status == 503 and "expired" in reply.error.lower()
    # Counted after it was answered.
    server.await_true(lambda: server.statistics("sleepy")["execution_count"] > 0, "the count of what was executed")
    assert server.statistics("sleepy")["execution_count"] == 1


def test_a_grpc_deadline_is_the_requests_deadline(server):
    tensor = triton.InferInput("INPUT0", [1, 1], "INT32")
    tensor.set_data_from_numpy(np.array([[0]], np.int32))
    busy = open_request(server, BUSY_MS)
    server.await_requests("sleepy", executing=1)
    with triton.InferenceServerClient(server.grpc) as client:
        for _ in range(5):
            with pytest.raises(Exception, match="(?i)deadline"):
                client.infer("sleepy", [tensor], client_timeout=0.05)
    busy.settimeout(10)
    assert b" 200 " in busy.recv(4096)
    server.await_true(lambda: pending(server) == 0, "an empty queue")
    # Counted after it was answered.
    server.await_true(lambda: server.statistics("sleepy")["execution_count"] > 0, "the count of what was executed")
    assert server.statistics("sleepy")["execution_count"] == 1


def test_a_request_that_cannot_make_its_deadline_is_refused_at_once(server):
    # The model's time is known by now, and the queue is long: waiting would only end in the same answer.
    for _ in range(5):
        server.infer("sleepy", {"INPUT0": ("INT32", [1, 1], [200])})
    waiting = [open_request(server, 200) for _ in range(40)]
    server.await_true(lambda: pending(server) >= 30, "a queue of six seconds")
    with grpc.insecure_channel(server.grpc) as channel:
        grpc.channel_ready_future(channel).result(5)
        tensor = triton.InferInput("INPUT0", [1, 1], "INT32")
        tensor.set_data_from_numpy(np.array([[0]], np.int32))
        with triton.InferenceServerClient(server.grpc) as client:
            started = time.monotonic()
            with pytest.raises(Exception, match="(?i)deadline|expired|unavailable"):
                client.infer("sleepy", [tensor], client_timeout=4)
            seconds = time.monotonic() - started
    for connection in waiting:
        connection.close()
    # At once, and not when its time is over.
    assert seconds < 1.5


def test_thousands_of_cancels_leave_nothing_behind(server):
    def a_thousand():
        for _ in range(5):
            for _ in range(10):
                connections = [open_request(server, 0) for _ in range(20)]
                for connection in connections:
                    connection.close()
            server.await_true(lambda: pending(server) == 0, "an empty queue")
            server.await_true(lambda: server.open_files() < 100, "closed connections")

    a_thousand()
    keeps_nothing(server, a_thousand, 2 << 20)
