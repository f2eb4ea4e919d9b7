"""PTB-XL's layout: good tables, every kind of bad one, and the genuine rows where they are at hand."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from handmade import make_cohort

from ecglib.errors import InputError
from ecglib.signals import STATEMENTS, Cohort, einthoven_residual, load_cohort, read_ptbxl, save_ptbxl_layout
from ecglib.signals.readers.metadata import parse_codes
from ecglib.signals.readers.ptbxl import _source, _version, read_table
from ecglib.signals.readers.records import choose_records


def edit(layout: Path, change: Callable[[pd.DataFrame], None]) -> None:
    """Change the table of a layout, as text."""
    path = layout / "ptbxl_database.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(path, index=False)


def put(column: str, value: str, row: int = 0) -> Callable[[pd.DataFrame], None]:
    def change(table: pd.DataFrame) -> None:
        table.loc[row, column] = value

    return change


BAD_ROWS = {
    "scp_codes": ["__import__('os').system('touch PWNED')", "{'NORM': 100.0", "{'NOPE': 1}", "{'NORM': 1e999}",
                  "{'NORM': -1}", "{1: 100}", "{'NORM': None}", "{'NORM': True}", "['NORM']", "", "NORM",
                  "(" * 3000 + ")" * 3000, "{'NORM': 1.0," + " " * 5000 + "}", "{'NORM': nan}"],
    "age": ["-4", "299", "old", "inf"],
    "sex": ["2", "-1", "0.5", "F"],
    "strat_fold": ["0", "11", "", "x", "2.5"],
    "ecg_id": ["", "-1", "1.5", "x"],
    "patient_id": ["", "x"],
    "path": ["../records100/00000/00001_lr", "/etc/passwd", "https://physionet.org/00001_lr"],
    "missing file": ["records100/00000/00099_lr", ""],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "value"), [(reason, value) for reason in BAD_ROWS for value in BAD_ROWS[reason]])
def test_bad_rows_are_left_out_and_listed(
    layout: Path, reason: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(layout)
    edit(layout, put("filename_lr" if reason in ("path", "missing file") else reason, value))
    cohort = read_ptbxl(layout)
    assert list(cohort.notes["left_out"]) == [reason] and len(cohort) == 23
    assert cohort.table["ecg_id"].tolist() == list(range(2, 25)) and not Path("PWNED").exists()
    with pytest.raises(InputError):
        read_ptbxl(layout, strict=True)


def test_a_record_cut_short_is_left_out(layout: Path) -> None:
    (layout / "records100" / "00000" / "00007_lr.dat").write_bytes(b"\1\2")
    assert read_ptbxl(layout).notes["left_out"] == {"size": ["records100/00000/00007_lr"]}
    with pytest.raises(InputError, match=r"00007_lr\.dat: size: 2 bytes; its header needs 24000"):
        read_ptbxl(layout, strict=True)


def test_ids_and_patients_must_fit(layout: Path) -> None:
    edit(layout, put("ecg_id", "2"))
    with pytest.raises(InputError, match="ecg_id 2 appears twice"):
        read_ptbxl(layout)
    edit(layout, put("ecg_id", "1"))
    edit(layout, put("strat_fold", "9"))
    with pytest.raises(InputError, match="patient_id 100 is in 2 folds"):
        read_ptbxl(layout)


def test_ages_over_89(layout: Path) -> None:
    edit(layout, put("age", "300.0"))
    table = read_ptbxl(layout).table
    assert table["age"][0] == 90.0 and table["age_over_89"].tolist() == [True] + [False] * 23
    edit(layout, put("age", "94.0"))
    assert read_ptbxl(layout).table["age"][0] == 94.0
    edit(layout, put("age", ""))
    assert np.isnan(read_ptbxl(layout).table["age"][0])


BODIES = [("0", "70", {"height": 1}), ("170", "0", {"weight": 1}), ("", "", {}), ("6", "60", {"height": 1}),
          ("70", "175", {"height": 1, "weight": 1}), ("tall", "60", {"height": 1})]  # fmt: skip


@pytest.mark.parametrize(("height", "weight", "unknown"), BODIES)
def test_impossible_bodies_are_unknown(layout: Path, height: str, weight: str, unknown: dict[str, int]) -> None:
    edit(layout, put("height", height))
    edit(layout, put("weight", weight))
    cohort = read_ptbxl(layout)
    assert cohort.notes["set_unknown"] == unknown and len(cohort) == 24
    for name in unknown:
        assert np.isnan(cohort.table[name][0])


DIALECTS: dict[str, Callable[[str], bytes]] = {
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "CRLF": lambda text: text.replace("\n", "\r\n").encode(),
    "Latin-1": lambda text: text.replace("kräftig", "kr\xe4ftig").encode("latin-1"),
    "semicolon": lambda text: re.sub(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', ";", text, flags=re.M).encode(),
}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_dialects_of_csv(layout: Path, dialect: str) -> None:
    edit(layout, put("report", "kräftig"))
    expected = read_ptbxl(layout)
    path = layout / "ptbxl_database.csv"
    path.write_bytes(DIALECTS[dialect](path.read_text("utf-8")))
    found = read_ptbxl(layout)
    pd.testing.assert_frame_equal(found.table, expected.table)
    assert found.table["report"][0] == "kräftig"


def test_tables_that_are_none(layout: Path) -> None:
    path = layout / "ptbxl_database.csv"
    good = path.read_text()
    for text, words in (("", "not a CSV"), (good.split("\n")[0], "no rows"), ("a,b\n1,2\n", "no column ecg_id"),
                        ("\0\0\0", "NUL"), (good.encode("utf-16").decode("latin-1"), "NUL"),
                        (good.replace("age", "Alter", 1), "no column age")):  # fmt: skip
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_ptbxl(layout)
    path.unlink()
    with pytest.raises(InputError, match=r"ptbxl_database\.csv cannot be read"):
        read_ptbxl(layout)


def test_rates(tmp_path: Path) -> None:
    fast = make_cohort(fs=500)
    save_ptbxl_layout(fast, tmp_path / "x")
    assert read_ptbxl(tmp_path / "x", fs=500).x.shape == (24, 12, 5000)
    shutil.rmtree(tmp_path / "x" / "records100")
    slow = read_ptbxl(tmp_path / "x", fs=100)  # only records500 is there: resampled
    assert slow.x.shape == (24, 12, 1000) and slow.notes["native_fs"] == 500
    assert np.abs(einthoven_residual(slow.x)).max() < 3e-3
    assert read_ptbxl(tmp_path / "x", fs=250).x.shape == (24, 12, 2500)
    for fs in (0, 501, 100.0, True):
        with pytest.raises(InputError, match="fs="):
            read_ptbxl(tmp_path / "x", fs=fs)


def test_500_hz_of_100_hz_records_is_refused(layout: Path) -> None:
    with pytest.raises(InputError, match="no records500/"):
        read_ptbxl(layout, fs=500)


def test_a_part_is_stratified_and_reads_no_more(tmp_path: Path) -> None:
    cohort = make_cohort(200)
    save_ptbxl_layout(cohort, tmp_path / "x")
    part = read_ptbxl(tmp_path / "x", n=80, seed=3)
    assert len(part) == 80 and part.table["patient_id"].value_counts().min() == 2  # whole patients
    assert part.table.equals(read_ptbxl(tmp_path / "x", n=80, seed=3).table)
    with pytest.raises(InputError, match="seed=-1; expected a whole number from 0"):
        read_ptbxl(tmp_path / "x", n=80, seed=-1)
    assert not part.table["ecg_id"].equals(read_ptbxl(tmp_path / "x", n=80, seed=4).table["ecg_id"])
    assert part.table["strat_fold"].nunique() == 10
    for statement in ("NORM", "IMI", "AFIB", "LVH"):
        assert part.has(statement).mean() == pytest.approx(cohort.has(statement).mean(), abs=0.05)
    for name in set(cohort.table["ecg_id"]) - set(part.table["ecg_id"]):
        (tmp_path / "x" / f"records100/00000/{name:05d}_lr.dat").unlink()
    assert read_ptbxl(tmp_path / "x", n=80, seed=3).notes["left_out"] == {}
    for n in (0, -1, 2.5, True):
        with pytest.raises(InputError, match="n="):
            read_ptbxl(tmp_path / "x", n=n)
    with pytest.raises(InputError, match="every patient has more records; take n ≥ 2"):
        read_ptbxl(tmp_path / "x", n=1)
    assert len(read_ptbxl(tmp_path / "x", n=10**12, seed=3)) < 200  # all that is there, less the records deleted


def test_smaller_parts_lie_in_larger_ones() -> None:
    table = make_cohort(100).table.assign(patient_id=np.arange(100))
    parts = [set(choose_records(table, n, 1)) for n in (10, 30, 60)]
    assert parts[0] < parts[1] < parts[2]


def test_synthetic_records_never_come_back_as_real(layout: Path) -> None:
    assert read_ptbxl(layout).source == "synthetic by hand"
    (layout / "manifest.json").unlink()
    assert read_ptbxl(layout).source == "synthetic (ptb-xl layout)"
    edit(layout, lambda table: table.__setitem__("synthetic", "yes"))
    with pytest.raises(InputError, match="'yes' is not true, false or nothing"):
        read_ptbxl(layout)
    edit(layout, lambda table: table.drop(columns="synthetic", inplace=True))
    assert read_ptbxl(layout).source == "synthetic (ptb-xl layout)"  # the headers say so, too
    for path in layout.rglob("*.hea"):
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("#")))
    assert read_ptbxl(layout).source == "ptb-xl layout"  # whose they are, nothing says any more


def test_only_its_own_table_is_called_ptb_xl(layout: Path) -> None:
    (layout / "manifest.json").unlink()
    assert _source(layout, "1.0.3", synthetic=False) == "ptb-xl"
    assert _source(layout, "other: 24 records of 12 patients", synthetic=False) == "ptb-xl layout"
    (layout / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="is not JSON"):
        read_ptbxl(layout)


def test_load_cohort(layout: Path, folder: Path) -> None:
    shutil.copytree(layout, folder / "ptb-xl")
    assert len(load_cohort("ptb-xl", root=folder)) == 24


def test_a_table_of_patients(tmp_path: Path) -> None:
    path = tmp_path / "asked.csv"
    path.write_text("ecg_id,scp_codes,age\n7,{'NORM': 100.0},300\n8,\"{'AFIB': 0.0, 'LVH': 50}\",\n")
    table = read_table(path)
    assert table["ecg_id"].tolist() == table["patient_id"].tolist() == [7, 8] and table["age"][0] == 90
    assert table["scp_codes"][1] == {"AFIB": 0.0, "LVH": 50.0} and table["sex"].isna().all()
    path.write_text("ecg_id,age,sex,heart_rate,scp_codes\n1,70,1,75,CLBBB SR\n2,,,,afib\n3,,,,\n")
    codes = read_table(path)["scp_codes"].tolist()
    assert codes == [{"CLBBB": 0.0, "SR": 0.0}, {"AFIB": 0.0}, {}], "the README's example; nothing asked for"
    path.write_text("ecg_id,scp_codes\n7,{'NORM': 100.0}\n8,{'OOPS': 1}\n")
    with pytest.raises(InputError, match=r"'OOPS' is not known: .*71 in all.*at ecg_id 8"):
        read_table(path)


def test_genuine_rows(shared: Path) -> None:
    table = read_table(shared / "data" / "ptb-xl-metadata" / "ptbxl_database_partial.csv")
    assert len(table) == 3496 and table["patient_id"].nunique() == 3154
    assert set(table["strat_fold"]) == set(range(1, 11))
    assert table["scp_codes"].map(lambda codes: "AFIB" in codes).sum() == 1514
    assert table["age"].max() == 94 and not table["age_over_89"].any() and (table["sex"] == 1).sum() == 1649
    assert table["height"].min() >= 20
    part = table.iloc[choose_records(table, 500, 0)]
    assert len(part) == 500 and part["patient_id"].isin(table["patient_id"]).all()
    rest = set(table.index) - set(part.index)
    assert not set(part["patient_id"]) & set(table.loc[list(rest), "patient_id"])


def test_statements_are_those_of_ptbxl(shared: Path) -> None:
    theirs = pd.read_csv(shared / "data" / "ptb-xl-metadata" / "scp_statements.csv", index_col=0)
    assert list(theirs.index) == list(STATEMENTS.index)
    assert (theirs["diagnostic_class"].fillna("") == STATEMENTS["superclass"]).all()


def test_codes_are_literals() -> None:
    assert parse_codes("{'NORM': 100, 'SR': 0.0}") == {"NORM": 100.0, "SR": 0.0} and parse_codes("{}") == {}


def test_the_hand_made_cohort_is_read_unchanged(layout: Path, cohort: Cohort) -> None:
    read = read_ptbxl(layout)
    np.testing.assert_allclose(read.x, cohort.x, atol=5e-4)
    pd.testing.assert_frame_equal(read.table[cohort.table.columns], cohort.table)


def test_which_version_it_is(layout: Path, shared: Path) -> None:
    complete = pd.DataFrame({"patient_id": [*range(18_869), *range(21_799 - 18_869)]})
    assert _version(layout, complete, strict=True) == "1.0.3"
    assert read_ptbxl(layout, strict=True).notes["version"] == "other: 24 records of 12 patients"  # an export of ours
    (layout / "manifest.json").unlink()
    with pytest.raises(InputError, match=r"not the table of PTB-XL 1\.0\.3 \(other: 24 .*21,799 records of 18,869 pat"):
        read_ptbxl(layout, strict=True)
    genuine = pd.read_csv(shared / "data" / "ptb-xl-metadata" / "ptbxl_database_partial.csv", dtype=str)
    assert _version(layout, genuine, strict=False) == "other: 3,496 records of 3,154 patients"
