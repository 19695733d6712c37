"""The registry on the admin port of a server, beside the command line on the same folder."""

import json
import threading

import pytest

from harness.control import ControlledServer
from harness.http import request

MODELS = "/v1/registry/models"


class Desk:
    """Calls of one server's registry, as somebody."""

    def __init__(self, server: ControlledServer):
        self.server = server

    def call(self, method, path, body=None, author=None, **headers):
        headers = {**({"X-Hanok-Author": author} if author else {}), **headers}
        return self.server.administer(method, path, json.dumps(body) if body is not None else None, headers=headers)

    def get(self, path):
        answer = self.call("GET", path)
        assert answer.status == 200, answer
        return answer.json()

    def done(self, method, path, body=None, author=None):
        answer = self.call(method, path, body, author)
        assert answer.status == 200, answer
        return answer.json()

    def refused(self, method, path, body=None, author=None) -> tuple[int, str, str]:
        """Status, code and detail of a problem document; fails on anything else."""
        answer = self.call(method, path, body, author)
        assert answer.header("content-type") == "application/problem+json", answer
        problem = answer.json()
        assert problem["status"] == answer.status and problem["title"] and problem["action"], problem
        assert len(answer.body) < 4096, f"a refusal of {len(answer.body)} bytes"
        return answer.status, problem["code"], problem["detail"]


@pytest.fixture
def offered(hanok, repository, tmp_path):
    """A registry with two versions of `m`, registered by ann, and the desk of a server that offers it."""
    repository.add("simple", inputs=[("INPUT0", "INT32", [1])])
    for number in (1, 2):
        hanok.write("f/model.bin", str(number))
        hanok.text("add", "m", "f")
    with ControlledServer(repository, tmp_path / "state.sqlite", "--registry", str(hanok.registry)) as server:
        yield Desk(server)


def test_both_sides_see_what_the_other_did(hanok, offered):
    [model] = offered.get(MODELS)["models"]
    assert (model["name"], model["versions"]) == ("m", 2)
    hanok.write("f/model.bin", "3")
    hanok.text("add", "m", "f")
    assert [version["number"] for version in offered.get(f"{MODELS}/m/versions")["versions"]] == [1, 2, 3]
    offered.done("PUT", f"{MODELS}/m/aliases/champion", {"version": 1, "expected": None}, "bob")
    assert hanok.json("show", "m@champion")["version"]["number"] == 1
    assert hanok.json("log", "m")["records"][-1]["actor"] == "bob"
    found = offered.get("/v1/registry/diff?before=m%40champion&after=m%2F3")
    assert (found["before"]["number"], found["after"]["number"]) == (1, 3)
    assert [change["path"] for change in found["difference"]["files"]] == ["model.bin"]


def test_stages_wait_for_approvals_of_different_people(hanok, offered):
    rule = {"approvals": 2, "checks": ["auc"], "four_eyes": True}
    assert offered.done("PUT", f"{MODELS}/m/rules/production", rule, "eve")["policy"]["production"] == rule
    promote = ("PUT", f"{MODELS}/m/versions/2/stage", {"stage": "production"})
    status, code, detail = offered.refused(*promote)
    assert (status, code) == (409, "failed-precondition") and "expected 2 approvals, found 0" in detail

    def approve(author, verdict="approved", checks=None):
        body = {"stage": "production", "verdict": verdict, "checks": checks or {}, "note": f"says {author}"}
        return offered.done("POST", f"{MODELS}/m/versions/2/approvals", body, author)["approvals"]

    # Whoever registered the version does not count, one person counts once, and a failed check is no check.
    for author, checks in (("ann", {"auc": True}), ("bob", {"auc": True}), ("bob", {}), ("cyd", {"auc": False})):
        approve(author, checks=checks)
    assert "auc" in offered.refused(*promote)[2]
    approve("cyd", checks={"auc": True})
    approve("dan", verdict="rejected")
    assert offered.refused(*promote)[2].endswith("rejected by `dan`")
    given = approve("dan")
    assert [one["by"] for one in given] == ["ann", "bob", "bob", "cyd", "cyd", "dan", "dan"]
    assert given[-1]["note"] == "says dan" and given[-1]["at"]
    assert offered.done(*promote, "fay")["stage"] == "production"
    actions = [(record["action"], record["actor"]) for record in offered.get("/v1/registry/log?model=m")["records"]]
    assert actions[-1] == ("stage_changed", "fay") and actions[3] == ("policy_set", "eve"), actions
    assert hanok.json("log", "m")["records"] == offered.get("/v1/registry/log?model=m")["records"]


def test_stages_and_aliases_move_by_compare_and_set(hanok, offered):
    stage = f"{MODELS}/m/versions/1/stage"
    assert offered.done("PUT", stage, {"stage": "staging", "expected": "none"})["stage"] == "staging"
    status, code, detail = offered.refused("PUT", stage, {"stage": "production", "expected": "none"})
    assert (status, code) == (409, "conflict")
    assert detail == "version `m/1` has moved: expected stage `none`, found `staging`"
    assert "(conflict)" in hanok.run("registry", "promote", "m/1", "production", "--expect", "none", check=False).stderr
    hanok.text("promote", "m/1", "production", "--expect", "staging")
    alias = f"{MODELS}/m/aliases/champion"
    assert offered.done("PUT", alias, {"version": 1, "expected": None})["before"] is None
    assert offered.refused("PUT", alias, {"version": 2, "expected": None})[:2] == (409, "conflict")
    assert offered.refused("DELETE", f"{alias}?expected=2")[:2] == (409, "conflict")
    # A condition that nobody would look at is refused by name.
    for condition in ("If-Match", "If-None-Match"):
        answer = offered.call("PUT", alias, {"version": 2}, **{condition: '"99"'})
        assert answer.status == 400 and condition.lower() in answer.json()["detail"] and "`expected`" in answer.json()["detail"]
    assert hanok.json("show", "m@champion")["version"]["number"] == 1
    # Of many who try at once one wins, and what is on record is one move.
    answers: list[int] = []

    def move():
        answers.append(offered.call("PUT", alias, {"version": 2, "expected": 1}).status)

    threads = [threading.Thread(target=move) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [200] + [409] * 7
    moves = [record for record in hanok.json("log", "m")["records"] if record["action"] == "alias_moved"]
    assert [record["detail"]["after"] for record in moves] == [1, 2]


def test_bad_input_is_refused_by_code_and_nothing_changes(hanok, offered):
    before = hanok.json("log")["records"]
    long = "k" * (1 << 20)
    alias, stage, approvals = f"{MODELS}/m/aliases/a", f"{MODELS}/m/versions/1/stage", f"{MODELS}/m/versions/1/approvals"
    for call, status, code in [
        (("GET", f"{MODELS}/none"), 404, "not-found"),
        (("GET", f"{MODELS}/m/versions/9"), 404, "not-found"),
        (("GET", f"{MODELS}/m/versions/-1"), 400, "invalid-argument"),
        (("GET", f"{MODELS}/m/versions/18446744073709551616"), 400, "invalid-argument"),
        (("GET", f"{MODELS}/m/aliases/none"), 404, "not-found"),
        (("GET", f"{MODELS}/a%2fb"), 404, "no-such-route"),
        (("GET", f"{MODELS}/a/b/c"), 404, "no-such-route"),
        (("GET", f"{MODELS}/.."), 404, "not-found"),
        (("PUT", f"{MODELS}/m/aliases/..", {"version": 1}), 400, "invalid-argument"),
        (("PUT", f"{MODELS}/m/aliases/a@b", {"version": 1}), 400, "invalid-argument"),
        (("PUT", f"{MODELS}/..secret/rules/production", {"approvals": 1}), 400, "invalid-argument"),
        (("PUT", alias, {"version": 9}), 404, "not-found"),
        (("PUT", alias, {"version": "1"}), 400, "invalid-argument"),
        (("PUT", alias, {"version": 1.5}), 400, "invalid-argument"),
        (("PUT", alias, {"version": None}), 400, "invalid-argument"),
        (("PUT", alias, {"versoin": 1}), 400, "invalid-argument"),
        (("PUT", alias, {long: 1}), 400, "invalid-argument"),
        (("PUT", alias, {"version": long}), 400, "invalid-argument"),
        (("PUT", stage, {"stage": "live"}), 400, "invalid-argument"),
        (("PUT", stage, {"stage": long}), 400, "invalid-argument"),
        (("PUT", stage, {"stage": "staging", "expected": "live"}), 400, "invalid-argument"),
        (("POST", approvals, {"stage": "production", "verdict": "perhaps"}), 400, "invalid-argument"),
        (("POST", approvals, {"stage": "none", "verdict": "approved"}), 400, "invalid-argument"),
        (("POST", approvals, {"stage": "production", "verdict": "approved", "checks": {long: True}}), 400, "invalid-argument"),
        (("POST", approvals, {"stage": "production", "verdict": "approved", "checks": {"a\nb": True}}), 400, "invalid-argument"),
        (("POST", approvals, {"stage": "production", "verdict": "approved", "note": long}), 400, "invalid-argument"),
        (("POST", f"{MODELS}/m/versions/9/approvals", {"stage": "production", "verdict": "approved"}), 404, "not-found"),
        (("PUT", f"{MODELS}/m/rules/live", {}), 400, "invalid-argument"),
        (("PUT", f"{MODELS}/m/rules/none", {"approvals": 1}), 400, "invalid-argument"),
        (("PUT", f"{MODELS}/m/rules/production", {"approvals": -1}), 400, "invalid-argument"),
        (("PUT", f"{MODELS}/m/rules/production", {"checks": [long]}), 400, "invalid-argument"),
        (("GET", "/v1/registry/diff?before=m/1&after=m%ff"), 400, "invalid-argument"),
        (("GET", "/v1/registry/diff?before=m/1&after=m@"), 400, "invalid-argument"),
        (("GET", "/v1/registry/log?limit=0"), 400, "invalid-argument"),
        (("DELETE", MODELS), 405, "method-not-allowed"),
        (("PUT", alias, {"version": 1}, "b" * 200), 400, "invalid-argument"),
    ]:  # fmt: skip
        told = offered.refused(*call)
        assert told[:2] == (status, code), f"{str(call):.120}: {told}"
    for body in (b"", b"null", b"[]", b"{", b'"\xff"', b"[" * 20_000, b'{"version": 1, "version": 2}'):
        answer = offered.server.administer("PUT", alias, body)
        assert answer.status == 400 and len(answer.body) < 4096, (body[:20], answer)
    assert offered.server.administer("PUT", alias, b" " * ((8 << 20) + 1)).status == 413
    # A name that fits into no head is refused, or cut off, before all of it was read.
    try:
        assert offered.server.administer("GET", f"{MODELS}/{long}").status in (414, 431)
    except ConnectionError:
        pass
    assert hanok.json("log")["records"] == before
    assert offered.server.get("/v2/health/ready").status == 200


def test_the_token_of_the_port_is_the_registrys_too(hanok, repository, tmp_path):
    repository.add("simple", inputs=[("INPUT0", "INT32", [1])])
    token = tmp_path / "token"
    token.write_text("correct horse battery\n")
    flags = ("--registry", str(hanok.registry), "--admin-token-file", str(token))
    with ControlledServer(repository, tmp_path / "state.sqlite", *flags) as server:
        for headers in ({}, {"Authorization": "Bearer wrong horse battery"}, {"Authorization": "Basic Y29ycmVjdA=="}):
            for method, path in (("GET", MODELS), ("PUT", f"{MODELS}/m/rules/production")):
                refused = server.administer(method, path, "{}", headers=headers)
                assert (refused.status, refused.json()["code"]) == (401, "unauthorised"), refused
        allowed = {"Authorization": "Bearer correct horse battery"}
        assert server.administer("GET", MODELS, headers=allowed).json() == {"models": []}


def test_without_a_token_web_pages_and_other_names_are_refused(offered):
    for headers in ({"Origin": "https://evil.example"}, {"Host": "evil.example"}):
        refused = request(offered.server.admin, "GET", MODELS, headers=headers)
        assert (refused.status, refused.json()["code"]) == (403, "foreign-origin"), refused


def test_without_a_registry_its_routes_say_so(repository, tmp_path):
    repository.add("simple", inputs=[("INPUT0", "INT32", [1])])
    with ControlledServer(repository, tmp_path / "state.sqlite") as server:
        refused = server.administer("GET", MODELS)
        assert (refused.status, refused.json()["code"]) == (404, "not-offered")
