"""PTB-XL's layout: written, marked synthetic, read back by our reader and by the way PTB-XL's own page describes."""

import ast
import re
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
import wfdb
from handmade import make_cohort
from hypothesis import strategies as st

from ecglib.errors import InputError
from ecglib.signals import (
    LEADS_8,
    LEADS_12,
    Cohort,
    read_ptbxl,
    save_ptbxl_layout,
    to_eight_leads,
    to_twelve_leads,
)
from ecglib.signals.data_card import data_card, licence
from ecglib.signals.export import PTBXL_COLUMNS, record_name
from ecglib.signals.readers.metadata import parse_codes
from ecglib.signals.resample import resample

PTBXL_LEADS = ["I", "II", "III", "AVR", "AVL", "AVF", "V1", "V2", "V3", "V4", "V5", "V6"]  # its headers' spelling
FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r")


def with_columns(cohort: Cohort, **columns: object) -> Cohort:
    return replace(cohort, table=cohort.table.assign(**columns))


@pytest.mark.parametrize("fs", [100, 500])
def test_read_back_by_our_reader(folder: Path, fs: int) -> None:
    cohort = with_columns(make_cohort(fs=fs), age_over_89=[True] + [False] * 23, qrs_ms=np.linspace(80, 120.3, 24))
    cohort.table.loc[0, "age"] = 90.0
    save_ptbxl_layout(cohort, folder / "set")
    read = read_ptbxl(folder / "set", fs=fs, strict=True)
    assert np.abs(read.x - cohort.x).max() < 0.5e-3 and (read.fs, read.leads) == (fs, LEADS_12)
    assert read.notes["left_out"] == {} and read.source == cohort.source
    pd.testing.assert_frame_equal(read.table[cohort.table.columns], cohort.table)
    pd.testing.assert_frame_equal(read.waves, cohort.waves)
    assert read.table["synthetic"].all()


def test_500_hz_gives_both_rates_as_ptbxl_has_them(tmp_path: Path) -> None:
    cohort = make_cohort(fs=500)
    hum = 0.3 * np.sin(2 * np.pi * 90 * np.arange(5000) / 500)  # would be 10 Hz after plain decimation
    cohort = replace(cohort, x=to_twelve_leads(to_eight_leads(cohort.x) + hum).astype(np.float32))
    save_ptbxl_layout(cohort, tmp_path / "x")
    table = pd.read_csv(tmp_path / "x/ptbxl_database.csv")
    assert table["filename_lr"][6] == "records100/00000/00007_lr" and table["filename_hr"][6].endswith("00007_hr")
    records = (tmp_path / "x/RECORDS").read_text().split()
    assert records == [*table["filename_lr"], *table["filename_hr"]] and len(records) == 48
    slow, fast = read_ptbxl(tmp_path / "x"), read_ptbxl(tmp_path / "x", fs=500)
    assert slow.notes["native_fs"] == 100 and slow.x.shape == (24, 12, 1000)
    assert np.abs(slow.x - resample(cohort.x, 500, 100)).max() < 0.51e-3
    assert np.abs(fast.x - cohort.x).max() < 0.51e-3
    power = np.abs(np.fft.rfft(slow.x, axis=-1)).mean((0, 1)) / 500  # 0.1 Hz a bin
    assert power[100] < 0.02 < 0.1 < (np.abs(np.fft.rfft(fast.x, axis=-1)).mean((0, 1)) / 2500)[900]
    assert "low-pass filtered first" in (tmp_path / "x/README.md").read_text("utf-8")


def test_100_hz_gives_one_rate_and_says_so(layout: Path) -> None:
    assert not (layout / "records500").exists() and "there is no `records500/`" in (layout / "README.md").read_text()
    assert pd.read_csv(layout / "ptbxl_database.csv")["filename_hr"].isna().all()


def test_read_back_the_way_of_ptbxls_page(layout: Path, cohort: Cohort) -> None:
    table = pd.read_csv(layout / "ptbxl_database.csv", index_col="ecg_id")
    table.scp_codes = table.scp_codes.apply(ast.literal_eval)
    signals, meta = zip(*[wfdb.rdsamp(str(layout / name)) for name in table.filename_lr], strict=True)
    x = np.array(signals).transpose(0, 2, 1)
    assert np.abs(x - cohort.x).max() < 0.5e-3
    assert meta[0]["sig_name"] == PTBXL_LEADS and meta[0]["fs"] == 100 and meta[0]["units"] == ["mV"] * 12
    assert table.scp_codes.tolist() == cohort.table.scp_codes.tolist()
    statements = pd.read_csv(layout / "scp_statements.csv", index_col=0)
    diagnostic = statements[statements.diagnostic == 1]
    classes = [{diagnostic.loc[code].diagnostic_class for code in codes if code in diagnostic.index}
               for codes in table.scp_codes]  # fmt: skip
    assert classes[0] == {"NORM"} and classes[2] == {"MI"} and classes[4] == set()
    assert table.index.tolist() == cohort.table.ecg_id.tolist() and (table.strat_fold != 10).any()


def test_the_data_cards_own_code_runs(layout: Path, tmp_path: Path) -> None:
    card = (layout / "README.md").read_text("utf-8")
    code, command = re.findall(r"```(?:python|bash)\n(.*?)```", card, re.DOTALL)
    show = "print(x_train.shape, x_test.shape, sorted({c for found in y_train for c in found}), len(y_test))"
    done = subprocess.run([sys.executable, "-c", code + show], cwd=layout, capture_output=True, text=True, check=True)
    assert done.stdout == "(22, 1000, 12) (2, 1000, 12) ['HYP', 'MI', 'NORM'] 2\n" and not done.stderr
    assert subprocess.run(command, shell=True, cwd=layout, capture_output=True).returncode == 0


def test_the_data_card_says_what_is_known_and_no_more(cohort: Cohort) -> None:
    card = data_card(cohort, synthetic=True)
    for words in ("24, 12", "| `age` | 24 of 24 | 52 (41–64) |", "| `height` | 16 of 24 |", "12 male, 12 female",
                  "| NORM | normal ECG | NORM | 6 |", "strat_fold", "not known here"):  # fmt: skip
        assert words in card
    assert "| epsilon | not stated |" in card and "Simulated" not in card and "300" not in card
    assert "An age over 89 is printed as 300" in data_card(with_columns(cohort, age_over_89=False), synthetic=True)
    notes = {"run": "<b>a|b\n# c", "epsilon": "none: not differentially private", "steps": 50, "checked": None,
             "arms_swapped": ["a"] * 300,
             "left_out": {"flat lead": ["3", "9"], "size": ["4"]}, "set_unknown": {"height": 2}}  # fmt: skip
    card = data_card(replace(cohort, source="virtual", notes=notes), synthetic=True)
    for words in ("| run | &lt;b&gt;a&#124;b # c |", "| epsilon | none: not differentially private |", "| steps | 50 |",
                  "| left_out | flat lead: 2; size: 1 |", "| set_unknown | height: 2 |", "Simulated",
                  "| arms_swapped | 300 |"):  # fmt: skip
        assert words in card
    assert data_card(with_columns(cohort, age=np.nan, sex=np.nan), synthetic=False).count("24 unknown") == 1


def test_licences() -> None:
    for source, words in {"ludb": "Kalyakulina", "ptb-xl": "licenses/by/4.0", "challenge-2021": "licenses/by/4.0",
                          "mimic-iv-ecg": "odbl", "folder of mine": "licence of their source"}.items():  # fmt: skip
        text = licence(source, synthetic=False)
        assert words in text and "ynthetic" not in text
    assert "Synthetic" in licence("synthetic (ludb)", synthetic=True)


def test_statements_equal_ptbxls_own_cell_by_cell(layout: Path, shared: Path) -> None:
    text = {"index_col": 0, "dtype": str, "keep_default_na": False}
    ours = pd.read_csv(layout / "scp_statements.csv", **text)
    theirs = pd.read_csv(shared / "data" / "ptb-xl-metadata" / "scp_statements.csv", **text)
    assert len(ours) == 71 and (ours.loc[["NDT", "NST_", "DIG", "LNGQT"], ["diagnostic", "form"]] == "1.0").all(None)
    pd.testing.assert_frame_equal(ours, theirs, check_names=False)


def test_table_equals_ptbxls_own_cell_by_cell(tmp_path: Path, shared: Path) -> None:
    path = shared / "data" / "ptb-xl-metadata" / "ptbxl_database_partial.csv"
    table = pd.read_csv(path, nrows=1500)
    table = table.iloc[::10].reset_index(drop=True).assign(scp_codes=lambda t: t["scp_codes"].map(parse_codes))
    x = np.repeat(make_cohort(1, fs=500).x, len(table), axis=0)
    save_ptbxl_layout(Cohort(x, 500, LEADS_12, table, source="ptb-xl"), tmp_path / "x")
    ours = pd.read_csv(tmp_path / "x/ptbxl_database.csv", dtype=str, keep_default_na=False, index_col="ecg_id")
    theirs = pd.read_csv(path, dtype=str, keep_default_na=False, index_col="ecg_id").loc[ours.index]
    assert list(ours.columns[: len(theirs.columns)]) == list(theirs.columns)
    pd.testing.assert_frame_equal(ours[theirs.columns], theirs)


def test_columns_are_of_ptbxls_types(tmp_path: Path, shared: Path) -> None:
    save_ptbxl_layout(make_cohort(fs=500), tmp_path / "x")
    ours = pd.read_csv(tmp_path / "x/ptbxl_database.csv")[list(PTBXL_COLUMNS)]
    theirs = pd.read_csv(shared / "data" / "ptb-xl-metadata" / "ptbxl_database_partial.csv")
    known = ours.columns[ours.notna().any()]
    assert {"patient_id", "sex", "second_opinion", "validated_by_human", "filename_hr"} <= set(known)
    pd.testing.assert_series_equal(ours[known].dtypes, theirs[known].dtypes)


def test_headers_are_right_by_wfdbs_own_count(layout: Path) -> None:
    record = wfdb.rdrecord(str(layout / "records100/00000/00003_lr"), physical=False)
    assert record.calc_checksum() == record.checksum and min(record.checksum) >= 0  # without a sign, as in PTB-XL
    assert record.init_value == record.d_signal[0].tolist() and record.adc_gain == [1000.0] * 12


def test_the_layout(layout: Path) -> None:
    assert {path.name for path in layout.iterdir()} == {
        "records100", "ptbxl_database.csv", "scp_statements.csv", "RECORDS", "SHA256SUMS.txt", "LICENSE.txt",
        "README.md", "waves.csv", "manifest.json",
    }  # fmt: skip
    table = pd.read_csv(layout / "ptbxl_database.csv")
    assert tuple(table.columns[: len(PTBXL_COLUMNS)]) == PTBXL_COLUMNS
    assert (layout / "RECORDS").read_text().split() == table["filename_lr"].tolist()
    assert record_name(21837, 500) == "records500/21000/21837_hr" and record_name(1, 100) == "records100/00000/00001_lr"
    done = subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS.txt"], cwd=layout, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len((layout / "SHA256SUMS.txt").read_text().splitlines()) == 24 * 2 + 6


def test_marked_synthetic_everywhere(layout: Path) -> None:
    for path in layout.rglob("*.hea"):
        assert wfdb.rdheader(str(path.with_suffix(""))).comments[0].startswith("SYNTHETIC ECG, not of a person")
    assert pd.read_csv(layout / "ptbxl_database.csv")["synthetic"].all()
    for name in ("README.md", "LICENSE.txt"):
        assert "synthetic" in (layout / name).read_text("utf-8").lower()


def test_real_records_are_not(cohort: Cohort, tmp_path: Path) -> None:
    save_ptbxl_layout(replace(cohort, source="ludb"), tmp_path / "x")
    assert "synthetic" not in (tmp_path / "x/records100/00000/00001_lr.hea").read_text().lower()
    assert "Kalyakulina" in (tmp_path / "x/LICENSE.txt").read_text()
    read = read_ptbxl(tmp_path / "x")
    assert read.source == "ludb" and not read.table["synthetic"].any()


def test_the_source_must_tell(cohort: Cohort, tmp_path: Path) -> None:
    mine = replace(cohort, source="my hospital")
    with pytest.raises(InputError, match="does not tell whether the records are synthetic"):
        save_ptbxl_layout(mine, tmp_path / "x")
    save_ptbxl_layout(mine, tmp_path / "x", synthetic=False)
    for source in ("virtual", "synthetic"):
        with pytest.raises(InputError, match="synthetic=False, but the records are synthetic"):
            save_ptbxl_layout(replace(cohort, source=source), tmp_path / "y", synthetic=False)
    with pytest.raises(InputError, match="synthetic=True, but the records are real"):
        save_ptbxl_layout(replace(cohort, source="ludb"), tmp_path / "y", synthetic=True)
    with pytest.raises(InputError, match="synthetic=False, but the records are synthetic"):  # as their rows say
        save_ptbxl_layout(with_columns(mine, synthetic=True), tmp_path / "y", synthetic=False)
    with pytest.raises(InputError, match="marks 6 of 24 records"):
        save_ptbxl_layout(with_columns(cohort, synthetic=cohort.has("NORM")), tmp_path / "y")


NASTY = st.text(st.sampled_from("=+-@＝－\t\n\r\x00\x0b\x1b\x85\u2028\u2029\ud800 ;,\"'<b>/|#心a1"), max_size=12)


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(source=NASTY, cells=st.lists(NASTY, min_size=3, max_size=3), column=NASTY, kind=NASTY)
@hypothesis.example(source="x\nrec 99 1 1\r\n00001_lr.dat 16 1 0 0 0 0 0 V7\u2028x", column="=1+1", kind="@x",
         cells=['=HYPERLINK("http://x")', "a\r\n\x85\u2028=1", 'said "so"; -then'])  # fmt: skip
def test_newlines_and_formulas_do_no_harm(source: str, cells: list[str], column: str, kind: str) -> None:
    cohort = make_cohort()
    nasty = with_columns(cohort.select([0, 1, 2]), report=cells, **{f"{column}?": cells})
    nasty = replace(nasty, source=f"synthetic {source}", waves=nasty.waves.assign(kind=kind, r=np.nan))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "x"
        save_ptbxl_layout(nasty, folder)
        for path in folder.rglob("*.hea"):
            assert len(path.read_bytes().splitlines()) == len(path.read_text().splitlines()) == 14
            assert wfdb.rdheader(str(path.with_suffix(""))).n_sig == 12
        plain = (folder / "ptbxl_database.csv").read_text("utf-8")
        assert len(plain.splitlines()) == 4
        table = pd.read_csv(folder / "ptbxl_database.csv", dtype=str, keep_default_na=False)
        assert len(table) == len(read_ptbxl(folder)) == 3
        waves = pd.read_csv(folder / "waves.csv", dtype=str, keep_default_na=False)
        assert len(waves) == 30
        texts = [*table.columns, *table.to_numpy().ravel(), *waves["kind"]]
        for cell in (part.lstrip(" ") for text in texts for part in text.split(";")):
            assert not cell.startswith(FORMULA)
        card = (folder / "README.md").read_text("utf-8")
        expected = data_card(cohort.select([0, 1, 2]), synthetic=True)
        assert "<b>" not in card and len(card.splitlines()) == len(expected.splitlines())


def test_what_our_reader_gives_back_of_text(cohort: Cohort, tmp_path: Path) -> None:
    given = with_columns(cohort.select(range(5)), report=["plain", "<i>", "=1", "two\nlines", 'said "so", then'])
    save_ptbxl_layout(given, tmp_path / "x")
    back = read_ptbxl(tmp_path / "x").table["report"].tolist()
    assert back == ["plain", "<i>", "'=1", "two lines", 'said "so", then']


def test_columns_that_would_become_one(cohort: Cohort, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="two columns of the table would be named 'a b'"):
        save_ptbxl_layout(with_columns(cohort, **{"a\nb": 1, "a b": 2}), tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_strange_columns(cohort: Cohort, tmp_path: Path) -> None:
    given = with_columns(cohort, recording_date=pd.Timestamp("2001-02-03"), kind=pd.Categorical(["=a", "b"] * 12),
                         n=pd.array([1, None] * 12, dtype="Int64"), mixed=[True, None, "x", np.nan] * 6)  # fmt: skip
    save_ptbxl_layout(given, tmp_path / "x")
    table = pd.read_csv(tmp_path / "x/ptbxl_database.csv", dtype=str, keep_default_na=False)
    assert table.loc[1, ["recording_date", "kind", "n", "mixed"]].tolist() == ["2001-02-03 00:00:00", "b", "", ""]
    assert table.loc[0, ["kind", "n", "mixed"]].tolist() == ["'=a", "1", "True"]


def test_what_does_not_fit_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    eight = Cohort(to_eight_leads(cohort.x), 100, LEADS_8, cohort.table, None, "synthetic")
    huge = cohort.x.copy()
    huge[20] *= 100
    low = cohort.table.assign(ecg_id=cohort.table["ecg_id"] - 1)
    for given, words in (
        (eight, "to_twelve_leads first"),
        (replace(cohort, fs=200, x=np.repeat(cohort.x, 2, axis=2)), "fs=200"),
        (replace(cohort, x=cohort.x[..., :500]), "last 5 s"),
        (replace(cohort, x=huge), r"x reaches \d+\.\d mV"),
        (replace(cohort, table=low, waves=None), "ecg_id must be 1 or more"),
        (cohort.select([]), "there must be a record"),
        (with_columns(cohort, patient_id=["A1"] * 2 + list(range(22))), "in 2 of 24 records, first 'A1'; number the"),
    ):
        with pytest.raises(InputError, match=words):
            save_ptbxl_layout(given, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []


def test_only_an_earlier_export_is_replaced(cohort: Cohort, layout: Path, tmp_path: Path) -> None:
    save_ptbxl_layout(cohort.select(range(6)), layout)
    assert len(read_ptbxl(layout)) == 6 and not list(layout.rglob("00007_lr.*"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something other than a ptb-xl-layout"):
        save_ptbxl_layout(cohort, tmp_path / "home")
    assert (tmp_path / "home" / "thesis.txt").exists()


def test_a_memory_mapped_cohort(cohort: Cohort, tmp_path: Path) -> None:
    cohort.save(tmp_path / "c")
    save_ptbxl_layout(Cohort.load(tmp_path / "c").select([3, 1]), tmp_path / "x")
    np.testing.assert_allclose(read_ptbxl(tmp_path / "x").x, cohort.x[[3, 1]], atol=1e-6)


def test_a_full_disk_leaves_the_old_export(cohort: Cohort, layout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ecglib.signals.export._write_statements", full)
    with pytest.raises(OSError, match="No space"):
        save_ptbxl_layout(cohort.select([0]), layout)
    assert len(read_ptbxl(layout)) == 24 and [path.name for path in layout.parent.iterdir()] == ["ptb-xl"]
