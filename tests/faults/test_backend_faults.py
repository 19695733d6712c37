"""A model that panics or fails takes nobody with it (attack table 48 and 63)."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.load import in_background


def ask(server, model, value, extra=0):
    return server.infer(model, {"INPUT0": ("INT32", [1, 2], [value, extra])})


@pytest.fixture
def server(repository, serve):
    two = [("INPUT0", "INT32", [2])]
    for kind in ("panic", "fail"):
        repository.add(kind, model=kind, inputs=two)
        repository.add(f"{kind}_batched", model=kind, inputs=two, parameters={"execute_delay_ms": "800"}, config="dynamic_batching { }\n")
    repository.add("good", inputs=two)
    return serve(repository)


@pytest.mark.parametrize("kind", ["panic", "fail"])
def test_the_request_fails_and_the_server_stays(server, kind):
    pid = server.pid
    for _ in range(20):
        reply = ask(server, kind, -1)
        assert reply.status == 500
        for secret in ("panicked", ".rs", "first element", "/"):
            assert secret not in reply.error, reply.error
        reply = ask(server, kind, 3)
        assert reply.status == 200 and reply.json()["outputs"][0]["data"] == [3, 0]
    assert server.process.poll() is None and server.pid == pid
    assert server.get("/v2/health/live").status == 200
    assert server.metrics().value("nv_inference_request_failure", model=kind, reason="BACKEND") == 20
    assert "panic" in server.log().lower() or kind == "fail"


def batch_of_six(server, model):
    """One request that keeps the instance busy, then six that become one batch; the third of them is bad."""

    with ThreadPoolExecutor(7) as pool:
        calls = [pool.submit(ask, server, model, 0)]
        server.await_requests(model, executing=1)
        calls += [pool.submit(ask, server, model, -1 if number == 3 else number, extra=number) for number in range(1, 7)]
        server.await_requests(model, executing=1, queued=6)
        return [call.result() for call in calls]


def test_a_panic_fails_its_batch_and_the_instance_is_replaced(server):
    replies = batch_of_six(server, "panic_batched")
    assert [reply.status for reply in replies] == [200] + [500] * 6
    assert ask(server, "panic_batched", 1).status == 200
    assert server.metrics().value("nv_inference_request_failure", model="panic_batched", reason="BACKEND") == 6


def test_only_the_bad_member_of_a_failed_batch_fails(server):
    model = "fail_batched"
    replies = batch_of_six(server, model)
    assert [reply.status for reply in replies] == [200, 200, 200, 500, 200, 200, 200]
    for number, reply in enumerate(replies):
        if number != 3:
            assert reply.json()["outputs"][0]["data"] == [number, number]
    metrics = server.metrics()
    assert metrics.value("nv_inference_request_success", model=model) == 6
    assert metrics.value("nv_inference_request_failure", model=model, reason="BACKEND") == 1
    # An execution that fails is not counted: neither the batch's nor the bad member's own.
    # Executions are counted when they end, which may be after their reply.
    retries = lambda: server.metrics().value("hanok_batch_size_rows_count", model=model, trigger="retry")
    server.await_true(lambda: retries() >= 5, "five counted executions")
    assert retries() == 5


def test_other_models_do_not_notice(server):
    with in_background(2, lambda: ask(server, "good", 1)) as traffic, in_background(2, lambda: ask(server, "panic", -1)) as faults:
        server.await_true(lambda: len(faults.outcomes) > 100 and len(traffic.outcomes) > 100, "traffic", 20)
    assert traffic.failures() == []
    assert {outcome.status for outcome in faults.outcomes} == {500}


def test_a_client_gives_a_bad_shape_to_a_batch(server):
    # Refused before it meets the others.
    assert server.infer("good", {"INPUT0": ("INT32", [1, 3], [1, 2, 3])}).status == 400


def test_killed_and_started_again(repository, serve):
    repository.add("m", inputs=[("INPUT0", "INT32", [2])])
    started = time.monotonic()
    first = serve(repository, "--model-control-mode=explicit", "--load-model=m")
    took = time.monotonic() - started
    port = first.http.rsplit(":", 1)[1]
    with in_background(4, lambda: ask(first, "m", 1)) as traffic:
        first.await_true(lambda: len(traffic.outcomes) > 50, "traffic")
        first.process.kill()
        assert first.exit_code(10) == -9
    started = time.monotonic()
    # On the same port, which still has connections of the dead process in TIME_WAIT.
    second = serve(repository, "--model-control-mode=explicit", "--load-model=m", "--http-port", port)
    # It waits for nothing: it takes about as long as the first start.
    assert time.monotonic() - started < max(2, 4 * took)
    assert ask(second, "m", 5).json()["outputs"][0]["data"] == [5, 0]
