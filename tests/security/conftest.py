"""The one server that all cases attack, and the process that watches it meanwhile."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from harness import HanokServer, ModelRepository
from security.attack import Target

SEED = int(os.environ.get("HANOK_TEST_SEED") or random.SystemRandom().randrange(10**6))


def pytest_report_header():
    return f"attack table: HANOK_TEST_SEED={SEED}"


class Watcher:
    def __init__(self, address: str):
        folder = Path(__file__).resolve().parents[1]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "security.probe", address], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def figures(self) -> dict:
        """What was seen since the last call."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        self.process.stdin.close()
        self.process.wait(20)


@pytest.fixture(scope="session")
def target(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attack")
    repository = ModelRepository(folder / "outer" / "models")
    for kind in ("FP32", "FP64", "UINT8", "BYTES"):
        repository.add(f"identity_{kind.lower()}", inputs=[("INPUT0", kind, [-1])])
    repository.add("fixed", inputs=[("INPUT0", "FP32", [4])])
    repository.add("probed").add("model..1").add("..my_model")
    (folder / "outer" / "secret").write_bytes(b"root: secret weights")
    arguments = ["--model-control-mode=explicit", "--load-model=*", "--head-timeout-secs=2", "--body-timeout-secs=2", "--write-timeout-secs=3"]
    with HanokServer(repository, *arguments, "--http-header-forward-pattern=triton_.*") as server:
        server.outside = folder
        yield Target(server.http, server.grpc, server)


@pytest.fixture(scope="session")
def watcher(target):
    watcher = Watcher(target.http)
    yield watcher
    watcher.close()
