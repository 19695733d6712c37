"""The example models give the recorded answers, whichever ONNX engine computes them."""

import json
import math

import pytest

from harness import HanokServer, ModelRepository
from harness.server import ROOT

GOLDENS = sorted((ROOT / "models").glob("*/golden*.json"))


@pytest.fixture(scope="module", params=["tract", "onnxruntime"])
def engine_server(request, tmp_path_factory):
    if request.param == "onnxruntime" and not list((ROOT / ".hanok/lib").glob("libonnxruntime.so*")):
        pytest.skip("no ONNX Runtime: run scripts/setup")
    repository = ModelRepository(tmp_path_factory.mktemp("goldens") / "models")
    repository.copy(*sorted({path.parent.name for path in GOLDENS}))
    with HanokServer(repository, f"--backend-config=onnx,engine={request.param}", "--model-control-mode", "explicit", "--load-model", "*") as server:
        yield server


@pytest.mark.parametrize("path", GOLDENS, ids=[f"{path.parent.name}-{path.stem}" for path in GOLDENS])
def test_golden(engine_server, path):
    model = path.parent.name
    cases = json.loads(path.read_text())
    assert cases
    for number, case in enumerate(cases):
        at = f"/versions/{case['version']}"
        reply = engine_server.post(f"/v2/models/{model}{at}/infer", case["request"])
        assert reply.status == 200, (number, reply.body[:500])
        outputs = {output["name"]: output for output in reply.json()["outputs"]}
        assert set(outputs) == {output["name"] for output in case["response"]["outputs"]}
        for wanted in case["response"]["outputs"]:
            output = outputs[wanted["name"]]
            assert output["datatype"] == wanted["datatype"] and output["shape"] == wanted["shape"]
            assert len(output["data"]) == len(wanted["data"])
            for expected, actual in zip(wanted["data"], output["data"]):
                assert close(expected, actual, case["tolerance"]), (number, wanted["name"], expected, actual)


def close(expected, actual, tolerance) -> bool:
    if not isinstance(expected, float):
        return expected == actual
    if math.isnan(expected):
        return math.isnan(actual)
    return abs(actual - expected) <= tolerance["absolute"] + tolerance["relative"] * abs(expected)
