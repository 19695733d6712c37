"""Fixtures for all suites: a fresh repository folder, a server factory, and the server's log beside a failed test."""

import pytest

from harness import HanokServer, ModelRepository


@pytest.fixture
def repository(tmp_path) -> ModelRepository:
    return ModelRepository(tmp_path / "models")


@pytest.fixture
def serve():
    """`serve(repository, "--flag", ...)` starts a server that ends with the test."""
    servers = []

    def start(*arguments, **options) -> HanokServer:
        server = HanokServer(*arguments, **options)
        servers.append(server)
        return server.start()

    yield start
    for server in servers:
        server.kill()


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for server in HanokServer.started:
            if server.process:
                report.sections.append((f"log of hanok, pid {server.pid}", server.log()[-8000:]))
