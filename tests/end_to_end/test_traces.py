"""Traces of requests: the file is what Triton's tools read, and tells every sampled request once, whatever happens meanwhile."""

import concurrent.futures
import json
import os
import queue
import signal
import subprocess

import numpy as np
import pytest
import tritonclient.grpc
import tritonclient.http

from harness import binary

ONE = np.array([[1.0]], np.float32)
HTTP = ["HTTP_RECV_START", "HTTP_RECV_END", "HTTP_SEND_START", "HTTP_SEND_END"]
GRPC = ["GRPC_WAITREAD_START", "GRPC_WAITREAD_END", "GRPC_SEND_START", "GRPC_SEND_END"]
REQUEST = ["REQUEST_START", "QUEUE_START", "COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START", "COMPUTE_END", "INFER_RESPONSE_COMPLETE", "REQUEST_END"]


def on(path, *configs):
    flags = [f"triton,file={path}", "level=TIMESTAMPS", *configs]
    return [argument for flag in flags for argument in ("--trace-config", flag)]


def read(path) -> dict[int, dict]:
    """Traces by id, as Triton's summary tool groups them: what was asked, and moments by name."""
    traces = {}
    for part in json.loads(path.read_text()):
        trace = traces.setdefault(part["id"], {"moments": []})
        assert ("model_name" in part) != ("timestamps" in part), part
        if "model_name" in part:
            assert "model_name" not in trace, f"trace {part['id']} is told twice"
            trace.update({key: value for key, value in part.items() if key != "id"})
        trace["moments"] += [(one["name"], one["ns"]) for one in part.get("timestamps", [])]
    for trace in traces.values():
        names, times = [name for name, _ in trace["moments"]], [ns for _, ns in trace["moments"]]
        assert len(names) == len(set(names)), names
        assert times == sorted(times), trace
        trace["at"] = dict(trace["moments"])
    return traces


def settle(server, count: int):
    """Waits until so many traces are in files: a reply may be read before its trace has ended."""
    server.await_true(lambda: server.metrics().value("hanok_traces_total", result="written") == count, f"{count} traces are written")


def infer(server, model="m", count=1, **members):
    for _ in range(count):
        assert server.infer(model, {"INPUT0": ("FP32", [1, 1], [1])}, **members).status == 200


def grpc_input():
    tensor = tritonclient.grpc.InferInput("INPUT0", [1, 1], "FP32")
    tensor.set_data_from_numpy(ONE)
    return [tensor]


def setting(server, model="", **values):
    at = f"/v2/models/{model}" if model else "/v2"
    reply = server.post(f"{at}/trace/setting", values)
    assert reply.status == 200, reply.body
    return reply.json()


def test_every_request_of_either_protocol_is_told_in_order(repository, serve, tmp_path):
    file = tmp_path / "trace.json"
    server = serve(repository.add("m"), *on(file, "rate=1"))
    infer(server, count=3, id='a "quoted" id\n')
    with tritonclient.http.InferenceServerClient(server.http) as client:
        tensor = tritonclient.http.InferInput("INPUT0", [1, 1], "FP32")
        tensor.set_data_from_numpy(ONE)
        client.infer("m", [tensor], request_id="http", response_compression_algorithm="gzip")
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        client.infer("m", grpc_input(), request_id="grpc")
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        for number in range(3):
            client.async_stream_infer("m", grpc_input(), request_id=f"stream {number}")
        assert all(answers.get(timeout=20)[1] is None for _ in range(3))
        client.stop_stream()
    settle(server, 8)
    traces = read(file)
    assert sorted(traces) == list(range(1, 9))
    assert [trace.get("request_id") for _, trace in sorted(traces.items())] == ['a "quoted" id\n'] * 3 + ["http", "grpc", "stream 0", "stream 1", "stream 2"]
    for number, trace in traces.items():
        assert (trace["model_name"], trace["model_version"]) == ("m", 1) and "parent_id" not in trace
        door = HTTP if number <= 4 else GRPC
        assert [name for name, _ in trace["moments"]] == door[:2] + REQUEST + door[2:], (number, trace)
    # Nanoseconds since 1970, within the test.
    seconds = traces[8]["at"]["REQUEST_END"] / 1e9
    assert abs(seconds - os.stat(file).st_mtime) < 60


def test_a_decoupled_request_is_one_trace(repository, serve, tmp_path):
    inputs, outputs = [("IN", "INT32", [-1]), ("DELAY", "UINT32", [-1]), ("WAIT", "UINT32", [1])], [("OUT", "INT32", [1]), ("IDX", "UINT32", [1])]
    repository.add("repeat", model="repeat", inputs=inputs, outputs=outputs, max_batch_size=0, config="model_transaction_policy { decoupled: true }\n")
    server = serve(repository, *on(tmp_path / "t", "rate=1"))
    tensors = []
    for name, values, kind in (("IN", [1, 2, 3], np.int32), ("DELAY", [0, 0, 0], np.uint32), ("WAIT", [0], np.uint32)):
        tensor = tritonclient.grpc.InferInput(name, [len(values)], "INT32" if kind is np.int32 else "UINT32")
        tensor.set_data_from_numpy(np.array(values, kind))
        tensors.append(tensor)
    with tritonclient.grpc.InferenceServerClient(server.grpc) as client:
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)))
        client.async_stream_infer("repeat", tensors, enable_empty_final_response=True)
        assert all(answers.get(timeout=20)[1] is None for _ in range(4))
        client.stop_stream()
    settle(server, 1)
    (trace,) = read(tmp_path / "t").values()
    assert {*GRPC, "REQUEST_START", "QUEUE_START", "COMPUTE_START", "INFER_RESPONSE_COMPLETE", "REQUEST_END"} <= trace["at"].keys()


def test_requests_that_fail_are_told_as_far_as_they_came(repository, serve, tmp_path):
    server = serve(repository.add("m"), *on(tmp_path / "t", "rate=1"))
    assert server.infer("m", {"INPUT0": ("FP32", [1, 2], [1])}).status in (400, 500)
    assert server.infer("unknown", {"INPUT0": ("FP32", [1, 1], [1])}).status in (400, 404)
    assert server.infer("m", {"INPUT0": ("FP32", [9, 1], [1.0] * 9)}).status == 400
    infer(server)
    settle(server, 3)
    traces = read(tmp_path / "t")
    assert "REQUEST_START" not in traces[1]["at"] and {*HTTP} <= traces[1]["at"].keys()
    assert "COMPUTE_START" not in traces[2]["at"]
    assert {*HTTP, *REQUEST} == traces[3]["at"].keys(), "a request without a model is none of them"


def test_a_batch_is_one_computation_of_many_traces(repository, serve, tmp_path):
    repository.add("m", parameters={"execute_delay_ms": "200"}, config="dynamic_batching { max_queue_delay_microseconds: 100 }\n")
    server = serve(repository, *on(tmp_path / "t", "rate=1"))
    with concurrent.futures.ThreadPoolExecutor(5) as pool:
        first = pool.submit(infer, server)
        server.await_requests("m", 1)
        others = [pool.submit(infer, server) for _ in range(4)]
        for one in [first, *others]:
            one.result(30)
    settle(server, 5)
    traces = sorted(read(tmp_path / "t").values(), key=lambda trace: trace["at"]["COMPUTE_START"])
    assert all({*HTTP, *REQUEST} == trace["at"].keys() for trace in traces)
    for moment in ("COMPUTE_START", "COMPUTE_INPUT_END", "COMPUTE_OUTPUT_START"):
        assert len({trace["at"][moment] for trace in traces}) == 2, moment
    for trace in traces:
        assert trace["at"]["COMPUTE_OUTPUT_START"] - trace["at"]["COMPUTE_INPUT_END"] >= 200_000_000


def test_rate_and_count_are_exact(repository, serve, tmp_path):
    file = tmp_path / "trace.json"
    server = serve(repository.add("m").add("n"), *on(file, "rate=3", "count=5"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: infer(server, "mn"[number % 2]), range(60)))
    assert server.get("/v2/trace/setting").json()["trace_count"] == "0"
    settle(server, 5)
    # As in Triton, what was counted is in a file with a number.
    assert len(read(file.with_name("trace.json.0"))) == 5 and not file.exists()
    assert setting(server, trace_count="-1")["trace_count"] == "-1"
    infer(server, count=7)
    settle(server, 7)
    assert len(read(file)) == 2


def test_log_frequency_makes_numbered_files(repository, serve, tmp_path):
    file = tmp_path / "trace.json"
    server = serve(repository.add("m"), *on(file, "rate=1", "triton,log-frequency=2"))
    infer(server, count=5)
    settle(server, 5)

    def sizes():
        return [len(read(tmp_path / name)) for name in sorted(os.listdir(tmp_path)) if name.startswith("trace")]

    assert sizes() == [2, 2, 1]
    setting(server, log_frequency="3")
    infer(server, count=4)
    settle(server, 9)
    assert sizes() == [2, 2, 1, 3, 1], "a change begins another file"
    traces = [read(file.with_name(f"trace.json.{number}")) for number in range(5)]
    assert [number for part in traces for number in sorted(part)] == list(range(1, 10))


def test_settings_change_during_traffic_and_nothing_is_told_twice(repository, serve, tmp_path):
    server = serve(repository.add("m").add("n"), *on(tmp_path / "t", "rate=1"))

    def ask(model):
        infer(server, model, count=120)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask, "mn"[number % 2]) for number in range(4)]
        changes = 0
        while not all(one.done() for one in asking):
            setting(server, "m", trace_rate=str(1 + changes % 3))
            setting(server, trace_level=["TIMESTAMPS"], log_frequency=str(changes % 2 * 7))
            changes += 1
        for one in asking:
            one.result()
    assert changes > 2
    counted = server.metrics()
    assert counted.value("hanok_traces_total", result="dropped") == counted.value("hanok_traces_total", result="failed") == 0
    server.signal()
    assert server.exit_code() == 0
    seen = [number for name in os.listdir(tmp_path) if name.startswith("t") for number in read(tmp_path / name)]
    assert len(seen) == len(set(seen)) == max(seen), "each is in one file"
    of_n = sum(trace["model_name"] == "n" for name in os.listdir(tmp_path) if name.startswith("t") for trace in read(tmp_path / name).values())
    assert of_n == 240, "every request to the model that is traced by the global rate of 1"


def test_a_change_and_a_stop_leave_nothing_behind(repository, serve, tmp_path):
    file = tmp_path / "trace.json"
    server = serve(repository.add("m"), *on(file, "rate=1"))
    infer(server, count=4)
    settle(server, 4)
    setting(server, trace_level=["OFF"])
    assert len(read(file)) == 4
    infer(server, count=4)
    setting(server, trace_level=["TIMESTAMPS"])
    infer(server, count=50)
    server.signal()
    assert server.exit_code() == 0
    assert len(read(file)) == 54


def test_a_server_that_is_killed_leaves_a_whole_file(repository, serve, tmp_path):
    file = tmp_path / "trace.json"
    server = serve(repository.add("m"), *on(file, "rate=1"))
    infer(server, count=30)
    settle(server, 30)
    server.signal(signal.SIGKILL)
    server.process.wait(20)
    assert len(read(file)) == 30
    # Another one begins the file anew, as Triton does, when there is something to write.
    again = serve(repository, *on(file, "rate=1"))
    assert len(read(file)) == 30
    infer(again)
    settle(again, 1)
    assert len(read(file)) == 1


def test_the_arm_that_served_is_told_and_the_name_that_was_asked_for_counts(repository, serve, tmp_path):
    repository.add("m", versions=(1, 2), config="version_policy { all { } }\n")
    server = serve(repository, *on(tmp_path / "t", "rate=1"))
    setting(server, "m", trace_rate="2")
    for version in ("1", "2", "2", "2"):
        server.infer("m", {"INPUT0": ("FP32", [1, 1], [1])}, version=version)
    settle(server, 2)
    assert [trace["model_version"] for _, trace in sorted(read(tmp_path / "t").items())] == [2, 2]


@pytest.fixture
def disk(tmp_path):
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", place], capture_output=True).returncode != 0:
        pytest.skip("this account may not mount a small disk")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_costs_traces_and_no_answers(repository, serve, disk):
    file, filler = disk / "trace.json", disk / "filler"
    server = serve(repository.add("m"), *on(file, "rate=1"))
    infer(server, count=3)
    settle(server, 3)
    with open(filler, "wb", buffering=0) as filling:
        try:
            while filling.write(bytes(512)):
                pass
        except OSError:
            pass
    for count in range(4, 24):
        infer(server)
        server.await_true(lambda: sum(value for _, value in server.metrics().labelled("hanok_traces_total")) == count, "all are counted")
    # A few had room at the end of a page.
    assert server.metrics().value("hanok_traces_total", result="failed") > 10
    assert len(read(file)) == server.metrics().value("hanok_traces_total", result="written")
    assert server.log().count("traces cannot be written") == 1
    filler.unlink()
    before = server.metrics().value("hanok_traces_total", result="written")
    infer(server)
    settle(server, before + 1)
    assert len(read(file)) == before + 1
    assert "traces are written again" in server.log()


@pytest.mark.parametrize("kind", ["folder", "link", "pipe", "gone"])
def test_a_file_that_cannot_be_written_ends_the_start(repository, tmp_path, kind):
    place, theirs = tmp_path / "trace.json", tmp_path / "theirs"
    theirs.write_text("theirs")
    if kind == "folder":
        place.mkdir()
    elif kind == "link":
        place.symlink_to(theirs)
    elif kind == "pipe":
        os.mkfifo(place)
    else:
        place = tmp_path / "gone/trace.json"
    ports = ["--http-port=0", "--grpc-port=0", "--metrics-port=0"]
    command = [str(binary()), "serve", "--model-repository", str(repository.add("m").path), *ports, *on(place)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert result.returncode not in (0, 101) and str(place) in result.stderr and "--trace-config" in result.stderr, result
    assert theirs.read_text() == "theirs"


def test_a_numbered_file_that_is_a_link_is_not_followed(repository, serve, tmp_path):
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    server = serve(repository.add("m"), *on(tmp_path / "t", "rate=1", "triton,log-frequency=1"))
    (tmp_path / "t.0").symlink_to(theirs)
    infer(server)
    server.await_true(lambda: server.metrics().value("hanok_traces_total", result="failed") == 1, "the trace is lost")
    assert theirs.read_text() == "theirs"
    (tmp_path / "t.0").unlink()
    infer(server)
    settle(server, 1)
    assert len(read(tmp_path / "t.0")) == 1


@pytest.mark.parametrize(("config", "told"), [("mode=opentelemetry", "opentelemetry"), ("level=TENSORS", "TENSORS"), ("rate=0", "rate")])
def test_what_is_not_offered_ends_the_start(repository, config, told):
    command = [str(binary()), "serve", "--model-repository", str(repository.add("m").path), "--trace-config", config]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL, check=False)
    assert result.returncode == 2 and told in result.stderr, result.stderr


def test_old_flags_of_triton(repository, serve, tmp_path):
    file = tmp_path / "trace.json"
    flags = ["--trace-file", str(file), "--trace-level=TIMESTAMPS", "--trace-rate=1", "--trace-count=-1", "--trace-log-frequency=0"]
    server = serve(repository.add("m"), *flags)
    infer(server)
    settle(server, 1)
    assert len(read(file)) == 1
    assert "--trace-config triton,file=VALUE" in server.log()


def test_a_level_without_a_file_is_named(repository, serve):
    server = serve(repository.add("m"), "--trace-config", "level=TIMESTAMPS")
    assert "nothing is traced" in server.log()
    infer(server)
    assert not server.metrics().has("hanok_traces_total")
