"""Figures of pulls and watches against a real MLflow server: `python -m registry.pull_figures alias|kills` in tests/.

Prints one JSON document. `benches/run registry` asks it; the tests of the same things are test_pull.py and test_watch.py.
"""

import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from end_to_end.test_watch import addend, ask, watching
from harness.load import in_background
from harness.mlflow_server import MlflowServer
from harness.server import binary

MOVES = 10
KILLS = 200
SEED = 20_260_501
BALLAST_BYTES = 4 << 20


def alias() -> dict:
    """Seconds from an alias that moves to the first answer of the version that it names then, with the watch's defaults."""
    with MlflowServer() as mlflow, tempfile.TemporaryDirectory() as folder:
        versions = list(range(1, MOVES + 2))
        mlflow.log_models("adder", versions)
        mlflow.set_alias("adder", "champion", 1)
        moves = []
        with watching(mlflow, Path(folder)) as server:
            server.await_true(lambda: ask(server).status == 200 and addend(ask(server)) == 1.0, "version 1", 60)
            with in_background(1, lambda: ask(server)) as load:
                for version in versions[1:]:
                    begun = time.monotonic()
                    mlflow.set_alias("adder", "champion", version)
                    server.await_true(lambda: any(addend(one) == version for one in load.outcomes[-200:]), "a canary request", 30)
                    moves.append(time.monotonic() - begun)
            failures = len(load.failures())
    return {"moves": moves, "failures": failures, "requests": len(load.outcomes)}


class Pulls:
    """Pulls of one MLflow version under a name of its own each, into one registry and one model repository."""

    def __init__(self, mlflow: MlflowServer, folder: Path):
        self.registry, self.models = folder / "registry", folder / "models"
        self.environment = {**os.environ, "MLFLOW_TRACKING_URI": mlflow.url}

    def start(self, name: str) -> subprocess.Popen:
        arguments = ["mlflow://adder/1", name, "--registry", self.registry, "--model-repository", self.models]
        command = [str(binary()), "pull", *map(str, arguments), "--allow-private", "127.0.0.1"]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=self.environment)

    def registered(self, *arguments: str) -> dict:
        command = [str(binary()), "registry", *arguments, "--registry", str(self.registry), "--format", "json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        return {"code": done.returncode, **(json.loads(done.stdout) if done.stdout.strip() else {}), "said": done.stderr}

    def laid_out(self, name: str) -> dict[str, str]:
        """Digests of the files of version 1 in the model repository, none where there is no such folder."""
        folder = self.models / name / "1"
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


def kills() -> dict:
    """Kills pulls at moments spread over their whole duration, and looks at what is left each time."""
    moments = random.Random(SEED)
    with MlflowServer() as mlflow, tempfile.TemporaryDirectory() as folder:
        mlflow.log_models("adder", [1], ballast_bytes=BALLAST_BYTES)
        pulls = Pulls(mlflow, Path(folder))
        whole = []
        for number in range(5):
            begun = time.monotonic()
            process = pulls.start(f"whole_{number}")
            assert process.wait(60) == 0, process.stderr.read()
            whole.append(time.monotonic() - begun)
        expected = pulls.laid_out("whole_0")
        assert expected, "a pull lays files out"
        half, lost, at_work, acknowledged, not_finished = 0, 0, 0, [], 0
        for number in range(KILLS):
            name = f"killed_{number}"
            process = pulls.start(name)
            try:
                process.wait(moments.uniform(0, 1.2 * sorted(whole)[2]))
            except subprocess.TimeoutExpired:
                process.kill()
                at_work += 1
            process.communicate()
            if process.returncode == 0:
                acknowledged.append(name)
            half += pulls.laid_out(name) not in ({}, expected)
            half += pulls.registered("verify")["code"] != 0
            # The next attempt brings it.
            if number % 10 == 0:
                again = pulls.start(name)
                again.communicate()
                not_finished += again.returncode != 0 or pulls.laid_out(name) != expected
                acknowledged.append(name)
        for name in acknowledged:
            lost += pulls.registered("show", name)["code"] != 0 or pulls.laid_out(name) != expected
        assert pulls.registered("gc")["code"] == 0
        strays = [path for place in ("staging",) for path in (pulls.registry / place).iterdir()]
    return {
        "kills": KILLS, "at_work": at_work, "half": half + len(strays), "lost": lost + not_finished,
        "acknowledged": len(acknowledged), "pull_seconds": sorted(whole)[2],
    }  # fmt: skip


if __name__ == "__main__":
    print(json.dumps({"alias": alias, "kills": kills}[sys.argv[1]]()))
