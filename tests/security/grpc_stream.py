"""Many calls of `ModelStreamInfer` on one HTTP/2 connection, frame by frame: what the client reads, resets and grants is the test's choice.

gRPC libraries read ahead and reset when they see fit; here nothing is sent or granted that a test did not ask for.
"""

import struct
import time
from collections import deque

import numpy as np
from tritonclient.grpc import service_pb2

from security.http2_cases import ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame, open_connection, request_headers

INITIAL_WINDOW_SIZE = 4
LARGEST_FRAME = 16_384
CANCEL = 8
HEAD = request_headers("/inference.GRPCInferenceService/ModelStreamInfer", "POST", **{"content-type": "application/grpc", "te": "trailers"})


def request(model: str, tensors: dict, identity: str = "") -> service_pb2.ModelInferRequest:
    """`tensors` maps a name to (datatype, array)."""
    message = service_pb2.ModelInferRequest(model_name=model, id=identity)
    for name, (datatype, array) in tensors.items():
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        message.raw_input_contents.append(np.ascontiguousarray(array).tobytes())
    return message


def repeat_request(count: int, delay: int = 0, identity: str = "") -> service_pb2.ModelInferRequest:
    """Asks the model `repeat` for `count` responses, 0 to `count - 1`, each after `delay` milliseconds."""
    values, delays = np.arange(count, dtype=np.int32), np.full(count, delay, np.uint32)
    return request("repeat", {"IN": ("INT32", values), "DELAY": ("UINT32", delays), "WAIT": ("UINT32", np.zeros(1, np.uint32))}, identity)


def add_repeat(repository):
    inputs = [("IN", "INT32", [-1]), ("DELAY", "UINT32", [-1]), ("WAIT", "UINT32", [1])]
    outputs = [("OUT", "INT32", [1]), ("IDX", "UINT32", [1])]
    repository.add("repeat", model="repeat", inputs=inputs, outputs=outputs, max_batch_size=0, config="model_transaction_policy { decoupled: true }\n")


def message_bytes(message) -> bytes:
    content = message.SerializeToString()
    return struct.pack(">BI", 0, len(content)) + content


def data_frames(stream: int, message: bytes) -> bytes:
    return b"".join(frame(DATA, 0, stream, message[at : at + LARGEST_FRAME]) for at in range(0, len(message), LARGEST_FRAME))


class StreamConnection:
    """`window` is how many bytes of replies the client takes per call before it grants more."""

    def __init__(self, address: str, window: int = 65_535, timeout: float = 10):
        self.raw = open_connection(address, struct.pack(">HI", INITIAL_WINDOW_SIZE, window))
        self.raw.send(frame(SETTINGS, ACK, 0) + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", 1 << 30)))
        self.timeout, self.next_stream, self.buffer, self.frames = timeout, 1, b"", deque()
        # Bytes of requests that the server is willing to take: of the whole connection, of a new call, of each call.
        self.window, self.initial_window, self.windows = 65_535, 65_535, {}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.raw.socket.close()

    def open(self, count: int = 1, message: bytes = b"") -> list[int]:
        """Opens `count` calls, each with the same message if there is one; they stay open."""
        streams = list(range(self.next_stream, self.next_stream + 2 * count, 2))
        self.next_stream += 2 * count
        self.await_window(count * len(message))
        self.window -= count * len(message)
        self.raw.socket.sendall(b"".join(frame(HEADERS, END_HEADERS, stream, HEAD) + data_frames(stream, message) for stream in streams))
        return streams

    def await_window(self, needed: int):
        """Waits until the connection as a whole may send so many bytes: calls that have ended give their room back."""
        end = time.monotonic() + self.timeout
        while self.window < needed:
            assert self._receive(end), f"expected room for {needed} bytes of requests, the server left {self.window}"

    def may_send(self, stream: int, size: int, seconds: float) -> bool:
        """Whether, within so many seconds, the server has room for `size` further bytes of this call."""
        end = time.monotonic() + seconds
        while min(self.window, self.initial_window + self.windows.get(stream, 0)) < size:
            if not self._receive(end):
                return False
        return True

    def send(self, stream: int, message: bytes):
        self.window -= len(message)
        self.windows[stream] = self.windows.get(stream, 0) - len(message)
        self.raw.socket.sendall(data_frames(stream, message))

    def reset(self, streams: list[int]):
        self.raw.socket.sendall(b"".join(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)) for stream in streams))

    def grant(self, stream: int, amount: int):
        self.raw.socket.sendall(frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", amount)))

    def read(self, seconds: float):
        """The next frame as (kind, flags, stream, payload); None when there is none in time or the server closed."""
        end = time.monotonic() + seconds
        while not self.frames:
            if not self._receive(end):
                return None
        return self.frames.popleft()

    def _receive(self, end: float) -> bool:
        """Takes what has come, waiting until `end` at most; false when nothing came."""
        self.raw.socket.settimeout(max(0.001, end - time.monotonic()))
        try:
            data = self.raw.socket.recv(1 << 20)
        except (TimeoutError, ConnectionResetError):
            return False
        self.buffer += data
        while len(self.buffer) >= 9 and len(self.buffer) >= 9 + (length := int.from_bytes(self.buffer[:3], "big")):
            self._note(self.buffer[3], self.buffer[4], int.from_bytes(self.buffer[5:9], "big"), self.buffer[9 : 9 + length])
            self.buffer = self.buffer[9 + length :]
        return bool(data)

    def _note(self, kind, flags, stream, payload):
        assert kind != GOAWAY or not int.from_bytes(payload[4:8], "big"), f"the server ends the connection: {payload!r}"
        if kind == WINDOW_UPDATE and stream == 0:
            self.window += int.from_bytes(payload, "big")
        elif kind == WINDOW_UPDATE:
            self.windows[stream] = self.windows.get(stream, 0) + int.from_bytes(payload, "big")
        elif kind == SETTINGS:
            for at in range(0, len(payload), 6):
                name, value = struct.unpack(">HI", payload[at : at + 6])
                self.initial_window = value if name == INITIAL_WINDOW_SIZE else self.initial_window
        self.frames.append((kind, flags, stream, payload))

    def await_frames(self, **counts: int):
        """Reads until at least so many frames of each kind have come: `headers` (one per call that was taken), `data`."""
        missing, end = {HEADERS: counts.get("headers", 0), DATA: counts.get("data", 0)}, time.monotonic() + self.timeout
        while any(count > 0 for count in missing.values()):
            one = self.read(end - time.monotonic())
            assert one is not None, f"frames that are missing, by kind: {missing}"
            if one[0] in missing:
                missing[one[0]] -= 1

    def answers(self, stream: int, until, seconds: float) -> list[service_pb2.ModelStreamInferResponse]:
        """Reads the messages of one call, granting room as they come, until `until(message)` is true."""
        content, messages, end = b"", [], time.monotonic() + seconds
        while True:
            one = self.read(end - time.monotonic())
            assert one is not None, f"{len(messages)} messages and no end"
            if one[2] != stream or one[0] not in (DATA, RST_STREAM, HEADERS):
                continue
            assert one[0] != RST_STREAM and not one[1] & END_STREAM, f"the call ended after {len(messages)} messages"
            if one[0] != DATA:
                continue
            content += one[3]
            if one[3]:
                self.grant(stream, len(one[3]))
            while len(content) >= 5 and len(content) >= 5 + int.from_bytes(content[1:5], "big"):
                length = int.from_bytes(content[1:5], "big")
                messages.append(service_pb2.ModelStreamInferResponse.FromString(content[5 : 5 + length]))
                content = content[5 + length :]
                if until(messages[-1]):
                    return messages
