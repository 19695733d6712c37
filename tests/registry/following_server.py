"""A server that keeps in force what is declared somewhere, and what there is to ask of it."""

import json

from harness.control import ControlledServer, arm, resource


def traffic(stable: int) -> str:
    return json.dumps(resource("Traffic", "simple", arms=[arm("stable", stable, version=1), arm("canary", 100 - stable, version=2)]))


def following(repository, tmp_path):
    """The body of a fixture: `start(place, *flags)` starts a server that keeps in force what is declared there, looking every second."""
    repository.add("simple", inputs=[("INPUT0", "INT32", [1])], versions=(1, 2), config='version_policy { all {} }')
    servers = []

    def started(place, *flags: str, **options) -> ControlledServer:
        poll = () if "--declared-poll-secs" in flags else ("--declared-poll-secs", "1")
        server = ControlledServer(repository, tmp_path / "state" / "state.sqlite", "--declared", str(place), *poll, *flags, **options)
        servers.append(server)
        return server.start()

    yield started
    for server in servers:
        server.kill()


def declared(server: ControlledServer) -> dict:
    answer = server.administer("GET", "/v1/declared")
    assert answer.status == 200, answer
    return answer.json()


def await_state(server: ControlledServer, state: str, commit: str | None = None) -> dict:
    """The status, once it is in this state, and at this commit."""

    def reached():
        status = declared(server)
        at = (status["read"] or {}).get("commit") or {}
        return status if status["state"] == state and commit in (None, at.get("id")) else None

    return server.await_true(reached, f"the state `{state}` at {commit}", 60)


def canary_weight(server: ControlledServer) -> int:
    table = server.administer("GET", "/v1/traffic").json()["table"]
    arms = table["models"]["simple"]["arms"] if table["models"] else []
    return next((one["weight_basis_points"] for one in arms if one["name"] == "canary"), -1)
