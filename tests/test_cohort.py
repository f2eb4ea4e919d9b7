"""Cohort: what it refuses, how it splits, and that a saved one comes back the same."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from handmade import make_cohort

from ecglib.errors import InputError
from ecglib.signals import LEADS_12, Cohort, assign_folds, check_disjoint
from ecglib.signals.microvolts import Microvolts


def with_column(cohort: Cohort, name: str, value: Any) -> Cohort:
    """The cohort with one value of its first row changed."""
    table = cohort.table.copy()
    table[name] = table[name].astype(object)
    table.at[0, name] = value
    return replace(cohort, table=table)


WRONG = {
    "age": [-1, 300, "old", float("inf")],
    "sex": [2, -1, 0.5, "M"],
    "height": [0, 1000],
    "weight": [0, 900],
    "heart_rate": [-60],
    "strat_fold": [0, 11, 1.5],
    "ecg_id": [2, None, 1.5],
    "patient_id": [None],
    "scp_codes": [
        {"NOPE": 1.0}, {"NORM": 101.0}, {"NORM": -1.0}, {"NORM": float("nan")}, {"NORM": float("inf")},
        {"NORM": "100"}, {"NORM": None}, {1: 100.0}, "{'NORM': 100.0}", None, ["NORM"],
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in WRONG.items() for value in values])
def test_wrong_values_name_their_column(cohort: Cohort, name: str, value: Any) -> None:
    with pytest.raises(InputError, match=rf"column {name} is wrong in . of 24 rows"):
        with_column(cohort, name, value)


def test_wrong_signals(cohort: Cohort) -> None:
    holed, endless = cohort.x.copy(), cohort.x.copy()
    holed[3, 2, 7], endless[5, 0, 0] = np.nan, np.inf
    for changes, words in (
        ({"x": cohort.x[0]}, r"shape \(12, 1000\)"),
        ({"x": cohort.x[1:]}, "24 rows for 23 records"),
        ({"x": cohort.x.astype(np.float64)}, "float64; expected float32"),
        ({"x": holed}, "NaN or inf in 1 of 24 records, first at position 3"),
        ({"x": endless}, "first at position 5"),
        ({"fs": 0}, "fs=0"),
        ({"fs": 100.0}, "fs=100.0"),
        ({"fs": True}, "fs=True"),
        ({"leads": LEADS_12[:8]}, "for 12 leads in x"),
        ({"leads": (*LEADS_12[:11], "V5")}, "each once"),
        ({"leads": (*LEADS_12[:11], "V9")}, "'V9' is not one"),
        ({"table": cohort.table.drop(columns="scp_codes")}, "no column scp_codes"),
    ):
        with pytest.raises(InputError, match=words):
            replace(cohort, **changes)


def test_absent_columns_are_unknown(cohort: Cohort) -> None:
    table = replace(cohort, table=cohort.table[["ecg_id", "scp_codes"]]).table
    assert table["age"].isna().all() and table["sex"].isna().all() and (table["strat_fold"] == 1).all()
    assert (table["patient_id"] == table["ecg_id"]).all()


def test_spelling_of_leads_is_made_usual(cohort: Cohort) -> None:
    assert replace(cohort, leads=tuple(name.lower() for name in LEADS_12)).leads == LEADS_12


def test_the_table_is_a_copy(cohort: Cohort) -> None:
    given = cohort.table.copy()
    made = replace(cohort, table=given)
    given.loc[0, "age"] = -5
    assert made.table["age"][0] == 41


def test_select(cohort: Cohort) -> None:
    some = cohort.select([4, 1])
    assert some.table["ecg_id"].tolist() == [5, 2] and set(some.waves["ecg_id"]) == {2, 5}
    np.testing.assert_array_equal(some.x, cohort.x[[4, 1]])
    assert len(cohort.select(cohort.has("IMI"))) == cohort.has("IMI").sum() > 0
    assert len(cohort.select([])) == 0
    with pytest.raises(InputError, match="mask of length 3"):
        cohort.select(np.array([True, False, True]))
    with pytest.raises(InputError, match="ecg_id"):
        cohort.select([0, 0])
    for rows in ([24], [-25], [0.5], ["0"]):
        with pytest.raises(InputError, match="expected whole numbers from -24 to 23, or a mask"):
            cohort.select(rows)
    with pytest.raises(InputError, match="'QRS' is not one of the 71"):
        cohort.has("QRS")


def test_split_is_by_patient(cohort: Cohort) -> None:
    parts = cohort.split()
    assert sum(map(len, parts)) == len(cohort)
    patients = [set(part.table["patient_id"]) for part in parts]
    assert not patients[0] & patients[1] and not patients[0] & patients[2] and not patients[1] & patients[2]


def test_a_patient_in_two_folds_is_refused(cohort: Cohort) -> None:
    table = cohort.table.copy()
    table.loc[table["ecg_id"] == 1, "strat_fold"] = 10  # the patient's other record stays in fold 1
    with pytest.raises(InputError, match="1 patients are in two folds, first patient_id 100"):
        replace(cohort, table=table).split()
    with pytest.raises(InputError, match="patients"):
        check_disjoint(cohort, cohort)


@pytest.mark.parametrize(("folds", "words"), [((1, 9), "fold 10"), ((1, 10), "fold 9"), ((9, 10), "folds 1–8")])
def test_a_part_without_records_is_refused(cohort: Cohort, folds: tuple[int, int], words: str) -> None:
    table = cohort.table.assign(strat_fold=np.where(cohort.table["patient_id"] % 2, *folds))
    with pytest.raises(InputError, match=f"strat_fold: no record is in {words}"):
        replace(cohort, table=table).split()


def test_folds_keep_patients_together_and_follow_the_seed(cohort: Cohort) -> None:
    folds = assign_folds(cohort.table, 1)
    assert set(folds) == set(range(1, 11))
    assert pd.Series(folds).groupby(cohort.table["patient_id"]).nunique().max() == 1
    np.testing.assert_array_equal(folds, assign_folds(cohort.table, 1))
    assert (folds != assign_folds(cohort.table, 2)).any()
    with pytest.raises(InputError, match="at least ten"):
        assign_folds(cohort.table[:10], 1)


def test_saved_and_loaded_is_the_same(cohort: Cohort, folder: Path) -> None:
    noted = replace(cohort, notes={"left_out": {"flat lead": ["7"]}})
    noted.save(folder / "c", made_from="hand")
    loaded = Cohort.load(folder / "c")
    assert isinstance(loaded.x, Microvolts) and isinstance(loaded.x.counts, np.memmap)
    np.testing.assert_allclose(loaded.x[:], cohort.x, atol=1e-6)
    pd.testing.assert_frame_equal(loaded.table, cohort.table)
    pd.testing.assert_frame_equal(loaded.waves, cohort.waves)
    assert (loaded.fs, loaded.leads, loaded.source, loaded.notes) == (100, LEADS_12, cohort.source, noted.notes)


def test_the_memory_map_reads_like_an_array(cohort: Cohort, tmp_path: Path) -> None:
    cohort.save(tmp_path / "c")
    x, array = Cohort.load(tmp_path / "c").x, cohort.x
    some = [1, 3]
    for key in (3, -1, slice(2, 9, 2), some, np.array(some), (4, 2), (slice(None), 1), (some, slice(2), slice(5)),
                (..., 0), (..., slice(500)), (some, ..., 3), (4, ...), ...):
        np.testing.assert_allclose(x[key], array[key], atol=1e-6, err_msg=str(key))
    with pytest.raises(InputError, match="two lists of places"):
        x[some, some]
    np.testing.assert_allclose(np.asarray(x), array, atol=1e-6)
    some = Cohort.load(tmp_path / "c").select([7, 3])
    np.testing.assert_allclose(some.x[0], array[7], atol=1e-6)
    np.testing.assert_allclose(some.select([1]).x[:], array[[3]], atol=1e-6)
    some.save(tmp_path / "again")
    np.testing.assert_allclose(Cohort.load(tmp_path / "again").x[:], array[[7, 3]], atol=1e-6)


def test_what_does_not_fit_is_not_saved(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is x in millivolts"):
        replace(cohort, x=cohort.x * 1000).save(tmp_path / "c")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_of_something_else_is_not_replaced(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something other than a cohort"):
        cohort.save(tmp_path)
    with pytest.raises(InputError, match="is a file"):
        cohort.save(tmp_path / "thesis.txt")
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_a_cohort_cut_short_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    cohort.save(tmp_path / "c")
    (tmp_path / "c" / "manifest.json").unlink()
    with pytest.raises(InputError, match="did not finish"):
        Cohort.load(tmp_path / "c")


@pytest.mark.parametrize("hashed", [1 << 30, 0])  # 0: as signals too large to be read for it
@pytest.mark.parametrize("name", ["signals.npy", "table.csv", "waves.csv"])
@pytest.mark.parametrize("how", ["cut", "emptied", "deleted", "changed"])
def test_a_damaged_cohort_is_refused(cohort, tmp_path, monkeypatch, name, how, hashed) -> None:
    cohort.save(tmp_path / "c")
    path = tmp_path / "c" / name
    whole = path.read_bytes()
    if how == "deleted":
        path.unlink()
    else:
        path.write_bytes({"cut": whole[:-7], "emptied": b"", "changed": whole[:-7] + b"1234567"}[how])
    if not hashed and name == "signals.npy":
        tables = max((tmp_path / "c" / other).stat().st_size for other in ("table.csv", "waves.csv"))
        monkeypatch.setattr("ecglib.signals.cohort.HASHED", -1 if how == "emptied" else tables)
        if how == "changed":
            assert len(Cohort.load(tmp_path / "c")) == len(cohort), "the price of not reading terabytes"
            return
    with pytest.raises(InputError, match=f"{name} is not"):
        Cohort.load(tmp_path / "c")


def test_a_killed_save_leaves_the_old_cohort(cohort: Cohort, tmp_path: Path) -> None:
    cohort.save(tmp_path / "c")
    code = ("import sys, time\nimport ecglib.signals.cohort as m\nfrom handmade import make_cohort\n"
            "def stop(*a, **k):\n    print('ready', flush=True); time.sleep(60)\n"
            "m.write_manifest = stop\nmake_cohort(8).save(sys.argv[1])")  # fmt: skip
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "c")], stdout=subprocess.PIPE, text=True,
                             cwd=Path(__file__).parent)  # fmt: skip
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert len(Cohort.load(tmp_path / "c")) == 24
    make_cohort(8).save(tmp_path / "c")
    assert len(Cohort.load(tmp_path / "c")) == 8


def test_text_comes_back_as_it_was(cohort: Cohort, tmp_path: Path) -> None:
    words = ["007", "7", "NA", "null", "", "1e2", "426783006", "0.50", 'a,"b"\nc', "ü 心", " x ", "True"]
    table = cohort.table.assign(patient_id=[f"0{k // 2}e2" for k in range(24)], note=words * 2,
                                gaps=["", None, "NA", "3"] * 6, flag=[True, False] * 12, count=range(24),
                                empty="", unknown=np.nan)  # fmt: skip
    replace(cohort, table=table).save(tmp_path / "x")
    back = Cohort.load(tmp_path / "x").table
    assert back["patient_id"].tolist() == table["patient_id"].tolist() and back["note"].tolist() == words * 2
    assert back["gaps"].isna().tolist() == [False, True, False, False] * 6 and back["gaps"][2] == "NA"
    assert back["flag"].dtype == bool and back["count"].dtype == np.int64 and back["age"].dtype == np.float64
    assert (back["empty"] == "").all() and back["unknown"].isna().all() and back["height"].isna().sum() == 8


def test_truth_values_and_lists_come_back(cohort: Cohort, tmp_path: Path) -> None:
    table = cohort.table.assign(synthetic=[True, None, False] * 8, beats=[[1, 2], None, []] * 8)
    replace(cohort, table=table, fs=np.int64(100)).save(tmp_path / "x")
    back = Cohort.load(tmp_path / "x")
    assert back.table["synthetic"].tolist()[::3] == [True] * 8 and back.table["synthetic"][1] is np.nan
    assert back.table["synthetic"].eq(True).sum() == 8 and back.table["beats"][0] == [1, 2]
    assert back.fs == 100 and back.table["scp_codes"].equals(cohort.table["scp_codes"])
    with pytest.raises(InputError, match=r"column synthetic cannot be stored.*make it numbers or text"):
        replace(cohort, table=cohort.table.assign(synthetic=[{1, 2}] * 24)).save(tmp_path / "y")
    assert not (tmp_path / "y").exists()


def test_shared_patients_of_any_kind_are_named(cohort: Cohort) -> None:
    both = replace(cohort, table=cohort.table.assign(patient_id=[1, "a"] * 12))
    with pytest.raises(InputError, match="2 patients are in two folds, first patient_id 1"):
        check_disjoint(both, both)
