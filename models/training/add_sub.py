"""Writes the four models that Triton's public example clients call; nothing is trained.

`simple` and `simple_int8` are ONNX graphs: OUTPUT0 = INPUT0 + INPUT1, OUTPUT1 = INPUT0 - INPUT1. `simple_identity` and
`simple_string` run on the built-in backend and have no file; here they get golden cases only, answered by ONNX Runtime
from graphs that say the same.

INT8 is computed in INT32 and cast back: ONNX Runtimes up to 1.20 at least have no INT8 addition on the CPU. A sum
beyond -128..127 wraps.
"""

from pathlib import Path

import numpy as np
import onnx

import golden
import onnx_file
import provenance
from onnx_file import TensorProto, helper, tensor

MODELS = Path(__file__).resolve().parent.parent
WIDTH = 16


def add_sub(name: str, data_type: int) -> onnx.ModelProto:
    """Sum and difference of two [N, 16] tensors, computed in INT32 whatever the data type."""
    nodes, terms = [], ["INPUT0", "INPUT1"]
    cast = data_type != TensorProto.INT32
    if cast:
        terms = ["left", "right"]
        for source, term in zip(("INPUT0", "INPUT1"), terms):
            nodes.append(helper.make_node("Cast", [source], [term], to=TensorProto.INT32))
    for operator, output in (("Add", "OUTPUT0"), ("Sub", "OUTPUT1")):
        result = operator.lower() if cast else output
        nodes.append(helper.make_node(operator, terms, [result]))
        if cast:
            nodes.append(helper.make_node("Cast", [result], [output], to=data_type))
    inputs = [tensor(one, data_type, "N", WIDTH) for one in ("INPUT0", "INPUT1")]
    outputs = [tensor(one, data_type, "N", WIDTH) for one in ("OUTPUT0", "OUTPUT1")]
    return onnx_file.model(name, nodes, inputs, outputs)


def identity() -> onnx.ModelProto:
    nodes = [helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])]
    ends = [[tensor(one, TensorProto.STRING, "N", "M")] for one in ("INPUT0", "OUTPUT0")]
    return onnx_file.model("simple_identity", nodes, *ends)


def counted(rows: int) -> dict[str, np.ndarray]:
    """The example clients' input, 0..15 and ones, and further rows that differ."""
    left = np.arange(rows * WIDTH).reshape(rows, WIDTH) % 64
    right = np.ones((rows, WIDTH), int) + 3 * np.arange(rows)[:, None]
    return {"INPUT0": left, "INPUT1": right}


def as_text(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: np.vectorize(str, otypes=[object])(values) for name, values in inputs.items()}


def as_type(inputs: dict[str, np.ndarray], data_type: type) -> dict[str, np.ndarray]:
    return {name: values.astype(data_type) for name, values in inputs.items()}


def write_golden(name: str, made: onnx.ModelProto, requests: list[dict[str, np.ndarray]]) -> None:
    session = onnx_file.session(made)
    golden.write(MODELS / name / "golden.json", [golden.case(session, one, golden.EXACT) for one in requests])


def write_note(name: str, body: str) -> None:
    rights = "No data and no training: the model is a definition, our own, Apache-2.0 like the rest of this repository."
    score = "Held-out score: does not apply; answers are exact and `golden.json` has them, computed by ONNX Runtime."
    provenance.write(MODELS / name, "add_sub.py", f"{body}\n\n{rights}\n{score}", ("numpy", "onnx", "onnxruntime"))


def main() -> None:
    public = "Names, data types and\nshapes are those of the model of this name in Triton's public example repository."
    for name, data_type, array_type in (
        ("simple", TensorProto.INT32, np.int32),
        ("simple_int8", TensorProto.INT8, np.int8),
    ):
        made = add_sub(name, data_type)
        onnx_file.save(made, MODELS / name / "1" / "model.onnx")
        limits = np.iinfo(array_type)
        edges = {
            "INPUT0": np.resize([limits.max, limits.min, 0, -1], (1, WIDTH)),
            "INPUT1": np.resize([0, 0, limits.max, limits.min + 1], (1, WIDTH)),
        }
        # -1 + (min + 1) = min and -1 - (min + 1) = max - 1: the widest results that do not wrap
        write_golden(name, made, [as_type(one, array_type) for one in (counted(1), counted(3), edges)])
        write_note(name, f"OUTPUT0 = INPUT0 + INPUT1 and OUTPUT1 = INPUT0 - INPUT1, element by element. {public}")
    texts = [["hello", "", "naïve 北京", "a,\"b\"\\c\n"], [["0"] * 16]]
    write_golden("simple_identity", identity(), [{"INPUT0": np.array(one, object, ndmin=2)} for one in texts])
    write_note("simple_identity", f"OUTPUT0 = INPUT0, byte for byte. {public}")
    write_golden("simple_string", add_sub("simple_string", TensorProto.STRING), [as_text(counted(n)) for n in (1, 3)])
    write_note("simple_string", f"Sum and difference of decimal integers that are written as text. {public}")
    print("simple, simple_int8, simple_identity, simple_string: written")


if __name__ == "__main__":
    main()
