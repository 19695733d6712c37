"""Builds a model repository for tests from what installed Python packages contain; nothing is downloaded.

usage: collect.py FOLDER [--only NAME ...] [--all]

Writes FOLDER/<name>/1/model.onnx, golden.json and, for some, config.pbtxt; a model's folder is made anew, others stay.
A model whose package is missing is left out and named, as is the reason; with --all that ends in exit status 1.
`requirements.txt` beside this file pins what all of them need.
"""

import argparse
import sys
import time
from pathlib import Path

try:
    import numpy as np

    import image_networks
    import packaged_models
    import tree_models
    from collected import Missing, Place, golden, onnx_file
except ModuleNotFoundError as missing:
    print(f"SKIPPED every model: Python module `{missing.name}` is not installed", file=sys.stderr)
    sys.exit(1 if "--all" in sys.argv else 0)

IDENTITY_CONFIG = """backend: "onnxruntime"
max_batch_size: 64
input [
  {
    name: "INPUT0"
    data_type: TYPE_FP32
    dims: [ 16 ]
  }
]
output [
  {
    name: "OUTPUT0"
    data_type: TYPE_FP32
    dims: [ 16 ]
  }
]
dynamic_batching { }
"""


def identity(place: Place) -> None:
    """[N, 16] float32 -> the same, through an ONNX engine: a request's cost without a model's."""
    ends = [[onnx_file.tensor(name, onnx_file.TensorProto.FLOAT, "N", 16)] for name in ("INPUT0", "OUTPUT0")]
    nodes = [onnx_file.helper.make_node("Identity", ["INPUT0"], ["OUTPUT0"])]
    onnx_file.save(onnx_file.model("identity", nodes, *ends), place.fresh())
    rows = np.arange(48, dtype=np.float32).reshape(3, 16) / 4
    place.finish(IDENTITY_CONFIG, [{"INPUT0": rows[:1]}, {"INPUT0": rows}], golden.EXACT)


MODELS = {"identity": identity, **tree_models.MODELS, **image_networks.MODELS, **packaged_models.MODELS}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="model repository to write into; made when missing")
    parser.add_argument("--only", nargs="+", choices=MODELS, metavar="NAME", help=f"some of: {', '.join(MODELS)}")
    parser.add_argument("--all", action="store_true", help="fail when any model has to be left out")
    chosen = parser.parse_args()
    left_out = []
    for name in chosen.only or MODELS:
        started = time.monotonic()
        try:
            MODELS[name](Place(chosen.folder, name))
        except Missing as reason:
            left_out.append(name)
            print(f"SKIPPED {name}: {reason}", file=sys.stderr, flush=True)
            continue
        size = (chosen.folder / name / "1" / "model.onnx").stat().st_size
        print(f"{name}: {size:,} bytes, {time.monotonic() - started:.1f} s", flush=True)
    if left_out:
        print(f"SKIPPED {len(left_out)} of {len(chosen.only or MODELS)}: {', '.join(left_out)}", file=sys.stderr)
    return 1 if left_out and chosen.all else 0


if __name__ == "__main__":
    sys.exit(main())
