"""Carries out one step of a scenario: builds the message as the file says, sends it, compares the answer.

`compat/scenarios/README.md` describes the format. Nothing here knows which server answers.
"""

import gzip
import http.client
import json
import re
import zlib

from compat.tensor_codec import decode, encode, same
from harness.http import Reply


class Mismatch(AssertionError):
    """The server answered otherwise than the scenario says."""


def expect(condition, message: str):
    if not condition:
        raise Mismatch(message)


def text_of(value) -> bytes:
    """A string, or `{repeat: unit, count: n, before: text, after: text}` for what nobody wants to write out."""
    if isinstance(value, dict):
        unit = value.get("before", "") + value["repeat"] * value["count"] + value.get("after", "")
        return unit.encode()
    return str(value).encode()


def body_of(request: dict, headers: list[tuple[str, str]]) -> bytes | None:
    body = None
    if "text" in request:
        body = text_of(request["text"])
    elif "json" in request:
        body = json.dumps(request["json"]).encode()
    elif "hex" in request:
        body = bytes.fromhex(request["hex"])
    if "binary" in request:
        parts = b"".join(
            bytes.fromhex(part["hex"]) if "hex" in part
            else text_of(part["text"]) if "text" in part
            else encode(part["datatype"], part["data"])
            for part in request["binary"]
        )
        length = len(body or b"")
        body = (body or b"") + parts
        if request.get("header_length", "right") == "right":
            headers.append(("Inference-Header-Content-Length", str(length)))
    if request.get("header_length", "right") not in ("right", "none"):
        headers.append(("Inference-Header-Content-Length", str(request["header_length"])))
    coding = request.get("encoding")
    if coding:
        body = gzip.compress(body or b"") if coding == "gzip" else zlib.compress(body or b"")
        headers.append(("Content-Encoding", coding))
    return body


def send_http(address: str, request: dict, timeout: float = 30) -> Reply:
    headers = [(str(name), str(value)) for name, value in request.get("headers", {}).items()]
    body = body_of(request, headers)
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        method = request.get("method", "POST" if body is not None else "GET")
        connection.putrequest(method, str(request["path"]), skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if "chunks" in request:
            connection.putheader("Transfer-Encoding", "chunked")
            connection.endheaders()
            size = max(1, -(-len(body) // request["chunks"]))
            pieces = [body[at : at + size] for at in range(0, len(body), size)]
            connection.send(b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n")
        else:
            if body is not None or method in ("POST", "PUT"):
                connection.putheader("Content-Length", str(len(body or b"")))
            connection.endheaders(body)
        response = connection.getresponse()
        return Reply(response.status, response.getheaders(), response.read())
    finally:
        connection.close()


def check_http(reply: Reply, wanted: dict):
    shown = f"status {reply.status}, headers {dict(reply.headers)}, body {reply.body[:400]!r}"
    statuses = wanted.get("status", 200)
    statuses = statuses if isinstance(statuses, list) else [statuses]
    expect(reply.status in statuses, f"expected status {statuses}, got {shown}")
    for name, pattern in wanted.get("headers", {}).items():
        value = reply.header(name)
        if pattern is None:
            expect(value is None, f"header {name} should be absent, got {shown}")
        else:
            expect(value is not None and re.search(str(pattern), value), f"header {name} should match {pattern!r}, got {shown}")
    body = reply.body
    coding = reply.header("Content-Encoding")
    if coding == "gzip":
        body = gzip.decompress(body)
    elif coding == "deflate":
        body = zlib.decompress(body)
    if wanted.get("empty"):
        expect(body == b"", f"expected an empty body, got {shown}")
    if "error" in wanted:
        value = parsed(body, shown)
        expect(isinstance(value, dict) and list(value) == ["error"] and isinstance(value["error"], str), f"not an error body: {shown}")
        expect(re.search(wanted["error"], value["error"], re.I | re.S), f"error should match {wanted['error']!r}, got {shown}")
        for secret in (r"/tmp/", r"\.rs:\d", r"0x[0-9a-f]{8}", r"stack backtrace"):
            expect(not re.search(secret, value["error"]), f"the error shows {secret!r}: {shown}")
    header_length = reply.header("Inference-Header-Content-Length")
    head, tail = (body[: int(header_length)], body[int(header_length) :]) if header_length else (body, b"")
    if "json" in wanted:
        value = parsed(head, shown)
        expect(same(wanted["json"], value), f"expected {wanted['json']}, got {shown}")
    if "members" in wanted:
        found = list(parsed(head, shown))
        expect(found == wanted["members"], f"expected the members {wanted['members']} in this order, got {found}")
    for path, members in wanted.get("members_at", {}).items():
        found = list(within(parsed(head, shown), path))
        expect(set(members) <= set(found), f"expected the members {members} at {path}, got {found}")
    for path, elements in wanted.get("in_order", {}).items():
        found = [element for element in within(parsed(head, shown), path) if element in elements]
        expect(found == elements, f"expected {elements} in this order at {path}, got {found}")
    if "lacks" in wanted:
        value = parsed(head, shown)
        expect(not set(wanted["lacks"]) & set(value), f"members {wanted['lacks']} should be absent: {shown}")
    if "contains" in wanted:
        expect(wanted["contains"].encode() in body, f"expected {wanted['contains']!r} in {shown}")
    if "tensors" in wanted:
        check_tensors(parsed(head, shown), tail, wanted["tensors"], shown)


def within(value, path: str):
    """The value at `a.0.b`; the empty path is the whole."""
    for part in filter(None, path.split(".")):
        try:
            value = value[int(part) if isinstance(value, list) else part]
        except (KeyError, IndexError, ValueError, TypeError):
            raise Mismatch(f"nothing at {path}: {str(value)[:300]}") from None
    return value


def parsed(body: bytes, shown: str):
    try:
        return json.loads(body)
    except ValueError as error:
        raise Mismatch(f"the body is not JSON ({error}): {shown}") from None


def check_tensors(head: dict, tail: bytes, wanted: list[dict], shown: str):
    """`wanted` lists the outputs in order; `binary` says how each must travel, when given."""
    expect([output["name"] for output in head["outputs"]] == [tensor["name"] for tensor in wanted], f"outputs of another name or order: {shown}")
    for output, tensor in zip(head["outputs"], wanted):
        size = output.get("parameters", {}).get("binary_data_size")
        if "binary" in tensor:
            expect((size is not None) == tensor["binary"], f"{tensor['name']} should be {'binary' if tensor['binary'] else 'JSON'}: {shown}")
        if size is None:
            data = output["data"]
        else:
            expect(len(tail) >= size, f"binary part too short: {shown}")
            data, tail = decode(output["datatype"], tail[:size]), tail[size:]
        for member in ("datatype", "shape"):
            expect(member not in tensor or output[member] == tensor[member], f"{member} of {tensor['name']} should be {tensor.get(member)}: {shown}")
        expect("data" not in tensor or same(tensor["data"], data), f"data of {tensor['name']} should be {tensor.get('data')}, got {data}")
    expect(tail == b"", f"{len(tail)} bytes after the last binary part")
