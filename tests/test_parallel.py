"""Work spread over processes gives what one process gives, in order, and its errors."""

import os

import pytest

from ecglib.errors import InputError
from ecglib.parallel import chunked, in_order
from ecglib.signals.wfdb_header import RecordError


def test_chunks_hold_everything_once() -> None:
    assert [list(chunk) for chunk in chunked(range(7), 3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert chunked([], 3) == []


@pytest.mark.parametrize("workers", [None, 1, 2, 5])
def test_the_same_in_order_whatever_the_number_of_processes(workers: int | None) -> None:
    offset = 3  # a closure travels too
    found = list(in_order(lambda chunk: [k * k + offset for k in chunk], chunked(range(23), 4), workers=workers))
    assert [value for chunk in found for value in chunk] == [k * k + 3 for k in range(23)]


def test_other_processes_do_the_work() -> None:
    assert os.getpid() not in set(in_order(lambda _: os.getpid(), chunked(range(4), 1), workers=2))
    assert set(in_order(lambda _: os.getpid(), chunked(range(4), 1), workers=1)) == {os.getpid()}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_arrives_whole(workers: int) -> None:
    def fail(chunk: list[int]) -> None:
        if 3 in chunk:
            raise RecordError("a.hea", "gain", "is 0")

    with pytest.raises(RecordError, match=r"a\.hea: gain: is 0; fetch") as caught:
        list(in_order(fail, chunked(range(6), 2), workers=workers))
    assert caught.value.reason == "gain"


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, "2"])
def test_wrong_numbers_of_workers(workers: object) -> None:
    with pytest.raises(InputError, match="workers="):
        list(in_order(len, [[1]], workers=workers))  # type: ignore[arg-type]
