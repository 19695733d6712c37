"""A real MLflow tracking server with its registry, and models that MLflow's own client has logged there.

The interpreter with MLflow is `HANOK_SOURCES_PYTHON`, else `.venv-sources`, which `tests/run` fills.
"""

import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from .http import request
from .server import ROOT

_LOG_MODELS = Path(__file__).with_name("log_mlflow_models.py")


def interpreter() -> Path:
    """Skips the test where there is no MLflow."""
    python = Path(os.environ.get("HANOK_SOURCES_PYTHON") or ROOT / ".venv-sources" / "bin" / "python")
    if not python.exists():
        pytest.skip("no Python with MLflow: make .venv-sources, or set HANOK_SOURCES_PYTHON")
    return python


class MlflowServer:
    """`with MlflowServer() as mlflow:`; gone after the block, with everything that it held."""

    def __init__(self, **environment: str):
        self.python = interpreter()
        self.folder = tempfile.TemporaryDirectory(prefix="hanok-mlflow-")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{self.address}"
        self.environment = {**os.environ, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **environment}
        # MLflow starts its server by name.
        self.environment["PATH"] = f"{self.python.parent}:{self.environment['PATH']}"

    def __enter__(self) -> "MlflowServer":
        host, port = self.address.split(":")
        command = [self.python, "-m", "mlflow", "server", "--host", host, "--port", port, "--workers", "1"]
        command += ["--backend-store-uri", f"sqlite:///{self.folder.name}/mlflow.db"]
        command += ["--artifacts-destination", f"{self.folder.name}/artifacts"]
        self.log = open(f"{self.folder.name}/log", "wb")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=self.environment, start_new_session=True
        )
        end = time.monotonic() + 240
        while not self._answers():
            text = Path(self.log.name).read_text(errors="replace")
            assert self.process.poll() is None and time.monotonic() < end, f"MLflow did not come up:\n{text[-4000:]}"
            time.sleep(0.05)
        return self

    def _answers(self) -> bool:
        try:
            return request(self.address, "GET", "/health").status == 200
        except OSError:
            return False

    def __exit__(self, *_):
        self.kill()
        self.log.close()
        self.folder.cleanup()

    def kill(self):
        if self.process.poll() is None:
            # Its workers are in the same group, which is its own.
            os.killpg(self.process.pid, 9)
            self.process.wait(10)

    def log_models(self, name: str, addends: list[int], other_flavour: bool = False, ballast_bytes: int = 0, width: int = 4):
        """Registers a version for each number: an ONNX model that adds it to its input; then one of another flavour."""
        arguments = [self.url, name, *map(json.dumps, (addends, other_flavour, ballast_bytes, width))]
        done = subprocess.run(
            # Without the script's own folder on the path, where modules have names that packages have, too.
            [self.python, "-P", _LOG_MODELS, *arguments], env=self.environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def files(self) -> set[Path]:
        """Model files of everything that was logged."""
        return set(Path(self.folder.name, "artifacts").rglob("model.onnx"))

    def call(self, method: str, path: str, body: dict):
        headers = {"content-type": "application/json"}
        reply = request(self.address, method, f"/api/2.0/mlflow/{path}", body, headers=headers)
        assert reply.status == 200, reply
        return reply.json()

    def set_alias(self, name: str, alias: str, version: int):
        self.call("POST", "registered-models/alias", {"name": name, "alias": alias, "version": str(version)})
