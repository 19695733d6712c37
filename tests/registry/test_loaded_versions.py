"""The quota against a server: what is loaded is never evicted, whoever makes room; what is not loaded any more may go."""

from harness import HanokServer


IDENTITY = {"model": "identity", "number": 1}


def collect(hanok, *flags: str) -> list[dict]:
    """Makes room down to one byte: what was evicted."""
    return hanok.json("gc", "--quota", "1", *flags)["collected"]["evicted"]


def test_what_a_server_has_loaded_is_not_evicted(hanok, repository):
    hanok.write("f/note.txt", "the files of one version")
    source = hanok.folder / "f"
    for name in ("identity", "other"):
        hanok.text("add", name, source, "--origin", f"mlflow://{name}@champion", "--pinned", f"mlflow://{name}/1")
        hanok.write("f/note.txt", "the files of another")
    repository.add("identity", inputs=[("INPUT0", "INT32", [1])], versions=())
    hanok.run("registry", "export", "identity/1", "--model-repository", repository.path)
    server = HanokServer(repository, "--registry", str(hanok.registry), "--model-control-mode", "explicit", "--load-model", "*")
    with server:
        assert collect(hanok) == [{"model": "other", "number": 1}]
        assert [version["present"] for version in hanok.json("list", "identity")["versions"]] == [True]
        # A second server on the same folder holds for itself.
        with HanokServer(repository, "--registry", str(hanok.registry)) as second:
            second.kill()
        assert collect(hanok) == []
        assert server.post("/v2/repository/models/identity/unload", {}).status == 200
        server.await_true(lambda: collect(hanok) == [IDENTITY], "the unloaded version to be evicted")
    # The served copy is a copy: evicting took nothing from it.
    with HanokServer(repository, "--registry", str(hanok.registry)) as server:
        assert server.get("/v2/models/identity/ready").status == 200


def test_a_load_is_answered_when_the_version_is_held(hanok, repository):
    hanok.write("f/note.txt", "the files of one version")
    hanok.text("add", "identity", hanok.folder / "f", "--origin", "mlflow://identity@champion", "--pinned", "mlflow://identity/1")
    repository.add("identity", inputs=[("INPUT0", "INT32", [1])], versions=())
    hanok.run("registry", "export", "identity/1", "--model-repository", repository.path)
    with HanokServer(repository, "--registry", str(hanok.registry), "--model-control-mode", "explicit") as server:
        for _ in range(5):
            assert server.post("/v2/repository/models/identity/load", {}).status == 200
            assert collect(hanok) == []
            assert server.post("/v2/repository/models/identity/unload", {}).status == 200
            server.await_true(lambda: IDENTITY in collect(hanok, "--dry-run"), "the unloaded version to be let go")


def test_a_killed_server_holds_nothing(hanok, repository):
    hanok.write("f/note.txt", "the files of one version")
    hanok.text("add", "identity", hanok.folder / "f", "--origin", "mlflow://identity@champion", "--pinned", "mlflow://identity/1")
    repository.add("identity", inputs=[("INPUT0", "INT32", [1])], versions=())
    hanok.run("registry", "export", "identity/1", "--model-repository", repository.path)
    with HanokServer(repository, "--registry", str(hanok.registry)) as server:
        assert collect(hanok) == []
        server.kill()
    assert collect(hanok) == [IDENTITY]
