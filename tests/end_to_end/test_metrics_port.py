"""The metrics page: names, labels, and that each request is counted once (W-100, section 15 of the wire reference)."""

import pytest

from harness import request

COUNTERS = [
    "nv_inference_request_success", "nv_inference_request_failure", "nv_inference_count", "nv_inference_exec_count",
    "nv_inference_request_duration_us", "nv_inference_queue_duration_us", "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us", "nv_inference_compute_output_duration_us",
]


@pytest.fixture
def server(repository, serve):
    repository.add("m", config="dynamic_batching { }\n").add("failing", model="fail", inputs=[("INPUT0", "INT32", [1])])
    return serve(repository)


def test_names_types_and_labels(server):
    metrics = server.metrics()
    for name in COUNTERS:
        assert metrics.types[name] == "counter" and metrics.helps[name]
        assert metrics.has(name, model="m", version="1"), name
    assert metrics.types["nv_inference_pending_request_count"] == "gauge"
    assert metrics.types["hanok_batch_size_rows"] == "histogram"
    assert metrics.types["hanok_request_duration_seconds"] == "histogram"
    assert metrics.labels("nv_inference_request_failure", "reason") == {"REJECTED", "CANCELED", "BACKEND", "OTHER"}
    assert all(value == 0 for name, _, value in metrics.samples if name == "nv_inference_request_failure")


def test_a_page_of_its_own(server):
    reply = request(server.metrics_address, "GET", "/metrics")
    assert reply.header("content-type").startswith("text/plain")
    assert request(server.metrics_address, "POST", "/metrics").status == 405
    assert request(server.metrics_address, "GET", "/").status == 404
    assert request(server.metrics_address, "GET", "/v2").status == 404
    assert request(server.http, "GET", "/metrics").status == 404


def test_each_request_counts_once(server):
    for rows in (1, 3):
        assert server.infer("m", {"INPUT0": ("FP32", [rows, 1], [1] * rows)}).status == 200
    of = {"model": "m", "version": "1"}
    # A batch is counted when its last answer is on its way, by its size last of all.
    rows = "hanok_batch_size_rows_sum"
    server.await_true(lambda: (page := server.metrics()).has(rows, **of) and page.value(rows, **of) >= 4, "the count of rows")
    metrics = server.metrics()
    assert metrics.value("nv_inference_request_success", **of) == 2
    assert metrics.value("nv_inference_count", **of) == 4
    assert metrics.value("nv_inference_exec_count", **of) == 2
    assert metrics.value("nv_inference_request_duration_us", **of) > 0
    assert metrics.value("hanok_batch_size_rows_sum", **of) == 4
    assert metrics.value("hanok_batch_size_rows_count", **of) == 2
    assert metrics.value("hanok_request_duration_seconds_count", **of) == 2
    assert metrics.value("hanok_request_duration_seconds_bucket", le="+Inf", **of) == 2
    statistics = server.statistics("m")
    assert (statistics["inference_count"], statistics["execution_count"]) == (4, 2)
    assert statistics["inference_stats"]["success"]["count"] == 2


def test_a_failure_of_the_model(server):
    assert server.infer("failing", {"INPUT0": ("INT32", [1, 1], [-1])}).status == 500
    metrics = server.metrics()
    assert metrics.value("nv_inference_request_failure", model="failing", reason="BACKEND") == 1
    assert metrics.value("nv_inference_request_success", model="failing") == 0
    assert server.statistics("failing")["inference_stats"]["fail"]["count"] == 1


def test_names_that_nobody_knows_make_no_series(server):
    before = len(server.metrics().samples)
    for number in range(200):
        server.get(f"/v2/models/unknown_{number}")
        server.infer(f"unknown_{number}", {"INPUT0": ("FP32", [1, 1], [1])})
        server.infer("m", {"INPUT0": ("FP32", [1, 1], [1])}, version=str(number + 2))
    assert len(server.metrics().samples) == before


def test_memory_of_the_host(server):
    metrics = server.metrics()
    for name in ("nv_cpu_memory_total_bytes", "nv_cpu_memory_used_bytes"):
        assert metrics.value(name) > 0


def test_no_metrics_on_request(repository, serve):
    server = serve(repository.add("m"), "--allow-metrics=false", wait=None)
    server.await_true(lambda: "listening" in server.log() and "metrics=-" in server.log() or "metrics=off" in server.log() or "metrics=none" in server.log(), "the log line without metrics")
