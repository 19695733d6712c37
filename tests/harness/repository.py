"""Model repositories made for one test: folders with a `config.pbtxt` for the `builtin` backend."""

import shutil
from pathlib import Path

from .server import ROOT

Tensor = tuple[str, str, list[int]]


def tensors(field: str, specs: list[Tensor], extra: dict[str, str] | None = None) -> str:
    extra = extra or {}
    return "".join(
        f'{field} {{ name: "{name}" data_type: TYPE_{"STRING" if kind == "BYTES" else kind} dims: {dims} {extra.get(name, "")} }}\n'
        for name, kind, dims in specs
    )


class ModelRepository:
    """`add` writes a model of the `builtin` backend, `copy` takes a folder over, `write` any file."""

    def __init__(self, path: Path):
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)

    def add(
        self,
        name: str,
        model: str = "identity",
        *,
        inputs: list[Tensor] | None = None,
        outputs: list[Tensor] | None = None,
        max_batch_size: int = 8,
        versions: tuple[int, ...] = (1,),
        parameters: dict[str, str] | None = None,
        config: str = "",
        output_extra: dict[str, str] | None = None,
        files: dict[str, str | bytes] | None = None,
    ) -> "ModelRepository":
        inputs = inputs if inputs is not None else [("INPUT0", "FP32", [-1])]
        outputs = outputs if outputs is not None else [(n.replace("INPUT", "OUTPUT"), kind, dims) for n, kind, dims in inputs]
        text = f'name: "{name}"\nbackend: "builtin"\nmax_batch_size: {max_batch_size}\n'
        text += tensors("input", inputs) + tensors("output", outputs, output_extra)
        for key, value in {"model": model, **(parameters or {})}.items():
            text += f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n'
        if "instance_group" not in config:
            text += "instance_group { kind: KIND_CPU count: 1 }\n"
        self.write(f"{name}/config.pbtxt", text + config + "\n")
        for version in versions:
            (self.path / name / str(version)).mkdir(exist_ok=True)
        for path, content in (files or {}).items():
            self.write(f"{name}/{path}", content)
        return self

    def copy(self, *names: str, source: Path = ROOT / "models") -> "ModelRepository":
        for name in names:
            shutil.copytree(source / name, self.path / name)
        return self

    def write(self, path: str, content: str | bytes) -> Path:
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        # Replaced whole, so that a server that polls never sees half a file.
        partial = target.with_name(target.name + ".partial")
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        partial.replace(target)
        return target

    def remove(self, name: str):
        shutil.rmtree(self.path / name)
