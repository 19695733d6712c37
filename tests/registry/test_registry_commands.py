"""The registry through the release binary: what it keeps, what it refuses, and with which text, code and status."""

import hashlib
import json
import os
import signal
import subprocess

import pytest

from harness.server import ROOT, binary

FLIGHTS = ROOT / "models" / "flight_delay"


def digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def test_a_model_is_registered_promoted_and_laid_out(hanok):
    added = hanok.text(
        "add", "flight_delay", FLIGHTS / "1", "--config", FLIGHTS / "config.pbtxt", "--metric", "auc=0.75", "--tag", "team=ops"
    )
    assert added.startswith("registered flight_delay/1: "), added
    hanok.run("registry", "add", "flight_delay", FLIGHTS / "2", "--parent", "flight_delay/1", "--git-commit", "ab" * 20)
    assert hanok.text("promote", "flight_delay/1", "production") == "flight_delay/1 is in stage production\n"
    assert hanok.text("alias", "flight_delay", "champion", "1") == "flight_delay@champion: nothing -> version 1\n"
    record = hanok.json("show", "flight_delay@champion")
    version = record["version"]
    assert (version["model"], version["number"], version["stage"], version["registered_by"]) == ("flight_delay", 1, "production", "ann")
    assert version["facts"]["metrics"] == {"auc": 0.75} and version["facts"]["tags"] == {"team": "ops"}
    # The signature comes from the graph.
    assert [tensor["data_type"] for tensor in version["facts"]["signature"]["inputs"]], version["facts"]
    for name in ("config.pbtxt", "model.onnx"):
        source = FLIGHTS / name if name == "config.pbtxt" else FLIGHTS / "1" / name
        assert record["manifest"]["files"][name]["digest"] == digest(source.read_bytes())
    assert record["lineage"]["descendants"] == [
        {"child": {"model": "flight_delay", "number": 2}, "parent": {"model": "flight_delay", "number": 1}}
    ]
    table = hanok.text("list").splitlines()
    assert table[0].split() == ["model", "versions", "production", "staging", "aliases"]
    assert table[1].split() == ["flight_delay", "2", "1", "-", "champion=1"]
    assert [row["number"] for row in hanok.json("list", "flight_delay", "--git-commit", "abab")["versions"]] == [2]
    hanok.run("registry", "export", "flight_delay@champion", "--model-repository", "served")
    assert (hanok.folder / "served/flight_delay/1/model.onnx").read_bytes() == (FLIGHTS / "1/model.onnx").read_bytes()
    assert (hanok.folder / "served/flight_delay/config.pbtxt").read_bytes() == (FLIGHTS / "config.pbtxt").read_bytes()
    assert "is already in" in hanok.text("export", "flight_delay@champion", "--model-repository", "served")
    assert hanok.text("verify").endswith("of 2 versions: all as registered\n")
    log = hanok.json("log", "flight_delay")["records"]
    assert [record["action"] for record in log] == [
        "model_created", "version_registered", "version_registered", "stage_changed", "alias_moved",
    ]  # fmt: skip
    assert {record["actor"] for record in log} == {"ann"}


def test_a_stage_waits_for_its_approvals(hanok):
    hanok.write("one/model.bin", "1")
    hanok.text("policy", "m", "production", "--approvals", "1", "--check", "auc", "--four-eyes")
    hanok.text("add", "m", "one")
    told = hanok.refused("promote", "m/1", "production", code="failed_precondition")
    assert told == "stage `production` is not approved: expected 1 approvals, found 0; check `auc` is not on record"
    hanok.text("approve", "m/1", "production", "--check", "auc=passed", actor="ann")
    assert "expected 1 approvals, found 0" in hanok.refused("promote", "m/1", "production", code="failed_precondition")
    hanok.text("approve", "m/1", "production", "--check", "auc=failed", "--note", "on 2013 only", actor="bob")
    assert "check `auc` failed" in hanok.refused("promote", "m/1", "production", code="failed_precondition")
    assert hanok.text("approve", "m/1", "production", "--check", "auc=passed", actor="bob") == "m/1 is approved for production by bob\n"
    hanok.text("promote", "m/1", "production")
    approvals = hanok.json("show", "m/1")["approvals"]
    assert [(approval["by"], approval["checks"]) for approval in approvals] == [
        ("ann", {"auc": True}), ("bob", {"auc": False}), ("bob", {"auc": True}),
    ]  # fmt: skip
    assert "not counting that of whoever registered the version; checks auc" in hanok.text("policy", "m")


def test_an_alias_moves_where_it_is_expected(hanok):
    for content in "12":
        hanok.write("f/model.bin", content)
        hanok.text("add", "m", "f")
    hanok.text("alias", "m", "champion", "1", "--expect", "none")
    told = hanok.refused("alias", "m", "champion", "2", "--expect", "none", code="conflict")
    assert told == "alias `m@champion` has moved: expected nothing, found version 1"
    hanok.text("alias", "m", "champion", "2", "--expect", "1")
    assert hanok.json("alias", "m", "champion", "--remove") == {"model": "m", "alias": "champion", "before": 2, "after": None}
    hanok.refused("show", "m@champion", code="not_found")


def test_differences_are_told(hanok):
    hanok.write("f/a", "1")
    hanok.text("add", "m", "f", "--metric", "auc=0.5")
    hanok.write("f/b", "22")
    hanok.text("add", "m", "f", "--metric", "auc=0.6")
    lines = hanok.text("diff", "m/1", "m/2").splitlines()
    assert lines == [f"+ file b: {digest(b'22')} (2 B)", "~ metrics.auc: 0.5 -> 0.6"]
    assert hanok.text("diff", "m/1", "m/1") == "no difference\n"


def test_what_was_fetched_must_be_what_was_promised(hanok):
    hanok.write("f/model.bin", "network")
    sums = hanok.write("SHA256SUMS", f"{hashlib.sha256(b'network').hexdigest()}  model.bin\n")
    source = ("--origin", "s3://b/m@champion", "--pinned", "s3://b/m?versionId=7", "--digests", sums)
    assert hanok.json("add", "m", "f", *source)["new"] is True
    assert hanok.json("add", "m", "f", *source)["new"] is False
    hanok.write("f/model.bin", "netwark")
    told = hanok.refused("add", "m", "f", *source, code="data_loss")
    assert told == f"`model.bin` is not what was promised: expected `{digest(b'network')}`, got `{digest(b'netwark')}`"
    assert len(hanok.json("list", "m")["versions"]) == 1


def test_the_quota_evicts_what_can_be_fetched_again(hanok):
    for number in range(1, 5):
        hanok.write("f/model.bin", bytes([number]) * 1000)
        hanok.text("add", "m", "f", "--origin", "test://m", "--pinned", f"test://m/{number}", "--quota", "3kB")
    assert [row["present"] for row in hanok.json("list", "m")["versions"]] == [False, True, True, True]
    told = hanok.refused("export", "m/1", code="failed_precondition")
    assert told == "the files of `m/1` were evicted; pull `test://m/1` to have them again"
    hanok.text("alias", "m", "champion", "2")
    assert hanok.text("gc", "--quota", "1kB", "--dry-run").startswith("m/3 would be evicted\nm/4 would be evicted\n")
    hanok.text("gc", "--quota", "1kB")
    assert [row["present"] for row in hanok.json("list", "m")["versions"]] == [False, True, False, False]


def test_damage_is_found_and_healed(hanok):
    hanok.write("f/model.bin", "network")
    hanok.text("add", "m", "f")
    [blob] = (path for path in (hanok.registry / "blobs").rglob("*") if path.is_file())
    blob.chmod(0o600)
    blob.write_bytes(b"netwark")
    done = hanok.run("registry", "verify", check=False)
    assert done.returncode == 1
    assert f"m/1: `model.bin` is damaged: expected `{digest(b'network')}`, found `{digest(b'netwark')}`" in done.stdout
    hanok.text("add", "m", "f")
    assert hanok.text("verify").endswith("all as registered\n")


def test_bad_input_is_told_by_code(hanok):
    hanok.write("f/model.bin", "1")
    for name in ("../m", "a/b", "a b", "", "m" * 129, "a@b"):
        hanok.refused("add", name, "f", code="invalid_argument")
    hanok.refused("add", "m", "absent", code="not_found")
    hanok.write("whole/1/model.bin", "1")
    hanok.write("whole/config.pbtxt", "")
    assert "version folder `1`; name that folder" in hanok.refused("add", "m", "whole", code="invalid_argument")
    os.symlink("/etc/passwd", hanok.folder / "f/link")
    assert "`link` is neither" in hanok.refused("add", "m", "f", code="invalid_argument")
    assert hanok.json("list") == {"models": []}
    hanok.refused("show", "m", code="not_found")
    hanok.refused("promote", "m/1", "production", code="not_found")
    # A damaged ONNX file is told before anything is registered.
    hanok.write("onnx/model.onnx", b"\x08\x07garbage")
    done = hanok.run("registry", "add", "m", "onnx", check=False)
    assert done.returncode == 1 and "is no ONNX model" in done.stderr and "--no-signature" in done.stderr, done.stderr
    hanok.write("broken.json", '{"metrics": {"auc": "high"}}')
    done = hanok.run("registry", "add", "m", "f", "--facts", "broken.json", check=False)
    assert done.returncode == 1 and "--facts: `broken.json`" in done.stderr, done.stderr
    # What is no registry is not touched.
    assert hanok.run("registry", "--registry", "elsewhere", "list", check=False).returncode == 1
    assert not (hanok.folder / "elsewhere").exists()
    hanok.write("other/registry.sqlite", "<html>")
    done = hanok.run("registry", "--registry", "other", "list", check=False)
    assert done.returncode == 1 and done.stderr.endswith("(data_loss)\n"), done.stderr


def test_killing_a_registration_leaves_nothing(hanok):
    """SIGKILL while a large file is copied in; the crate's own suite kills 200 times at random moments."""
    large = hanok.folder / "large"
    large.mkdir()
    with open(large / "model.bin", "wb") as file:
        file.truncate(4 << 30)
    hanok.write("small/model.bin", "1")
    hanok.text("add", "m", "small")
    process = subprocess.Popen(
        [str(binary()), "registry", "add", "m", str(large)],
        cwd=hanok.folder,
        env={**os.environ, "HANOK_REGISTRY": str(hanok.registry), "HANOK_ACTOR": "ann"},
        stdout=subprocess.DEVNULL,
    )
    staged = lambda: any(path.stat().st_size > 0 for path in (hanok.registry / "staging").glob("*/0"))  # noqa: E731
    while not staged():
        assert process.poll() is None, "it ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait(10)
    assert [row["number"] for row in hanok.json("list", "m")["versions"]] == [1]
    assert list((hanok.registry / "staging").iterdir()) == []
    assert json.loads(hanok.run("registry", "--format", "json", "verify").stdout)["orphans"] == 0


@pytest.mark.parametrize("arguments", [("registry",), ("registry", "promote", "m"), ("registry", "alias", "m", "a"), ("registry", "add")])
def test_half_a_command_is_a_usage_error(hanok, arguments):
    assert hanok.run(*arguments, check=False).returncode == 2
