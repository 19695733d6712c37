"""Streams, cancellation, health and reflection over gRPC, with the clients that users have (W-87, W-88, W-94, W-96)."""

import asyncio
import queue
import time

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from tritonclient.utils import InferenceServerException


def tensor(module, name, values, dtype, datatype):
    array = np.array(values, dtype)
    made = module.InferInput(name, list(array.shape), datatype)
    made.set_data_from_numpy(array)
    return made


def repeat_inputs(values, delay=0, wait=0, module=triton):
    return [
        tensor(module, "IN", values, np.int32, "INT32"),
        tensor(module, "DELAY", [delay] * len(values), np.uint32, "UINT32"),
        tensor(module, "WAIT", [wait], np.uint32, "UINT32"),
    ]


@pytest.fixture
def client(compat_server):
    with triton.InferenceServerClient(compat_server.grpc) as client:
        yield client


@pytest.fixture
def stream(client):
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    yield client, answers
    client.stop_stream()


def test_a_decoupled_model_answers_many_times(stream):
    client, answers = stream
    client.async_stream_infer("repeat_int32", repeat_inputs([7, 8, 9], delay=5), request_id="r1", enable_empty_final_response=True)
    seen = []
    while True:
        result, error = answers.get(timeout=10)
        assert error is None
        response = result.get_response()
        assert response.id == "r1"
        if response.parameters["triton_final_response"].bool_param:
            assert not response.outputs
            break
        seen.append((int(result.as_numpy("OUT")[0]), int(result.as_numpy("IDX")[0])))
    assert seen == [(7, 0), (8, 1), (9, 2)]


def test_no_response_at_all(stream):
    client, answers = stream
    client.async_stream_infer("square_int32", [tensor(triton, "IN", [0], np.int32, "INT32")], enable_empty_final_response=True)
    result, error = answers.get(timeout=10)
    assert error is None and result.get_response().parameters["triton_final_response"].bool_param
    client.async_stream_infer("square_int32", [tensor(triton, "IN", [2], np.int32, "INT32")])
    assert [int(answers.get(timeout=10)[0].as_numpy("OUT")[0]) for _ in range(2)] == [2, 2]


def test_answers_of_one_stream_keep_their_order(stream):
    client, answers = stream
    for number in range(200):
        client.async_stream_infer("identity_fp32", [tensor(triton, "INPUT0", [[number]], np.float32, "FP32")], request_id=str(number))
    seen = []
    for _ in range(200):
        result, error = answers.get(timeout=10)
        assert error is None
        seen.append(result.get_response().id)
    assert seen == [str(number) for number in range(200)]


def test_a_failed_request_leaves_the_stream_open(stream):
    client, answers = stream
    client.async_stream_infer("nothing", [tensor(triton, "INPUT0", [[1]], np.float32, "FP32")], request_id="bad")
    result, error = answers.get(timeout=10)
    assert result is None and "nothing" in error.message()
    client.async_stream_infer("identity_fp32", [tensor(triton, "INPUT0", [[1]], np.float32, "FP32")])
    result, error = answers.get(timeout=10)
    assert error is None and result.as_numpy("OUTPUT0")[0, 0] == 1


async def test_the_asyncio_stream(compat_server):
    async with triton_aio.InferenceServerClient(compat_server.grpc) as client:

        async def requests():
            yield {"model_name": "repeat_int32", "inputs": repeat_inputs([1, 2, 3], module=triton_aio)}

        values = []
        async for result, error in client.stream_infer(requests()):
            assert error is None
            values.append(int(result.as_numpy("OUT")[0]))
        assert values == [1, 2, 3]


def test_async_infer_and_its_cancellation(client, compat_server):
    answers = queue.Queue()
    call = client.async_infer("sleepy", [tensor(triton, "INPUT0", [[500]], np.int32, "INT32")], lambda result, error: answers.put((result, error)))
    call.cancel()
    result, error = answers.get(timeout=10)
    assert result is None and error.status() == "StatusCode.CANCELLED"
    client.async_infer("identity_fp32", [tensor(triton, "INPUT0", [[1]], np.float32, "FP32")], lambda result, error: answers.put((result, error)))
    result, error = answers.get(timeout=10)
    assert error is None


def test_cancelling_a_stream_stops_the_model(client, compat_server):
    # 100 responses, 300 ms apart, would take 30 s; the next request must not wait for them.
    answers = queue.Queue()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer("repeat_int32", repeat_inputs(list(range(100)), delay=300))
    answers.get(timeout=10)
    client.stop_stream(cancel_requests=True)
    started = time.monotonic()
    client.start_stream(lambda result, error: answers.put((result, error)))
    client.async_stream_infer("repeat_int32", repeat_inputs([42]))
    while True:
        result, error = answers.get(timeout=10)
        if error is None and int(result.as_numpy("OUT")[0]) == 42:
            break
    client.stop_stream()
    assert time.monotonic() - started < 6


def test_a_decoupled_model_on_the_unary_call(client):
    with pytest.raises(InferenceServerException, match="decoupled") as raised:
        client.infer("repeat_int32", repeat_inputs([1]))
    assert raised.value.status() == "StatusCode.UNIMPLEMENTED"


def test_health_service(compat_server):
    with grpc.insecure_channel(compat_server.grpc) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        serving = health_pb2.HealthCheckResponse.SERVING
        assert stub.Check(health_pb2.HealthCheckRequest()).status == serving
        assert stub.Check(health_pb2.HealthCheckRequest(service="inference.GRPCInferenceService")).status == serving
        with pytest.raises(grpc.RpcError) as raised:
            stub.Check(health_pb2.HealthCheckRequest(service="nothing"))
        assert raised.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection(compat_server):
    with grpc.insecure_channel(compat_server.grpc) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= set(database.get_services())
        file = database.FindFileContainingSymbol("inference.GRPCInferenceService")
        methods = {method.name for service in file.service for method in service.method}
        assert {"ModelInfer", "ModelStreamInfer", "RepositoryModelLoad"} <= methods


def test_an_unknown_method(compat_server):
    with grpc.insecure_channel(compat_server.grpc) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/Nothing", request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError) as raised:
            call(b"")
        assert raised.value.code() == grpc.StatusCode.UNIMPLEMENTED


async def test_many_at_once(compat_server):
    async with triton_aio.InferenceServerClient(compat_server.grpc) as client:

        async def one(number):
            result = await client.infer("identity_fp32", [tensor(triton_aio, "INPUT0", [[number]], np.float32, "FP32")], request_id=str(number))
            return result.get_response().id, result.as_numpy("OUTPUT0")[0, 0]

        results = await asyncio.gather(*(one(number) for number in range(300)))
        assert results == [(str(number), float(number)) for number in range(300)]
