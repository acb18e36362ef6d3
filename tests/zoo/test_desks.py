from __future__ import annotations

import pytest

from onnx_pare import __version__
from onnx_pare.errors import ClusterError
from onnx_pare.zoo.desks import Desks, Host
from onnx_pare.zoo.seat import Terms
from tests.zoo.fake_dask import FakeClient

TERMS = Terms(0, ".")


def test_a_machine_divides_its_cores() -> None:
    host = Host((0, 1, 2, 3), Terms(1, "."))
    numbers = [host.take() for _ in range(4)]
    seats = [host.seat(number) for number in numbers]
    assert [seat and (seat.number, seat.of, seat.terms.threads) for seat in seats] == [
        (n, 4, 1) for n in range(4)
    ]


def test_a_seat_that_is_left_is_taken_again() -> None:
    host = Host((0, 1), TERMS)
    assert [host.take() for _ in range(3)] == [0, 1, 2]
    host.leave(1)
    assert host.take() == 1
    assert host.take() == 3
    seat = host.seat(0)
    assert seat is not None
    assert seat.of == 4


def test_few_cores_measure_one_at_a_time() -> None:
    host = Host((0, 1), Terms(2, "."))
    numbers = [host.take() for _ in range(3)]
    assert [host.seat(number) is not None for number in numbers] == [True, False, False]


def test_every_thread_of_a_worker_has_a_desk() -> None:
    client = FakeClient({"tcp://a:1": 2, "tcp://b:1": 1})
    desks = Desks(client, TERMS, patience_s=0)
    assert {n: desk.address for n, desk in desks.open.items()} == {
        0: "tcp://a:1",
        1: "tcp://a:1",
        2: "tcp://b:1",
    }
    assert desks.width == 3


def test_workers_come_and_go() -> None:
    client = FakeClient({"tcp://a:1": 1, "tcp://a:2": 1})
    desks = Desks(client, TERMS, patience_s=0)
    assert desks.look() == []
    client.workers = {"tcp://a:2": 1, "tcp://c:1": 1}
    assert [desk.address for desk in desks.look()] == ["tcp://a:1"]
    assert {n: desk.address for n, desk in desks.open.items()} == {1: "tcp://a:2", 0: "tcp://c:1"}


def test_no_worker_comes() -> None:
    with pytest.raises(ClusterError, match="no worker came within 0 s"):
        Desks(FakeClient({}), TERMS, patience_s=0)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("0.0.7", f"worker tcp://a:1: has onnx-pare 0.0.7, but this is {__version__}"),
        (ModuleNotFoundError("No module named 'onnx_pare'"), "onnx-pare cannot be imported there"),
        (TimeoutError("slow"), "does not answer: TimeoutError: slow"),
    ],
)
def test_workers_that_would_make_other_models(
    said: str | Exception, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    odd = FakeClient({"tcp://a:1": 1}, {"tcp://a:1": said})
    with pytest.raises(ClusterError, match=message):
        Desks(odd, TERMS, patience_s=0)
    later = FakeClient({"tcp://b:1": 1}, {"tcp://a:1": said})
    desks = Desks(later, TERMS, patience_s=0)
    later.workers["tcp://a:1"] = 1
    for _ in range(2):
        desks.look()
    assert [desk.address for desk in desks.open.values()] == ["tcp://b:1"]
    assert caplog.text.count(message) == 1


def test_all_are_told_to_stop() -> None:
    client = FakeClient({"tcp://a:1": 2})
    Desks(client, TERMS, patience_s=0).stop()
    assert client.stopped == ["tcp://a:1"]
