"""Each limit of the server, at the limit and one over; servers of their own, since limits are set at start."""

import resource
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from security.attack import Raw, Target, wait_until
from security.http2_cases import DATA, END_HEADERS, HEADERS, frame, frames, open_connection, request_headers


def infer(server, milliseconds=0, **options):
    return server.infer("sleepy", {"INPUT0": ("INT32", [1, 1], [milliseconds])}, **options)


@pytest.fixture
def start(repository, serve):
    def with_limits(*arguments):
        repository.add("sleepy", model="sleep", inputs=[("INPUT0", "INT32", [1])], max_batch_size=1, config="dynamic_batching { }\n")
        repository.add("bytes", inputs=[("INPUT0", "UINT8", [-1])])
        return serve(repository, *arguments)

    return with_limits


def raw_body(server, size: int):
    head = f"POST /v2/models/bytes/infer HTTP/1.1\r\nHost: a\r\nInference-Header-Content-Length: 0\r\nContent-Length: {size}\r\n\r\n".encode()
    with Raw(server.http) as connection:
        return connection.send(head + bytes(size)).reply()


def test_request_size(start):
    server = start("--http-max-input-size=1000")
    assert raw_body(server, 1000).status == 200
    reply = raw_body(server, 1001)
    assert reply.status == 400 and "1000" in reply.error and "http-max-input-size" in reply.error


def test_request_size_of_a_chunked_body(start):
    server = start("--http-max-input-size=1000")
    for size, status in ((1000, 200), (1001, 400)):
        with Raw(server.http) as connection:
            head = b"POST /v2/models/bytes/infer HTTP/1.1\r\nHost: a\r\nInference-Header-Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n"
            reply = connection.send(head + b"%x\r\n" % size + bytes(size) + b"\r\n0\r\n\r\n").reply()
            assert reply.status == status, reply


def test_connections(start):
    server = start("--max-connections=20")
    target = Target(server.http, server.grpc, server)
    ready = b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"

    def served() -> Raw | None:
        connection = Raw(server.http, 3)
        reply = connection.send(ready).reply()
        if reply is not None and reply.status == 200:
            return connection
        connection.socket.close()
        return None

    # The connections that asked whether the server is ready may be gone a moment later.
    connections = [server.await_true(served, "a place for a connection") for _ in range(20)]
    assert [connection.send(ready).reply().status for connection in connections] == [200] * 20
    # One over: told so, or not served until another leaves; and the others go on.
    with Raw(server.http, 1) as over:
        try:
            reply = over.send(ready).reply()
        except TimeoutError:
            reply = None
        assert reply is None or reply.status == 503, reply
    assert [connection.send(ready).reply().status for connection in connections] == [200] * 20
    for connection in connections:
        connection.socket.close()
    wait_until(lambda: target.raw().send(ready).reply() is not None, 3)


def test_requests_in_flight(start):
    server = start("--max-in-flight-requests=4")
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(infer, server, 3000)]
        server.await_requests("sleepy", executing=1)
        calls += [pool.submit(infer, server) for _ in range(3)]
        server.await_requests("sleepy", executing=1, queued=3)
        for _ in range(4):
            refused = infer(server)
            assert refused.status == 503 and refused.header("retry-after") and "4" in refused.error, refused
        assert [call.result().status for call in calls] == [200] * 4
    assert infer(server).status == 200
    assert server.get("/v2/health/live").status == 200


def test_bytes_in_flight(start):
    server = start("--max-in-flight-bytes=1000000")
    assert raw_body(server, 1_000_000).status == 200
    reply = raw_body(server, 1_000_001)
    assert reply.status in (400, 503), reply
    assert raw_body(server, 1000).status == 200


def test_queued_requests(start):
    server = start("--max-queued-requests=3")
    waiting = lambda: server.metrics().value("nv_inference_pending_request_count", model="sleepy")  # noqa: E731
    with ThreadPoolExecutor(4) as pool:
        executing = pool.submit(infer, server, 3000)
        server.await_requests("sleepy", executing=1)
        queued = [pool.submit(infer, server) for _ in range(3)]
        server.await_requests("sleepy", executing=1, queued=3)
        # One over, again and again; and none of them costs those that wait their place.
        assert [infer(server).status for _ in range(4)] == [503] * 4
        assert waiting() == 3
        assert [call.result(30).status for call in (executing, *queued)] == [200] * 4
    assert server.metrics().value("nv_inference_request_failure", model="sleepy", reason="REJECTED") == 4


def test_the_longest_request(start):
    """The instance is busy for longer than a request may take: who waits behind it is not executed any more."""
    server = start("--max-request-secs=1")

    def timed():
        started = time.monotonic()
        return infer(server, 0), time.monotonic() - started

    with ThreadPoolExecutor(4) as pool:
        pool.submit(infer, server, 6000)
        server.await_requests("sleepy", executing=1)
        others = [pool.submit(timed) for _ in range(3)]
    for reply, seconds in (call.result() for call in others):
        assert reply.status == 503 and "expired" in reply.error.lower(), reply
        # Answered when the time is over, not when the instance is free.
        assert 0.8 < seconds < 2.5
    # The execution that ran all along is counted when it ends; a further one shows that none came between.
    wait_until(lambda: server.statistics("sleepy")["execution_count"] >= 1, 10)
    assert infer(server, 0).status == 200
    wait_until(lambda: server.statistics("sleepy")["execution_count"] >= 2, 10)
    assert server.statistics("sleepy")["execution_count"] == 2


def test_idle_connections(start):
    server = start("--idle-timeout-secs=1")
    with Raw(server.http) as connection:
        # Not when the reply was read: that may be long after it was sent.
        started = time.monotonic()
        assert connection.send(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n").reply().status == 200
        assert connection.is_closed(4)
        assert 0.5 < time.monotonic() - started < 3


def test_slow_heads_by_the_hundred(start):
    """Case 5 at its full size: good requests are served while 500 connections dawdle."""
    server = start("--head-timeout-secs=3")

    def hundred() -> float:
        started = time.monotonic()
        for _ in range(100):
            assert infer(server).status == 200
        return time.monotonic() - started

    alone = hundred()
    slow = [Raw(server.http, 8) for _ in range(500)]
    for connection in slow:
        connection.send(b"G")
    started = time.monotonic()
    # As fast as without them, on whatever machine this is.
    assert hundred() < max(2, 3 * alone)
    for connection in slow:
        reply = connection.reply()
        assert reply is None or reply.status == 408
        connection.socket.close()
    assert time.monotonic() - started < 8


def test_accept_goes_on_after_the_file_limit(start):
    """Case 19: no more files for a while, then all is well again."""
    server = start()
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (server.open_files() + 10, 4096))
    waiting = [socket.create_connection(tuple(server.http.split(":"))) for _ in range(40)]
    server.await_true(lambda: "accepting connections fails" in server.log(), "the file limit")
    for connection in waiting:
        connection.close()
    started = time.monotonic()
    server.await_true(lambda: infer(server).status == 200, "service after the file limit", 3)
    assert time.monotonic() - started < 1.5


def test_idle_grpc_connections(start):
    server = start("--max-connections=50")
    connections = [Raw(server.grpc, 3) for _ in range(60)]
    for connection in connections:
        connection.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))
    for connection in connections:
        connection.socket.close()
    server.await_true(lambda: server.get("/v2/health/live").status == 200, "service after the crowd", 5)


def test_a_large_grpc_message_is_refused_before_it_is_read(start):
    """Case 41: a message that says that it is longer than the limit."""
    server = start()
    before = server.resident_bytes()
    with open_connection(server.grpc) as connection:
        headers = request_headers("/inference.GRPCInferenceService/ModelInfer", "POST", **{"content-type": "application/grpc", "te": "trailers"})
        connection.send(frame(HEADERS, END_HEADERS, 1, headers) + frame(DATA, 0, 1, b"\0\xff\xff\xff\xff" + bytes(1000)))
        answered = [one for one in frames(connection, 3) if one not in ("open", "closed") and one[2] == 1]
        assert answered, "no answer to a message of four gibibytes"
    assert server.resident_bytes() < before + (16 << 20)
