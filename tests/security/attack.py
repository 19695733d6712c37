"""What a case of the attack table is, and raw connections that send exactly the bytes they are told to.

A case is a function of the target; it raises AssertionError where the server's answer is not the one expected. What must
hold beside every answer (alive, framed, silent about internals) is checked by the test that runs the cases.
"""

import json
import re
import socket
import struct
import time
from dataclasses import dataclass
from typing import Callable

from harness.http import Reply

SECRETS = re.compile(rb"/tmp/|/home|\.rs:\d|0x[0-9a-f]{8,}|backtrace|panicked|127\.0\.0\.1:\d", re.I)


@dataclass
class Case:
    number: int
    title: str
    run: Callable
    quick: bool

    @property
    def name(self) -> str:
        return f"{self.number:02d}-{self.title.replace(' ', '-')}"


CASES: list[Case] = []


def case(number: int, title: str, quick: bool = True):
    """Registers a case under its number in the table; `quick` ones are repeated to look for what they leave behind."""

    def register(function):
        CASES.append(Case(number, title, function, quick))
        return function

    return register


class Raw:
    """A TCP connection that reads HTTP/1.1 replies and notices when it was closed."""

    def __init__(self, address: str, timeout: float = 8):
        host, port = address.rsplit(":", 1)
        self.socket = socket.create_connection((host, int(port)), timeout=timeout)
        self.buffer = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data: bytes) -> "Raw":
        """Sends all; a server that stops reading and closes is not an error here."""
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass
        return self

    def reset(self):
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def _more(self) -> bool:
        try:
            data = self.socket.recv(65536)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def reply(self) -> Reply | None:
        """The next reply, or None when the server closed instead."""
        while b"\r\n\r\n" not in self.buffer:
            if not self._more():
                return None
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode("latin-1").split("\r\n")
        headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
        reply = Reply(int(lines[0].split(" ")[1]), headers)
        if reply.status == 100:
            return self.reply()
        length = reply.header("content-length")
        if reply.header("transfer-encoding") == "chunked":
            reply.body = self._chunks()
        else:
            while len(self.buffer) < int(length or 0):
                if not self._more():
                    break
            reply.body, self.buffer = self.buffer[: int(length or 0)], self.buffer[int(length or 0) :]
        assert not SECRETS.search(reply.body) or reply.status == 200, f"the error shows an internal: {reply.body[:300]!r}"
        if reply.status >= 400 and reply.body:
            assert list(json.loads(reply.body)) == ["error"], reply.body[:300]
        return reply

    def _chunks(self) -> bytes:
        body = b""
        while True:
            while b"\r\n" not in self.buffer:
                assert self._more(), "closed within a chunked reply"
            size, self.buffer = self.buffer.split(b"\r\n", 1)
            while len(self.buffer) < int(size, 16) + 2:
                assert self._more(), "closed within a chunk"
            body += self.buffer[: int(size, 16)]
            self.buffer = self.buffer[int(size, 16) + 2 :]
            if int(size, 16) == 0:
                return body

    def is_closed(self, seconds: float = 5) -> bool:
        """Whether the server closes within `seconds` and sends nothing more."""
        self.socket.settimeout(seconds)
        try:
            return not self._more() and not self.buffer
        except TimeoutError:
            return False

    def is_in_step(self) -> bool:
        """Whether the connection is closed, or answers a good request rightly (I5)."""
        self.send(b"GET /v2/models/identity_fp32/ready HTTP/1.1\r\nHost: a\r\n\r\n")
        reply = self.reply()
        return reply is None or (reply.status == 200 and reply.body == b"" and not self.buffer)


@dataclass
class Target:
    http: str
    grpc: str
    process: object

    def raw(self, timeout: float = 8) -> Raw:
        return Raw(self.http, timeout)

    def exchange(self, data: bytes, statuses, close: bool | None = None):
        """Sends `data` on a fresh connection, expects one of `statuses`, and that the connection stays in step."""
        with self.raw() as connection:
            reply = connection.send(data).reply()
            expected = statuses if isinstance(statuses, (list, tuple)) else [statuses]
            assert (reply.status if reply else None) in expected, f"expected {expected}, got {reply}"
            if close:
                assert connection.is_closed(), "the connection should be closed"
            else:
                assert connection.is_in_step(), "the connection is out of step"
            return reply

    def post(self, path: str, body: bytes | dict, statuses, headers: str = ""):
        body = json.dumps(body).encode() if isinstance(body, dict) else body
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode("latin-1")
        return self.exchange(head + body, statuses)

    def infer(self, model: str, body, statuses, headers: str = ""):
        return self.post(f"/v2/models/{model}/infer", body, statuses, headers)


def tensor(shape=(1, 1), data=(1,), kind="FP32", **members) -> dict:
    return {"name": "INPUT0", "shape": list(shape), "datatype": kind, "data": list(data), **members}


def wait_until(condition, seconds: float):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)
