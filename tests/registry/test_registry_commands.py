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
    assert told == "`m/1` is not approved for stage `production`: expected 1 approvals, found 0; check `auc` is not on record"
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


def grows(hanok, change, *arguments) -> subprocess.CompletedProcess:
    """Runs `registry add m large`, a folder with a large file, and calls `change` while it is copied in."""
    large = hanok.folder / "large"
    large.mkdir(exist_ok=True)
    with open(large / "model.bin", "wb") as file:
        file.truncate(512 << 20)
    process = subprocess.Popen(
        [str(binary()), "registry", "add", "m", str(large), *arguments],
        cwd=hanok.folder,
        env={**os.environ, "HANOK_REGISTRY": str(hanok.registry), "HANOK_ACTOR": "ann"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    staged = lambda: any(path.stat().st_size > 0 for path in (hanok.registry / "staging").glob("*/0"))  # noqa: E731
    while not staged():
        assert process.poll() is None, "it ended before anything could be changed"
    # It stands still meanwhile, so that it cannot end before a slow test has changed anything.
    process.send_signal(signal.SIGSTOP)
    change(large)
    process.send_signal(signal.SIGCONT)
    out, errors = process.communicate(timeout=180)
    return subprocess.CompletedProcess(process.args, process.returncode, out, errors)


def test_what_is_changed_while_it_is_added_is_not_registered(hanok):
    def rewrite(large):
        with open(large / "model.bin", "r+b") as file:
            file.write(b"x")

    def replace(large):
        (large / "fresh").write_bytes(b"x")
        (large / "fresh").rename(large / "model.bin")

    for change, told in (
        (rewrite, "`model.bin` was changed"),
        (replace, "`model.bin` was changed"),
        (lambda large: (large / "weights").write_bytes(b"w"), "`large` was changed"),
    ):
        done = grows(hanok, change)
        assert done.returncode == 1 and told in done.stderr and done.stderr.endswith("(unavailable)\n"), done
    assert hanok.json("list") == {"models": []}
    assert list((hanok.registry / "staging").iterdir()) == []


def test_what_has_no_end_or_no_content_is_refused(hanok):
    hanok.write("f/model.bin", "1")
    hanok.text("add", "m", "f")
    pipe = hanok.folder / "pipe"
    os.mkfifo(pipe)
    for arguments in (("m", pipe), ("m", "/dev/zero"), ("m", "f", "--config", pipe), ("m", "f", "--config", "/dev/zero")):
        assert "plain file" in hanok.refused("add", *arguments, code="invalid_argument")
    done = hanok.run("lock", "--check", "--file", pipe, "--model-repository", "f", check=False)
    assert done.returncode == 1 and "expected a plain file" in done.stderr, done
    endless = hanok.run("registry", "add", "m", "f", "--facts", "/dev/zero", check=False)
    assert endless.returncode == 1 and "at most 67108864 bytes" in endless.stderr, endless
    (hanok.folder / "huge").mkdir()
    with open(hanok.folder / "huge/model.onnx", "wb") as file:
        file.truncate(20 << 30)
    huge = hanok.run("registry", "add", "m", "huge", check=False)
    assert huge.returncode == 1 and "expected at most 2147483648 bytes, got 21474836480" in huge.stderr, huge
    assert len(hanok.json("list", "m")["versions"]) == 1


def test_what_contradicts_itself_or_goes_too_far_is_refused(hanok):
    hanok.write("f/model.bin", "1")
    for facts, told in (
        ('{"origin": {"asked": "s3://b/m", "pinned": "s3://b/m"}}', "--origin and --pinned"),
        ('{"tags": {"a": "1", "a": "2"}}', '"a" comes twice'),
        ('{"metrics": {"a": 1, "a": 1}}', '"a" comes twice'),
        ('{"tags": {}, "tags": {}}', "duplicate field `tags`"),
    ):
        hanok.write("facts.json", facts)
        done = hanok.run("registry", "add", "m", "f", "--facts", "facts.json", check=False)
        assert done.returncode == 1 and told in done.stderr, (facts, done)
    for second, told in (("0" * 64, "`model.bin` has another digest further up"), (None, None)):
        right = hashlib.sha256(b"1").hexdigest()
        hanok.write("sums", f"{right}  model.bin\n{second or right}  ./model.bin\n")
        source = ("--origin", "s3://b/m", "--pinned", "s3://b/m?versionId=1", "--digests", "sums")
        done = hanok.run("registry", "add", "m", "f", *source, check=False)
        assert (done.returncode, told is None or told in done.stderr) == (0 if told is None else 1, True), done
    assert len(hanok.json("list", "m")["versions"]) == 1


def test_nobody_writes_lines_of_the_registry(hanok):
    hanok.write("f/model.bin", "1")
    forged = "x\n  approved      for production by carol at 2026-01-01T00:00:00Z"
    hanok.text("add", "m", "f", "--tag", f"a={forged}", "--facts", hanok.write("facts.json", "{}"))
    shown = hanok.text("show", "m")
    assert "approved" not in [line.split()[0] for line in shown.splitlines()], shown
    assert "a = x\\n  approved" in shown
    assert hanok.json("show", "m")["version"]["facts"]["tags"]["a"] == forged
    for text in ("\x1b[2K", "\u202ex", "a\x00b".replace("\x00", "\x7f")):
        hanok.refused("add", "m", "f", "--tag", f"a={text}", code="invalid_argument")
        hanok.refused("approve", "m/1", "production", "--note", text, code="invalid_argument")
        hanok.refused("promote", "m/1", "staging", actor=f"ann{text}", code="invalid_argument")
    # One person counts once, whichever way the name is written.
    hanok.text("policy", "m", "production", "--approvals", "2", "--four-eyes")
    for name in ("Ann", "ann ", "bob", " BOB"):
        hanok.text("approve", "m/1", "production", actor=name)
    assert "expected 2 approvals, found 1" in hanok.refused("promote", "m/1", "production", code="failed_precondition")


FULL_DISK = """
mount -t tmpfs -o size=24m tmpfs disk
add() { head -c "$SIZE" /dev/urandom > f/model.bin; "$HANOK" registry add "$@"; }
SIZE=3000000
for number in 1 2; do add m f --origin "test://m" --pinned "test://m/$number" > /dev/null; done
dd if=/dev/zero of=disk/filler bs=512 2> /dev/null || true
for command in "list" "show m/1" "log m" "verify" "export m/2 --model-repository out"; do "$HANOK" registry $command > told || { echo "$command"; exit 1; }; done
for command in "promote m/2 production" "add m f" "alias m champion 1"; do
    if "$HANOK" registry $command 2>> refusals; then exit 2; fi
done
for round in 1 2 3 4 5 6 7 8 9 10; do
    "$HANOK" registry list > told & first=$!
    "$HANOK" registry show m/2 > told & second=$!
    wait $first || exit 3
    wait $second || exit 4
done
"$HANOK" registry gc --quota 3MB
SIZE=100000 add m f
"$HANOK" registry verify
"""


def test_a_full_disk_stops_neither_reading_nor_making_room(hanok):
    """On a real disk of 24 MB, in a mount namespace of its own."""
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode != 0:
        pytest.skip("this machine allows no file systems of our own")
    for folder in ("f", "disk"):
        (hanok.folder / folder).mkdir()
    environment = {**os.environ, "HANOK": str(binary()), "HANOK_REGISTRY": str(hanok.folder / "disk/registry"), "HANOK_ACTOR": "ann"}
    command = ["unshare", "-rm", "sh", "-ec", FULL_DISK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=hanok.folder, env=environment)
    refusals = (hanok.folder / "refusals").read_text() if (hanok.folder / "refusals").exists() else ""
    assert done.returncode == 0, (done, refusals)
    assert len(refusals.splitlines()) == 3 and all(line.endswith("(resource_exhausted)") for line in refusals.splitlines()), refusals
    assert "free some, or evict versions with `hanok registry gc --quota SIZE`" in refusals
    evicted, table = done.stdout.split("\n", 1)
    assert evicted == "m/1 evicted", done.stdout
    assert "registered m/3" in table and done.stdout.endswith("all as registered\n"), done.stdout


@pytest.mark.parametrize("arguments", [("registry",), ("registry", "promote", "m"), ("registry", "alias", "m", "a"), ("registry", "add")])
def test_half_a_command_is_a_usage_error(hanok, arguments):
    assert hanok.run(*arguments, check=False).returncode == 2


def test_an_export_that_fails_leaves_no_folder(hanok):
    hanok.write("f/weights", b"x" * 1000)
    hanok.write("f/config.pbtxt", 'backend: "builtin"\n')
    hanok.text("add", "m", "f")
    for blob in (hanok.registry / "blobs").rglob("*"):
        if blob.is_file():
            blob.write_bytes(b"y")
    refused = hanok.refused("export", "m", "--model-repository", "made/by/us", code="data_loss")
    assert "is not what was promised" in refused, refused
    assert not (hanok.folder / "made").exists()
    (hanok.folder / "theirs").mkdir()
    hanok.refused("export", "m", "--model-repository", "theirs/ours", code="data_loss")
    assert list((hanok.folder / "theirs").iterdir()) == [], "what was there before stays"
    hanok.refused("export", "m", "--model-repository", "f/weights", code="invalid_argument")
    hanok.text("add", "m", "f", "--tag", "mended=yes")
    hanok.text("export", "m", "--model-repository", "made/by/us")
    assert (hanok.folder / "made/by/us/m/2/weights").exists()


def test_a_lock_file_that_cannot_be_written_is_told_as_what_it_is(hanok):
    (hanok.folder / "models").mkdir()
    lock = lambda file: hanok.run("lock", "--file", file, check=False)
    for file, told in (
        ("away/hanok.lock", "folder of lock file `hanok.lock` does not exist (not_found)"),
        ("models", "`models`: expected a plain file (invalid_argument)"),
        (".", "expected a plain file (invalid_argument)"),
    ):
        done = lock(file)
        assert done.returncode == 1 and told in done.stderr, done.stderr


def test_facts_come_out_of_a_pipe_too(hanok):
    hanok.write("f/weights", b"x")
    hanok.write("facts.json", '{"metrics": {"auc": 0.5}}')
    command = f'"{binary()}" registry add m f --facts <(cat facts.json)'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, cwd=hanok.folder, env={**os.environ, "HANOK_REGISTRY": str(hanok.registry)})
    assert done.returncode == 0, done.stderr
    assert hanok.json("show", "m")["version"]["facts"]["metrics"] == {"auc": 0.5}
    for file, code in (("away.json", "not_found"), ("f", "invalid_argument"), ("/dev/null", "invalid_argument")):
        assert "--facts: " in hanok.refused("add", "m", "f", "--facts", file, code=code)
