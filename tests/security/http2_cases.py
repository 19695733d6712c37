"""Cases 14 to 17: HTTP/2 frames that no client library would send. On the gRPC port and on the HTTP port alike."""

import struct
import time

from hpack import Encoder

from security.attack import Raw, Target, case

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def request_headers(path="/v2/health/live", method="GET", **more) -> bytes:
    fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a"), *more.items()]
    # Without Huffman coding, which takes this encoder seconds for a long value.
    return Encoder().encode(fields, huffman=False)


def open_connection(address: str, settings: bytes = b"") -> Raw:
    connection = Raw(address, 5)
    connection.send(PREFACE + frame(SETTINGS, 0, 0, settings))
    return connection


def frames(connection: Raw, seconds: float):
    """Frames as they come, until the server closes or the time is over; the last item is 'closed' or 'open'."""
    end, buffer = time.monotonic() + seconds, b""
    while True:
        connection.socket.settimeout(max(0.01, end - time.monotonic()))
        try:
            data = connection.socket.recv(65536)
        except TimeoutError:
            yield "open"
            return
        except (ConnectionResetError, BrokenPipeError):
            data = b""
        if not data:
            yield "closed"
            return
        buffer += data
        while len(buffer) >= 9:
            length = int.from_bytes(buffer[:3], "big")
            if len(buffer) < 9 + length:
                break
            yield buffer[3], buffer[4], int.from_bytes(buffer[5:9], "big"), buffer[9 : 9 + length]
            buffer = buffer[9 + length :]


def is_ended(connection: Raw, seconds: float = 6) -> bool:
    """Whether the server says GOAWAY with an error, or closes."""
    for one in frames(connection, seconds):
        if one == "closed":
            return True
        if one != "open" and one[0] == GOAWAY and one[3][4:8] != bytes(4):
            return True
    return False


def flood(connection: Raw, piece: bytes, total_bytes: int, drain: bool = True) -> int:
    """Sends `piece` over and over until the server closes; gives the number of bytes that it took."""
    sent, block = 0, piece * max(1, 32_768 // len(piece))
    connection.socket.settimeout(2)
    while sent < total_bytes:
        try:
            connection.socket.sendall(block)
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            break
        sent += len(block)
    return sent


def both_ports(target: Target):
    return (target.grpc, target.http)


@case(14, "rapid resets", quick=False)
def rapid_resets(target: Target):
    for address in both_ports(target):
        with open_connection(address) as connection:
            headers = request_headers()
            block = b""
            for number in range(50_000):
                stream = 2 * number + 1
                block += frame(HEADERS, END_STREAM | END_HEADERS, stream, headers) + frame(RST_STREAM, 0, stream, struct.pack(">I", 8))
                if len(block) > 60_000:
                    try:
                        connection.socket.settimeout(2)
                        connection.socket.sendall(block)
                    except (BrokenPipeError, ConnectionResetError, TimeoutError):
                        break
                    block = b""
            assert is_ended(connection), "50,000 resets and the connection is still welcome"


@case(15, "headers without an end", quick=False)
def continuation_flood(target: Target):
    for address in both_ports(target):
        with open_connection(address) as connection:
            connection.send(frame(HEADERS, END_STREAM, 1, request_headers()))
            taken = flood(connection, frame(CONTINUATION, 0, 1, b"\x00\x01a\x04" + b"b" * 4), 16 << 20)
            assert is_ended(connection), f"{taken} bytes of headers and no end"


@case(16, "errors that make the server reset while nobody reads", quick=False)
def provoked_resets(target: Target):
    before = target.process.resident_bytes()
    for address in both_ports(target):
        with open_connection(address, struct.pack(">HI", 4, 0)) as connection:
            headers = request_headers()
            block = b""
            for number in range(20_000):
                stream = 2 * number + 1
                # A window update of zero is an error of that stream: the server must reset it.
                block += frame(HEADERS, END_HEADERS, stream, headers) + frame(WINDOW_UPDATE, 0, stream, bytes(4))
                if len(block) > 60_000:
                    try:
                        connection.socket.settimeout(2)
                        connection.socket.sendall(block)
                    except (BrokenPipeError, ConnectionResetError, TimeoutError):
                        break
                    block = b""
            assert is_ended(connection)
    assert target.process.resident_bytes() < before + (64 << 20)


@case(17, "empty frames without end", quick=False)
def empty_data(target: Target):
    for address in both_ports(target):
        with open_connection(address) as connection:
            path = "/inference.GRPCInferenceService/ModelInfer" if address == target.grpc else "/v2/models/identity_fp32/infer"
            connection.send(frame(HEADERS, END_HEADERS, 1, request_headers(path, "POST", **{"content-type": "application/grpc", "te": "trailers"})))
            before = target.process.resident_bytes()
            flood(connection, frame(DATA, 0, 1), 4 << 20)
            ended = is_ended(connection, 3)
            assert ended or target.process.resident_bytes() < before + (8 << 20)


@case(17, "pings and settings without end", quick=False)
def pings(target: Target):
    for address in both_ports(target):
        before = target.process.resident_bytes()
        for piece in (frame(PING, 0, 0, bytes(8)), frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65_535))):
            with open_connection(address) as connection:
                flood(connection, piece, 4 << 20)
                assert target.process.resident_bytes() < before + (16 << 20)


@case(8, "too large a header list over HTTP 2")
def large_header_list(target: Target):
    for address in both_ports(target):
        with open_connection(address) as connection:
            encoded = request_headers(**{"x": "a" * 200_000})
            pieces = [encoded[at : at + 16_000] for at in range(0, len(encoded), 16_000)]
            connection.send(frame(HEADERS, END_STREAM, 1, pieces[0]))
            for piece in pieces[1:-1]:
                connection.send(frame(CONTINUATION, 0, 1, piece))
            connection.send(frame(CONTINUATION, END_HEADERS, 1, pieces[-1]))
            statuses = []
            for one in frames(connection, 2):
                if one == "closed":
                    statuses.append("closed")
                elif one != "open" and one[0] in (RST_STREAM, GOAWAY, HEADERS):
                    statuses.append(one[0])
            assert statuses, "no refusal"


@case(3, "garbage instead of the preface")
def wrong_preface(target: Target):
    for address in both_ports(target):
        with Raw(address, 5) as connection:
            connection.send(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + bytes(100))
            assert is_ended(connection, 4)
        with Raw(address, 5) as connection:
            connection.send(PREFACE + frame(99, 255, 2**31 - 1, bytes(16_000)) + frame(DATA, 0, 0, b"x"))
            assert is_ended(connection, 4)
