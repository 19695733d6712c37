"""Golden cases: requests in the V2 protocol's JSON form, with the answers that ONNX Runtime gives.

A file is a JSON list of `{"version", "request": {"inputs"}, "response": {"outputs"}, "tolerance": {"absolute",
"relative"}}`, one case a line. An output value `v` is right when |v - expected| <= absolute + relative * |expected|;
integers and strings must be equal. Shapes are those on the wire: where the graph has no dimension besides the batch (a
label [N], a scalar), Triton's configuration needs dims [1], so one of size 1 is added. Plain JSON has no NaN, so a case
with NaN goes into a file of its own (`golden_missing.json`), which needs a reader that accepts the bare word, as the
protocol's servers do.
"""

import json
from pathlib import Path

import numpy as np
import onnxruntime

DATA_TYPES = {
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(int64)": "INT64",
    "tensor(int32)": "INT32",
    "tensor(int8)": "INT8",
    "tensor(string)": "BYTES",
}
EXACT = {"absolute": 0.0, "relative": 0.0}


def case(
    session: onnxruntime.InferenceSession,
    inputs: dict[str, np.ndarray],
    tolerance: dict[str, float],
    version: str = "1",
    batched: bool = True,
) -> dict:
    """Runs `inputs` (name to array, batch dimension included) and returns the case.

    `batched` tells whether the model is served with a batch dimension (max_batch_size above 0).
    """
    rank = 2 if batched else 1
    types = {value.name: value.type for value in session.get_inputs()}
    answers = session.run(None, inputs)
    return {
        "version": version,
        "request": {"inputs": [_tensor(name, types[name], array, rank) for name, array in inputs.items()]},
        "response": {
            "outputs": [_tensor(out.name, out.type, array, rank) for out, array in zip(session.get_outputs(), answers)]
        },
        "tolerance": tolerance,
    }


def write(path: Path, cases: list[dict], missing_values: bool = False) -> None:
    """Writes the cases; without `missing_values`, a NaN anywhere is an error."""
    lines = (json.dumps(one, allow_nan=missing_values, ensure_ascii=False) for one in cases)
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n", encoding="utf-8")


def _tensor(name: str, onnx_type: str, array: np.ndarray, least_rank: int) -> dict:
    array = np.asarray(array)
    if array.ndim < least_rank:
        array = array.reshape(*array.shape, 1)
    return {
        "name": name,
        "datatype": DATA_TYPES[onnx_type],
        "shape": list(array.shape),
        "data": [_plain(value) for value in array.ravel()],
    }


def _plain(value: object) -> object:
    """The JSON value; a float32 becomes the shortest decimal that reads back as the same float32."""
    if isinstance(value, np.float32):
        return float(str(value))
    return value.item() if isinstance(value, np.generic) else value
