"""Tree ensembles as scikit-learn's users export them, one of each shape that the ONNX operators have.

`tabular`: boosting, two classes, LOGISTIC. `boosting_classifier`: boosting, ten classes, SOFTMAX.
`forest_classifier`: 100 trees, ten classes, votes as they are. `forest_regressor`: 100 trees, one target.
Classifiers answer `label` [N] and `probabilities` [N, classes].
"""

import numpy as np
from onnx import ModelProto
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor

from collected import Missing, Place, onnx_file

SEED = 5
TABULAR_CONFIG = """backend: "onnxruntime"
max_batch_size: 64
input [
  {
    name: "X"
    data_type: TYPE_FP32
    dims: [ 30 ]
  }
]
output [
  {
    # [N] in the graph; dims may not be empty, so each row's label travels as [ 1 ]
    name: "label"
    data_type: TYPE_INT64
    dims: [ 1 ]
    reshape { shape: [ ] }
  },
  {
    name: "probabilities"
    data_type: TYPE_FP32
    dims: [ 2 ]
  }
]
dynamic_batching { }
"""


def exported(model, rows: np.ndarray, **options) -> ModelProto:
    try:
        from skl2onnx import to_onnx
    except ImportError as error:
        raise Missing("Python package `skl2onnx` is not installed") from error
    return to_onnx(
        model, rows[:1], target_opset={"": onnx_file.OPSET, "ai.onnx.ml": onnx_file.ML_OPSET}, options=options or None
    )


def collect(place: Place, model, load, config: str | None, absolute: float = 1e-5) -> None:
    rows, answers = load(return_X_y=True)
    rows = rows.astype(np.float32)
    model.fit(rows, answers)
    options = {"zipmap": False} if hasattr(model, "classes_") else {}
    made = exported(model, rows, **options)
    onnx_file.save(made, place.fresh())
    batches = [{"X": rows[:1]}, {"X": rows[100:107]}]
    place.finish(config, batches, {"absolute": absolute, "relative": 1e-5})


MODELS = {
    "tabular": lambda place: collect(
        place, GradientBoostingClassifier(n_estimators=100, random_state=SEED), load_breast_cancer, TABULAR_CONFIG
    ),
    "boosting_classifier": lambda place: collect(
        place, GradientBoostingClassifier(n_estimators=20, random_state=SEED), load_digits, None
    ),
    "forest_classifier": lambda place: collect(
        place, RandomForestClassifier(n_estimators=100, random_state=SEED), load_digits, None
    ),
    "forest_regressor": lambda place: collect(
        place, RandomForestRegressor(n_estimators=100, random_state=SEED), load_diabetes, "max_batch_size: 128\n", 1e-3
    ),
}
