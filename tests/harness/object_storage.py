"""A real server that speaks S3 (Moto), a client for it, and a proxy before it that notes what is asked and can hold answers.

The interpreter with Moto is `HANOK_SOURCES_PYTHON`, else `.venv-sources`, which `tests/run` fills.
"""

import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

from .http import request
from .mlflow_server import interpreter

# Moto tells services apart by the scope of a signature, which it checks only when it is told to.
_SCOPE = "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{}/aws4_request, SignedHeaders=host, Signature=0"


class Moto:
    """`with Moto() as moto:` has the bucket `tables`; everything is gone after the block."""

    bucket = "tables"

    def __init__(self):
        self._python = interpreter()
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{self.address}"

    def __enter__(self) -> "Moto":
        host, port = self.address.split(":")
        self._log = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [self._python, "-m", "moto.server", "-H", host, "-p", port], stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log, start_new_session=True
        )
        end = time.monotonic() + 240
        while not self._answers():
            assert self.process.poll() is None and time.monotonic() < end, "Moto did not come up"
            time.sleep(0.05)
        self._call("PUT", f"/{self.bucket}")
        return self

    def _answers(self) -> bool:
        try:
            return request(self.address, "GET", "/moto-api/").status < 500
        except OSError:
            return False

    def __exit__(self, *_):
        self.kill()
        self._log.close()

    def kill(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)

    def _call(self, method: str, path: str, body: bytes | None = None, service: str = "s3") -> bytes:
        headers = {"authorization": _SCOPE.format(service)}
        if service != "s3":
            headers["content-type"] = "application/x-www-form-urlencoded"
        reply = request(self.address, method, path, body, headers)
        assert reply.status < 300, (method, path, reply.status, reply.body[:500])
        return reply.body

    def put(self, key: str, content: bytes | Path):
        content = content.read_bytes() if isinstance(content, Path) else content
        self._call("PUT", f"/{self.bucket}/{urllib.parse.quote(key)}", content)

    def put_folder(self, key: str, folder: Path):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{key}/{path.relative_to(folder)}", path)

    def get(self, key: str) -> bytes:
        return self._call("GET", f"/{self.bucket}/{urllib.parse.quote(key)}")

    def keys(self, prefix: str = "") -> list[str]:
        listing = self._call("GET", f"/{self.bucket}?list-type=2&max-keys=1000&prefix={urllib.parse.quote(prefix)}").decode()
        return [urllib.parse.unquote(key) for key in re.findall(r"<Key>(.*?)</Key>", listing)]

    def delete(self, *keys: str):
        for key in keys:
            self._call("DELETE", f"/{self.bucket}/{urllib.parse.quote(key)}")

    def uploads(self) -> int:
        """Uploads that were begun and neither finished nor given up."""
        return self._call("GET", f"/{self.bucket}?uploads").count(b"<Upload>")

    def check_signatures(self) -> dict[str, str]:
        """From now on every signature is checked; the variables of one who may do everything."""
        ask = lambda **form: self._call("POST", "/", urllib.parse.urlencode(form).encode(), "iam").decode()
        ask(Action="CreateUser", UserName="hanok", Version="2010-05-08")
        policy = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
        ask(Action="PutUserPolicy", UserName="hanok", PolicyName="all", PolicyDocument=policy, Version="2010-05-08")
        key = ask(Action="CreateAccessKey", UserName="hanok", Version="2010-05-08")
        found = {name: re.search(f"<{name}>(.*?)</{name}>", key)[1] for name in ("AccessKeyId", "SecretAccessKey")}
        self._call("POST", "/moto-api/reset-auth", b"0")
        return self.variables(key=found["AccessKeyId"], secret=found["SecretAccessKey"])

    def variables(self, url: str | None = None, key: str = "test", secret: str = "s3cretkey") -> dict[str, str]:
        """What a client is told."""
        return {"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": url or self.url}


class StorageProxy:
    """`with StorageProxy(address) as proxy:` notes requests and bytes; `hold_after(n)` stops answers after so many bytes in all."""

    _HEAD = re.compile(rb"(GET|PUT|POST|DELETE|HEAD) (\S+) HTTP/1\.1\r\n((?:[^\r\n]+\r\n)*)")
    _RANGE = re.compile(rb"(?i)\r?\nrange: bytes=(\d+)-(\d+)\r\n")

    def __init__(self, address: str):
        host, port = address.rsplit(":", 1)
        self._to = (host, int(port))
        self.requests: list[tuple[str, str, tuple[int, int] | None]] = []
        self.bytes_out = 0
        self._limit: int | None = None
        self._lock = threading.Condition()

    def __enter__(self) -> "StorageProxy":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()
        self.release()

    def hold_after(self, count: int):
        with self._lock:
            self._limit = self.bytes_out + count

    def release(self):
        with self._lock:
            self._limit = None
            self._lock.notify_all()

    def wait(self, what, seconds: float = 60):
        """Waits until `what(self)`."""
        with self._lock:
            assert self._lock.wait_for(lambda: what(self), seconds), self.requests[-5:]

    @property
    def held(self) -> bool:
        return self._limit is not None and self.bytes_out > self._limit

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(self._to)
            except OSError:
                client.close()
                continue
            threading.Thread(target=self._copy, args=(client, server, self._asked), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, self._answered), daemon=True).start()

    def _asked(self, block: bytes):
        with self._lock:
            for method, path, head in self._HEAD.findall(block):
                found = self._RANGE.search(b"\n" + head)
                wanted = (int(found[1]), int(found[2])) if found else None
                self.requests.append((method.decode(), urllib.parse.unquote(path.decode()), wanted))
            self._lock.notify_all()

    def _answered(self, block: bytes):
        with self._lock:
            self.bytes_out += len(block)
            self._lock.notify_all()
            self._lock.wait_for(lambda: not self.held)

    def _copy(self, source, target, note):
        try:
            while block := source.recv(1 << 16):
                note(block)
                target.sendall(block)
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
