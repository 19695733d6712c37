"""`hanok registry` and `hanok lock` in a folder of one test."""

import json
import os
import subprocess
from pathlib import Path

from harness.server import binary


class RegistryCommand:
    """Runs commands as `actor` on the registry in `folder`/registry, with `folder` as working directory."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.registry = self.folder / "registry"

    def run(self, *arguments, actor: str = "ann", check: bool = True, **variables: str) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [str(binary()), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            cwd=self.folder,
            env={**os.environ, "HANOK_REGISTRY": str(self.registry), "HANOK_ACTOR": actor, **variables},
        )
        assert not check or done.returncode == 0, f"hanok {' '.join(map(str, arguments))}: {done.stdout}{done.stderr}"
        return done

    def text(self, *arguments, **options) -> str:
        return self.run("registry", *arguments, **options).stdout

    def json(self, *arguments, **options):
        return json.loads(self.run("registry", "--format", "json", *arguments, **options).stdout)

    def refused(self, *arguments, code: str, **options) -> str:
        """The error's text; the command must end with status 1 and this code."""
        done = self.run("registry", *arguments, check=False, **options)
        assert done.returncode == 1 and done.stdout == "", done
        assert done.stderr.startswith("error: ") and done.stderr.endswith(f" ({code})\n"), done.stderr
        return done.stderr[len("error: ") : -len(f" ({code})\n")]

    def write(self, path: str, content: str | bytes) -> Path:
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content.encode() if isinstance(content, str) else content)
        return target
