"""Triton's start lines work unchanged; what cannot be honoured is named; mistakes get a hint."""

import subprocess

import pytest

from harness import binary, request

TRITON_LINE = """--model-store MODELS --http-port=0 --grpc-port=0 --metrics-port=0 --http-address=127.0.0.1 --grpc-address=127.0.0.1
--http-thread-count=8 --grpc-infer-allocation-pool-size=16 --model-control-mode=explicit --load-model=m --strict-readiness=true
--strict-model-config=false --exit-on-error=false --exit-timeout-secs=5 --allow-http=true --allow-grpc=1 --allow-metrics true
--metrics-interval-ms=500 --log-verbose=0 --log-info=1 --log-warning=1 --log-error=1 --log-format=ISO8601
--backend-config=onnxruntime,default-max-batch-size=8 --backend-directory=/opt/backends --buffer-manager-thread-count=2
--pinned-memory-pool-byte-size=268435456 --cuda-memory-pool-byte-size=0:67108864 --model-load-thread-count=2
--repository-poll-secs=15 --allow-gpu-metrics=false --allow-cpu-metrics=true --rate-limit=off --reuse-http-port=0
--http-max-input-size=67108864 --grpc-keepalive-time=7200000 --min-supported-compute-capability=6.0 --id=triton
--disable-auto-complete-config --cache-config=local,size=1048576 --metrics-config=counter_latencies=true""".split()


def run(*arguments, seconds=60):
    return subprocess.run([str(binary()), *arguments], capture_output=True, text=True, timeout=seconds, stdin=subprocess.DEVNULL)


def test_a_triton_start_line(repository, serve):
    repository.add("m")
    arguments = [str(repository.path) if argument == "MODELS" else argument for argument in TRITON_LINE]
    server = serve(None, *arguments)
    assert server.infer("m", {"INPUT0": ("FP32", [1, 1], [1])}).status == 200
    log = server.log()
    for ignored in ("backend-directory", "cache-config", "pinned-memory-pool-byte-size"):
        assert ignored in log, f"{ignored} is ignored in silence"


@pytest.mark.parametrize(
    "flag", ["--grpc-use-ssl=true", "--http-restricted-api=inference:key=value", "--grpc-restricted-protocol=inference:k=v"]
)
def test_what_must_not_be_ignored_is_refused(repository, flag):
    result = run("serve", "--model-repository", str(repository.add("m").path), "--http-port=0", "--grpc-port=0", "--metrics-port=0", flag)
    assert result.returncode not in (0, 101)
    assert flag.split("=")[0].lstrip("-") in result.stderr


WATCH = ["--watch", "https://models.example.org/m.onnx=m"]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ([*WATCH, "--watch-plan", "WRONG"], "--watch-plan: "),
        ([*WATCH, "--watch-plan", "gone.yaml"], "--watch-plan: `gone.yaml` cannot be read"),
        ([*WATCH, "--watch", "https://models.example.org/other.onnx=m"], "--watch: expected one reference for model `m`"),
        ([*WATCH, "--webhook-secret-file", "github=WRONG"], "expected a secret of 16 characters at least"),
        (["--admin-token-file", "gone"], "--admin-token-file: `gone` cannot be read"),
        (["--runtime", "nowhere"], "--runtime: expected NAME=http"),
    ],
)
def test_settings_are_checked_before_a_port_listens(repository, tmp_path, flags, told):
    wrong = tmp_path / "wrong"
    wrong.write_text("kind: none")
    ports = ["--http-port=0", "--grpc-port=0", "--metrics-port=0", "--admin-port=0"]
    places = ["--state", str(tmp_path / "state.sqlite"), "--registry", str(tmp_path / "registry")]
    flags = [flag.replace("WRONG", str(wrong)) for flag in flags]
    result = run("serve", "--model-repository", str(repository.add("m").path), *ports, *places, *flags)
    assert result.returncode == 1 and told in result.stderr, result
    assert "listening" not in result.stdout + result.stderr, result


def test_a_typo_gets_a_suggestion():
    result = run("serve", "--model-repositry", "x")
    assert result.returncode == 2 and "--model-repository" in result.stderr
    result = run("srve")
    assert result.returncode == 2 and "serve" in result.stderr
    result = run("serve", "--model-control-mode=explict")
    assert result.returncode == 2 and "explicit" in result.stderr


@pytest.mark.parametrize("command", [[], ["serve"], ["infer"], ["models"], ["bench"], ["doctor"]])
def test_every_command_has_help(command):
    result = run(*command, "--help")
    assert result.returncode == 0 and "Usage" in result.stdout
    flags = [line.split() for line in result.stdout.splitlines() if line.strip().startswith("-")]
    assert flags


def test_version():
    result = run("--version")
    assert result.returncode == 0 and result.stdout.startswith("hanok ")


def test_a_port_in_use_is_an_error_that_names_it(repository, serve):
    first = serve(repository.add("m"))
    port = first.http.rsplit(":", 1)[1]
    result = run("serve", "--model-repository", str(repository.path), "--http-port", port, "--grpc-port=0", "--metrics-port=0")
    assert result.returncode not in (0, 101) and port in result.stderr
    assert first.get("/v2/health/live").status == 200


def test_a_repository_that_does_not_exist(tmp_path):
    result = run("serve", "--model-repository", str(tmp_path / "nothing"), "--http-port=0", "--grpc-port=0", "--metrics-port=0")
    assert result.returncode not in (0, 101) and "nothing" in result.stderr


def test_a_port_can_be_left_out(repository, serve):
    server = serve(repository.add("m"), "--allow-grpc=false", wait=None)
    server.await_true(lambda: "listening http=" in server.log(), "the log line")
    http = server.log().split("listening http=")[1].split()[0].replace("0.0.0.0", "127.0.0.1")
    server.await_true(lambda: request(http, "GET", "/v2/health/ready").status == 200, "readiness")


def test_the_strict_profile_answers_400_and_404(repository, serve):
    server = serve(repository.add("m"), "--status-profile=strict", "--model-control-mode=explicit", "--load-model=m")
    assert server.post("/v2/models/m/infer", "{").status == 400
    assert server.post("/v2/models/m/infer", {"id": "a"}).status == 400
    assert server.infer("m", {"INPUT0": ("FP32", [1, -1], [1])}).status == 400
    assert server.infer("m", {"INPUT0": ("FP32", [1, 2], [1])}).status == 400
    assert server.post("/v2/repository/models/nothing/load", {}).status == 404
    assert server.get("/v2/models/nothing/stats").status == 404
    assert server.get("/v2/models/nothing/ready").status in (400, 404)


def test_doctor():
    result = run("doctor")
    assert result.returncode == 0
    assert "tract" in result.stdout and "onnx" in result.stdout.lower()


def test_infer_and_models_and_bench_as_commands(repository, serve, tmp_path):
    server = serve(repository.add("m"), "--model-control-mode=explicit", "--load-model=m")
    url = f"http://{server.http}"
    result = run("infer", "m", "--server", url, "--input", "INPUT0=[[1.5, 2.5]]")
    assert "1.5" in result.stdout and "2.5" in result.stdout
    assert result.returncode == 0, result.stderr
    listed = run("models", "list", "--server", url)
    assert "m" in listed.stdout and "READY" in listed.stdout
    assert "INPUT0" in run("models", "show", "m", "--server", url).stdout
    for address in (url, f"grpc://{server.grpc}"):
        measured = run("bench", "m", "--server", address, "--help")
        assert measured.returncode == 0
    assert run("models", "unload", "m", "--server", url).returncode == 0
    assert run("infer", "m", "--server", url, "--input", "INPUT0=[[1.5]]").returncode != 0
    assert run("models", "load", "m", "--server", url).returncode == 0
