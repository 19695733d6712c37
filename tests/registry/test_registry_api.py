"""The registry on the admin port of a server, beside the command line on the same folder."""

import json

from harness.control import ControlledServer


def test_both_sides_see_what_the_other_did(hanok, repository, tmp_path):
    repository.add("simple", inputs=[("INPUT0", "INT32", [1])])
    hanok.write("f/model.bin", "1")
    with ControlledServer(repository, tmp_path / "state.sqlite", "--registry", str(hanok.registry)) as server:
        hanok.text("add", "m", "f")
        [model] = server.administer("GET", "/v1/registry/models").json()["models"]
        assert (model["name"], model["versions"]) == ("m", 1)
        body = json.dumps({"version": 1, "expected": None})
        moved = server.administer("PUT", "/v1/registry/models/m/aliases/champion", body, headers={"X-Hanok-Author": "bob"})
        assert moved.status == 200, moved
        assert hanok.json("show", "m@champion")["version"]["number"] == 1
        assert hanok.json("log", "m")["records"][-1]["actor"] == "bob"
        refused = server.administer("PUT", "/v1/registry/models/m/aliases/champion", body)
        assert (refused.status, refused.json()["code"]) == (409, "conflict")


def test_without_a_registry_its_routes_say_so(repository, tmp_path):
    repository.add("simple", inputs=[("INPUT0", "INT32", [1])])
    with ControlledServer(repository, tmp_path / "state.sqlite") as server:
        refused = server.administer("GET", "/v1/registry/models")
        assert (refused.status, refused.json()["code"]) == (404, "not-offered")
