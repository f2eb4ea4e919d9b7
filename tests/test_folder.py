"""A plain folder of WFDB records with its user's table: the full cycle through wfdb, and every kind of bad table."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from handmade import header_of, make_cohort
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecglib.errors import InputError
from ecglib.signals import LEADS_12, STATEMENTS, read_ptbxl, save_ptbxl_layout
from ecglib.signals.readers.folder import parse_statements, read_folder
from ecglib.signals.readers.metadata import parse_codes
from ecglib.signals.virtual import virtual_cohort


def write(root: Path, name: str, counts: np.ndarray, edit: Callable[[str], str] = lambda text: text) -> None:
    """Write a record at 100 Hz from counts in µV, its header edited by the caller."""
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / f"{name}.dat").write_bytes(counts.T.astype("<i2").tobytes())
    (root / f"{name}.hea").write_text(edit(header_of(counts, Path(name).name)), encoding="utf-8")


@pytest.fixture
def records(folder: Path) -> Path:
    """A folder of 24 records of 12 patients, with a table that gives all that it may."""
    cohort = make_cohort()
    for k, x in zip(cohort.table["ecg_id"], cohort.x, strict=True):
        write(folder, f"sub {k % 2}/r{k}", np.rint(x * 1000).astype(np.int64))
    table = cohort.table.assign(file=[f"sub {k % 2}/r{k}" for k in cohort.table["ecg_id"]], ward="7 b")
    table.to_csv(folder / "records.csv", index=False)
    return folder


def edit(root: Path, change: Callable[[pd.DataFrame], object]) -> None:
    path = root / "records.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(table)
    table.to_csv(path, index=False)


def put(column: str, value: str, row: int = 3) -> Callable[[pd.DataFrame], None]:
    def change(table: pd.DataFrame) -> None:
        table.loc[row, column] = value

    return change


def test_the_full_cycle_through_wfdb(folder: Path) -> None:
    virtual = virtual_cohort(12, seed=4, fs=500)
    for k, x in zip(virtual.table["ecg_id"], virtual.x, strict=True):
        wfdb.wrsamp(f"v{k}", fs=500, units=["mV"] * 12, sig_name=list(LEADS_12), p_signal=x.T.astype(np.float64),
                    fmt=["16"] * 12, write_dir=str(folder), comments=["a virtual patient"])  # fmt: skip
    virtual.table.assign(file=[f"v{k}" for k in virtual.table["ecg_id"]]).to_csv(folder / "records.csv", index=False)
    cohort = read_folder(folder, fs=500, strict=True)
    np.testing.assert_allclose(cohort.x, virtual.x, atol=1e-3)
    columns = ["ecg_id", "patient_id", "age", "sex", "height", "weight", "scp_codes", "strat_fold"]
    pd.testing.assert_frame_equal(cohort.table[columns], virtual.table[columns])
    assert cohort.source == "folder" and cohort.notes["native_fs"] == [500] and cohort.notes["left_out"] == {}
    assert read_folder(folder, fs=100).x.shape == (12, 12, 1000)
    save_ptbxl_layout(cohort, folder / "export", synthetic=True)
    again = read_ptbxl(folder / "export", fs=500)
    np.testing.assert_allclose(again.x, cohort.x, atol=1e-3)


def test_all_columns_are_read(records: Path) -> None:
    cohort, made = read_folder(records, strict=True), make_cohort()
    np.testing.assert_allclose(cohort.x, made.x, atol=1e-6)
    assert cohort.fs == 100 and cohort.waves is None
    names = list(made.table.columns)
    pd.testing.assert_frame_equal(cohort.table[names], made.table)
    assert set(cohort.table["ward"]) == {"7 b"} and cohort.table["file"][0] == "sub 1/r1"


def test_one_column_is_enough(records: Path) -> None:
    edit(records, lambda table: table.drop(columns=[name for name in table if name != "file"], inplace=True))
    cohort = read_folder(records)
    assert cohort.table["ecg_id"].tolist() == cohort.table["patient_id"].tolist() == list(range(1, 25))
    assert cohort.table["scp_codes"].tolist() == [{}] * 24 and cohort.table[["age", "sex"]].isna().all(axis=None)
    assert set(cohort.table["strat_fold"]) == set(range(1, 11))


def test_folds_and_subsets_keep_patients_together(records: Path) -> None:
    edit(records, lambda table: table.pop("strat_fold"))
    edit(records, lambda table: table.__setitem__("patient_id", "Müller " + table["patient_id"]))
    cohort = read_folder(records, seed=1)
    assert cohort.table["patient_id"][0] == "Müller 100" and len(cohort.split()[0]) > 12
    part = read_folder(records, n=7, seed=1)
    assert len(part) == 6 and part.table["patient_id"].value_counts().eq(2).all()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "latin-1"])
@pytest.mark.parametrize(("separator", "end"), [(",", "\n"), (";", "\r\n"), (";", "\r")])
def test_dialects_of_the_table(records: Path, encoding: str, separator: str, end: str) -> None:
    table = pd.read_csv(records / "records.csv", dtype=str, keep_default_na=False)
    table["ward"], table["scp_codes"] = "Süd", "NORM SR"
    text = table.rename(columns={"age": " Age "}).to_csv(index=False, sep=separator, lineterminator=end)
    (records / "records.csv").write_bytes(text.encode(encoding))
    cohort = read_folder(records)
    assert cohort.table["ward"][0] == "Süd" and cohort.table["scp_codes"][0] == {"NORM": 0.0, "SR": 0.0}
    assert cohort.table["age"].tolist() == make_cohort().table["age"].tolist()


BAD_CELLS = [
    ("ecg_id", "", "expected a whole number"), ("ecg_id", "1.5", "'1.5' is not a whole number"),
    ("ecg_id", "3", "3 is there twice"), ("patient_id", "", "it is empty; expected an id"),
    ("age", "old", "'old'; expected 0 to 120 years"), ("age", "-1", "'-1' is not 0 to 120"),
    ("age", "inf", "'inf' is not 0"), ("sex", "x", "'x'; expected 0, M or male"),
    ("sex", "2", "'2'; expected 0, M or male"), ("height", "0", "'0' is not 20 to 250; expected 20 to 250 cm"),
    ("height", "1,70", "'1,70'; expected 20 to 250 cm"), ("weight", "0", "expected 1 to 400 kg"),
    ("heart_rate", "fast", "'fast'; expected 5 to 400"), ("strat_fold", "11", "'11' is not 1 to 10; expected a fold"),
    ("strat_fold", "", "'' is not a whole number; expected a fold"), ("file", "", "it is empty; expected a record's"),
    ("scp_codes", "NROM SR", "statement='NROM' is not known: did you mean NORM"),
    ("scp_codes", "{'NROM': 1}", "'NROM'"), ("scp_codes", "{'NORM': 101}", "likelihood 101"),
    ("scp_codes", "__import__('os').system('touch PWNED')", "is not known"),
    ("scp_codes", "{'NORM'", "not a plain dict"), ("scp_codes", "SR " * 2000, "5999 characters"),
    ("file", "../out", "leads out of"), ("file", "/etc/passwd", "plain"),
    ("file", "https://physionet.org/files/x", "plain"), ("file", "sub 0\\r2", "plain"),
    ("file", "sub 1/r1", "sub 1/r1 is there twice"),
]  # fmt: skip


@pytest.mark.parametrize(("column", "value", "words"), BAD_CELLS)
def test_a_bad_cell_is_one_error(
    records: Path, column: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(records)
    edit(records, put(column, value))
    with pytest.raises(InputError, match=rf"records\.csv, row 5, column {column}: .*{re.escape(words)}"):
        read_folder(records)
    assert not Path("PWNED").exists()


def test_one_patient_however_a_spreadsheet_writes_the_id(records: Path) -> None:
    edit(records, lambda table: table.update(pd.DataFrame({"patient_id": ["1.0", "1", "x"]}, index=[0, 1, 2])))
    edit(records, put("strat_fold", "2", 1))
    with pytest.raises(InputError, match="column strat_fold: patient_id 1 is in 2 folds"):
        read_folder(records)


def test_an_empty_line_is_a_row_without_a_file(records: Path) -> None:
    lines = (records / "records.csv").read_text().split("\n")
    (records / "records.csv").write_text("\n".join([*lines[:3], "", *lines[3:], "", ""]))
    with pytest.raises(InputError, match=r"records\.csv, row 4, column .*: it is empty"):
        read_folder(records)
    (records / "records.csv").write_text("\n".join([*lines, "", ""]))  # at the end they mean nothing
    assert len(read_folder(records)) == 24


def test_rows_that_contradict_each_other(records: Path) -> None:
    edit(records, put("strat_fold", "9"))
    with pytest.raises(InputError, match="column strat_fold: patient_id 101 is in 2 folds; give all"):
        read_folder(records)
    edit(records, put("strat_fold", "2"))
    edit(records, put("height", "70"))
    edit(records, put("weight", "170"))
    with pytest.raises(InputError, match="row 5: height 70 and weight 170 look exchanged"):
        read_folder(records)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not a CSV table"),
        ("file,age\n", "no rows"),
        ("name,age\nr1,50\n", "no column file"),
        ("file,age,Age\nr1,50,51\n", "column age is there twice"),
        ("file,age,age\nr1,50,51\n", "column age is there twice"),
        ("file,age,sex,scp_codes\nr1,60\n", "row 2: 2 cells for 4 columns; complete the row"),
        ("file,synthetic\nr1,yes\n", "column synthetic: 'yes' is not true, false or nothing"),
        ("file,scp_codes\nr1,{'NORM': 100, 'SR': 0}\nr2,\n", "more cells than the header; quote text"),
        ("file,scp_codes\nr2,\nr1,{'NORM': 100, 'SR': 0}\n", "is not a CSV table"),
        ("file,age\n,50\n", "row 2, column file: it is empty"),
    ],
)
def test_a_bad_table_is_one_error(records: Path, text: str, words: str) -> None:
    (records / "records.csv").write_text(text)
    with pytest.raises(InputError, match=words):
        read_folder(records)


def test_no_table_or_one_elsewhere(records: Path, tmp_path: Path) -> None:
    (records / "records.csv").rename(tmp_path / "elsewhere.csv")
    with pytest.raises(InputError, match=r"records\.csv cannot be read: No such file"):
        read_folder(records)
    (records / "in").mkdir()
    (records / "in" / "records.csv").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(InputError, match="leads out of"):
        read_folder(records / "in")


def test_bad_records_are_left_out_and_listed(records: Path, tmp_path: Path) -> None:
    counts = np.rint(make_cohort().x[0] * 1000).astype(np.int64) + 5
    write(records, "sub 1/r1", counts[:, :990])
    write(records, "sub 0/r2", counts, lambda text: text.replace("12 100 1000", "12 50 1000"))
    write(records, "sub 1/r3", counts, lambda text: text.replace("12 100 1000", "12 100.5 1000"))
    write(records, "sub 1/r7", counts, lambda text: text.replace("12 100 1000", "12 1e9999 1000"))
    (records / "sub 0" / "r4.dat").unlink()
    write(tmp_path, "r5", counts + 1)
    (records / "sub 1" / "r5.hea").unlink()
    (records / "sub 1" / "r5.hea").symlink_to(tmp_path / "r5.hea")
    cohort = read_folder(records)
    assert cohort.notes["left_out"] == {"length": ["sub 1/r1"], "fs": ["sub 0/r2", "sub 1/r3", "sub 1/r7"],
                                        "missing file": ["sub 0/r4"], "path": ["sub 1/r5"]}  # fmt: skip
    assert cohort.table["ecg_id"].tolist() == [6, *range(8, 25)]
    with pytest.raises(InputError, match=r"r1\.hea: length: 990 samples"):
        read_folder(records, strict=True)
    with pytest.raises(InputError, match="none of 24 records of folder could be read"):
        read_folder(records, fs=200)
    with pytest.raises(InputError, match="fs=0"):
        read_folder(records, fs=0)


def test_any_sampling_rate(records: Path) -> None:
    slow = make_cohort(2, fs=360).x[1]
    write(records, "sub 0/r2", np.rint(slow * 1000).astype(np.int64), lambda text: text.replace("12 100 3", "12 360 3"))
    cohort = read_folder(records, strict=True)
    assert cohort.notes["native_fs"] == [100, 360]
    assert np.abs(cohort.x[1] - make_cohort(2).x[1]).max() < 0.05


def test_synthetic_records_do_not_come_back_as_real_ones(records: Path) -> None:
    counts = np.rint(make_cohort().x[0] * 1000).astype(np.int64) + 5
    write(records, "sub 1/r1", counts, lambda text: text + "# Synthetic\n")
    assert read_folder(records).source == "synthetic (folder)"
    write(records, "sub 1/r1", counts)
    assert read_folder(records).source == "folder"
    edit(records, lambda table: table.__setitem__("synthetic", "True"))
    assert read_folder(records).source == "synthetic (folder)"


def test_ages_over_89(records: Path) -> None:
    for row, age in enumerate((">89", "300", "", "90")):
        edit(records, put("age", age, row))
    edit(records, put("age_over_89", "True", 3))
    table = read_folder(records).table
    np.testing.assert_equal(table["age"][:4].tolist(), [90, 90, np.nan, 90])
    assert table["age_over_89"][:4].tolist() == [True, True, False, True]
    edit(records, put("age_over_89", "TRUE", 3))  # a spreadsheet's way
    assert read_folder(records).table["age_over_89"][:4].tolist() == [True, True, False, True]
    edit(records, put("age_over_89", "perhaps", 3))
    with pytest.raises(InputError, match="row 5, column age_over_89: 'perhaps' is not true, false or nothing"):
        read_folder(records)


def test_names_made_of_digits_lose_none(records: Path) -> None:
    uids = [f"{10**16 + k}" for k in range(24)]
    edit(records, lambda table: table.__setitem__("uid", uids))
    edit(records, lambda table: table.__setitem__("room", "1_0"))
    table = read_folder(records).table
    assert table["uid"].tolist() == uids and set(table["room"]) == {"1_0"}


def test_a_quotation_mark_that_is_not_closed(records: Path) -> None:
    edit(records, put("ward", "x" * 140_000))
    with pytest.raises(InputError, match=r"line 5: field larger than field limit .*; is a quotation mark not closed"):
        read_folder(records)


@given(st.lists(st.sampled_from(list(STATEMENTS.index)), unique=True), st.sampled_from([" ", ";", "+", ", ", " \t"]))
def test_statements_in_words(names: list[str], separator: str) -> None:
    codes = dict.fromkeys(names, 0.0)
    assert parse_statements(separator.join(names)) == parse_statements(separator.join(names).lower()) == codes
    assert parse_statements(str(codes)) == parse_codes(str(codes)) == codes


@given(st.one_of(st.text(), st.text(alphabet="{}':,0NORMS +;")))
def test_any_text_gives_statements_or_an_error(text: str) -> None:
    try:
        codes = parse_statements(text)
    except ValueError:
        return
    assert set(codes) <= set(STATEMENTS.index) and all(0 <= value <= 100 for value in codes.values())


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=80), st.text(alphabet='file,age;sex\n"01 NORM', max_size=80).map(str.encode)))
def test_any_table_is_read_or_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "records.csv").write_bytes(b"file,age,scp_codes\n" + content)
    with warnings.catch_warnings(), pytest.raises(InputError):  # there are no records: at best none could be read
        warnings.simplefilter("error")
        read_folder(tmp_path)
