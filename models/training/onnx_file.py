"""Writing an ONNX graph to a file that both ONNX engines load, byte for byte the same on every run.

Opset 17, `ai.onnx.ml` 3 and IR 8 are old enough for every engine in use and new enough for all operators needed here.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

OPSET, ML_OPSET, IR_VERSION = 17, 3, 8


def constant(name: str, values: np.ndarray) -> onnx.TensorProto:
    """A weight or another constant of the graph."""
    return numpy_helper.from_array(np.ascontiguousarray(values), name)


def values(stored: onnx.TensorProto) -> np.ndarray:
    """The numbers of a constant."""
    return numpy_helper.to_array(stored)


def tensor(name: str, data_type: int, *shape: int | str) -> onnx.ValueInfoProto:
    """A graph input or output; a text in `shape` is a dimension that varies, `"N"` for the batch."""
    return helper.make_tensor_value_info(name, data_type, list(shape))


def model(name: str, nodes: list, inputs: list, outputs: list, constants: list = ()) -> onnx.ModelProto:
    """A checked model; `ai.onnx.ml` is imported only when a node needs it."""
    opsets = [helper.make_opsetid("", OPSET)]
    if any(node.domain == "ai.onnx.ml" for node in nodes):
        opsets.append(helper.make_opsetid("ai.onnx.ml", ML_OPSET))
    graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
    made = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="hanok-training")
    onnx.checker.check_model(made, full_check=True)
    return made


def save(made: onnx.ModelProto, path: Path) -> int:
    """Writes the model and returns its size in bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(made.SerializeToString(deterministic=True))
    return path.stat().st_size


def session(source: Path | onnx.ModelProto) -> onnxruntime.InferenceSession:
    """ONNX Runtime on the CPU with one thread, warnings off: the reference for every expected output."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    content = source.SerializeToString() if isinstance(source, onnx.ModelProto) else str(source)
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

