"""One server for the whole folder, with the models that the scenarios and the clients use."""

import pytest

from compat.repository import fill
from harness import HanokServer, ModelRepository


@pytest.fixture(scope="session")
def compat_server(tmp_path_factory):
    repository = fill(ModelRepository(tmp_path_factory.mktemp("compat") / "models"))
    with HanokServer(repository, "--model-control-mode", "explicit", "--load-model", "*", "--http-header-forward-pattern", "(x-forward-.*|triton_.*)", "--grpc-header-forward-pattern", "x-forward-.*") as server:
        yield server
