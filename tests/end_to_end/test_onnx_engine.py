"""Which engine serves ONNX models: opened beside the rest of a start, and only what needs it waits for it."""

import os
import subprocess

import pytest

from harness import binary

SUM = {"INPUT0": ("INT32", [1, 16], [3] * 16), "INPUT1": ("INT32", [1, 16], [2] * 16)}

# Takes until somebody writes to the pipe to say its version, which is too old.
SLOW_LIBRARY = """
#include <fcntl.h>
#include <unistd.h>
static const char *version(void) { close(open(PIPE, O_RDONLY)); return "1.0.0"; }
static const struct { const void *(*api)(unsigned); const char *(*version)(void); } base = { 0, version };
const void *OrtGetApiBase(void) { return &base; }
"""


@pytest.fixture
def broken_library(tmp_path):
    library = tmp_path / "libonnxruntime.so"
    library.write_text("this is no library")
    return library


@pytest.fixture
def slow_library(tmp_path):
    """A library, and the pipe that holds it up until it is opened for writing."""
    library, pipe, source = tmp_path / "libonnxruntime.so", tmp_path / "pipe", tmp_path / "slow.c"
    os.mkfifo(pipe)
    source.write_text(SLOW_LIBRARY)
    subprocess.run(["cc", "-shared", "-fPIC", f'-DPIPE="{pipe}"', "-o", str(library), str(source)], check=True)
    return library, pipe


def test_a_library_that_cannot_be_opened_is_told_once_and_tract_serves(repository, serve, broken_library):
    server = serve(repository.copy("simple"), environment={"ORT_DYLIB_PATH": str(broken_library)})
    reply = server.infer("simple", SUM)
    assert reply.status == 200 and reply.json()["outputs"][0]["data"] == [5] * 16
    assert server.log().count("ONNX models are served by") == 1
    assert "served by tract: ONNX Runtime was found and cannot be used: ONNX Runtime could not be loaded" in server.log()


@pytest.mark.parametrize("flag", ["onnxruntime,library=LIBRARY", "onnxruntime,library=GONE", "onnx,engine=onnxruntime"])
def test_an_engine_that_was_asked_for_is_not_replaced(repository, broken_library, flag):
    flag = flag.replace("LIBRARY", str(broken_library)).replace("GONE", str(broken_library) + ".gone")
    command = [str(binary()), "serve", "--model-repository", str(repository.copy("simple").path)]
    command += ["--http-port=0", "--grpc-port=0", "--metrics-port=0", f"--backend-config={flag}"]
    environment = {**os.environ, "ORT_DYLIB_PATH": str(broken_library)}
    result = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment)
    assert result.returncode == 1, result.stderr
    assert "error: ONNX Runtime was asked for and cannot be used" in result.stderr
    assert "pip install onnxruntime" in result.stderr
    assert "loading failed" not in result.stderr, "no model is loaded on another engine, or blamed"


def test_only_onnx_models_wait_for_the_library(repository, serve, slow_library):
    library, pipe = slow_library
    repository.add("m").copy("simple")
    server = serve(repository, environment={"ORT_DYLIB_PATH": str(library)}, wait="live")
    server.await_true(lambda: server.get("/v2/models/m/ready").status == 200, "the model that needs no library")
    assert server.infer("m", {"INPUT0": ("FP32", [1, 1], [1])}).status == 200
    assert server.get("/v2/models/simple/ready").status != 200 and server.get("/v2/health/ready").status != 200
    os.close(os.open(pipe, os.O_WRONLY))
    server.await_true(lambda: server.get("/v2/health/ready").status == 200, "readiness")
    assert server.infer("simple", SUM).status == 200
    assert "ONNX Runtime must be version 1.20 or newer, found `1.0.0`" in server.log()


def test_without_onnx_models_nothing_waits_for_the_library(repository, serve, slow_library):
    library, pipe = slow_library
    server = serve(repository.add("m"), environment={"ORT_DYLIB_PATH": str(library)})
    assert server.infer("m", {"INPUT0": ("FP32", [1, 1], [1])}).status == 200
    assert "ONNX models are served by" not in server.log()
    os.close(os.open(pipe, os.O_WRONLY))
    server.await_true(lambda: "ONNX models are served by tract" in server.log(), "the engine's line")
    server.signal()
    assert server.exit_code() == 0
