"""What the operator reads: text or JSON, request ids, levels that change while the server runs, one line per event."""

import contextlib
import json
import socket

import pytest


def lines(server) -> list[str]:
    return [line for line in server.log().splitlines() if line.strip()]


def test_json_lines(repository, serve):
    server = serve(repository.add("m"), "--log-format=json")
    server.infer("m", {"INPUT0": ("FP32", [1, 1], [1])})
    # What a server is writing may be half a line.
    server.signal()
    assert server.exit_code() == 0
    for line in lines(server):
        entry = json.loads(line)
        assert entry["level"] in ("TRACE", "DEBUG", "INFO", "WARN", "ERROR") and "timestamp" in entry, line


@pytest.mark.parametrize("arguments", [[], ["--log-format=default"], ["--log-format=ISO8601"]])
def test_text_lines(repository, serve, arguments):
    server = serve(repository.add("m"), *arguments)
    assert any("m" in line and "ready" in line.lower() for line in lines(server))
    for line in lines(server):
        with pytest.raises(ValueError):
            json.loads(line)


def test_the_limits_are_printed_at_start(repository, serve):
    log = serve(repository.add("m"), "--max-connections=123").log()
    for limit in ("request_bytes=67108864", "json_depth=100", "body_chunks=65536", "connections=123", "head_timeout_s=10"):
        assert limit in log, limit


def test_a_failed_request_is_found_by_its_id(repository, serve):
    repository.add("failing", model="fail", inputs=[("INPUT0", "INT32", [1])])
    server = serve(repository, "--log-format=json")
    reply = server.infer("failing", {"INPUT0": ("INT32", [1, 1], [-1])}, id="needle-7")
    assert reply.status == 500 and "-1 as its first element" not in reply.error
    server.await_true(lambda: "needle-7" in server.log(), "the request's id in the log")
    line = next(line for line in lines(server) if "needle-7" in line)
    assert "failing" in line


def test_an_id_cannot_write_lines_of_its_own(repository, serve):
    repository.add("failing", model="fail", inputs=[("INPUT0", "INT32", [1])])
    server = serve(repository)
    server.infer("failing", {"INPUT0": ("INT32", [1, 1], [-1])}, id="a\nERROR forged line\x1b[31mred")
    server.await_true(lambda: "forged" in server.log(), "the id in the log")
    raw = open(server._log.name, "rb").read()
    assert b"\nERROR forged" not in raw and b"\x1b[31mred" not in raw


def test_verbosity_at_start(repository, serve):
    quiet = serve(repository.add("m"), "--log-info=true")
    chatty = serve(repository, "--log-verbose=1")
    for server in (quiet, chatty):
        server.infer("m", {"INPUT0": ("FP32", [1, 1], [1])})
        # The engine is opened beside the rest of a start, and says so when it is.
        server.await_true(lambda server=server: "ONNX models are served by" in server.log(), "the engine")
    assert len(lines(quiet)) < len(lines(chatty))


def test_levels_change_while_it_runs(repository, serve):
    server = serve(repository.add("m"))
    # The engine's line may come after readiness, and would be one more.
    server.await_true(lambda: "ONNX models are served by" in server.log() and "serving" in server.log(), "the last lines of the start")
    settings = server.get("/v2/logging").json()
    assert settings["log_verbose_level"] == 0 and settings["log_info"] is True

    def cause_a_debug_line():
        host, port = server.grpc.split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"this is not HTTP/2 at all, not even nearly\r\n\r\n")
            with contextlib.suppress(ConnectionResetError):
                connection.recv(1000)

    before = len(lines(server))
    cause_a_debug_line()
    assert server.infer("m", {"INPUT0": ("FP32", [1, 1], [1])}).status == 200
    assert len(lines(server)) == before
    assert server.post("/v2/logging", {"log_verbose_level": 2}).status == 200
    assert server.get("/v2/logging").json()["log_verbose_level"] == 2
    cause_a_debug_line()
    server.await_true(lambda: len(lines(server)) > before, "more lines")
    assert server.post("/v2/logging", {"log_verbose_level": 0}).status == 200
    assert server.post("/v2/logging", {"log_info": "yes"}).status in (400, 500)
