"""The end of the server: readiness first, nothing lost, and an exit code that tells (SIGTERM, SIGINT, twice)."""

import http.client
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tritonclient.grpc as triton

from harness.load import in_background


def slow(repository, milliseconds):
    return repository.add("slow", parameters={"execute_delay_ms": str(milliseconds)}, config="instance_group { kind: KIND_CPU count: 4 }\n")


def ask(server):
    return server.infer("slow", {"INPUT0": ("FP32", [1, 1], [1])})


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_server_ends_at_once(repository, serve, number):
    server = serve(repository.add("m"))
    started = time.monotonic()
    server.signal(number)
    assert server.exit_code(10) == 0
    assert time.monotonic() - started < 8


def test_requests_in_flight_are_answered(repository, serve):
    server = serve(slow(repository, 2000))
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(ask, server) for _ in range(4)]
        server.await_requests("slow", executing=4)
        server.signal(signal.SIGTERM)
        replies = [call.result() for call in calls]
    assert [reply.status for reply in replies] == [200] * 4, replies
    assert server.exit_code(20) == 0


def test_no_request_is_lost_under_load(repository, serve):
    server = serve(slow(repository, 5))
    with in_background(8, lambda: ask(server)) as traffic:
        server.await_true(lambda: len(traffic.outcomes) > 100, "traffic")
        server.signal(signal.SIGTERM)
        assert server.exit_code(30) == 0
    # Each has an answer, or a refusal that the client sees as one: never a connection that breaks after the request.
    for outcome in traffic.failures():
        refused = isinstance(outcome, ConnectionRefusedError) or getattr(outcome, "status", None) == 503
        assert refused, repr(outcome)


def test_who_has_connected_is_answered_though_the_request_comes_after_the_signal(repository, serve):
    server = serve(slow(repository, 5))
    connections = [http.client.HTTPConnection(server.http, timeout=10) for _ in range(20)]
    for connection in connections:
        connection.connect()
    server.await_true(lambda: server.metrics().value("hanok_connections") >= 20, "twenty connections")
    server.signal(signal.SIGTERM)
    address = tuple(server.http.split(":"))

    def closed() -> bool:
        try:
            socket.create_connection(address, 0.05).close()
        except ConnectionRefusedError:
            return True
        except TimeoutError:
            pass
        return False

    server.await_true(closed, "the port to be closed")
    for connection in connections:
        connection.request("GET", "/v2/health/live")
    assert {connection.getresponse().status for connection in connections} <= {200, 503}
    assert server.exit_code(20) == 0


def test_grpc_requests_in_flight_are_answered(repository, serve):
    server = serve(slow(repository, 2000))
    tensor = triton.InferInput("INPUT0", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 1), np.float32))

    def one():
        with triton.InferenceServerClient(server.grpc) as client:
            return client.infer("slow", [tensor]).as_numpy("OUTPUT0")[0, 0]

    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(one) for _ in range(3)]
        server.await_requests("slow", executing=3)
        server.signal(signal.SIGTERM)
        assert [call.result() for call in calls] == [1.0] * 3
    assert server.exit_code(20) == 0


def test_what_takes_longer_than_the_limit_is_told_by_the_exit_code(repository, serve):
    server = serve(slow(repository, 20_000), "--exit-timeout-secs=1")

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, server)
        server.await_requests("slow", executing=1)
        server.signal(signal.SIGTERM)
        # Well before the request's own end.
        assert server.exit_code(15) == 1
        error = call.exception(30)
    assert isinstance(error, OSError) if error else call.result().status == 503, error or call.result()


def test_a_second_signal_stops_at_once(repository, serve):
    server = serve(slow(repository, 20_000), "--exit-timeout-secs=60")

    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, server)
        server.await_requests("slow", executing=1)
        server.signal(signal.SIGTERM)
        # Two signals that nobody has taken are one.
        server.await_true(lambda: "stopping: not ready any more" in server.log(), "the first signal to be taken")
        assert server.process.poll() is None
        started = time.monotonic()
        server.signal(signal.SIGTERM)
        code, seconds = server.exit_code(10), time.monotonic() - started
        call.exception(30)
    assert code != 0 and seconds < 2


def test_readiness_turns_false_first(repository, serve):
    server = serve(slow(repository, 3000))
    seen, answered = [], threading.Event()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(ask, server)
        call.add_done_callback(lambda _: answered.set())
        server.await_requests("slow", executing=1)
        server.signal(signal.SIGTERM)
        while not answered.wait(0.02):
            try:
                seen.append(server.get("/v2/health/ready", timeout=2).status)
            except OSError:
                seen.append(None)
        assert call.result().status == 200
    # While the request is executed: not ready, or not listening any more; never ready again once it was not.
    ended = [status for at, status in enumerate(seen) if set(seen[: at + 1]) != {200}]
    assert ended and set(ended) <= {400, 503, None}, seen
    assert server.exit_code(20) == 0


def test_clients_that_keep_connections_open_do_not_hold_it_up(repository, serve):
    server = serve(repository.add("m"))
    host, port = server.http.split(":")
    connections = [http.client.HTTPConnection(host, int(port)) for _ in range(20)]
    for connection in connections:
        connection.request("GET", "/v2/health/live")
        assert connection.getresponse().read() == b""
    server.signal(signal.SIGTERM)
    assert server.exit_code(10) == 0
    for connection in connections:
        connection.close()
