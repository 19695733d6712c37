"""Batching as a client sees it: answers, statistics and metrics. The policy itself is tested in the scheduler."""

import statistics
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.load import together

# A first request keeps the one instance busy, so that what follows is in the queue when it comes back.
BUSY_MS = 2000


def sleepy(repository, batching, **options):
    return repository.add(
        "sleepy", model="sleep", inputs=[("INPUT0", "INT32", [2])], max_batch_size=options.pop("max_batch_size", 8),
        config=f"dynamic_batching {{ {batching} }}\n", **options,
    )


def send(server, value, milliseconds=0, rows=1, **members):
    return server.infer("sleepy", {"INPUT0": ("INT32", [rows, 2], [milliseconds, value] * rows)}, **members)


def pending(server) -> float:
    return server.metrics().value("nv_inference_pending_request_count", model="sleepy")


def occupied(server, later, first=None):
    """Sends the requests of `later` while a first one sleeps, each when the one before waits or was answered; gives all replies, the first one's first."""
    with ThreadPoolExecutor(len(later) + 1) as pool:
        busy, calls = pool.submit(first or (lambda: send(server, 0, BUSY_MS))), []
        server.await_requests("sleepy", executing=1)
        for one in later:
            calls.append(pool.submit(one))
            server.await_true(lambda: pending(server) == sum(not call.done() for call in calls), "the next in the queue, or its answer")
        assert not busy.done(), "the machine was too slow: the first request ended before all others had come"
        return [call.result() for call in (busy, *calls)]


def batch_sizes(server, model="sleepy") -> dict[int, int]:
    return {int(entry["batch_size"]): int(entry["compute_infer"]["count"]) for entry in server.statistics(model)["batch_stats"]}


def assert_batches(server, expected: dict[int, int], model="sleepy"):
    """The batches by size. A batch is counted when its last answer is on its way, so the count may come a moment later."""
    rows = sum(size * count for size, count in expected.items())
    # The count by size is the last of all to be made.
    server.await_true(lambda: sum(size * count for size, count in batch_sizes(server, model).items()) >= rows, "the count of rows")
    assert batch_sizes(server, model) == expected


def test_queued_requests_become_one_batch(repository, serve):
    server = serve(sleepy(repository, ""))
    replies = occupied(server, [lambda value=value: send(server, value) for value in range(1, 8)])
    assert [reply.status for reply in replies] == [200] * 8
    # Each gets its own row back.
    assert [reply.json()["outputs"][0]["data"][1] for reply in replies] == list(range(8))
    assert_batches(server, {1: 1, 7: 1})
    counts = server.statistics("sleepy")
    assert (counts["inference_count"], counts["execution_count"]) == (8, 2)
    metrics = server.metrics()
    assert metrics.value("nv_inference_count", model="sleepy", version="1") == 8
    assert metrics.value("nv_inference_exec_count", model="sleepy", version="1") == 2
    assert metrics.value("nv_inference_request_success", model="sleepy", version="1") == 8


def test_rows_are_counted_and_not_requests(repository, serve):
    server = serve(sleepy(repository, ""))
    replies = occupied(server, [lambda: send(server, 1, rows=3), lambda: send(server, 2, rows=3), lambda: send(server, 3, rows=3)])
    assert [reply.status for reply in replies] == [200] * 4
    # 3 + 3 fit into 8, the third 3 does not.
    assert_batches(server, {1: 1, 6: 1, 3: 1})


def test_a_request_that_brings_its_own_batch(repository, serve):
    server = serve(sleepy(repository, ""))
    assert send(server, 1, rows=8).status == 200
    assert send(server, 1, rows=9).status == 400
    assert_batches(server, {8: 1})


def test_a_preferred_size_is_not_exceeded(repository, serve):
    server = serve(sleepy(repository, "preferred_batch_size: [ 4 ]"))
    replies = occupied(server, [lambda value=value: send(server, value) for value in range(1, 9)])
    assert [reply.status for reply in replies] == [200] * 9
    assert_batches(server, {1: 1, 4: 2})
    assert server.metrics().value("hanok_batch_size_rows_count", model="sleepy", trigger="preferred") >= 1


def test_a_delay_joins_what_comes_within_it(repository, serve):
    server = serve(sleepy(repository, "max_queue_delay_microseconds: 2000000 preferred_batch_size: [ 8 ]"))
    replies = together(4, lambda number: send(server, number))
    assert [reply.status for reply in replies] == [200] * 4
    assert_batches(server, {4: 1})


def test_an_idle_instance_never_waits_without_a_delay(repository, serve):
    server = serve(sleepy(repository, ""))
    total = [0]
    for value in range(20):
        assert send(server, value).status == 200
        # Counted before it is answered.
        total.append(server.statistics("sleepy")["inference_stats"]["queue"]["ns"])
    assert_batches(server, {1: 20})
    # Of most of them: a busy machine wakes the instance's thread late now and then.
    assert statistics.median(after - before for before, after in zip(total, total[1:])) < 5_000_000


def test_a_full_queue_refuses(repository, serve):
    server = serve(sleepy(repository, "default_queue_policy { max_queue_size: 2 }", max_batch_size=1))
    replies = occupied(server, [lambda value=value: send(server, value) for value in range(1, 6)])
    assert sorted(reply.status for reply in replies) == [200] * 3 + [503] * 3
    assert "maximum queue size" in next(reply.error for reply in replies if reply.status == 503)
    metrics = server.metrics()
    assert metrics.value("nv_inference_request_failure", model="sleepy", reason="REJECTED") == 3
    assert metrics.value("nv_inference_pending_request_count", model="sleepy") == 0


def test_a_request_that_waited_too_long_is_rejected(repository, serve):
    server = serve(sleepy(repository, "default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 500000 }", max_batch_size=1))
    replies = occupied(server, [lambda: send(server, 1)])
    assert [reply.status for reply in replies] == [200, 503]
    assert "timeout expired" in replies[1].error.lower()
    assert_batches(server, {1: 1})


def test_a_request_may_shorten_its_own_timeout(repository, serve):
    server = serve(sleepy(repository, "default_queue_policy { timeout_action: REJECT allow_timeout_override: true default_timeout_microseconds: 10000000 }", max_batch_size=1))
    replies = occupied(server, [lambda: send(server, 1, parameters={"timeout": 50_000}), lambda: send(server, 2)])
    assert [reply.status for reply in replies] == [200, 503, 200]


def test_delayed_requests_are_executed_after_the_others(repository, serve):
    server = serve(sleepy(repository, "default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 100000 }", max_batch_size=1))
    replies = occupied(server, [lambda: send(server, 1)])
    assert [reply.status for reply in replies] == [200, 200]


def test_the_higher_priority_goes_first(repository, serve):
    server = serve(sleepy(repository, "priority_levels: 2 default_priority_level: 2", max_batch_size=1))
    order = []

    def with_priority(level, value):
        def call():
            # Long enough for this thread to note one answer before the next one comes.
            reply = send(server, value, 400, parameters={"priority": level})
            order.append(value)
            return reply

        return call

    replies = occupied(server, [with_priority(2, 21), with_priority(2, 22), with_priority(1, 11)])
    assert [reply.status for reply in replies] == [200] * 4
    assert order == [11, 21, 22]


def test_a_priority_that_does_not_exist_is_the_default_one(repository, serve):
    server = serve(sleepy(repository, "priority_levels: 2 default_priority_level: 2"))
    for priority in (0, 1, 2, 9):
        assert send(server, 1, parameters={"priority": priority}).status == 200


def test_several_instances_work_at_once(repository, serve):
    repository.add(
        "sleepy", model="sleep", inputs=[("INPUT0", "INT32", [2])], max_batch_size=1,
        config="dynamic_batching { }\ninstance_group { kind: KIND_CPU count: 4 }\n",
    )
    server = serve(repository)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(send, server, number, 2000) for number in range(4)]
        server.await_requests("sleepy", executing=4)
        assert [call.result().status for call in calls] == [200] * 4


@pytest.mark.parametrize("count", [1, 16])
def test_a_model_without_batching_executes_one_by_one(repository, serve, count):
    server = serve(repository.add("plain", inputs=[("INPUT0", "FP32", [2])]))
    replies = together(count, lambda number: server.infer("plain", {"INPUT0": ("FP32", [1, 2], [number, 1])}))
    assert [reply.json()["outputs"][0]["data"][0] for reply in replies] == list(range(count))
    assert_batches(server, {1: count}, "plain")


def test_requests_of_other_shapes_do_not_share_a_batch(repository, serve):
    repository.add("sleepy", model="sleep", inputs=[("INPUT0", "INT32", [-1])], config="dynamic_batching { }\n")
    server = serve(repository)

    def ask(width):
        return lambda: server.infer("sleepy", {"INPUT0": ("INT32", [1, width], [0] * width)})

    first = lambda: server.infer("sleepy", {"INPUT0": ("INT32", [1, 2], [BUSY_MS, 0])})  # noqa: E731
    replies = occupied(server, [ask(width) for width in (2, 2, 5, 5)], first)
    assert [reply.status for reply in replies] == [200] * 5
    assert [reply.json()["outputs"][0]["shape"] for reply in replies] == [[1, 2], [1, 2], [1, 2], [1, 5], [1, 5]]
    assert_batches(server, {1: 1, 2: 2})
