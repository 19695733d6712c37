"""Logs models with MLflow's own client: python log_mlflow_models.py TRACKING_URI NAME ADDENDS OTHER_FLAVOUR BALLAST_BYTES WIDTH."""

import json
import sys

import mlflow
import numpy as np
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec
from onnx import TensorProto, helper, numpy_helper

tracking, name = sys.argv[1:3]
addends, other_flavour, ballast_bytes, width = (json.loads(text) for text in sys.argv[3:7])
mlflow.set_tracking_uri(tracking)


def adder(addend: int):
    tensor = [helper.make_tensor_value_info(which, TensorProto.FLOAT, ["rows", width]) for which in ("x", "y")]
    constant = numpy_helper.from_array(np.array([addend], dtype=np.float32), "addend")
    bytes_of_no_use = np.frombuffer(np.random.default_rng(addend).bytes(ballast_bytes), dtype=np.uint8)
    constants = [constant, numpy_helper.from_array(bytes_of_no_use, "ballast")][: 2 if ballast_bytes else 1]
    graph = helper.make_graph([helper.make_node("Add", ["x", "addend"], ["y"])], name, tensor[:1], tensor[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


class Doubles(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


signature = ModelSignature(*(Schema([TensorSpec(np.dtype("float32"), (-1, width), which)]) for which in ("x", "y")))
for addend in addends:
    with mlflow.start_run():
        mlflow.log_metric("auc", 0.9 + addend / 1000)
        mlflow.onnx.log_model(adder(addend), name="model", registered_model_name=name, signature=signature)
if other_flavour:
    with mlflow.start_run():
        mlflow.pyfunc.log_model(name="model", python_model=Doubles(), registered_model_name=name)
