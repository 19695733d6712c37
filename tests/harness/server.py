"""The release binary as a child process, on ports that the system chooses."""

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

from .http import Reply, request
from .metrics import Metrics

ROOT = Path(__file__).resolve().parents[2]
_PORTS = re.compile(r"listening http=(\S+?) grpc=(\S+?) metrics=([^\s\"]+)")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def binary() -> Path:
    """`HANOK_BINARY`, else the release build."""
    target = Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    path = Path(os.environ.get("HANOK_BINARY") or target / "release" / "hanok")
    assert path.exists(), f"{path.name} is not built; run `cargo build --release` first"
    return path


class HanokServer:
    """`with HanokServer(repository) as server:` is ready inside the block and dead after it.

    `wait` says what to wait for: `ready`, `live`, `listening` or None. The log is `server.log()` and is shown when the
    server does not come up; `conftest.py` shows it when a test fails.
    """

    started: list["HanokServer"] = []

    def __init__(self, repository=None, *arguments: str, wait: str | None = "ready", environment=None, start_seconds: float = 30):
        self.arguments = list(arguments)
        if repository is not None:
            self.arguments[:0] = ["--model-repository", str(getattr(repository, "path", repository))]
        for flag in ("--http-port", "--grpc-port", "--metrics-port"):
            if not any(argument.split("=")[0] == flag for argument in arguments):
                self.arguments += [flag, "0"]
        self.wait, self.environment, self.start_seconds = wait, environment or {}, start_seconds
        self.process: subprocess.Popen | None = None
        self.http = self.grpc = self.metrics_address = ""

    def __enter__(self) -> "HanokServer":
        return self.start()

    def __exit__(self, *_):
        self.kill()

    def start(self) -> "HanokServer":
        # A file and not a pipe: a server that logs a lot must not block on a test that does not read.
        self._log = tempfile.NamedTemporaryFile(prefix="hanok-test-", suffix=".log")
        self.process = subprocess.Popen(
            [str(binary()), "serve", *self.arguments],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            cwd=ROOT,
            env={**os.environ, **self.environment},
        )
        HanokServer.started.append(self)
        if self.wait:
            self._await_addresses()
        if self.wait in ("ready", "live"):
            self.await_true(lambda: self.get(f"/v2/health/{self.wait}").status == 200, f"{self.wait}", self.start_seconds)
        return self

    def _await_addresses(self):
        match = self.await_true(lambda: _PORTS.search(self.log()), "ports in the log", self.start_seconds)
        addresses = (address.replace("0.0.0.0", "127.0.0.1").rstrip(",") for address in match.groups())
        self.http, self.grpc, self.metrics_address = addresses

    def await_true(self, condition, what: str, seconds: float = 10):
        """Polls until `condition()` is true and returns its value; fails with the log when the time is over."""
        end = time.monotonic() + seconds
        while True:
            if self.process.poll() is not None:
                raise AssertionError(f"hanok ended with {self.process.returncode} while waiting for {what}\n{self.log()}")
            try:
                value = condition()
                if value:
                    return value
            except OSError:
                pass
            if time.monotonic() > end:
                raise AssertionError(f"{what}: not within {seconds} s\n{self.log()[-6000:]}")
            time.sleep(0.01)

    def await_requests(self, model: str, executing: int, queued: int = 0, seconds: float = 20):
        """Waits until so many requests of `model` are executed and so many wait in its queue, while no other request is here.

        A request is inside a moment before it is in the queue: it must be so at three looks in a row.
        """

        def is_so() -> bool:
            metrics = self.metrics()
            inside, waiting = metrics.value("hanok_in_flight_requests"), metrics.value("nv_inference_pending_request_count", model=model)
            return (inside, waiting) == (executing + queued, queued)

        self.await_true(lambda: all(is_so() for _ in range(3)), f"{executing} requests of {model} in execution and {queued} in its queue", seconds)

    @property
    def pid(self) -> int:
        return self.process.pid

    def log(self) -> str:
        return _COLOUR.sub("", Path(self._log.name).read_text(errors="replace"))

    def get(self, path: str, **options) -> Reply:
        return request(self.http, "GET", path, **options)

    def post(self, path: str, body=None, **options) -> Reply:
        return request(self.http, "POST", path, body, **options)

    def infer(self, model: str, inputs: dict, version: str = "", **members) -> Reply:
        """A JSON inference request; `inputs` maps a name to (datatype, shape, data)."""
        tensors = [{"name": name, "datatype": kind, "shape": shape, "data": data} for name, (kind, shape, data) in inputs.items()]
        at = f"/versions/{version}" if version else ""
        return self.post(f"/v2/models/{model}{at}/infer", {"inputs": tensors, **members})

    def statistics(self, model: str, version: str = "1") -> dict:
        entries = self.get(f"/v2/models/{model}/versions/{version}/stats").json()["model_stats"]
        assert len(entries) == 1, entries
        return entries[0]

    def metrics(self) -> Metrics:
        reply = request(self.metrics_address, "GET", "/metrics")
        assert reply.status == 200, reply
        return Metrics(reply.body.decode())

    def resident_bytes(self) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024

    def open_files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def signal(self, number: int = signal.SIGTERM):
        self.process.send_signal(number)

    def exit_code(self, seconds: float = 40) -> int:
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"hanok did not end within {seconds} s\n{self.log()[-6000:]}") from None

    def kill(self):
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self in HanokServer.started:
            HanokServer.started.remove(self)
