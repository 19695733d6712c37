"""Sequences that break the rules, never end, or are too many (attack table, case 38), with Triton's client and raw connections."""

import itertools
import json

import numpy as np
import pytest
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

from harness.load import together
from harness.memory import keeps_nothing
from security.attack import Raw

MINUTE = 60_000_000
NEVER_ENDED = 60_000


def controls(idle_microseconds: int) -> str:
    def control(name, kind):
        return f'{{ name: "{name}" control [ {{ kind: CONTROL_SEQUENCE_{kind} int32_false_true: [ 0, 1 ] }} ] }}'

    inputs = ", ".join(control(name, name) for name in ("START", "END", "READY"))
    return f"sequence_batching {{ max_sequence_idle_microseconds: {idle_microseconds} control_input [ {inputs} ] }}\n"


@pytest.fixture
def start(repository, serve):
    """A server whose model `sum` has so many slots and gives up a sequence after so many microseconds without a request."""

    def with_slots(slots: int, idle_microseconds: int, *arguments, model="sequence_accumulator"):
        sums = [("INPUT", "INT32", [1])]
        outputs = [("OUTPUT", "INT32", [1])]
        repository.add("sum", model=model, inputs=sums, outputs=outputs, max_batch_size=slots, config=controls(idle_microseconds))
        return serve(repository, *arguments)

    return with_slots


def ask(server, value, **sequence):
    """One request over HTTP; `sequence` holds `sequence_id`, `sequence_start`, `sequence_end`."""
    return server.infer("sum", {"INPUT": ("INT32", [1, 1], [value])}, parameters=sequence)


def begin(server, number, **more):
    return ask(server, number, sequence_id=number, sequence_start=True, **more)


def total(reply) -> int:
    assert reply.status == 200, reply
    return reply.json()["outputs"][0]["data"][0]


def pending(server) -> float:
    return server.metrics().value("nv_inference_pending_request_count", model="sum")


def posted(number: int | str, **sequence) -> bytes:
    tensor = {"name": "INPUT", "datatype": "INT32", "shape": [1, 1], "data": [1]}
    body = json.dumps({"inputs": [tensor], "parameters": {"sequence_id": number, **sequence}}).encode()
    return b"POST /v2/models/sum/infer HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def waiting_start(server, number: int) -> Raw:
    """Starts a sequence and leaves the connection open without reading."""
    return Raw(server.http).send(posted(number, sequence_start=True))


WITHOUT_START = "must specify the START flag on the first request of the sequence"


def test_an_end_or_a_middle_without_a_start(start):
    server = start(4, MINUTE)
    for sequence in ({}, {"sequence_end": True}, {"sequence_start": False, "sequence_end": True}):
        reply = ask(server, 1, sequence_id=7, **sequence)
        assert reply.status == 400 and WITHOUT_START in reply.error and "sequence 7 to model 'sum'" in reply.error, reply
    assert total(begin(server, 7)) == 7
    assert total(ask(server, 1, sequence_id=7, sequence_end=True)) == 8
    reply = ask(server, 1, sequence_id=7)
    assert reply.status == 400 and WITHOUT_START in reply.error, "it has ended"


def test_the_same_over_grpc(start):
    server = start(4, MINUTE)
    tensor = triton.InferInput("INPUT", [1, 1], "INT32")
    tensor.set_data_from_numpy(np.array([[5]], np.int32))
    with triton.InferenceServerClient(server.grpc) as client:
        for identity in (7, "seven"):
            with pytest.raises(InferenceServerException, match=WITHOUT_START) as raised:
                client.infer("sum", [tensor], sequence_id=identity, sequence_end=True)
            assert raised.value.status() == "StatusCode.INVALID_ARGUMENT"
            sums = [client.infer("sum", [tensor], sequence_id=identity, sequence_start=number == 0, sequence_end=number == 2) for number in range(3)]
            assert [int(one.as_numpy("OUTPUT")[0, 0]) for one in sums] == [5, 10, 15]


def test_a_second_start_begins_anew(start):
    """As Triton's own test of a sequence without end asks: the first sequence is over, the second is right."""
    server = start(1, MINUTE)
    assert [total(begin(server, 7)), total(ask(server, 2, sequence_id=7))] == [7, 9]
    assert total(ask(server, 42, sequence_id=7, sequence_start=True)) == 42
    assert total(ask(server, 9, sequence_id=7, sequence_end=True)) == 51
    # It held one slot, and gave it back.
    assert total(begin(server, 8, sequence_end=True)) == 8


@pytest.mark.parametrize("identity", [None, 0, "", -1, 2**64, 1.5, True, [1], {"a": 1}])
def test_an_identity_that_is_none(start, identity):
    server = start(4, MINUTE)
    reply = ask(server, 1, sequence_start=True, **({} if identity is None else {"sequence_id": identity}))
    # Triton calls a parameter of the wrong type its own mistake.
    assert reply.status in (400, 500) and reply.error, reply
    assert total(ask(server, 3, sequence_id=2**64 - 1, sequence_start=True)) == 3


def test_more_than_one_row(start):
    server = start(4, MINUTE)
    reply = server.infer("sum", {"INPUT": ("INT32", [2, 1], [1, 2])}, parameters={"sequence_id": 1, "sequence_start": True})
    assert reply.status == 400 and "must specify batch-size 1" in reply.error


def test_an_idle_sequence_is_ended_and_its_slot_given_on(start):
    # Long enough for the second sequence to live through three calls of a slow machine.
    server = start(1, 2_000_000)
    assert total(begin(server, 1)) == 1
    # There is one slot: the second sequence waits until the first is given up.
    assert total(begin(server, 2)) == 2
    reply = ask(server, 1, sequence_id=1)
    assert reply.status == 400 and WITHOUT_START in reply.error
    assert total(ask(server, 5, sequence_id=2, sequence_end=True)) == 7


def test_over_the_cap(start):
    server = start(2, MINUTE, "--max-queued-requests=10")
    assert [total(begin(server, number)) for number in (1, 2)] == [1, 2]
    waiting = [waiting_start(server, 100 + number) for number in range(10)]
    server.await_true(lambda: pending(server) == 10, "ten that wait for a slot")
    for reply in together(20, lambda number: begin(server, 1000 + number)):
        assert reply.status == 503 and reply.error == "Exceeds maximum queue size", reply
    assert server.metrics().value("nv_inference_request_failure", model="sum", reason="REJECTED") == 20
    for connection in waiting:
        connection.socket.close()
    server.await_true(lambda: pending(server) == 0, "an empty queue")
    assert total(ask(server, 1, sequence_id=1, sequence_end=True)) == 2


def test_those_that_wait_do_not_lock_out_those_that_have_a_slot(start):
    """A full queue of sequences that wait for a slot must let the sequence in that has it, or the slot never comes free."""
    server = start(1, MINUTE, "--max-queued-requests=10")
    assert total(begin(server, 1)) == 1
    # The slot goes to whoever came first, and ten connections do not come in the order in which they were opened.
    waiting = [waiting_start(server, 100)]
    server.await_true(lambda: pending(server) == 1, "one that waits for a slot")
    waiting += [waiting_start(server, 100 + number) for number in range(1, 10)]
    server.await_true(lambda: pending(server) == 10, "ten that wait for a slot")
    assert total(ask(server, 1, sequence_id=1, sequence_end=True)) == 2
    assert waiting[0].reply().status == 200
    for connection in waiting:
        connection.socket.close()


def test_starts_whose_callers_left_take_no_place(start):
    server = start(1, MINUTE, "--max-queued-requests=10")
    assert total(begin(server, 1)) == 1
    gone = [waiting_start(server, 100 + number) for number in range(10)]
    server.await_true(lambda: pending(server) == 10, "ten that wait for a slot")
    for connection in gone:
        connection.socket.close()
    server.await_true(lambda: pending(server) == 0, "an empty queue")
    # The queue is empty again: the next one waits, as the first of them did.
    with waiting_start(server, 200) as connection:
        server.await_true(lambda: pending(server) == 1, "one that waits", 2)
        assert total(ask(server, 1, sequence_id=1, sequence_end=True)) == 2
        assert connection.reply().status == 200


def starts(server, numbers, connections=8, at_once=100):
    """Starts a sequence per number, pipelined on a few connections."""
    numbers, sockets = iter(numbers), [Raw(server.http, 20) for _ in range(connections)]
    while blocks := [block for _ in sockets if (block := list(itertools.islice(numbers, at_once)))]:
        for connection, block in zip(sockets, blocks):
            connection.send(b"".join(posted(long_name(number), sequence_start=True) for number in block))
        for connection, block in zip(sockets, blocks):
            seen = b""
            while seen.count(b"HTTP/1.1 ") < len(block) or not seen.endswith(b"}"):
                data = connection.socket.recv(1 << 20)
                assert data, "closed before all were answered"
                seen += data
            assert seen.count(b"HTTP/1.1 200") == len(block), seen[:300]
    for connection in sockets:
        connection.socket.close()


def long_name(number: int) -> str:
    return f"{number:0100}"


def test_sequences_that_never_end_leave_nothing(start):
    # Not the model that sums, which remembers sequences itself.
    server = start(64, 1000, model="identity")
    first = NEVER_ENDED // 4
    numbers = itertools.count()
    starts(server, itertools.islice(numbers, first))
    keeps_nothing(server, lambda: starts(server, itertools.islice(numbers, NEVER_ENDED - first)), 2 << 20)
    assert pending(server) == 0
    # They were given up, and every slot is free.
    assert ask(server, 1, sequence_id=long_name(next(numbers) - 1)).status == 400
    assert [total(reply) for reply in together(64, lambda number: begin(server, 1 + number))] == list(range(1, 65))
