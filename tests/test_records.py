"""Reading many records: the same in any number of processes, duplicates dropped, what is bad counted, memory flat."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from handmade import make_cohort

from ecglib.errors import InputError
from ecglib.signals import Cohort, read_ludb, read_ptbxl, save_ptbxl_layout
from ecglib.signals.readers.records import SUBSET, LeftOut, Reading, read_all, subset_of
from ecglib.signals.wfdb_header import RecordError

N_TIMES = 300


def read_number(name: str) -> Reading:
    """Records ``"0"``, ``"1"``, …: names that hold a 7 cannot be read, every tenth repeats the signal of ``"3"``."""
    if "7" in name:
        raise RecordError(name, "seven", "it holds a 7")
    number = 3 if name.endswith("0") else int(name)
    x = np.random.default_rng(number).uniform(-1, 1, (12, N_TIMES)).astype(np.float32)
    return Reading(x, os.getpid())


def test_the_same_in_any_number_of_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ecglib.signals.readers.records.MANY", 10)
    monkeypatch.setattr("ecglib.signals.readers.records.CHUNK", 7)
    names = [str(k) for k in range(1, 101)]
    results = {}
    for workers, scratch in ((1, None), (2, None), (2, tmp_path / "new folder")):
        left_out = LeftOut(strict=False)
        results[workers, scratch] = read_all(names, read_number, 100, left_out, "test", workers=workers,
                                             scratch=scratch), left_out.names  # fmt: skip
    (one, names_one), (two, names_two), (mapped, _) = results.values()
    assert one.kept == two.kept == mapped.kept and names_one == names_two
    assert sorted(names_one) == ["duplicate signal", "seven"]
    assert names_one["duplicate signal"] == [str(k) for k in range(10, 101, 10) if k != 70]
    assert len(one.kept) + sum(map(len, names_one.values())) == 100
    np.testing.assert_array_equal(one.x, two.x)
    np.testing.assert_array_equal(one.x, mapped.x[:])
    assert isinstance(one.x, np.ndarray) and one.x.dtype == np.float32
    first = np.rint(read_number("1").x * 1000) / 1000
    np.testing.assert_allclose(one.x[0], first, atol=1e-6)
    assert set(one.also) == {os.getpid()} and os.getpid() not in two.also
    assert list((tmp_path / "new folder").iterdir()) == []  # nothing is left, and nothing would be after a kill


def test_a_duplicate_is_an_error_under_strict() -> None:
    with pytest.raises(RecordError, match="10: duplicate signal: it is the signal of 3; leave one"):
        read_all(["3", "4", "10"], read_number, 100, LeftOut(strict=True), "test")


def test_one_signal_under_two_ids_in_two_folds(tmp_path: Path) -> None:
    cohort = make_cohort()
    x = cohort.x.copy()
    x[20] = x[3]
    assert cohort.table["strat_fold"][20] != cohort.table["strat_fold"][3]
    save_ptbxl_layout(Cohort(x, cohort.fs, cohort.leads, cohort.table, None, cohort.source), tmp_path / "x")
    found = read_ptbxl(tmp_path / "x")
    assert found.notes["left_out"] == {"duplicate signal": ["records100/00000/00021_lr"]}
    assert 21 not in set(found.table["ecg_id"]) and len(found) == 23
    with pytest.raises(InputError, match="duplicate signal: it is the signal of records100/00000/00004_lr"):
        read_ptbxl(tmp_path / "x", strict=True)


def test_one_file_under_two_names_in_the_table(layout: Path) -> None:
    path = layout / "ptbxl_database.csv"
    path.write_text(path.read_text().replace("records100/00000/00002_lr", "records100/00000/00001_lr"))
    assert read_ptbxl(layout).notes["left_out"] == {"duplicate signal": ["records100/00000/00001_lr"]}


def test_a_folder_filled_in_part(layout: Path) -> None:
    names = [f"records100/00000/{k:05d}_lr" for k in (2, 5, 9)]
    (layout / SUBSET).write_text("\n".join(names) + "\n")
    for path in (layout / "records100" / "00000").iterdir():
        if not any(path.stem in name for name in names):
            path.unlink()
    found = read_ptbxl(layout, strict=True)
    assert found.table["ecg_id"].tolist() == [2, 5, 9] and found.notes["left_out"] == {}
    (layout / SUBSET).write_text("records100/00000/99999_lr\n")
    with pytest.raises(InputError, match="names none of the 24 records"):
        read_ptbxl(layout)
    assert subset_of(layout.parent, ["a", "b"]).tolist() == [True, True]


def test_nothing_could_be_read() -> None:
    with pytest.raises(InputError, match="none of 2 records of test could be read: seven: 2; the first: 7: seven: it"):
        read_all(["7", "17"], read_number, 100, LeftOut(strict=False), "test")


def test_a_part_of_ludb_in_two_processes(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = partial(read_ludb, shared / "data" / "ludb", n=30, seed=3)
    one = read(workers=1)
    monkeypatch.setattr("ecglib.signals.readers.records.MANY", 10)
    two = read(workers=2)
    np.testing.assert_array_equal(one.x, two.x)
    assert one.waves.equals(two.waves) and one.table.equals(two.table)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc, which Linux has")
def test_memory_does_not_grow_with_the_signals(tmp_path: Path) -> None:
    peak = {}
    for n in (1000, 8000):  # 24 and 192 MB of signals; `python -m tests.bench.bench_memory` does it with 200,000
        done = subprocess.run([sys.executable, "-m", "tests.bench.bench_memory", str(n), str(tmp_path)],
                              capture_output=True, text=True, cwd=Path(__file__).parents[1])  # fmt: skip
        assert done.returncode == 0, done.stderr
        peak[n] = json.loads(done.stdout)["own memory, peak, MB"]
    print("peak of own memory, MB, by number of records:", peak)
    assert peak[8000] < peak[1000] + 80


def test_what_resampling_lifts_over_the_limit_is_left_out() -> None:
    def read(name: str) -> Reading:
        x = np.random.default_rng(int(name)).uniform(-1, 1, (12, N_TIMES)).astype(np.float32)
        x[3, 100] = 32.7 + float(name)  # int16 would turn it to −31.8
        return Reading(x)

    left_out = LeftOut(strict=False)
    found = read_all(["0", "1"], read, 100, left_out, "test")
    assert left_out.names == {"amplitude": ["1"]} and found.x[0, 3, 100] == pytest.approx(32.7)
