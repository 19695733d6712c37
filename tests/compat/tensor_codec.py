"""Tensors as bytes, written from the protocol's text alone (W-45), so that no client library can hide a mistake."""

import math
import struct

FORMATS = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q",
    "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q", "FP16": "e", "FP32": "f", "FP64": "d",
}


def encode(datatype: str, values: list) -> bytes:
    if datatype == "BYTES":
        elements = [value if isinstance(value, bytes) else str(value).encode() for value in values]
        return b"".join(struct.pack("<I", len(element)) + element for element in elements)
    if datatype == "BF16":
        return b"".join(struct.pack("<f", value)[2:] for value in values)
    return struct.pack(f"<{len(values)}{FORMATS[datatype]}", *values)


def decode(datatype: str, data: bytes) -> list:
    if datatype == "BYTES":
        elements, position = [], 0
        while position < len(data):
            (length,) = struct.unpack_from("<I", data, position)
            element = data[position + 4 : position + 4 + length]
            assert len(element) == length, "an element reaches beyond the buffer"
            elements.append(element)
            position += 4 + length
        return elements
    if datatype == "BF16":
        return [struct.unpack("<f", b"\0\0" + data[at : at + 2])[0] for at in range(0, len(data), 2)]
    size = struct.calcsize(FORMATS[datatype])
    assert len(data) % size == 0, f"{len(data)} bytes are not a multiple of {size}"
    return list(struct.unpack(f"<{len(data) // size}{FORMATS[datatype]}", data))


def same(expected, actual) -> bool:
    """Equal, or for floats close enough that only the way of printing differs; text equals its UTF-8 bytes."""
    if isinstance(expected, list):
        return isinstance(actual, list) and len(expected) == len(actual) and all(map(same, expected, actual))
    if isinstance(expected, dict):
        return isinstance(actual, dict) and all(key in actual and same(value, actual[key]) for key, value in expected.items())
    if isinstance(expected, str) and isinstance(actual, bytes):
        return expected.encode() == actual
    if isinstance(expected, bool) or isinstance(actual, bool):
        return expected is actual
    if isinstance(expected, float) and isinstance(actual, (int, float)):
        if math.isnan(expected):
            return math.isnan(actual)
        return math.isclose(expected, actual, rel_tol=1e-6, abs_tol=1e-9)
    return type(expected) is type(actual) and expected == actual
