"""`hanok serve --declared`: what is declared in a folder or on a Git branch is in force, through the release binary."""

import fcntl
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from harness.control import arm, resource
from harness.server import ROOT, binary

from .following_server import await_state, canary_weight, following, traffic
from .git_place import GitPlace, GitServer


@pytest.fixture
def start(repository, tmp_path):
    yield from following(repository, tmp_path)


def hanok(*arguments, **options) -> subprocess.CompletedProcess:
    return subprocess.run([str(binary()), *map(str, arguments)], capture_output=True, text=True, timeout=60, cwd=ROOT, **options)


def test_a_branch_is_followed_from_first_start_to_the_last_commit(start, tmp_path):
    place = GitPlace(tmp_path / "ops")
    first = place.commit({"hanok/traffic.json": traffic(90), "compose.yaml": "not: ours"}, "Ten percent")
    server = start(place.url("#main:hanok"))
    await_state(server, "in_step", first)
    assert canary_weight(server) == 1000
    # Requests go by it.
    for _ in range(200):
        assert server.infer("simple", {"INPUT0": ("INT32", [1, 1], [1])}).status == 200
    assert set(server.arm_counts("simple")) == {"stable", "canary"}
    shown = server.cli("declared")
    assert f"{place.url('#main:hanok')}: in step" in shown.stdout, shown.stdout
    assert f"in force: commit {first[:12]} (Ten percent) by Ann <ann@example.org>, revision 1" in shown.stdout, shown.stdout

    broken = place.commit({"hanok/traffic.json": traffic(80).replace('"weight": 20', '"weight":\n "much"')}, "Oops")
    status = await_state(server, "broken", broken)
    [problem] = status["problems"]
    assert (problem["file"], problem["line"], problem["path"]) == ("traffic.json", 1, "spec.arms[1].weight"), problem
    assert canary_weight(server) == 1000
    shown = server.cli("declared", check=False)
    assert shown.returncode == 1 and "traffic.json:1:" in shown.stdout and problem["remedy"] in shown.stdout, shown.stdout

    mended = place.commit({"hanok/traffic.json": traffic(80)}, "Twenty percent")
    await_state(server, "in_step", mended)
    assert canary_weight(server) == 2000
    events = server.administer("GET", "/v1/journal?limit=1000").json()["events"]
    told = [(event["type"], (event["data"].get("source") or event["data"])["origin"]["commit"]["id"]) for event in events]
    assert told == [
        ("io.hanok.resources.applied", first),
        ("io.hanok.declared.refused", broken),
        ("io.hanok.resources.applied", mended),
    ]
    metrics = server.metrics()
    assert metrics.value("hanok_declared_in_step") == 1 and metrics.value("hanok_declared_differences") == 0
    assert abs(time.time() - metrics.value("hanok_declared_last_read_timestamp_seconds")) < 10
    # What is declared no longer goes.
    gone = place.commit({"hanok/traffic.json": None, "hanok/none.yaml": "# nothing\n"}, "Away with it")
    await_state(server, "in_step", gone)
    assert server.administer("GET", "/v1/resources").json()["items"] == []


def test_a_change_since_the_last_look_is_not_in_step(start, tmp_path):
    place = GitPlace(tmp_path / "ops")
    first = place.commit({"traffic.json": traffic(90)})
    server = start(place.url(), "--declared-poll-secs", "3600")
    await_state(server, "in_step", first)
    server.apply(resource("Traffic", "simple", arms=[arm("stable", 40, version=1), arm("canary", 60, version=2)]))
    shown = server.cli("declared", check=False)
    assert shown.returncode == 1 and f"{place.url()}: drifted\n" in shown.stdout, shown.stdout
    assert "they are set back at the next look" in shown.stdout and "~ spec.arms[0].weight: 40 -> 90" in shown.stdout, shown.stdout
    status = server.administer("GET", "/v1/declared").json()
    assert (status["state"], status["differences"], len(status["drift"]["resources"])) == ("drifted", 1, 1), status
    assert server.cli("declared", "sync").returncode == 0
    assert server.administer("GET", "/v1/declared").json()["state"] == "in_step"


def test_drift_is_shown_and_set_back(start, tmp_path):
    place = GitPlace(tmp_path / "ops")
    first = place.commit({"traffic.json": traffic(90)})
    server = start(place.url(), "--declared-drift", "report")
    await_state(server, "in_step", first)
    by_hand = resource("Traffic", "simple", arms=[arm("stable", 40, version=1), arm("canary", 60, version=2)])
    warnings = server.apply(by_hand)["plan"]["warnings"]
    assert any("is declared in" in warning for warning in warnings), warnings
    await_state(server, "drifted")
    shown = server.cli("declared", check=False)
    assert shown.returncode == 1 and "~ spec.arms[0].weight: 40 -> 90" in shown.stdout, shown.stdout
    assert canary_weight(server) == 6000
    assert server.cli("declared", "sync").returncode == 0
    assert canary_weight(server) == 1000
    server.kill()
    # The same place, drift corrected: what is changed by hand is set back within the poll.
    server = start(place.url())
    server.apply(by_hand)
    server.await_true(lambda: canary_weight(server) == 1000, "the declared weights")
    # The kill switch holds until somebody orders otherwise.
    place.commit({"traffic.json": traffic(70)})
    server.await_true(lambda: canary_weight(server) == 3000, "the new weights")
    server.cli("traffic", "kill-switch")
    held = place.commit({"traffic.json": traffic(50)})
    await_state(server, "held", held)
    before = canary_weight(server)
    assert before != 5000
    server.cli("declared", "sync")
    assert canary_weight(server) == 5000


def test_a_folder_is_followed(start, tmp_path):
    folder = tmp_path / "declared"
    server = start(folder)
    await_state(server, "unreachable")
    folder.mkdir()
    (folder / "traffic.json").write_text(traffic(90))
    await_state(server, "in_step")
    assert canary_weight(server) == 1000
    # As a mounted configuration is swapped: a link that is renamed over another.
    for number in (70, 60):
        data = folder / f"..data-{number}"
        data.mkdir()
        (data / "traffic.json").write_text(traffic(number))
        link = folder / "link"
        link.symlink_to(data / "traffic.json")
        os.replace(link, folder / "traffic.json")
        server.await_true(lambda weight=100 * (100 - number): canary_weight(server) == weight, "the swapped weights")


def test_a_repository_behind_a_server_and_a_reason_to_look(start, tmp_path):
    place = GitPlace(tmp_path / "repositories" / "ops")
    first = place.commit({"traffic.json": traffic(90)})
    with GitServer(tmp_path / "repositories") as git:
        server = start(git.url("ops/.git", "#main"), "--declared-poll-secs", "3600")
        await_state(server, "in_step", first)
        second = place.commit({"traffic.json": traffic(75)})
        began = time.monotonic()
        assert server.administer("POST", "/v1/declared/look").status == 202
        await_state(server, "in_step", second)
        assert time.monotonic() - began < 5
        assert canary_weight(server) == 2500
        # A look at a branch that has not moved fetches nothing.
        fetches = sum("git-upload-pack" in path and "service=" not in path for path in git.requests)
        server.cli("declared", "sync")
        again = sum("git-upload-pack" in path and "service=" not in path for path in git.requests)
        assert again - fetches <= 1, git.requests
    # The server is gone: what is in force stays, and the reason is told.
    server.administer("POST", "/v1/declared/look")
    status = await_state(server, "unreachable")
    assert status["failure"]["message"].startswith("git: ") and status["failure"]["remedy"]
    assert canary_weight(server) == 2500 and server.get("/v2/health/ready").status == 200


def test_a_tag_that_stays_is_not_fetched_again(start, tmp_path):
    place = GitPlace(tmp_path / "repositories" / "ops")
    first = place.commit({"traffic.json": traffic(90)})
    place.git("tag", "--annotate", "-m", "A release", "v1")
    broken = place.commit({"traffic.json": None, "link.json": None, "other/traffic.json": traffic(80)})
    with GitServer(tmp_path / "repositories") as git:

        def fetches() -> int:
            return sum("git-upload-pack" in path and "service=" not in path for path in git.requests)

        def looks_cost(server) -> int:
            before = fetches()
            for _ in range(3):
                server.cli("declared", "sync", check=False)
            # What a look at what has not moved costs: `git ls-remote`, which is one such request.
            return fetches() - before

        server = start(git.url("ops/.git", "#v1"), "--declared-poll-secs", "3600")
        await_state(server, "in_step", first)
        assert looks_cost(server) <= 3, git.requests
        server.kill()
        # A commit that is no declaration is told once, with its commit, and not fetched again either.
        server = start(git.url("ops/.git", "#main:none"), "--declared-poll-secs", "3600")
        status = await_state(server, "broken", broken)
        assert "no folder `none`" in status["problems"][0]["message"], status
        assert looks_cost(server) <= 3, git.requests
        events = server.administer("GET", "/v1/journal?limit=1000").json()["events"]
        told = [event["data"]["origin"]["commit"]["id"] for event in events if event["type"] == "io.hanok.declared.refused"]
        assert told == [broken]


def test_nobody_is_asked_for_a_password(start, tmp_path):
    GitPlace(tmp_path / "repositories" / "ops").commit({"traffic.json": traffic(90)})
    asked = tmp_path / "asked"
    ask = tmp_path / "ask"
    ask.write_text(f"#!/bin/sh\necho \"$@\" >> {asked}\necho secret\n")
    ask.chmod(0o755)
    # Three ways in which a desktop asks.
    (tmp_path / ".gitconfig").write_text(f"[core]\n\taskPass = {ask}\n")
    desktop = {"HOME": str(tmp_path), "GIT_ASKPASS": str(ask), "SSH_ASKPASS": str(ask), "SSH_ASKPASS_REQUIRE": "force", "DISPLAY": ":0"}
    with GitServer(tmp_path / "repositories", locked=True) as git:
        server = start(git.url("ops/.git"), environment=desktop)
        status = await_state(server, "unreachable")
        assert "credential" in status["failure"]["remedy"], status
    assert not asked.exists(), asked.read_text()
    server.kill()
    # What ssh is started with: an ssh of one's own is taken as it is.
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f"#!/bin/sh\necho \"$@\" > {tmp_path}/started\nexit 255\n")
    ssh.chmod(0o755)
    path = f"{ssh.parent}:{os.environ['PATH']}"
    for more, batch in ({}, True), ({"GIT_SSH_COMMAND": f"{ssh} -oUser=ops"}, False):
        (tmp_path / "started").unlink(missing_ok=True)
        server = start("git+ssh://git@git.example.org/ops.git", environment={**desktop, "PATH": path, **more})
        await_state(server, "unreachable")
        started = (tmp_path / "started").read_text()
        assert ("BatchMode=yes" in started) == batch and ("User=ops" in started) != batch, started
        server.kill()


def test_a_disk_that_does_not_answer_keeps_nobody_from_ending(start, tmp_path):
    folder = tmp_path / "declared"
    folder.mkdir()
    file = folder / "traffic.json"
    file.write_text(traffic(90))
    server = start(folder, "--declared-poll-secs", "3600")
    await_state(server, "in_step")
    # Who holds a lease keeps everybody else from opening the file, for as long as the kernel grants it.
    signal.signal(signal.SIGIO, signal.SIG_IGN)
    with open(file, "r+") as held:
        fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        assert server.administer("POST", "/v1/declared/look").status == 202
        tasks = Path(f"/proc/{server.pid}/task")
        server.await_true(lambda: any((task / "comm").read_text() == "declared-look\n" for task in tasks.iterdir()), "the look")
        began = time.monotonic()
        server.process.terminate()
        assert server.process.wait(timeout=20) == 0
        assert time.monotonic() - began < 10


def test_kill_9_at_any_point_loses_and_doubles_nothing(start, tmp_path):
    place = GitPlace(tmp_path / "ops")
    chance = random.Random(7)
    commits = [place.commit({"traffic.json": traffic(99)})]
    for number in range(12):
        server = start(place.url("#main"), wait="listening")
        # Some die while they read the first commit, some while they put in force a later one, some between.
        commits.append(place.commit({"traffic.json": traffic(98 - number)}))
        server.await_true(lambda: server.admin, "the admin port")
        server.administer("POST", "/v1/declared/look")
        time.sleep(chance.uniform(0, 0.25))
        server.kill()
    server = start(place.url("#main"))
    await_state(server, "in_step", commits[-1])
    assert canary_weight(server) == 100 * (100 - 87)
    events = server.administer("GET", "/v1/journal?limit=1000").json()["events"]
    applied = [event["data"] for event in events if event["type"] == "io.hanok.resources.applied"]
    # Each revision once, without a gap; each with its commit, in the order of the branch, none twice.
    assert [data["revision"] for data in applied] == list(range(1, len(applied) + 1))
    seen = [commits.index(data["source"]["origin"]["commit"]["id"]) for data in applied]
    assert seen == sorted(set(seen)) and seen[-1] == len(commits) - 1, seen
    for data in applied:
        resources = server.administer("GET", f"/v1/resources?revision={data['revision']}").json()["items"]
        stable = resources[0]["spec"]["arms"][0]["weight"]
        assert stable == 99 - commits.index(data["source"]["origin"]["commit"]["id"]), data
    # One bare repository, whatever was killed.
    assert len(list((tmp_path / "state" / "declared").iterdir())) == 1


def test_a_folder_is_checked_without_a_server(tmp_path):
    folder = tmp_path / "declared"
    folder.mkdir()
    (folder / "traffic.json").write_text(traffic(90))
    done = hanok("declared", "check", folder)
    assert (done.returncode, done.stdout) == (0, "valid: 1 resources in 1 files\n")
    (folder / "two.yaml").write_text("apiVersion: hanok.dev/v1\nkind: Traffic\nmetadata: {name: m}\nspec:\n  arms: []\n  sticky: 5\n")
    (folder / "three.yaml").write_text("kind: Traffic\n  spec: x\n")
    done = hanok("declared", "check", folder)
    assert done.returncode == 1 and done.stderr == ""
    lines = done.stdout.splitlines()
    assert any(line.startswith("three.yaml:2:") for line in lines) and any(line.startswith("two.yaml:6:") for line in lines), lines
    (folder / "three.yaml").unlink()
    (folder / "two.yaml").write_text('\n---\n'.join(traffic(90).replace("simple", f"m{number}") for number in range(200)))
    assert hanok("declared", "check", folder).returncode == 0
    (folder / "three.yaml").write_text('\n---\n'.join(traffic(90).replace("simple", f"n{number}") for number in range(100)))
    done = hanok("declared", "check", folder)
    assert done.returncode == 1 and "expected at most `300` resources in one place, got `301`" in done.stdout, done.stdout
    missing = hanok("declared", "check", folder / "none")
    assert missing.returncode == 1 and "cannot be read" in missing.stderr


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--admin-port", "0", "--declared", "ftp://h/p"), "over https, ssh, http or file"),
        (("--admin-port", "0", "--declared", "https://user:secret@h/p"), "no user or password"),
        (("--admin-port", "0", "--declared", "https://h/p?private_token=secret#main"), "no query"),
        (("--admin-port", "0", "--declared", "git+https://h/p#a..b"), "the name of a branch"),
        (("--declared", "folder"), "--admin-port"),
        (("--admin-port", "0", "--steered", "--declared", "folder"), "cannot be used with"),
        (("--admin-port", "0", "--declared", "folder", "--declared-poll-secs", "0"), "0 is not in"),
    ],
)
def test_what_cannot_be_meant_is_refused_at_the_start(tmp_path, flags, told):
    done = hanok("serve", "--model-repository", tmp_path, *flags)
    assert done.returncode == 2 and told in done.stderr, done.stderr
    assert "secret" not in done.stderr, done.stderr
