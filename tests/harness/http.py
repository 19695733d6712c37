"""One HTTP request, sent as written: the path is not normalised, headers may repeat, nothing is added but Host and length."""

import http.client
import json
from dataclasses import dataclass, field


@dataclass
class Reply:
    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: bytes = b""

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def json(self) -> object:
        return json.loads(self.body)

    @property
    def error(self) -> str:
        """The `error` member; fails the test when the body is not an error body (W-03)."""
        value = self.json()
        assert isinstance(value, dict) and list(value) == ["error"] and isinstance(value["error"], str), self.body[:300]
        return value["error"]


def request(
    address: str,
    method: str,
    path: str,
    body: bytes | str | dict | list | None = None,
    headers: dict[str, str] | list[tuple[str, str]] | None = None,
    timeout: float = 30,
) -> Reply:
    host, port = address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
    try:
        return send(connection, method, path, body, headers)
    finally:
        connection.close()


def send(connection, method, path, body=None, headers=None) -> Reply:
    """The same on a connection that stays open."""
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
    if isinstance(body, str):
        body = body.encode()
    given = list(headers.items()) if isinstance(headers, dict) else list(headers or [])
    names = {name.lower() for name, _ in given}
    connection.putrequest(method, path, skip_accept_encoding=True, skip_host="host" in names)
    for name, value in given:
        connection.putheader(name, value)
    if "content-length" not in names and "transfer-encoding" not in names and (body is not None or method in ("POST", "PUT")):
        connection.putheader("Content-Length", str(len(body or b"")))
    connection.endheaders()
    if body:
        connection.send(body)
    response = connection.getresponse()
    return Reply(response.status, response.getheaders(), response.read())
