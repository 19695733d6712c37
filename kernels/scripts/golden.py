#!/usr/bin/env python3
"""Writes tests/golden/*.json: what NumPy and SciPy say that the operations compute.

Independent of the crate: formulas from the literature or library calls, never a run of our own code. Needs numpy and
scipy; run it by hand when an operation is added, and check the values in.
"""

import json
import pathlib

import numpy
import scipy.special
import scipy.stats

FOLDER = pathlib.Path(__file__).parent.parent / "tests" / "golden"
random = numpy.random.default_rng(20260101)


def write(name, **values):
    plain = {key: value.tolist() if isinstance(value, numpy.ndarray) else value for key, value in values.items()}
    # JSON has no NaN or infinity: they are written as strings.
    text = json.dumps(plain, default=float)
    for word in ("-Infinity", "Infinity", "NaN"):
        text = text.replace(f" {word}", f' "{word}"').replace(f"[{word}", f'["{word}"')
    (FOLDER / f"{name}.json").write_text(text + "\n")


def float32(*shape, size=1.0):
    return (random.standard_normal(shape) * size).astype(numpy.float32)


def softmax():
    values = float32(5, 37, size=8.0)
    write("softmax", rows=5, columns=37, input=values.ravel(), output=scipy.special.softmax(values.astype(float), axis=1).ravel())


def layer_norm():
    values, gamma, beta = float32(4, 40, size=3.0) + 2.0, float32(40), float32(40)
    wide = values.astype(float)
    scaled = scipy.stats.zscore(wide, axis=1, ddof=0)
    # zscore divides by the deviation alone; epsilon goes under the root.
    scaled *= numpy.sqrt(wide.var(axis=1, keepdims=True) / (wide.var(axis=1, keepdims=True) + 1e-5))
    write("layer_norm", rows=4, columns=40, epsilon=1e-5, input=values.ravel(), gamma=gamma, beta=beta, output=(scaled * gamma + beta).ravel())


def top_k():
    values = numpy.round(float32(6, 50, size=2.0) * 4) / 4
    order = numpy.argsort(-values, axis=1, kind="stable")[:, :12]
    write("top_k", rows=6, columns=50, k=12, input=values.ravel(), indices=order.ravel(), values=numpy.take_along_axis(values, order, 1).ravel())


def mean_pooling():
    values = float32(3, 7, 10)
    mask = random.integers(0, 2, (3, 7))
    mask[2] = 0
    sums = (values.astype(float) * mask[:, :, None]).sum(axis=1)
    write("mean_pooling", batch=3, sequence=7, width=10, input=values.ravel(), mask=mask.ravel(), output=(sums / numpy.maximum(mask.sum(axis=1), 1e-9)[:, None]).ravel())


def casts():
    values = numpy.concatenate([
        float32(200, size=200.0), float32(60, size=60000.0), float32(40, size=1e-6),
        numpy.array([0, -0.0, 0.5, 1.5, 2.5, -0.5, 254.5, 255.5, 127.5, -128.5, 65504, 65519.9, 65520, 6e-8, 3e-8, 1e30, -1e30, numpy.inf, -numpy.inf], numpy.float32),
    ])
    with numpy.errstate(over="ignore"):
        half = values.astype(numpy.float16)
    bits = values.view(numpy.uint32).astype(numpy.uint64)
    brain = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(numpy.uint16)
    write(
        "cast", input_bits=values.view(numpy.uint32), f16_bits=half.view(numpy.uint16), bf16_bits=brain,
        u8=numpy.clip(numpy.rint(values), 0, 255).astype(numpy.uint8), i8=numpy.clip(numpy.rint(values), -128, 127).astype(numpy.int8),
    )


def resize_axis(values, size, axis):
    """Linear interpolation at half-pixel centres, edges clamped, by numpy.interp along one axis."""
    source = values.shape[axis]
    centres = (numpy.arange(size) + 0.5) * source / size - 0.5
    return numpy.apply_along_axis(lambda line: numpy.interp(centres, numpy.arange(source), line), axis, values)


def image():
    cases = []
    mean, deviation = numpy.array([0.485, 0.456, 0.406]), numpy.array([0.229, 0.224, 0.225])
    for height, width, target_height, target_width in [(9, 13, 9, 13), (7, 5, 12, 16), (24, 30, 8, 12), (5, 1, 3, 4)]:
        pixels = random.integers(0, 256, (height, width, 3)).astype(numpy.uint8)
        resized = resize_axis(resize_axis(pixels.astype(float), target_height, 0), target_width, 1)
        output = ((resized / 255.0 - mean) / deviation).transpose(2, 0, 1)
        cases.append(dict(height=height, width=width, target_height=target_height, target_width=target_width, input=pixels.ravel().tolist(), output=output.ravel().tolist()))
    write("image", scale=1.0 / (255.0 * deviation), bias=-mean / deviation, cases=cases)


def suppression():
    cases = []
    for count, threshold, with_classes in [(1, 0.5, False), (60, 0.5, False), (150, 0.3, True), (150, 0.0, False)]:
        corner, extent = random.uniform(0, 40, (count, 2)), random.uniform(2, 20, (count, 2))
        boxes = numpy.concatenate([corner, corner + extent], axis=1).astype(numpy.float32)
        # Distinct scores: the order of ties is ours to choose and tested elsewhere.
        scores = random.permutation(numpy.linspace(0.01, 0.99, count)).astype(numpy.float32)
        classes = random.integers(0, 3, count)
        left = list(numpy.argsort(-scores))
        kept = []
        while left:
            best, left = left[0], left[1:]
            kept.append(int(best))
            survivors = []
            for other in left:
                a, b = boxes[best].astype(float), boxes[other].astype(float)
                overlap = numpy.prod(numpy.maximum(numpy.minimum(a[2:], b[2:]) - numpy.maximum(a[:2], b[:2]), 0.0))
                union = numpy.prod(a[2:] - a[:2]) + numpy.prod(b[2:] - b[:2]) - overlap
                if overlap / union <= threshold or (with_classes and classes[best] != classes[other]):
                    survivors.append(other)
            left = survivors
        cases.append(dict(threshold=threshold, boxes=boxes.ravel().tolist(), scores=scores.tolist(), classes=classes.tolist() if with_classes else [], kept=kept))
    write("suppression", cases=cases)


def sketches():
    values = float32(300, 3, size=2.0)
    values[5, 0], values[6, 1], values[7, 2] = numpy.nan, numpy.inf, -numpy.inf
    edges = numpy.sort(numpy.round(float32(3, 9, size=2.0) * 2) / 2, axis=1)
    values[20:120] = numpy.round(values[20:120] * 2) / 2
    counts = []
    for column in range(3):
        line = values[:, column]
        bins = numpy.digitize(line[~numpy.isnan(line)], edges[column])
        counts.append([*numpy.bincount(bins, minlength=10), int(numpy.isnan(line).sum())])
    write("histogram", rows=300, columns=3, edges_per_column=9, input=values.ravel(), edges=edges.ravel(), counts=numpy.array(counts).ravel())
    centres, scales = numpy.array([0.1, -0.2, 0.3], numpy.float32), numpy.array([1.5, 2.0, 2.5], numpy.float32)
    state = []
    for column in range(3):
        line = values[:, column].astype(float)
        finite = line[numpy.isfinite(line)]
        z = (finite - float(centres[column])) / float(scales[column])
        # Powers about the centre: scipy's moment with a given centre is their mean.
        sums = [scipy.stats.moment(z, order=order, center=0.0) * finite.size for order in (1, 2, 3, 4)]
        state.append([finite.size, *sums, finite.min(), finite.max(), line.size - finite.size])
    write("moments", rows=300, columns=3, input=values.ravel(), centres=centres, scales=scales, state=numpy.array(state).T.ravel())


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for make in (softmax, layer_norm, top_k, mean_pooling, casts, image, suppression, sketches):
        make()
