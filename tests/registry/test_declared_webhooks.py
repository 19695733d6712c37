"""A push that is told by webhook is in force at once; polled so seldom that nothing else can be the reason."""

import json

import pytest

from .following_server import await_state, canary_weight, declared, following, traffic
from .git_place import GitPlace
from .webhook_delivery import SECRETS, delivery


@pytest.fixture
def start(repository, tmp_path):
    yield from following(repository, tmp_path)


@pytest.mark.parametrize("sender", SECRETS)
def test_a_signed_push_is_in_force_at_once(start, tmp_path, sender):
    place = GitPlace(tmp_path / "ops")
    (tmp_path / "secret").write_text(SECRETS[sender] + "\n")
    name = sender.split("-")[0]
    first = place.commit({"traffic.json": traffic(90)})
    server = start(place.url("#main"), "--declared-poll-secs", "3600", "--webhook-secret-file", f"{name}={tmp_path / 'secret'}")
    await_state(server, "in_step", first)

    def deliver(headers: dict, body: bytes):
        return server.administer("POST", f"/v1/webhooks/{name}", body, headers={"Content-Type": "application/json", **headers})

    second = place.commit({"traffic.json": traffic(75)})
    body = json.dumps({"ref": "refs/heads/main", "after": second}).encode()
    genuine = delivery(sender, body)
    # Who does not know the secret makes nobody look.
    before = declared(server)["looked_at"]
    wrong = {key: value[:-6] + "AAAAA=" if "signature" in key.lower() or "token" in key.lower() else value for key, value in genuine.items()}
    forged = [wrong, {}, {"Authorization": "Bearer of the admin port's token"}]
    for headers in forged:
        refused = deliver(headers, body)
        assert (refused.status, refused.json()["code"]) == (401, "signature-refused"), (headers, refused)
    if "token" not in sender:
        assert deliver(genuine, body.replace(b"main", b"mine")).status == 401, "signed over another body"
    if sender == "gitlab":
        assert deliver(delivery(sender, body, age_seconds=301), body).status == 401, "a delivery that somebody kept"
    others = next(other for other in ("github", "gitea") if other != name)
    assert server.administer("POST", f"/v1/webhooks/{others}", body, headers=genuine).status == 404
    status = declared(server)
    assert (status["looked_at"], status["read"]["commit"]["id"]) == (before, first)

    assert deliver(genuine, body).status == 200
    await_state(server, "in_step", second)
    assert canary_weight(server) == 2500
    # Delivered again: a look that finds nothing new. What the body claims is not believed.
    revision = declared(server)["in_force"]["revision"]
    looked = declared(server)["looked_at"]
    assert deliver(genuine, body).status == 200
    server.await_true(lambda: declared(server)["looked_at"] != looked, "a second look")
    status = await_state(server, "in_step", second)
    assert status["in_force"]["revision"] == revision
