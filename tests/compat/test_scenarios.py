"""Every wire scenario as a test: against our server, or against the one at HANOK_COMPAT_ADDRESS (HTTP[,gRPC])."""

import os

import pytest

from compat.run_scenarios import NotApplicable, load, run

SCENARIOS = load()
ADDRESS = os.environ.get("HANOK_COMPAT_ADDRESS")


@pytest.fixture(scope="session")
def addresses(request):
    if ADDRESS:
        http, _, grpc = ADDRESS.partition(",")
        return http, grpc or None
    server = request.getfixturevalue("compat_server")
    return server.http, server.grpc


@pytest.mark.parametrize("scenario", SCENARIOS, ids=[f"{one['file']}-{one['name']}" for one in SCENARIOS])
def test_scenario(scenario, addresses):
    if ADDRESS and scenario["only"]:
        pytest.skip("only ours")
    try:
        run(scenario, *addresses)
    except NotApplicable as reason:
        if not ADDRESS:
            raise
        pytest.skip(str(reason))


def test_names_are_unique():
    names = [(one["file"], one["name"]) for one in SCENARIOS]
    assert len(names) == len(set(names))
