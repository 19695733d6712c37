"""`hanok pull` through the release binary: what comes, what is refused, and what a kill in the middle leaves."""

import hashlib
import http.server
import io
import json
import os
import shutil
import signal
import subprocess
import tarfile
import threading
import time

import pytest
from harness.mlflow_server import MlflowServer
from harness.server import binary

from .git_place import GitPlace

LOOPBACK = ("--allow-private", "127.0.0.1")


class WebServer:
    """Files at their paths, with ranges and entity tags; `halves` names those that stop after half of what was asked for."""

    def __init__(self, files: dict[str, bytes]):
        self.files, self.halves, self.ranges = files, set(), []
        self.halfway = threading.Event()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                content = web.files.get(self.path)
                if content is None:
                    return self.send_error(404)
                asked = self.headers.get("Range")
                web.ranges.append(asked)
                first = int(asked.removeprefix("bytes=").split("-")[0]) if asked else 0
                self.send_response(206 if asked else 200)
                self.send_header("ETag", '"' + hashlib.sha256(content).hexdigest()[:16] + '"')
                if asked:
                    self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
                self.send_header("Content-Length", str(len(content) - first))
                self.end_headers()
                if self.path not in web.halves:
                    return self.wfile.write(content[first:])
                self.wfile.write(content[first : first + (len(content) - first) // 2])
                self.wfile.flush()
                web.halfway.set()
                self.rfile.read(1)

            do_HEAD = do_GET

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        # Clients that go away in the middle are what some of these tests are about.
        self.server.handle_error = lambda *_: None
        self.address = f"127.0.0.1:{self.server.server_address[1]}"

    def __enter__(self) -> "WebServer":
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"


def pull(hanok, *arguments, **options) -> subprocess.CompletedProcess:
    return hanok.run("pull", *arguments, **options)


def refused(hanok, *arguments, code: str) -> str:
    done = pull(hanok, *arguments, check=False)
    assert done.returncode == 1 and done.stdout == "", done
    assert done.stderr.startswith("error: ") and done.stderr.endswith(f" ({code})\n"), done.stderr
    return done.stderr


def test_a_file_becomes_a_version_and_is_served_by_its_own_name(hanok):
    content = b"not really a network"
    digest = hashlib.sha256(content).hexdigest()
    with WebServer({"/flights.onnx": content}) as web:
        pinned = f"{web.url('/flights.onnx')}#sha256={digest}"
        told = pull(hanok, pinned, *LOOPBACK, "--model-repository", "served").stdout
        assert "fetched and registered as flights/1" in told and "laid out in served/flights/1" in told, told
        assert (hanok.folder / "served/flights/1/flights.onnx").read_bytes() == content
        assert 'default_model_filename: "flights.onnx"' in (hanok.folder / "served/flights/config.pbtxt").read_text()
        asked = len(web.ranges)
        again = json.loads(pull(hanok, pinned, *LOOPBACK, "--format", "json").stdout)
        assert (again["new"], again["fetched"], again["source"]) == (False, False, pinned)
        assert len(web.ranges) <= asked + 1, "content that is here is not fetched again"
    assert list((hanok.registry / "fetched").iterdir()) == [], "what was registered does not wait there"
    hanok.run("lock", "--model-repository", "served", "--file", "hanok.lock")
    assert pinned in (hanok.folder / "hanok.lock").read_text()
    record = hanok.json("show", "flights")["version"]
    assert record["facts"]["origin"] == {"asked": pinned, "pinned": pinned}
    # The digest that the registry tells is the one that a pull can be held to.
    with WebServer({"/flights.onnx": content, "/other.onnx": b"another"}) as web:
        assert pull(hanok, web.url("/flights.onnx"), "held", *LOOPBACK, "--digest", record["digest"]).returncode == 0
        refused(hanok, web.url("/other.onnx"), "held", *LOOPBACK, "--digest", record["digest"], code="digest-mismatch")
    assert len(hanok.json("list", "held")["versions"]) == 1


def test_what_is_refused_leaves_nothing(hanok):
    with WebServer({"/m.onnx": b"network"}) as web:
        text = refused(hanok, web.url("/m.onnx"), code="address-refused")
        assert "--allow-private" in text
        refused(hanok, web.url("/absent.onnx"), *LOOPBACK, code="not-found")
        refused(hanok, web.url("/m.onnx#sha256=" + "0" * 64), *LOOPBACK, code="digest-mismatch")
        refused(hanok, web.url("/m.onnx"), *LOOPBACK, "--max-model-bytes", "3", code="too-large")
        refused(hanok, "mlflow://m@champion", *LOOPBACK, code="invalid-setting")
        refused(hanok, "s3://models/m", code="credentials-missing")
        refused(hanok, "git+file:///srv/models.git", code="address-refused")
    secrets = ("https://user:secret@example.com/m", "https://example.com/m?private_token=secret", "git+https://secret@example.com/m")
    for wrong in ("ftp://example.com/m", "model", *secrets):
        done = pull(hanok, wrong, check=False)
        assert done.returncode == 2 and "secret" not in done.stderr, done
        watched = hanok.run("serve", "--admin-port", "0", "--watch", f"{wrong}=m", check=False)
        assert watched.returncode == 2 and "secret" not in watched.stderr, watched
    assert hanok.json("list")["models"] == []


def test_a_kill_in_the_middle_costs_only_the_rest(hanok):
    # What arrived is put on the disk, and noted, every 8 MiB.
    content = os.urandom(24 << 20)
    with WebServer({"/m.onnx": content}) as web:
        web.halves.add("/m.onnx")
        command = [str(binary()), "pull", web.url("/m.onnx"), *LOOPBACK, "--model-repository", "served"]
        environment = {**os.environ, "HANOK_REGISTRY": str(hanok.registry)}
        process = subprocess.Popen(command, cwd=hanok.folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert web.halfway.wait(30)
        note = wait_for(lambda: list(hanok.registry.rglob("fetched/**/*.json")))[0]
        assert 0 < note.with_suffix(".part").stat().st_size < len(content)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process.stderr.close()
        assert hanok.json("list")["models"] == [] and not (hanok.folder / "served").exists()
        web.halves.clear()
        before = len(web.ranges)
        pull(hanok, web.url("/m.onnx"), *LOOPBACK, "--model-repository", "served")
        begun = [asked for asked in web.ranges[before:] if asked and not asked.startswith("bytes=0-")]
        assert begun, f"it went on where it stopped: {web.ranges}"
    assert (hanok.folder / "served/m/1/m.onnx").read_bytes() == content
    assert hanok.run("registry", "verify").returncode == 0


def wait_for(condition):
    for _ in range(3000):
        found = condition()
        if found:
            return found
        threading.Event().wait(0.01)
    raise AssertionError("it did not happen in time")


def test_the_quota_lets_the_least_recently_used_go(hanok):
    files = {f"/m.onnx?version={number}": bytes([number]) * 1000 for number in (1, 2, 3)}
    with WebServer(files) as web:
        for number in (1, 2, 3):
            if number == 2:
                hanok.run("registry", "alias", "m", "champion", "1")
            pull(hanok, web.url(f"/m.onnx?version={number}"), *LOOPBACK, "--quota", "2500")
        present = {version["number"]: version["present"] for version in hanok.json("list", "m")["versions"]}
        assert present == {1: True, 2: False, 3: True}, "what has an alias stays"
        told = pull(hanok, web.url("/m.onnx?version=2"), *LOOPBACK, "--quota", "2500").stdout
        assert "m/2" in told, "what was evicted comes back as the same version"


def test_what_the_quota_has_no_room_for_is_not_fetched(hanok):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        entry = tarfile.TarInfo("m.onnx")
        entry.size = 1000
        archive.addfile(entry, io.BytesIO(bytes(1000)))
    files = {"/kept.onnx": b"k" * 2000, "/large.onnx": b"l" * 3000, "/more.onnx": b"m" * 1000, "/retrained.onnx": b"r" * 2000, "/m.tar.gz": packed.getvalue()}
    waiting = hanok.registry / "fetched"
    with WebServer(files) as web:
        pull(hanok, web.url("/kept.onnx"), *LOOPBACK)
        hanok.run("registry", "alias", "kept", "champion", "1")
        for path, code, asked in (
            ("/large.onnx", "too-large", 1),
            ("/more.onnx", "resource_exhausted", 1),
            # How large it is unpacked is not told: refused when it is known, and nothing but that stays.
            ("/m.tar.gz", "resource_exhausted", 2),
            ("/m.tar.gz", "resource_exhausted", 1),
            # As large as what is here, and something else.
            ("/retrained.onnx", "resource_exhausted", 2),
            ("/retrained.onnx", "resource_exhausted", 1),
        ):
            before = len(web.ranges)
            refused(hanok, web.url(path), *LOOPBACK, "--quota", "2500", code=code)
            assert len(web.ranges) == before + asked, path
            assert all(left.name.endswith(".refused.json") for left in waiting.iterdir()), path
        # What is refused may be had as soon as there is room.
        pull(hanok, web.url("/retrained.onnx"), *LOOPBACK, "--quota", "5000")
        assert hanok.run("registry", "gc", "--quota", "5000").returncode == 0 and list(waiting.iterdir()) == []
        hanok.run("registry", "gc", "--quota", "2500")
    assert len(hanok.json("list")["models"]) == 2


ON_A_FULL_DISK = """
mount -t tmpfs -o size=24m tmpfs disk
"$HANOK" pull "$SMALL" --allow-private 127.0.0.1 --registry disk/registry || exit 10
"$HANOK" pull "$LARGE" --allow-private 127.0.0.1 --registry disk/registry && exit 11
"$HANOK" registry --registry disk/registry alias small champion 1 || exit 12
"$HANOK" pull "$OTHER" --allow-private 127.0.0.1 --registry disk/registry || exit 13
find disk/registry/fetched -type f | wc -l
"""


def test_a_pull_that_fills_the_disk_leaves_the_registry_as_it_was(hanok):
    if subprocess.run(["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True).returncode != 0:
        pytest.skip("no file system can be mounted here")
    (hanok.folder / "disk").mkdir()
    with WebServer({"/small.onnx": b"s" * 1000, "/large.onnx": bytes(40 << 20), "/other.onnx": b"o" * 1000}) as web:
        names = {"SMALL": web.url("/small.onnx"), "LARGE": web.url("/large.onnx"), "OTHER": web.url("/other.onnx")}
        environment = {**os.environ, "HANOK": str(binary()), **names}
        done = subprocess.run(
            ["unshare", "-rm", "bash", "-c", ON_A_FULL_DISK], cwd=hanok.folder, env=environment, capture_output=True, text=True, timeout=120
        )
    assert done.returncode == 0, done
    assert "the disk is full" in done.stderr and done.stderr.strip().endswith("(disk-full)"), done.stderr
    assert done.stdout.splitlines()[-1] == "0", "nothing waits that nobody can go on with"


def test_what_is_refused_for_its_content_does_not_stay(hanok):
    with WebServer({"/m.onnx": b"n" * 100_000, "/model.onnx": b"<html>no network</html>"}) as web:
        refused(hanok, web.url("/m.onnx"), *LOOPBACK, "--digest", "sha256:" + "0" * 64, code="digest-mismatch")
        # What servers load is looked into: damaged content is no version, and is fetched again when it was mended.
        assert "publish it anew" in refused(hanok, web.url("/model.onnx"), "n", *LOOPBACK, code="invalid-model")
        assert hanok.json("list")["models"] == []
        assert [path for path in (hanok.registry / "fetched").rglob("*") if path.is_file()] == []


def test_a_lock_file_can_be_brought_back(hanok):
    place = GitPlace(hanok.folder / "work")
    place.commit({"adder/weights.bin": "network", "adder/config.pbtxt": 'backend: "identity"\n'})
    source = (f"git+file://{place.path}#main:adder", "adder", "--allow-private", f"file://{hanok.folder}")
    pull(hanok, *source, "--model-repository", "served")
    hanok.run("lock", "--model-repository", "served", "--file", "hanok.lock")
    locked = json.loads((hanok.folder / "hanok.lock").read_text())["models"]["adder"]["versions"]["1"]
    shutil.rmtree(hanok.registry)
    pull(hanok, locked["source"], *source[1:], "--digest", locked["digest"])
    assert hanok.json("show", "adder")["version"]["digest"] != locked["digest"], "the registry counts the configuration"
    pull(hanok, locked["source"], *source[1:], "--digest", locked["digest"])
    refused(hanok, locked["source"], *source[1:], "--digest", "sha256:" + "0" * 64, code="digest-mismatch")


def test_what_was_damaged_is_brought_anew_when_it_is_asked_for(hanok):
    content = b"not really a network"
    pinned = "#sha256=" + hashlib.sha256(content).hexdigest()
    with WebServer({"/m.onnx": content}) as web:
        pull(hanok, web.url("/m.onnx") + pinned, *LOOPBACK)
        asked = len(web.ranges)
        assert "is here already as m/1" in pull(hanok, web.url("/m.onnx") + pinned, *LOOPBACK).stdout
        assert "fetched, and is the same as m/1" in pull(hanok, web.url("/m.onnx") + pinned, *LOOPBACK, "--again").stdout
        assert len(web.ranges) > asked + 1


def test_what_nobody_goes_on_with_is_collected_after_a_day(hanok):
    hanok.write("one/model.bin", "network")
    hanok.text("add", "m", "one")
    part = hanok.write("registry/fetched/dead.partial/incoming/x.part", b"x" * 1000)
    hanok.write("registry/fetched/young.partial/lock", b"")
    for path in (part, part.parent, part.parent.parent):
        os.utime(path, (time.time() - 2 * 86_400,) * 2)
    for flags in (("--dry-run",), ()):
        assert hanok.json("gc", *flags)["fetched"] == {"attempts": 1, "bytes": 1000, "kept_bytes": 0}
    assert [path.name for path in (hanok.registry / "fetched").iterdir()] == ["young.partial"]
    assert "went on with" not in hanok.text("gc")


def test_a_folder_of_a_git_repository(hanok):
    work = hanok.folder / "work"
    (work / "flight/1").mkdir(parents=True)
    (work / "flight/1/weights.bin").write_bytes(b"network")

    def git(*arguments):
        identity = ["-c", "user.name=ann", "-c", "user.email=ann@example.com", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=work, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    git("init", "-q", "-b", "main")
    git("add", ".")
    git("commit", "-q", "-m", "a model")
    commit = git("rev-parse", "HEAD")
    source = f"git+file://{work}#main:flight/1"
    told = pull(hanok, source, "--allow-private", f"file://{hanok.folder}", "--model-repository", "served").stdout
    assert f"#{commit}:flight/1 fetched and registered as flight/1" in told, told
    assert (hanok.folder / "served/flight/1/weights.bin").read_bytes() == b"network"
    again = pull(hanok, source, "--allow-private", f"file://{hanok.folder}").stdout
    assert "is here already as flight/1" in again
    (work / "flight/1/weights.bin").write_bytes(
        b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 12345\n"
    )
    git("commit", "-q", "-a", "-m", "a pointer")
    refused(hanok, source, "--allow-private", f"file://{hanok.folder}", code="lfs-pointer")


def test_a_version_that_was_made_anew_elsewhere_is_another(hanok):
    """The same reference, deleted and made anew at MLflow with other content: neither silence nor the old bytes."""
    with MlflowServer() as mlflow:

        def told(**more: str) -> dict:
            variables = {"MLFLOW_TRACKING_URI": mlflow.url, **more}
            return json.loads(pull(hanok, "mlflow://m/1", *LOOPBACK, "--format", "json", **variables).stdout)

        def facts(answer: dict) -> tuple:
            return answer["version"]["number"], answer["new"], answer["fetched"]

        mlflow.log_models("m", [1])
        first = told()
        assert facts(first) == (1, True, True)
        assert facts(told()) == (1, False, False), "what cannot have changed is not fetched again"
        mlflow.call("DELETE", "registered-models/delete", {"name": "m"})
        mlflow.log_models("m", [2])
        variables = {"MLFLOW_TRACKING_URI": mlflow.url}
        pinned = pull(hanok, "mlflow://m/1", *LOOPBACK, "--digest", first["version"]["digest"], check=False, **variables)
        assert pinned.returncode == 1 and pinned.stderr.endswith(" (digest-mismatch)\n"), pinned
        second = told()
        assert facts(second) == (2, True, True)
        assert second["version"]["digest"] != first["version"]["digest"]
        assert facts(told()) == (2, False, False)
        # Another server is believed no more than that: it is the same by its bytes.
        assert facts(told(MLFLOW_TRACKING_URI=mlflow.url.replace("127.0.0.1", "localhost"))) == (2, False, True)
    assert second["version"]["facts"]["tags"]["mlflow.server"].rstrip("/") == mlflow.url
    for number, version in ((1, first), (2, second)):
        hanok.text("export", f"m/{number}", "--model-repository", "served")
        hanok.run("lock", "--model-repository", "served", "--file", "hanok.lock")
        locked = (hanok.folder / "hanok.lock").read_text()
        assert "mlflow://m/1" in locked and version["version"]["digest"] in locked, locked


def test_whoever_asks_is_helped():
    done = subprocess.run([str(binary()), "pull", "--help"], capture_output=True, text=True, timeout=30)
    for word in ("mlflow://", "s3://", "git+https://", "--allow-private", "--digest", "--quota"):
        assert word in done.stdout, word
