"""NVIDIA's perf_analyzer against the server, unchanged: what it asks of metadata, configuration and statistics, and each way it sends (W-105)."""

import csv
import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compat.repository import DECOUPLED, REPEAT_INPUTS, REPEAT_OUTPUTS
from harness import HanokServer, ModelRepository
from harness.server import ROOT

ENVIRONMENT = Path(os.environ.get("HANOK_PERF_ANALYZER") or ROOT / ".venv-perf-analyzer")
# A window is so many requests; whether three of them agree is a matter of the machine, and nothing of the server's.
SHORT = ["--measurement-mode", "count_windows", "--measurement-request-count", "50", "--stability-percentage", "100000"]


@pytest.fixture(scope="module")
def libraries() -> str:
    found = next(ENVIRONMENT.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib"), None)
    if found is None:
        pytest.skip(f"no perf_analyzer in {ENVIRONMENT.name}: tests/run fills it")
    usage = subprocess.run([ENVIRONMENT / "bin/perf_analyzer"], capture_output=True, text=True, env={"LD_LIBRARY_PATH": str(found)}, timeout=30)
    if "error while loading shared libraries" in usage.stderr:
        pytest.skip(f"perf_analyzer does not start here: {usage.stderr.strip()}")
    return str(found)


CASES = {
    "lone": ["simple"],
    "several": ["simple", "--concurrency-range", "4"],
    "batches": ["simple", "--concurrency-range", "4", "--async", "-b", "4"],
    "poisson": ["simple", "--request-rate-range", "500", "--request-distribution", "poisson"],
    "text": ["simple_string", "--string-data", "5"],
    "images": ["digits", "-b", "8", "--concurrency-range", "2", "--input-data", "zero"],
    "version": ["flight_delay", "-x", "2", "-b", "2"],
    "sequences": ["sum", "--sequence-length", "6", "--concurrency-range", "3", "--input-data", "zero"],
    "shared-memory": ["simple", "--shared-memory", "system", "--output-shared-memory-size", "1024", "--concurrency-range", "4"],
    "metrics": ["simple", "--collect-metrics", "--metrics-url", "METRICS", "--metrics-interval", "50", "--verbose-csv"],
}
ONLY_GRPC = {
    "gzip": ["simple", "--grpc-compression-algorithm", "gzip"],
    "deflate": ["simple", "--grpc-compression-algorithm", "deflate"],
    "streams": ["simple", "--concurrency-range", "4", "--async", "--streaming"],
    "sequences-in-streams": ["sum", "--sequence-length", "6", "--concurrency-range", "3", "--input-data", "zero", "--async", "--streaming"],
    "decoupled": ["repeat_int32", "--input-data", "REPEAT", "--async", "--streaming"],
}
RUNS = [(protocol, case) for protocol in ("http", "grpc") for case in CASES] + [("grpc", case) for case in ONLY_GRPC]


@pytest.fixture(scope="module")
def runs(libraries, tmp_path_factory):
    """All runs, four at a time: they wait more than they work. Gives (server, {run: its outcome to come})."""
    folder = tmp_path_factory.mktemp("perf_analyzer")
    values = {"IN": {"content": [4, 2, 0, 1], "shape": [4]}, "DELAY": {"content": [0, 0, 0, 0], "shape": [4]}, "WAIT": {"content": [0], "shape": [1]}}
    (folder / "repeat.json").write_text(json.dumps({"data": [values]}))
    with HanokServer(models(ModelRepository(folder / "models")), "--allow-client-shm") as server, ThreadPoolExecutor(4) as pool:
        stands_for = {"METRICS": f"{server.metrics_address}/metrics", "REPEAT": str(folder / "repeat.json")}

        def analyze(run) -> tuple[subprocess.CompletedProcess, Path]:
            protocol, case = run
            flags = [stands_for.get(flag, flag) for flag in {**CASES, **ONLY_GRPC}[case]]
            table = folder / f"{protocol}-{case}.csv"
            command = [ENVIRONMENT / "bin/perf_analyzer", "-i", protocol, "-u", getattr(server, protocol), *SHORT, "-f", table, "-m", *flags]
            return subprocess.run(command, capture_output=True, text=True, env={"LD_LIBRARY_PATH": libraries}, timeout=120), table

        yield server, {run: pool.submit(analyze, run) for run in RUNS}


def models(repository: ModelRepository) -> ModelRepository:
    repository.copy("simple", "simple_string", "digits", "flight_delay")
    controls = ", ".join(f'{{ name: "{kind}" control [ {{ kind: CONTROL_SEQUENCE_{kind} int32_false_true: [ 0, 1 ] }} ] }}' for kind in ("START", "END", "READY"))
    sums = f"sequence_batching {{ control_input [ {controls} ] }}\n"
    repository.add("sum", model="sequence_accumulator", inputs=[("INPUT", "INT32", [1])], outputs=[("OUTPUT", "INT32", [1])], config=sums)
    repository.add("repeat_int32", model="repeat", inputs=REPEAT_INPUTS, outputs=REPEAT_OUTPUTS, max_batch_size=0, config=DECOUPLED)
    return repository


@pytest.mark.parametrize("run", RUNS, ids="-".join)
def test_it_measures(runs, run):
    server, outcomes = runs
    done, table = outcomes[run].result()
    assert done.returncode == 0 and "Throughput" in done.stdout, f"{done.stdout}\n{done.stderr}"
    (row,) = csv.DictReader(table.open())
    assert float(row["Inferences/Second"]) > 0, row
    # What it works out of the statistics before and after.
    assert int(re.search(r"Server: \s+Inference count: (\d+)", done.stdout)[1]) >= 50, done.stdout
    assert re.search(r"Successful request count: [1-9]", done.stdout), done.stdout
    assert 0 <= int(row["Server Compute Infer"]) and {"p50 latency", "p99 latency", "Server Queue", "Server Compute Output"} <= row.keys()


def test_no_request_failed(runs):
    server, outcomes = runs
    for outcome in outcomes.values():
        outcome.result()
    metrics = server.metrics()
    for model in {flags[0] for flags in [*CASES.values(), *ONLY_GRPC.values()]}:
        failures = [metrics.value("nv_inference_request_failure", model=model, reason=reason) for reason in ("REJECTED", "CANCELED", "BACKEND", "OTHER")]
        assert failures == [0, 0, 0, 0] and metrics.value("nv_inference_request_success", model=model) >= 50, (model, failures)
