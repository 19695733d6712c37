"""`flight_delay` asked by flight keys: what carrier, tail number, origin, destination and hour resolve to is what a client
would have sent by hand, to the last bit, for both versions of the model."""

import json
import subprocess
import sys

import numpy as np
import pytest
import tritonclient.grpc as triton

from harness import binary
from harness.repository import ModelRepository
from harness.server import ROOT, HanokServer

sys.path.insert(0, str(ROOT / "models" / "training"))
from flight_features import CATEGORICAL, FEATURES  # noqa: E402
from flight_views import flights_by_key, write_views  # noqa: E402

KEYS = {"carrier": "BYTES", "origin": "BYTES", "destination": "BYTES", "tail_number": "BYTES", "hour": "INT64"}
ROWS = 256
TYPES = {"BYTES": np.object_, "INT64": np.int64, "FP32": np.float32}


@pytest.fixture(scope="module")
def declared(tmp_path_factory):
    """The declarations of the repository, with a store of the test's own that has every row of the year."""
    folder = tmp_path_factory.mktemp("flights")
    text = (ROOT / "models" / "flight_delay" / "features.yaml").read_text()
    file = folder / "features.yaml"
    file.write_text(text.replace("../../.hanok/", ""))
    for view, rows in write_views(folder / "rows").items():
        command = [str(binary()), "features", "put", "-f", str(file), view, str(folder / "rows" / f"{view}.csv")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.stdout.startswith(f"{rows} rows written, 0 left out"), done.stderr
    return file


@pytest.fixture(scope="module")
def servers(declared, tmp_path_factory):
    repository = ModelRepository(tmp_path_factory.mktemp("repository")).copy("flight_delay")
    with HanokServer(repository) as by_hand:
        by_key = HanokServer(repository, "--model-config-name", "by_key", "--features", str(declared))
        with by_key:
            yield by_hand, by_key


def tensors(rows, names: dict) -> list:
    inputs = []
    for name, datatype in names.items():
        tensor = triton.InferInput(name, [len(rows), 1], datatype)
        tensor.set_data_from_numpy(rows[name].to_numpy(TYPES[datatype]).reshape(-1, 1))
        inputs.append(tensor)
    return inputs


def test_keys_resolve_to_what_a_client_would_send(servers):
    by_hand, by_key = (triton.InferenceServerClient(server.grpc) for server in servers)
    flights = flights_by_key()
    flights = flights[flights.resolves_to_the_same]
    assert len(flights) == 292_896
    # Every 23rd flight of the year, in batches as large as the model takes.
    chosen = flights.iloc[::23]
    all_by_hand = {name: "BYTES" if name in CATEGORICAL else "FP32" for name in FEATURES}
    for version in ("1", "2"):
        for start in range(0, len(chosen), ROWS):
            rows = chosen.iloc[start : start + ROWS]
            answers = [
                client.infer("flight_delay", tensors(rows, names), model_version=version).as_numpy("arrival_delay_probability")
                for client, names in ((by_hand, all_by_hand), (by_key, KEYS))
            ]
            np.testing.assert_array_equal(answers[0], answers[1])
    assert len(chosen) == 12_735


def test_golden_cases_hold_where_clients_send_everything(servers):
    _, by_key = servers
    for file in ("golden.json", "golden_missing.json"):
        for case in json.loads((ROOT / "models" / "flight_delay" / file).read_text()):
            reply = by_key.post(f"/v2/models/flight_delay/versions/{case['version']}/infer", case["request"])
            assert reply.status == 200, reply.body
            [output] = reply.json()["outputs"]
            expected = case["response"]["outputs"][0]["data"]
            np.testing.assert_allclose(output["data"], expected, rtol=0, atol=case["tolerance"]["absolute"])


def test_metadata_asks_for_keys_only(servers):
    _, by_key = servers
    inputs = by_key.get("/v2/models/flight_delay").json()["inputs"]
    assert {tensor["name"]: tensor["datatype"] for tensor in inputs} == KEYS
    one = {"carrier": "UA", "origin": "EWR", "destination": "IAH", "tail_number": "N14228", "hour": 1357034400}
    asked = {name: (kind, [1, 1], [one[name]]) for name, kind in KEYS.items()}
    reply = by_key.infer("flight_delay", asked, parameters={"hanok_features": True})
    told = json.loads(reply.json()["parameters"]["hanok_features"])
    assert set(told) == set(FEATURES) - set(CATEGORICAL)
    # At the first hour of the data no flight has gone before.
    without_past = {"origin_departure_delay_mean_3h", "carrier_arrival_delay_rate_7d"}
    for name, feature in told.items():
        assert feature["from"] == ({"missing": 1} if name in without_past else {"store": 1}), name
    # A plane that nobody knows is a missing one; an hour that nobody knows cannot be asked about.
    reply = by_key.infer("flight_delay", {**asked, "tail_number": ("BYTES", [1, 1], [""])}, parameters={"hanok_features": True})
    told = json.loads(reply.json()["parameters"]["hanok_features"])
    assert told["plane_seats"]["from"] == {"missing": 1}
    reply = by_key.infer("flight_delay", {**asked, "hour": ("INT64", [1, 1], [7])})
    assert "feature `calendar:scheduled_departure_hour` of row `0`: the store has no row for the key" in reply.json()["error"]
