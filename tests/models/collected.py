"""One collected model: its place in the repository folder, its file, its configuration and its golden cases."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "models" / "training"))

import golden  # noqa: E402  (found through the line above)
import onnx_file  # noqa: E402


class Missing(Exception):
    """What a model is made from is not installed; the text says what."""


@dataclass(frozen=True)
class Place:
    """The folder of one model, `repository`/`name`, with one version."""

    repository: Path
    name: str

    def fresh(self) -> Path:
        """Empties the model's folder and returns where its file goes."""
        folder = self.repository / self.name
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "1").mkdir(parents=True)
        return folder / "1" / "model.onnx"

    def finish(self, config: str | None, inputs: list[dict], tolerance: dict, batched: bool = True) -> None:
        """Writes config.pbtxt (none when `config` is None: completion is under test) and golden.json."""
        folder = self.repository / self.name
        if config is not None:
            (folder / "config.pbtxt").write_text(config)
        session = onnx_file.session(folder / "1" / "model.onnx")
        cases = [golden.case(session, one, tolerance, batched=batched) for one in inputs]
        golden.write(folder / "golden.json", cases)
