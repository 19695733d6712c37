"""Trace settings through `tritonclient` in its four variants (W-77, W-78, W-92)."""

import json

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from compat.triton_clients import VARIANTS, TritonClient

UNTOUCHED = {"trace_level": ["TIMESTAMPS"], "trace_rate": "1", "trace_count": "-1", "log_frequency": "0", "trace_mode": "triton"}


@pytest.fixture
def traced(repository, serve, tmp_path):
    repository.add("m").add("other")
    file = tmp_path / "trace.json"
    flags = [f"triton,file={file}", "level=TIMESTAMPS", "rate=1"]
    return serve(repository, *(argument for flag in flags for argument in ("--trace-config", flag))), file


@pytest.fixture(params=VARIANTS)
def client(request, traced):
    client = TritonClient(request.param, traced[0])
    client.file = str(traced[1])
    yield client
    client.close()


def values(client, settings) -> dict:
    """Settings of either wire in one form; the file is as it was named."""
    if not client.over_http:
        settings = {name: entry["value"] for name, entry in settings["settings"].items()}
        settings = {name: value if name == "trace_level" else value[0] for name, value in settings.items()}
    assert settings.pop("trace_file") == client.file
    return settings


def told(client, **arguments):
    return values(client, client.plain("get_trace_settings", **arguments))


def change(client, settings, **arguments):
    return values(client, client.plain("update_trace_settings", settings=settings, **arguments))


def test_a_model_has_the_global_settings_until_it_has_its_own(client):
    assert told(client) == told(client, model_name="m") == UNTOUCHED
    assert change(client, {"trace_rate": "6", "log_frequency": "2"}, model_name="m") == {**UNTOUCHED, "trace_rate": "6", "log_frequency": "2"}
    assert told(client) == told(client, model_name="other") == UNTOUCHED
    assert change(client, {"trace_level": ["OFF"], "trace_rate": "9"}) == {**UNTOUCHED, "trace_level": ["OFF"], "trace_rate": "9"}
    assert told(client, model_name="m") == {**UNTOUCHED, "trace_level": ["OFF"], "trace_rate": "6", "log_frequency": "2"}
    # Cleared, they are the global ones; cleared globally, those of the start.
    assert change(client, {"trace_rate": None}, model_name="m") == {**UNTOUCHED, "trace_level": ["OFF"], "trace_rate": "9", "log_frequency": "2"}
    assert change(client, {"log_frequency": None}, model_name="m") == told(client)
    assert change(client, {"trace_level": None, "trace_rate": None}) == UNTOUCHED == told(client, model_name="m")


def test_settings_are_in_force_at_once(client, traced):
    change(client, {"trace_rate": "2", "trace_count": "3"}, model_name="m")
    for model in ("m", "other"):
        for _ in range(10):
            client.infer(model, [client.input("INPUT0", np.array([[1.0]], np.float32))])
    assert told(client, model_name="m")["trace_count"] == "0"
    server, file = traced
    server.await_true(lambda: server.metrics().value("hanok_traces_total", result="written") == 13, "traces of both models")

    def models(path):
        return [part["model_name"] for part in json.loads(path.read_text()) if "model_name" in part]

    assert models(file) == ["other"] * 10
    assert models(file.with_name(f"{file.name}.0")) == ["m"] * 3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trace_file": "elsewhere"}, "trace file location can not be updated through network protocol"),
        ({"trace_level": ["OFF", "TIMESTAMPS"]}, "Expect only one trace level 'OFF' is specified"),
        ({"trace_level": ["TENSORS"]}, "trace level 'TENSORS' is not supported by this server yet"),
        ({"trace_rate": "often"}, "Unable to parse 'trace_rate', got: often"),
        ({"trace_rate": "10000000000"}, r"Unable to parse 'trace_rate', value is out of range \[ 0, 4294967295 \], got: 10000000000"),
        ({"trace_count": "10000000000"}, r"Unable to parse 'trace_count', value is out of range \[ -1, 2147483647 \], got: 10000000000"),
        ({"trace_count": "-2"}, "Unable to parse 'trace_count'. Expecting value >= -1, got:-2"),
        ({"log_frequency": "10000000000"}, r"Unable to parse 'log_frequency', value is out of range \[ 0, 4294967295 \], got: 10000000000"),
        ({"trace_rate": "0"}, "Attempting to set invalid trace setting :sample rate must be non-zero"),
        ({"trace_speed": "1"}, "unknown trace setting 'trace_speed'"),
    ],
)
def test_what_cannot_be_set_says_so_and_changes_nothing(client, settings, message):
    for model in ("", "m"):
        with pytest.raises(InferenceServerException, match=message):
            client.update_trace_settings(model_name=model, settings={"log_frequency": "5", **settings})
    assert told(client) == told(client, model_name="m") == UNTOUCHED


def test_an_unknown_model(client):
    for call, more in (("get_trace_settings", {}), ("update_trace_settings", {"settings": {"trace_rate": "2"}})):
        with pytest.raises(InferenceServerException, match="Request for unknown model : nothing") as raised:
            getattr(client, call)(model_name="nothing", **more)
        assert raised.value.status() in ("400", "StatusCode.INVALID_ARGUMENT")


def test_only_managers_change_settings(traced):
    server, _ = traced
    headers = {"origin": "https://page.example.org"}
    assert server.post("/v2/trace/setting", {"trace_rate": "2"}, headers=headers).status == 403
    client = TritonClient("grpc", server)
    with pytest.raises(InferenceServerException, match="management is not open to web pages"):
        client.update_trace_settings(settings={"trace_rate": "2"}, headers=headers)
    # Reading is open to everybody.
    assert client.plain("get_trace_settings", headers=headers)["settings"]["trace_rate"]["value"] == ["1"]
    client.close()
    assert server.get("/v2/trace/setting", headers=headers).json()["trace_rate"] == "1"
