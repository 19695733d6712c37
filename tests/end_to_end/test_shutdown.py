"""The end of the server: readiness first, nothing lost, and an exit code that tells (SIGTERM, SIGINT, twice)."""

import http.client
import signal
import time

import numpy as np
import pytest
import tritonclient.grpc as triton

from harness.load import in_background, together


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
    server = serve(slow(repository, 800))

    def one(number):
        if number:
            return ask(server)
        time.sleep(0.3)
        server.signal(signal.SIGTERM)

    replies = together(5, one)
    assert [reply.status for reply in replies[1:]] == [200] * 4, replies
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


def test_grpc_requests_in_flight_are_answered(repository, serve):
    server = serve(slow(repository, 800))
    tensor = triton.InferInput("INPUT0", [1, 1], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 1), np.float32))

    def one(number):
        if number == 0:
            time.sleep(0.3)
            server.signal(signal.SIGTERM)
            return None
        with triton.InferenceServerClient(server.grpc) as client:
            return client.infer("slow", [tensor]).as_numpy("OUTPUT0")[0, 0]

    assert together(4, one)[1:] == [1.0] * 3
    assert server.exit_code(20) == 0


def test_what_takes_longer_than_the_limit_is_told_by_the_exit_code(repository, serve):
    server = serve(slow(repository, 20_000), "--exit-timeout-secs=1")

    def one(number):
        if number:
            return ask(server)
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        return server.exit_code(15)

    code, reply = together(2, one)
    assert code == 1
    assert getattr(reply, "status", None) == 503 or isinstance(reply, OSError), reply


def test_a_second_signal_stops_at_once(repository, serve):
    server = serve(slow(repository, 20_000), "--exit-timeout-secs=60")

    def one(number):
        if number:
            return ask(server)
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        time.sleep(0.3)
        assert server.process.poll() is None
        started = time.monotonic()
        server.signal(signal.SIGTERM)
        code = server.exit_code(10)
        return code, time.monotonic() - started

    (code, seconds), _ = together(2, one)
    assert code != 0 and seconds < 2


def test_readiness_turns_false_first(repository, serve):
    server = serve(slow(repository, 1500))

    def one(number):
        if number:
            return ask(server)
        time.sleep(0.3)
        server.signal(signal.SIGTERM)
        seen = []
        end = time.monotonic() + 1
        while time.monotonic() < end:
            try:
                seen.append(server.get("/v2/health/ready", timeout=2).status)
            except OSError:
                seen.append(None)
            time.sleep(0.02)
        return seen

    seen, reply = together(2, one)
    assert reply.status == 200
    # Not ready, or not listening any more; never ready again once it was not.
    assert set(seen[5:]) <= {400, 503, None}, seen
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
