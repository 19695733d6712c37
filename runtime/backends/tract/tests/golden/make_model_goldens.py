"""Makes the small models of this folder's `models/`: what the example models leave untested.

    python -m venv venv && venv/bin/pip install numpy onnx onnxruntime
    venv/bin/python make_model_goldens.py

`dense`: batches that pay. `variable`: a dimension that the request chooses. `variable_image`: the same with a
convolution. `recurrent`: operators with a memory, which must not outlive a request. `element_types`: one identity per element type. `shape`: an output that is a dimension.
`reshaped`: dimensions that clients see otherwise. `category`: texts to numbers and back. `zipmap` (in `refused/`): an operator that tract
lacks. Expected outputs are ONNX Runtime's.
"""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent / "models"
NAMES = {
    TensorProto.BOOL: "BOOL", TensorProto.UINT8: "UINT8", TensorProto.UINT16: "UINT16", TensorProto.UINT32: "UINT32",
    TensorProto.UINT64: "UINT64", TensorProto.INT8: "INT8", TensorProto.INT16: "INT16", TensorProto.INT32: "INT32",
    TensorProto.INT64: "INT64", TensorProto.FLOAT16: "FP16", TensorProto.FLOAT: "FP32", TensorProto.DOUBLE: "FP64",
    TensorProto.STRING: "BYTES",
}


def value(name, kind, *shape):
    return helper.make_tensor_value_info(name, kind, list(shape))


def tensor(info, array):
    kind = NAMES[info.type.tensor_type.elem_type]
    data = [one.item() if isinstance(one, np.generic) else one for one in array.ravel()]
    return {"name": info.name, "datatype": kind, "shape": list(array.shape), "data": data}


def config_tensor(info, batches, client_dims):
    dims = client_dims.get(info.name)
    own = [dim.dim_value if dim.HasField("dim_value") else -1 for dim in info.type.tensor_type.shape.dim][int(batches):]
    kind = NAMES[info.type.tensor_type.elem_type].replace("BYTES", "STRING")
    reshape = f" reshape {{ shape: {own} }}" if dims is not None else ""
    return f'  {{ name: "{info.name}" data_type: TYPE_{kind} dims: {own if dims is None else dims}{reshape} }}'


def write(name, nodes, inputs, outputs, requests, constants=(), max_batch_size=8, client_dims=None, within=1e-5, folder=FOLDER):
    """Writes model, configuration and golden samples; `client_dims` are the dimensions that clients see, by tensor."""
    client_dims = client_dims or {}
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(helper.make_graph(nodes, name, inputs, outputs, list(constants)), opset_imports=opsets, ir_version=8)
    (folder / name / "1").mkdir(parents=True, exist_ok=True)
    (folder / name / "1" / "model.onnx").write_bytes(made.SerializeToString(deterministic=True))
    tensors = [f"{key} [\n" + ",\n".join(config_tensor(info, max_batch_size > 0, client_dims) for info in infos) + "\n]\n"
               for key, infos in (("input", inputs), ("output", outputs)) if infos[0].type.HasField("tensor_type")]
    text = f'name: "{name}"\nbackend: "tract"\nmax_batch_size: {max_batch_size}\n' + "".join(tensors)
    (folder / name / "config.pbtxt").write_text(text)
    if requests is None:
        return
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])

    def seen(info, array):
        return array.reshape(array.shape[:1] + tuple(client_dims[info.name])) if info.name in client_dims else array

    cases = []
    for request in requests:
        answers = session.run(None, request)
        cases.append({
            "version": "1",
            "request": {"inputs": [tensor(info, seen(info, request[info.name])) for info in inputs]},
            "response": {"outputs": [tensor(info, seen(info, np.asarray(answer))) for info, answer in zip(outputs, answers)]},
            "tolerance": {"absolute": within, "relative": within},
        })
    lines = ",\n".join(json.dumps(case, allow_nan=False) for case in cases)
    (folder / name / "golden.json").write_text(f"[\n{lines}\n]\n")


def main():
    rng = np.random.default_rng(7)
    real = lambda *shape: rng.normal(size=shape).astype(np.float32)
    F = TensorProto.FLOAT

    weights = [numpy_helper.from_array(array, name) for name, array in
               (("w1", real(16, 48)), ("b1", real(48)), ("w2", real(48, 5)), ("b2", real(5)))]
    nodes = [helper.make_node("Gemm", ["x", "w1", "b1"], ["h"]), helper.make_node("Relu", ["h"], ["r"]),
             helper.make_node("Gemm", ["r", "w2", "b2"], ["s"]), helper.make_node("Softmax", ["s"], ["y"])]
    write("dense", nodes, [value("x", F, "N", 16)], [value("y", F, "N", 5)],
          [{"x": real(rows, 16)} for rows in (1, 2, 3, 5, 7, 11, 32)], weights, 32)

    nodes = [helper.make_node("Mul", ["x", "two"], ["d"]), helper.make_node("ReduceMean", ["d"], ["m"], axes=[1], keepdims=1),
             helper.make_node("Sub", ["d", "m"], ["y"])]
    two = [numpy_helper.from_array(np.array([2], np.float32), "two")]
    write("variable", nodes, [value("x", F, "N", "length")], [value("y", F, "N", "length"), value("m", F, "N", 1)],
          [{"x": real(rows, length)} for rows, length in ((1, 3), (2, 3), (5, 7), (1, 1), (8, 2))], two)

    nodes = [helper.make_node("Conv", ["x", "k"], ["c"], pads=[1, 1, 1, 1]), helper.make_node("Relu", ["c"], ["r"]),
             helper.make_node("GlobalAveragePool", ["r"], ["p"]), helper.make_node("Flatten", ["p"], ["y"])]
    kernel = [numpy_helper.from_array(real(3, 2, 3, 3), "k")]
    write("variable_image", nodes, [value("x", F, "N", 2, "H", "W")], [value("y", F, "N", 3)],
          [{"x": real(rows, 2, height, width)} for rows, height, width in
           [(1, 4, 4), (3, 4, 4), (2, 5, 9)] + [(1, 3, 3 + extra) for extra in range(20)] + [(2, 4, 4)]], kernel)

    weights = [numpy_helper.from_array(array, name) for name, array in
               (("lw", real(1, 20, 3)), ("lr", real(1, 20, 5)), ("gw", real(1, 12, 5)), ("gr", real(1, 12, 4)))]
    nodes = [helper.make_node("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
             helper.make_node("LSTM", ["t", "lw", "lr"], ["l"], hidden_size=5),
             helper.make_node("Squeeze", ["l", "one"], ["s"]),
             helper.make_node("GRU", ["s", "gw", "gr"], ["", "h"], hidden_size=4),
             helper.make_node("Squeeze", ["h", "zero"], ["y"])]
    axes = [numpy_helper.from_array(np.array([axis], np.int64), name) for name, axis in (("one", 1), ("zero", 0))]
    write("recurrent", nodes, [value("x", F, "N", 6, 3)], [value("y", F, "N", 4)],
          [{"x": real(rows, 6, 3)} for rows in (1, 2, 3, 8)], weights + axes)

    samples = {
        TensorProto.BOOL: np.array([True, False]), TensorProto.UINT8: np.array([0, 255], np.uint8),
        TensorProto.UINT16: np.array([1, 65535], np.uint16), TensorProto.UINT32: np.array([1, 2**32 - 1], np.uint32),
        TensorProto.UINT64: np.array([1, 2**63], np.uint64), TensorProto.INT8: np.array([-128, 127], np.int8),
        TensorProto.INT16: np.array([-2, 32767], np.int16), TensorProto.INT32: np.array([-2, 2**31 - 1], np.int32),
        TensorProto.INT64: np.array([-2, 2**62], np.int64), TensorProto.FLOAT16: np.array([0.5, -2], np.float16),
        TensorProto.FLOAT: np.array([0.5, -2], np.float32), TensorProto.DOUBLE: np.array([0.1, -2], np.float64),
        TensorProto.STRING: np.array(["", "한옥"], object),
    }
    infos = [(value(f"in_{NAMES[kind]}", kind, "N", 2), value(f"out_{NAMES[kind]}", kind, "N", 2)) for kind in samples]
    nodes = [helper.make_node("Identity", [i.name], [o.name]) for i, o in infos]
    requests = [{i.name: np.stack([array, array[::-1], array])[:rows] for (i, _), array in zip(infos, samples.values())} for rows in (1, 2, 3)]
    write("element_types", nodes, [i for i, _ in infos], [o for _, o in infos], requests, within=0.0)

    write("shape", [helper.make_node("Shape", ["x"], ["y"])], [value("x", F, "A", "B")],
          [value("y", TensorProto.INT64, 2)], [{"x": real(3, 2)}, {"x": real(5, 1)}], max_batch_size=0)

    write("reshaped", [helper.make_node("ReduceMax", ["x"], ["y"], axes=[1, 2], keepdims=0)], [value("x", F, "N", 2, 3)], [value("y", F, "N")],
          [{"x": real(rows, 2, 3)} for rows in (1, 3)], client_dims={"x": [6], "y": [1]})

    nodes = [helper.make_node("CategoryMapper", ["word"], ["number"], domain="ai.onnx.ml", default_int64=-7,
                              cats_strings=["red", "", "grün"], cats_int64s=[3, 1, 4]),
             helper.make_node("CategoryMapper", ["code"], ["name"], domain="ai.onnx.ml", default_string="nobody",
                              cats_strings=["red", "", "grün"], cats_int64s=[3, 1, 4])]
    words = np.array([["red", "blue"], ["", "grün"], ["RED", "red"]], object)
    codes = np.array([[3, 1], [4, 5], [-1, 3]], np.int64)
    write("category", nodes, [value("word", TensorProto.STRING, "N", 2), value("code", TensorProto.INT64, "N", 2)],
          [value("number", TensorProto.INT64, "N", 2), value("name", TensorProto.STRING, "N", 2)],
          [{"word": words[:rows], "code": codes[:rows]} for rows in (1, 2, 3)], within=0.0)

    nodes = [helper.make_node("Softmax", ["x"], ["p"]), helper.make_node("ZipMap", ["p"], ["z"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])]
    made = helper.make_model(helper.make_graph(nodes + [helper.make_node("Identity", ["z"], ["y"])], "zipmap", [value("x", F, "N", 2)], [value("y", F, "N", 2), value("p", F, "N", 2)]),
                             opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)], ir_version=8)
    refused = FOLDER.parent / "refused" / "zipmap" / "1"
    refused.mkdir(parents=True, exist_ok=True)
    (refused / "model.onnx").write_bytes(made.SerializeToString(deterministic=True))


if __name__ == "__main__":
    main()
