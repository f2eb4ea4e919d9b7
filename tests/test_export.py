"""PTB-XL's layout: written, marked synthetic, read back by our reader and by the way PTB-XL's own page describes."""

import ast
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from handmade import make_cohort

from ecglib.errors import InputError
from ecglib.signals import LEADS_8, LEADS_12, Cohort, read_ptbxl, save_ptbxl_layout, to_eight_leads
from ecglib.signals.export import PTBXL_COLUMNS, record_name


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


def test_read_back_the_way_of_ptbxls_page(layout: Path, cohort: Cohort) -> None:
    table = pd.read_csv(layout / "ptbxl_database.csv", index_col="ecg_id")
    table.scp_codes = table.scp_codes.apply(ast.literal_eval)
    signals, meta = zip(*[wfdb.rdsamp(str(layout / name)) for name in table.filename_lr], strict=True)
    x = np.array(signals).transpose(0, 2, 1)
    assert np.abs(x - cohort.x).max() < 0.5e-3
    assert tuple(meta[0]["sig_name"]) == LEADS_12 and meta[0]["fs"] == 100 and meta[0]["units"] == ["mV"] * 12
    assert table.scp_codes.tolist() == cohort.table.scp_codes.tolist()
    statements = pd.read_csv(layout / "scp_statements.csv", index_col=0)
    diagnostic = statements[statements.diagnostic == 1]
    classes = [{diagnostic.loc[code].diagnostic_class for code in codes if code in diagnostic.index}
               for codes in table.scp_codes]  # fmt: skip
    assert classes[0] == {"NORM"} and classes[2] == {"MI"} and classes[4] == set()
    assert table.index.tolist() == cohort.table.ecg_id.tolist() and (table.strat_fold != 10).any()


def test_statements_equal_ptbxls_own(layout: Path, shared: Path) -> None:
    columns = ["description", "diagnostic", "form", "rhythm", "diagnostic_class", "diagnostic_subclass"]
    ours = pd.read_csv(layout / "scp_statements.csv", index_col=0)[columns]
    theirs = pd.read_csv(shared / "data" / "ptb-xl-metadata" / "scp_statements.csv", index_col=0)[columns]
    pd.testing.assert_frame_equal(ours, theirs, check_names=False)


def test_headers_are_right_by_wfdbs_own_count(layout: Path) -> None:
    record = wfdb.rdrecord(str(layout / "records100/00000/00003_lr"), physical=False)
    assert record.calc_checksum() == [total % 65536 for total in record.checksum]
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


def test_newlines_and_formulas_do_no_harm(cohort: Cohort, tmp_path: Path) -> None:
    evil = "synthetic\nrec 99 1 1\r\n00001_lr.dat 16 1 0 0 0 0 0 V7\u2028x"
    reports = ['=HYPERLINK("http://x")', "+1", "-1+cmd|x", "@SUM(A1)", "\t=1", "a\r\n=1", "<b>", 'said "so", then']
    given = with_columns(cohort, report=reports * 3, **{"=1+1": 3.0})
    save_ptbxl_layout(replace(given, source=evil), tmp_path / "x")
    for path in (tmp_path / "x").rglob("*.hea"):
        assert len(path.read_text().splitlines()) == 14
        assert wfdb.rdheader(str(path.with_suffix(""))).n_sig == 12
    assert len(read_ptbxl(tmp_path / "x")) == 24
    table = pd.read_csv(tmp_path / "x" / "ptbxl_database.csv", dtype=str, keep_default_na=False)
    cells = [*table.columns, *table["report"], *table["scp_codes"]]
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert table["report"][7] == 'said "so", then' and table["report"][0] == "'" + reports[0]
    assert "\n00001_lr.dat" not in (tmp_path / "x" / "README.md").read_text()


def test_what_does_not_fit_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    eight = Cohort(to_eight_leads(cohort.x), 100, LEADS_8, cohort.table, None, "synthetic")
    huge = cohort.x.copy()
    huge[20] *= 100
    low = cohort.table.assign(ecg_id=cohort.table["ecg_id"] - 1)
    for given, words in (
        (eight, "to_twelve_leads first"),
        (replace(cohort, fs=200, x=np.repeat(cohort.x, 2, axis=2)), "fs=200"),
        (replace(cohort, x=cohort.x[..., :500]), "last 5 s"),
        (replace(cohort, x=huge), "00021_lr: x reaches"),
        (replace(cohort, table=low, waves=None), "ecg_id must be 1 or more"),
        (cohort.select([]), "there must be a record"),
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
