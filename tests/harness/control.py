"""A server with its control plane: declared resources go in through `hanok apply`, as people do it."""

import json
import os
import re
import subprocess
from pathlib import Path

from .http import Reply, request
from .server import ROOT, HanokServer, binary

_ADMIN = re.compile(r"admin API at http://(\S+)")


class ControlledServer(HanokServer):
    """`state` is the file in which the control plane keeps what must survive; give the same one to start again."""

    def __init__(self, repository, state: Path, *arguments: str, **options):
        super().__init__(repository, "--admin-port", "0", "--state", str(state), *arguments, **options)
        self.admin = ""

    def start(self) -> "ControlledServer":
        super().start()
        self.admin = self.await_true(lambda: _ADMIN.search(self.log()), "the admin port in the log")[1].strip('"')
        return self

    def cli(self, *arguments: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess:
        """Runs `hanok ARGUMENTS` against this server's admin API."""
        done = subprocess.run(
            [str(binary()), *arguments],
            input=text,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=ROOT,
            env={**os.environ, "HANOK_ADMIN": f"http://{self.admin}"},
        )
        assert not check or done.returncode == 0, f"hanok {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done

    def apply(self, *resources: dict, flags: tuple[str, ...] = ()) -> dict:
        """Applies resources and gives the server's answer."""
        documents = "\n---\n".join(json.dumps(resource) for resource in resources)
        return json.loads(self.cli("apply", "-f", "-", "--json", *flags, text=documents).stdout)

    def administer(self, method: str, path: str, body=None, **options) -> Reply:
        return request(self.admin, method, path, body, **options)

    def arm_counts(self, model: str) -> dict[str, dict[str, int]]:
        """Requests by arm and outcome, from the metrics port."""
        counts: dict[str, dict[str, int]] = {}
        for labels, value in self.metrics().labelled("hanok_arm_requests_total"):
            if labels["model"] == model and value:
                counts.setdefault(labels["arm"], {})[labels["outcome"]] = int(value)
        return counts


def resource(kind: str, name: str, **spec) -> dict:
    return {"apiVersion": "hanok.dev/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def arm(name: str, weight: float, **more) -> dict:
    return {"name": name, "weight": weight, **more}
