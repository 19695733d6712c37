"""Real models out of Python packages (tests/models/collect.py), on both ONNX engines: right answers, or an error that helps."""

import json

import pytest

from compat.test_goldens import close
from harness import HanokServer, ModelRepository
from harness.server import ROOT

MODELS = ROOT / ".hanok/test-models"
NAMES = sorted(path.parent.name for path in MODELS.glob("*/golden.json"))

# tract lacks what these need; loading them says what, and how to serve them.
NOT_ON_TRACT = {"silero_vad", "silero_vad_op15", "silero_vad_op18", "silero_vad_half", "silero_vad_sequence", "magika"}

pytestmark = pytest.mark.skipif(not NAMES, reason="the larger models were not collected: tests/run does, or tests/models/collect.py")


@pytest.fixture(scope="module", params=["onnxruntime", "tract"])
def engine_server(request, tmp_path_factory):
    if request.param == "onnxruntime" and not list((ROOT / ".hanok/lib").glob("libonnxruntime.so*")):
        pytest.skip("no ONNX Runtime: run scripts/setup")
    repository = ModelRepository(tmp_path_factory.mktemp("larger") / "models")
    for name in NAMES:
        (repository.path / name).symlink_to(MODELS / name)
    with HanokServer(repository, f"--backend-config=onnx,engine={request.param}", "--backend-config=default-max-batch-size=64", "--model-control-mode=explicit") as server:
        server.engine = request.param
        yield server


@pytest.mark.parametrize("name", NAMES)
def test_golden(engine_server, name):
    server = engine_server
    loaded = server.post(f"/v2/repository/models/{name}/load", {}, timeout=120)
    if server.engine == "tract" and name in NOT_ON_TRACT and loaded.status != 200:
        assert "onnxruntime" in loaded.error.lower() or "onnx runtime" in loaded.error.lower(), loaded.error
        return
    assert loaded.status == 200, loaded.body[:600]
    for number, case in enumerate(json.loads((MODELS / name / "golden.json").read_text())):
        reply = server.post(f"/v2/models/{name}/infer", case["request"], timeout=60)
        assert reply.status == 200, (number, reply.body[:500])
        outputs = {output["name"]: output for output in reply.json()["outputs"]}
        for wanted in case["response"]["outputs"]:
            output = outputs[wanted["name"]]
            assert (output["datatype"], output["shape"]) == (wanted["datatype"], wanted["shape"]), (number, wanted["name"])
            wrong = [pair for pair in zip(wanted["data"], output["data"]) if not close(*pair, case["tolerance"])]
            assert not wrong, (number, wanted["name"], len(wrong), wrong[:3])
    server.post(f"/v2/repository/models/{name}/unload", {})
