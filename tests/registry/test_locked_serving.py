"""`hanok lock` and `hanok serve --locked`: exactly what was pinned is served, at start and later."""

import json
import subprocess

import pytest

from harness import ModelRepository
from harness.server import binary

INT32 = [("INPUT0", "INT32", [1])]


@pytest.fixture
def models(tmp_path) -> ModelRepository:
    repository = ModelRepository(tmp_path / "models")
    repository.add("one", inputs=INT32)
    repository.add("two", inputs=INT32, files={"1/weights": "w"})
    return repository


def refusal(models, lock) -> str:
    """What a server says that must not start."""
    command = [str(binary()), "serve", "--model-repository", str(models.path), "--locked", str(lock), "--http-port=0"]
    done = subprocess.run([*command, "--grpc-port=0", "--metrics-port=0"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1, done
    assert "listening" not in done.stderr
    return done.stderr


def test_what_is_pinned_is_served_and_nothing_else(hanok, models, serve):
    assert hanok.run("lock").stdout.endswith("pinned 2 versions of 2 models in `hanok.lock`\n")
    lock = hanok.folder / "hanok.lock"
    first = lock.read_bytes()
    hanok.run("lock")
    assert lock.read_bytes() == first, "the same models give the same bytes"
    assert hanok.run("lock", "--check").stdout == "the repository is what `hanok.lock` pins\n"
    with serve(models, "--locked", str(lock)) as server:
        assert server.infer("two", {"INPUT0": ("INT32", [1, 1], [7])}).status == 200
    models.write("two/1/weights", "v")
    models.add("three", inputs=INT32)
    told = refusal(models, lock)
    assert "version 1 of model `two`: expected `sha256:" in told and "model `three` is not in the lock file" in told, told
    done = hanok.run("lock", "--check", "--format", "json", check=False)
    assert done.returncode == 1
    assert {problem["problem"] for problem in json.loads(done.stdout)["problems"]} == {"differs", "model_not_locked"}
    assert hanok.run("lock", "--check", check=False).stdout.startswith("`hanok.lock` does not pin what lies in `models`:\n")
    models.remove("three")
    models.write("two/1/weights", "w")
    models.remove("one")
    assert "model `one` is in the lock file but not here" in refusal(models, lock)


def test_later_loads_are_held_to_the_lock_too(hanok, models, serve):
    hanok.run("lock")
    with serve(models, "--locked", str(hanok.folder / "hanok.lock"), "--model-control-mode=explicit", "--load-model=*") as server:
        load = lambda model, body=None: server.post(f"/v2/repository/models/{model}/load", body or {})  # noqa: E731
        assert load("two").status == 200
        models.write("two/1/weights", "v")
        refused = load("two")
        assert refused.status == 400 and "version 1 of model `two`: expected `sha256:" in refused.json()["error"], refused
        models.add("three", inputs=INT32)
        assert "model `three` is not in the lock file" in load("three").json()["error"]
        override = {"parameters": {"config": json.dumps({"backend": "builtin"})}}
        assert "loads models as they lie in its repository only" in load("one", override).json()["error"]
        # What serves goes on serving.
        assert server.infer("two", {"INPUT0": ("INT32", [1, 1], [7])}).status == 200
        models.write("two/1/weights", "w")
        assert load("two").status == 200


def test_polling_loads_nothing_that_is_not_pinned(hanok, models, serve):
    hanok.run("lock")
    flags = ("--locked", str(hanok.folder / "hanok.lock"), "--model-control-mode=poll", "--repository-poll-secs=1")
    with serve(models, *flags) as server:
        models.add("three", inputs=INT32)
        server.await_true(lambda: "model `three` is not in the lock file" in server.log(), "the refusal in the log")
        assert server.get("/v2/models/three/ready").status != 200
        assert server.infer("one", {"INPUT0": ("INT32", [1, 1], [7])}).status == 200


def test_sources_are_known_from_the_registry(hanok, models):
    weights = models.path / "two" / "1"
    hanok.run("registry", "add", "two", weights, "--origin", "mlflow://two@champion", "--pinned", "mlflow://two/3")
    done = hanok.run("lock")
    assert "version 1 of model `one`: no source is known; it is pinned by digest alone" in done.stdout
    locked = lambda: json.loads((hanok.folder / "hanok.lock").read_text())["models"]  # noqa: E731
    assert locked()["two"]["versions"]["1"]["source"] == "mlflow://two/3"
    # The lock file remembers what the registry does not know any more.
    hanok.run("lock", "--registry", "elsewhere")
    assert locked()["two"]["versions"]["1"]["source"] == "mlflow://two/3"


def test_what_is_no_lock_file_is_refused_and_kept(hanok, models):
    lock = hanok.write("hanok.lock", '{"format": "hanok.lock/1", "models": {"one": {"versions": {}}, "one": {"versions": {}}}}')
    assert '"one" comes twice' in hanok.run("lock", "--check", check=False).stderr
    assert '"one" comes twice' in refusal(models, lock)
    hanok.write("hanok.lock", "<html></html>")
    for arguments in (("lock",), ("lock", "--check")):
        done = hanok.run(*arguments, check=False)
        assert done.returncode == 1 and done.stderr.endswith("(invalid_argument)\n"), done
    assert lock.read_text() == "<html></html>"
    assert "lock file: `hanok.lock`" in refusal(models, lock)
    lock.unlink()
    assert "lock file `hanok.lock` does not exist" in refusal(models, lock)
