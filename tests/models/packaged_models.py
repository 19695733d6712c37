"""Models that Python packages bring: text detection, angle and recognition, voice activity, file types.

Their ONNX files are copied as they are. Most get no config.pbtxt or next to none, so that completion from the graph has
real graphs to work on. Packages are found without importing them: their own dependencies need not be there.

Licences: rapidocr-onnxruntime Apache-2.0, silero-vad MIT, magika Apache-2.0. Nothing of them is committed.
"""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

from collected import Missing, Place, onnx_file

CLOSE = {"absolute": 1e-4, "relative": 1e-3}  # what two engines' order of sums makes of deep networks
BATCH_ONLY = "max_batch_size: 8\n"
VOICE_RATE, VOICE_SAMPLES, VOICE_CONTEXT = 16_000, 512, 64


def packaged_file(package: str, module: str, pattern: str) -> Path:
    """The newest file in an installed package that matches; `Missing` names the package otherwise."""
    spec = importlib.util.find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise Missing(f"Python package `{package}` is not installed")
    found = sorted(Path(spec.submodule_search_locations[0]).glob(pattern))
    if not found:
        raise Missing(f"this version of `{package}` has no file {pattern}")
    return found[-1]


def copied(place: Place, source: Path) -> None:
    target = place.fresh()
    shutil.copyfile(source, target)


def written_digits(height: int, width: int, rows: int, first: int) -> np.ndarray:
    """[rows, 3, height, width] in -1..1: dark handwritten digits, four times enlarged, on white."""
    page = np.ones((rows, height, width), np.float32)
    images = np.kron(load_digits().images[first:], np.ones((1, 4, 4)))
    side, gap = images.shape[1], 8
    top = (height - side) // 2
    for row in range(rows):
        for place, left in enumerate(range(gap, width - side, side + gap)):
            page[row, top : top + side, left : left + side] = 1 - images[row * 16 + place] / 8
    return np.repeat(page[:, None], 3, axis=1)


def text_detection(place: Place) -> None:
    """Any page whose sides are multiples of 32 -> where text is, a value per pixel. No config.pbtxt at all."""
    copied(place, packaged_file("rapidocr-onnxruntime", "rapidocr_onnxruntime", "models/*det*.onnx"))
    place.finish(None, [{"x": written_digits(96, 160, 1, 0)}, {"x": written_digits(64, 96, 2, 40)}], CLOSE)


def text_angle(place: Place) -> None:
    """A line of text, 48 high -> upright or upside down. Only max_batch_size is given."""
    copied(place, packaged_file("rapidocr-onnxruntime", "rapidocr_onnxruntime", "models/*cls*.onnx"))
    line = written_digits(48, 192, 1, 0)
    place.finish(BATCH_ONLY, [{"x": line}, {"x": np.concatenate([line, line[:, :, ::-1, ::-1]])}], CLOSE)


def text_recognition(place: Place) -> None:
    """A line of text, 48 high -> 6,625 probabilities per 8 columns. No config.pbtxt at all."""
    copied(place, packaged_file("rapidocr-onnxruntime", "rapidocr_onnxruntime", "models/*rec*.onnx"))
    place.finish(None, [{"x": written_digits(48, 96, 1, 0)}, {"x": written_digits(48, 64, 2, 40)}], CLOSE)


def voice() -> np.ndarray:
    """Two windows of something like a vowel after silence, [2, context + samples]."""
    time = np.arange(2 * VOICE_SAMPLES) / VOICE_RATE
    tone = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 12)) * np.minimum(time * 20, 0.3)
    sound = np.concatenate([np.zeros(VOICE_CONTEXT), tone]).round(4).astype(np.float32)
    return np.stack([sound[: VOICE_CONTEXT + VOICE_SAMPLES], sound[VOICE_SAMPLES:]])


VOICE_CONFIG = """max_batch_size: 0
input [
  {
    name: "input"
    data_type: TYPE_FP32
    dims: [ -1, -1 ]
  },
  {
    name: "state"
    data_type: TYPE_FP32
    dims: [ 2, -1, 128 ]
  },
  {
    # a scalar in the graph; dims [ 1 ] is how Triton's ONNX backend spells it
    name: "sr"
    data_type: TYPE_INT64
    dims: [ 1 ]
  }
]
output [
  {
    name: "output"
    data_type: TYPE_FP32
    dims: [ -1, 1 ]
  },
  {
    name: "stateN"
    data_type: TYPE_FP32
    dims: [ 2, -1, 128 ]
  }
]
"""


def voice_activity(place: Place, file: str, config: str | None, tolerance: float = 1e-4) -> None:
    """One window of sound and the state so far -> probability of speech and the next state.

    Not batched: the state's first dimension is not the batch. The second case goes on from the first one's state.
    """
    source = packaged_file("silero-vad", "silero_vad", f"data/{file}")
    copied(place, source)
    session = onnx_file.session(source)
    names = {value.name for value in session.get_inputs()}
    state, cases = np.zeros((2, 1, 128), np.float32), []
    for window in voice():
        case = {"input": window[None], "state": state}
        if "sr" in names:
            case["sr"] = np.array(VOICE_RATE, np.int64)
        cases.append(case)
        state = session.run(["stateN"], case)[0]
    place.finish(config, cases, {"absolute": tolerance, "relative": tolerance}, batched=False)


def voice_activity_sequence(place: Place) -> None:
    """The same network unrolled over many windows. No config.pbtxt: its first dimension is time, not a batch."""
    copied(place, packaged_file("silero-vad", "silero_vad", "data/silero_vad_16k_sequence.onnx"))
    memory = np.zeros((1, 1, 128), np.float32)
    tolerance = {"absolute": 1e-4, "relative": 1e-4}
    place.finish(None, [{"input": voice(), "h": memory, "c": memory}], tolerance, batched=False)


def file_type(place: Place) -> None:
    """The first and last 1,024 bytes of a file (256 stands for none) -> 214 kinds of file. No config.pbtxt at all."""
    copied(place, packaged_file("magika", "magika", "models/*/model.onnx"))
    half, padding = 1024, 256
    contents = [
        b"import sys\n\n\ndef main() -> None:\n    for line in sys.stdin:\n        print(len(line))\n\n" * 20,
        b'{"name": "a model", "inputs": [{"name": "x", "shape": [1, 2]}], "ready": true}',
        b'#!/bin/sh\nset -eu\nfor file in *.txt; do\n    wc -l "$file"\ndone',
    ]
    rows = np.full((len(contents), 2 * half), padding, np.int32)
    for row, content in zip(rows, contents):
        head, tail = content.strip()[:half], content.strip()[-half:]
        row[: len(head)] = np.frombuffer(head, np.uint8)
        row[2 * half - len(tail) :] = np.frombuffer(tail, np.uint8)
    place.finish(None, [{"bytes": rows[:1]}, {"bytes": rows}], CLOSE)


MODELS = {
    "text_detection": text_detection,
    "text_angle": text_angle,
    "text_recognition": text_recognition,
    "silero_vad": lambda place: voice_activity(place, "silero_vad.onnx", VOICE_CONFIG),
    "silero_vad_op15": lambda place: voice_activity(place, "silero_vad_16k_op15.onnx", VOICE_CONFIG),
    "silero_vad_op18": lambda place: voice_activity(place, "silero_vad_op18_ifless.onnx", VOICE_CONFIG),
    "silero_vad_half": lambda place: voice_activity(place, "silero_vad_half.onnx", None, tolerance=1e-2),
    "silero_vad_fixed": lambda place: voice_activity(place, "silero_vad_openvino_16k.onnx", None),
    "silero_vad_sequence": voice_activity_sequence,
    "magika": file_type,
}
