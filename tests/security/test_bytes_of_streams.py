"""Bytes of requests on a gRPC stream count like those of unary calls: a stream is no way round the limit."""

import queue

import numpy
import tritonclient.grpc
from tritonclient.utils import InferenceServerException


def tensor(count):
    made = tritonclient.grpc.InferInput("INPUT0", [1, count], "FP32")
    made.set_data_from_numpy(numpy.zeros((1, count), numpy.float32))
    return made


def test_a_request_on_a_stream_beyond_the_bytes_in_flight_is_refused(repository, serve):
    server = serve(repository.add("m"), "--max-in-flight-bytes=100000")
    client, answers = tritonclient.grpc.InferenceServerClient(server.grpc), queue.Queue()
    client.start_stream(lambda result, error: answers.put(error or result))
    for count, fits in [(25_000, True), (25_001, False), (25_000, True)]:
        client.async_stream_infer("m", [tensor(count)])
        answer = answers.get(timeout=20)
        if fits:
            assert answer.as_numpy("OUTPUT0").shape == (1, count), answer
        else:
            assert isinstance(answer, InferenceServerException) and "limit of `100000` bytes of requests in flight" in str(answer)
    client.stop_stream()
