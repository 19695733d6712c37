"""What every Python peer serves: the models of a repository, each one ONNX Runtime session with one thread.

Not a server: `serve.py` of each peer is. The invariant: no peer executes a model differently from another.
"""

import argparse
from pathlib import Path

import onnxruntime

V2_NAMES = {"tensor(float)": "FP32", "tensor(int64)": "INT64"}


class OnnxModel:
    """One model; `run` takes and gives arrays with a batch dimension."""

    def __init__(self, folder: Path):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(folder / "1" / "model.onnx", options, ["CPUExecutionProvider"])
        self.name = folder.name
        self.inputs = [tensor(value) for value in self.session.get_inputs()]
        self.outputs = [tensor(value) for value in self.session.get_outputs()]
        self.output_names = [output["name"] for output in self.outputs]

    def run(self, rows):
        return self.session.run(self.output_names, {self.inputs[0]["name"]: rows})

    def metadata(self) -> dict:
        return {"name": self.name, "versions": ["1"], "platform": "onnx", "inputs": self.inputs, "outputs": self.outputs}


def tensor(value) -> dict:
    """The v2 protocol's description; an open dimension is -1."""
    shape = [size if isinstance(size, int) else -1 for size in value.shape]
    return {"name": value.name, "datatype": V2_NAMES[value.type], "shape": shape}


def arguments() -> argparse.Namespace:
    """What `benches/run peers` gives every peer."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", type=Path, required=True, help="the model repository")
    parser.add_argument("--http-port", type=int, required=True)
    parser.add_argument("--grpc-port", type=int, required=True)
    return parser.parse_args()


def folders(repository: Path) -> list[Path]:
    """Each model's folder."""
    return sorted(path for path in repository.iterdir() if (path / "1" / "model.onnx").is_file())
