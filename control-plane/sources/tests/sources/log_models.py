"""Logs what the MLflow tests pull, with MLflow's own client: python log_models.py TRACKING_URI MODELS_FOLDER.

Registered afterwards: `simple` (1 with a signature, 2 without), `wide` (external data in a file of its own, a folder
below, a name with a space), `code` (a Python function, no ONNX), `plain` (artifacts that are no model), `broken`
(an `MLmodel` that names a missing file).
"""

import json
import sys
from pathlib import Path

import mlflow
import numpy as np
import onnx
from mlflow import MlflowClient
from mlflow.models import ModelSignature
from mlflow.types import Schema, TensorSpec

tracking, models = sys.argv[1], Path(sys.argv[2])
mlflow.set_tracking_uri(tracking)
client = MlflowClient()
simple = onnx.load(models / "simple" / "1" / "model.onnx")
digits = onnx.load(models / "digits" / "1" / "model.onnx")


def tensors(*names):
    return Schema([TensorSpec(np.dtype("int32"), (-1, 16), name) for name in names])


with mlflow.start_run() as run:
    mlflow.log_metric("auc", 0.91)
    mlflow.log_param("trees", 100)
    mlflow.set_tag("mlflow.source.git.commit", "a" * 40)
    mlflow.set_tag("mlflow.source.git.repoURL", "https://example.com/training.git")
    signature = ModelSignature(tensors("INPUT0", "INPUT1"), tensors("OUTPUT0", "OUTPUT1"))
    mlflow.onnx.log_model(simple, name="model", registered_model_name="simple", signature=signature)
client.set_registered_model_alias("simple", "champion", "1")
client.set_model_version_tag("simple", "1", "validation_status", "approved")

with mlflow.start_run():
    mlflow.onnx.log_model(digits, name="model", registered_model_name="simple")

with mlflow.start_run() as run:
    mlflow.log_text("no model", "plain/readme.txt")
    client.create_registered_model("plain")
    client.create_model_version("plain", mlflow.get_artifact_uri("plain"), run.info.run_id)

    mlflow.log_text("flavors:\n  onnx:\n    data: absent.onnx\n", "broken/MLmodel")
    client.create_registered_model("broken")
    client.create_model_version("broken", mlflow.get_artifact_uri("broken"), run.info.run_id)

    mlflow.log_artifact(str(models / "simple" / "1" / "model.onnx"), "wide/net")
    mlflow.log_text("weights " * 4096, "wide/net/weights 1.bin")
    mlflow.log_text("flavors:\n  onnx:\n    data: net/model.onnx\n", "wide/MLmodel")
    client.create_registered_model("wide")
    client.create_model_version("wide", mlflow.get_artifact_uri("wide"), run.info.run_id)


class Doubles(mlflow.pyfunc.PythonModel):
    def predict(self, context, model_input, params=None):
        return model_input


with mlflow.start_run():
    mlflow.pyfunc.log_model(name="model", python_model=Doubles(), registered_model_name="code")
client.transition_model_version_stage("simple", "1", "Production")
client.create_registered_model("empty")
print(json.dumps({"registered": sorted(model.name for model in client.search_registered_models())}))
