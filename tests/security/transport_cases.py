"""Cases 1 to 13 and 21 to 23: HTTP/1.1 as an attacker writes it."""

import gzip
import socket
import threading
import time
import zlib

from security.attack import Raw, Target, case, tensor, wait_until

INFER = b"POST /v2/models/identity_uint8/infer HTTP/1.1\r\nHost: a\r\n"
RAW = INFER + b"Inference-Header-Content-Length: 0\r\n"
# The server of this suite closes slow connections after 2 s, so that no case takes long.
SLOW_SECONDS = 2


def one_byte_chunks(count: int) -> bytes:
    return RAW + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\n\x07\r\n" * count + b"0\r\n\r\n"


@case(1, "as many chunks as allowed", quick=False)
def chunks_at_the_limit(target: Target):
    target.exchange(one_byte_chunks(65_536), 200)


@case(1, "one chunk too many", quick=False)
def chunks_over_the_limit(target: Target):
    target.exchange(one_byte_chunks(65_537), 400)


@case(1, "a million chunks", quick=False)
def a_million_chunks(target: Target):
    target.exchange(one_byte_chunks(1_000_000), [400, None], close=True)


@case(2, "chunk sizes that are none")
def chunk_sizes(target: Target):
    for size in (b"zz", b"-1", b"10000000000000000", b" 1", b"0x1", b""):
        target.exchange(RAW + b"Transfer-Encoding: chunked\r\n\r\n" + size + b"\r\n\x07\r\n0\r\n\r\n", [400, None], close=True)


@case(2, "a chunk of eighteen exbibytes", quick=False)
def endless_chunk(target: Target):
    before = target.process.resident_bytes()
    chunk = b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n" + bytes(100_000)
    # A size that fits its type is not malformed: it is refused at the limit, or when its time is over; nothing is allocated for it.
    target.exchange(RAW + chunk, [400, 408, None], close=True)
    assert target.process.resident_bytes() < before + (8 << 20)


@case(2, "a chunk extension of a mebibyte")
def chunk_extension(target: Target):
    target.exchange(RAW + b"Transfer-Encoding: chunked\r\n\r\n1;" + b"x" * (1 << 20) + b"\r\n\x07\r\n0\r\n\r\n", [400, None], close=True)


@case(3, "two lengths")
def two_lengths(target: Target):
    smuggled = b"GET /v2/models/nothing HTTP/1.1\r\nHost: a\r\n\r\n"
    for headers in (
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        b"Content-Length: 4\r\nContent-Length: 5\r\n",
        b"Content-Length: 4, 5\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: -4\r\n",
        b"Content-Length: 0x4\r\n",
        b"Content-Length: 4 4\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding: chunked, identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
    ):
        reply = target.exchange(RAW + headers + b"\r\n0\r\n\r\n" + smuggled, [400, 501], close=True)
        assert b"nothing" not in reply.body, headers


@case(4, "a length of a tebibyte")
def a_tebibyte(target: Target):
    before = target.process.resident_bytes()
    target.exchange(RAW + b"Content-Length: 1099511627776\r\n\r\n0123456789", 400, close=True)
    assert target.process.resident_bytes() < before + (8 << 20)


@case(5, "slow heads", quick=False)
def slow_heads(target: Target):
    connections = [target.raw(SLOW_SECONDS * 2 + 2) for _ in range(200)]
    started = time.monotonic()
    for connection in connections:
        connection.send(b"GET /v2/health/live HTTP/1.1\r\nHost: a")
    time.sleep(SLOW_SECONDS / 2)
    for connection in connections:
        connection.send(b"b")
    for connection in connections:
        reply = connection.reply()
        assert reply is None or reply.status == 408, reply
        assert connection.is_closed()
        connection.socket.close()
    assert SLOW_SECONDS - 0.5 < time.monotonic() - started < SLOW_SECONDS + 3


@case(6, "slow bodies", quick=False)
def slow_bodies(target: Target):
    started = time.monotonic()
    connections = [target.raw(SLOW_SECONDS * 2 + 2) for _ in range(50)]
    for connection in connections:
        connection.send(RAW + b"Content-Length: 100\r\n\r\n0")
    for connection in connections:
        reply = connection.reply()
        assert reply is not None and reply.status == 408, reply
        assert connection.is_closed()
        connection.socket.close()
    assert time.monotonic() - started < SLOW_SECONDS + 3


@case(7, "a reader that does not read", quick=False)
def slow_reader(target: Target):
    size = 60_000_000
    head = RAW + b"Content-Length: %d\r\n\r\n" % size
    files = target.process.open_files()
    with Raw(target.http, 10) as connection:
        connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.send(head + bytes(size))
        connection.socket.recv(1024)
        # The work is done and the instance free, whoever does not read.
        target.infer("identity_uint8", {"inputs": [tensor(kind="UINT8")]}, 200)
        # After the write time-out the connection is cut, though nobody read; within the time that a case may take.
        wait_until(lambda: target.process.open_files() <= files, 20)


@case(8, "too many headers")
def too_many_headers(target: Target):
    many = b"".join(b"x-%d: a\r\n" % number for number in range(101))
    target.exchange(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n" + many + b"\r\n", 431, close=True)
    fine = b"".join(b"x-%d: a\r\n" % number for number in range(99))
    target.exchange(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n" + fine + b"\r\n", 200)


@case(8, "a head that is too long")
def long_head(target: Target):
    target.exchange(b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nx: " + b"a" * (1 << 20) + b"\r\n\r\n", [431, None], close=True)
    target.exchange(b"GET /v2/models/" + b"a" * (1 << 20) + b" HTTP/1.1\r\nHost: a\r\n\r\n", [414, 431, None], close=True)


@case(9, "bytes that do not belong into a head")
def strange_heads(target: Target):
    for line in (
        b"GET /v2/health/live\0 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nx: a\0b\r\n\r\n",
        b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nx: a\r\n folded\r\n\r\n",
        b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\nx y: a\r\n\r\n",
        b"GET /v2/health/live HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET /v2/he alth/live HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32),
        b"GET /v2/health/live HTTP/9.9\r\nHost: a\r\n\r\n",
    ):
        target.exchange(line, [400, 505, None], close=True)


@case(9, "paths that are not text")
def strange_paths(target: Target):
    for path in (b"/v2/models/%ff%fe", b"/v2/models/%00", b"/v2/models/%0d%0aX-Injected:%201", b"/v2/models/%", b"/v2/models/a%2"):
        reply = target.exchange(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\n\r\n", [400, 404])
        assert reply.header("x-injected") is None


@case(10, "lengths of the JSON part")
def header_lengths(target: Target):
    for value in (b"-1", b"abc", b"99999999999", b"18446744073709551616", b"3", b"", b"1.0", b"+1", b"0x1"):
        target.exchange(INFER + b"Inference-Header-Content-Length: " + value + b"\r\nContent-Length: 2\r\n\r\n{}", 400)
    twice = b"Inference-Header-Content-Length: 2\r\nInference-Header-Content-Length: 1\r\n"
    target.exchange(INFER + twice + b"Content-Length: 2\r\n\r\n{}", 400)


@case(11, "compression bombs", quick=False)
def bombs(target: Target):
    zeroes = bytes(100 << 20)
    before = target.process.resident_bytes()
    for coding, body in (
        ("gzip", gzip.compress(zeroes, 9)),
        ("deflate", zlib.compress(zeroes, 9)),
        ("gzip", gzip.compress(bytes(10_000)) * 10_000),
    ):
        target.infer("identity_uint8", body, 400, f"Content-Encoding: {coding}\r\nInference-Header-Content-Length: 0\r\n")
    wait_until(lambda: target.process.resident_bytes() < before + (80 << 20), 5)


@case(11, "compression within compression")
def nested_gzip(target: Target):
    target.infer("identity_uint8", gzip.compress(gzip.compress(b"{}")), [400, 500], "Content-Encoding: gzip\r\n")


@case(12, "codings that cannot be undone")
def bad_codings(target: Target):
    whole = gzip.compress(b'{"inputs":[]}')
    for body in (whole[:-5], whole[:12], b"garbage", whole[:-8] + bytes(8)):
        target.infer("identity_uint8", body, 400, "Content-Encoding: gzip\r\n")
    target.infer("identity_uint8", zlib.compress(b"{}")[:-3], 400, "Content-Encoding: deflate\r\n")
    for coding in ("br", "gzip, gzip", "gzip, deflate", "compress", "zstd"):
        target.infer("identity_uint8", whole, [415, 501], f"Content-Encoding: {coding}\r\n")


@case(13, "other content types")
def content_types(target: Target):
    target.infer("fixed", b"", 400)
    target.infer("identity_uint8", b"--x\r\ncontent\r\n--x--", [400, 415, 500], "Content-Type: multipart/form-data; boundary=x\r\n")
    target.infer("identity_uint8", b"<inputs/>", [400, 415, 500], "Content-Type: application/xml\r\n")


@case(21, "resets in the middle", quick=False)
def resets(target: Target):
    for _ in range(50):
        connection = target.raw()
        connection.send(RAW + b"Content-Length: 1000000\r\n\r\n" + bytes(500_000))
        connection.reset()
        connection = target.raw()
        connection.send(RAW + b"Content-Length: 1000000\r\n\r\n" + bytes(1_000_000))
        connection.reset()
    target.infer("identity_uint8", {"inputs": [tensor(kind="UINT8")]}, 200)


@case(22, "a good request after each bad one")
def reuse(target: Target):
    good = b'{"inputs":[{"name":"INPUT0","shape":[1,1],"datatype":"UINT8","data":[7]}]}'
    with target.raw() as connection:
        for bad in (b"{", b"[]", b'{"inputs":1}', b'{"inputs":[{"name":"X","shape":[1,1],"datatype":"UINT8","data":[7]}]}'):
            reply = connection.send(INFER + b"Content-Length: %d\r\n\r\n" % len(bad) + bad).reply()
            assert reply.status in (400, 500), reply
            reply = connection.send(INFER + b"Content-Length: %d\r\n\r\n" % len(good) + good).reply()
            assert reply.status == 200 and reply.json()["outputs"][0]["data"] == [7], reply


@case(22, "many requests at once on one connection")
def pipelined(target: Target):
    one = b"GET /v2/models/identity_fp32/ready HTTP/1.1\r\nHost: a\r\n\r\n"
    other = b"GET /v2/models/nothing/ready HTTP/1.1\r\nHost: a\r\n\r\n"
    with target.raw() as connection:
        connection.send((one + other) * 50)
        assert [connection.reply().status for _ in range(100)] == [200, 400] * 50


@case(23, "every method on every route")
def methods(target: Target):
    routes = {
        "GET": ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/identity_fp32", "/v2/models/identity_fp32/config", "/v2/models/identity_fp32/stats"],
        "POST": ["/v2/repository/index", "/v2/models/identity_fp32/infer", "/v2/repository/models/identity_fp32/load", "/v2/repository/models/identity_fp32/unload"],
    }
    for right, paths in routes.items():
        for path in paths:
            for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "FOO"} - {right}:
                target.exchange(f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode(), 405)


@case(23, "other spellings of routes")
def spellings(target: Target):
    for path in ("//v2", "/v2/..%2f", "/V2/", "/v2/../v2", "/v2/./health/live", "/v2/health/live/", "/v2/health/LIVE", "/v2;x/health/live", "/v2%2fhealth%2flive"):
        target.exchange(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), [400, 404])
    for path in ("/v2/repository/models/identity_fp32/unload/", "/v2/repository//models/identity_fp32/unload", "/v2/Repository/models/identity_fp32/unload"):
        target.exchange(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode(), 404)
    target.exchange(b"GET /v2/models/identity_fp32/ready HTTP/1.1\r\nHost: a\r\n\r\n", 200)


@case(47, "one id twice at once")
def equal_ids(target: Target):
    values: dict[int, list] = {}

    def ask(number):
        reply = target.infer("identity_fp32", {"id": "same", "inputs": [tensor(data=[number])]}, 200)
        values[number] = reply.json()["outputs"][0]["data"]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == {number: [number] for number in range(16)}
