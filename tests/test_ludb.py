"""LUDB: the findings' table, and all 200 real records where they are at hand."""

import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb

from ecglib.errors import InputError
from ecglib.signals import LEADS_12, STATEMENTS, Cohort, einthoven_residual, load_cohort, read_ludb
from ecglib.signals.readers.ludb import FINDINGS, finding_table, to_statements


@pytest.fixture
def some_ludb(shared: Path, folder: Path) -> Path:
    """Twelve records of LUDB, copied so that they can be broken."""
    source, root = shared / "data" / "ludb", folder / "ludb"
    (root / "data").mkdir(parents=True)
    for number in range(1, 13):
        for path in (source / "data").glob(f"{number}.*"):
            shutil.copyfile(path, root / "data" / path.name)
    rows = pd.read_csv(source / "ludb.csv", dtype=str, keep_default_na=False)
    rows[rows["ID"].astype(int) <= 12].to_csv(root / "ludb.csv", index=False)
    return root


def test_the_table_of_findings_is_sound() -> None:
    table = finding_table()
    assert set(table["statement"]) - {""} <= set(STATEMENTS.index)
    assert not table.duplicated(["finding", "statement"]).any()
    assert (table["finding"] == table["finding"].str.strip()).all()
    diagnostic = table["statement"].map(STATEMENTS["superclass"]).fillna("") != ""
    assert set(table.loc[diagnostic, "likelihood"]) == {50.0, 100.0}
    assert not (diagnostic & table["normal"]).any()


def test_every_finding_is_in_the_table(shared: Path) -> None:
    raw = pd.read_csv(shared / "data" / "ludb" / "ludb.csv", dtype=str, keep_default_na=False)
    found = {line.strip() for name in FINDINGS for cell in raw[name] for line in cell.split("\n")} - {""}
    assert found <= set(finding_table()["finding"]) and len(found) > 60


@pytest.mark.parametrize(
    ("findings", "codes"),
    [
        (["Sinus rhythm", "Electric axis of the heart: normal"], {"NORM": 100, "SR": 0}),
        (["Sinus bradycardia", "Early repolarization syndrome"], {"NORM": 100, "SBRAD": 0}),
        (["Sinus rhythm", "I degree av block"], {"SR": 0, "1AVB": 100}),
        (["Sinus rhythm", "Sinoatrial blockade, undefined"], {"SR": 0}),
        (["Atrial fibrillation"], {"AFIB": 0}),
        (["Electric axis of the heart: normal"], {}),
        (["Sinus rhythm", "Atrial extrasystole, type: bigemini"], {"SR": 0, "PAC": 100, "BIGU": 0}),
        (["Ischemia: lateral wall", "Undefined ischemia/scar/supp.nstemi: lateral wall"], {"ISCLA": 100}),
        (["Undefined ischemia/scar/supp.nstemi: septal", "Stemi: anterior wall"], {"ISCAS": 50, "AMI": 100}),
    ],
)
def test_findings_become_statements(findings: list[str], codes: dict[str, float]) -> None:
    assert to_statements(findings) == codes


def test_an_unknown_finding_is_named() -> None:
    with pytest.raises(InputError, match="'Delta wave' is not in tables/"):
        to_statements(["Sinus rhythm", "Delta wave"])


def test_all_of_ludb(ludb_500: Cohort, shared: Path) -> None:
    assert ludb_500.x.shape == (200, 12, 5000) and ludb_500.notes["left_out"] == {}
    assert ludb_500.leads == LEADS_12 and ludb_500.source == "ludb"
    residual = np.abs(einthoven_residual(ludb_500.x.astype(np.float64))).max() * 1000
    assert residual <= 2.0  # µV
    assert residual == pytest.approx(ludb_500.notes["einthoven_residual_uv"]) and residual < 0.51
    counts = wfdb.rdrecord(str(shared / "data" / "ludb" / "data" / "17"), physical=False).d_signal.T
    np.testing.assert_allclose(ludb_500.x[16] * 1000, counts, atol=1e-3)


def test_the_table_of_ludb(ludb_500: Cohort) -> None:
    table = ludb_500.table
    assert (table["sex"] == 0).sum() == 115 and (table["sex"] == 1).sum() == 85
    assert table["age"].between(11, 90).all() and table.loc[table["age_over_89"], "age"].tolist() == [90.0]
    counts = Counter(statement for codes in table["scp_codes"] for statement in codes)
    assert counts["SR"] == 143 and counts["SBRAD"] == 25 and counts["AFIB"] == 15 and counts["LVH"] == 108
    assert counts["IRBBB"] == 29 and counts["CRBBB"] == counts["CLBBB"] == 4 and counts["PACE"] == 10
    assert counts["NORM"] == 32
    assert set(table["strat_fold"]) == set(range(1, 11)) and len(ludb_500.split()[0]) > 150


def test_the_waves_of_ludb(ludb_500: Cohort) -> None:
    waves = ludb_500.waves
    assert len(waves) == pytest.approx(21966 / 12, rel=0.01)  # LUDB's README: 21966 QRS marks over all leads
    assert set(waves["ecg_id"]) == set(ludb_500.table["ecg_id"]) and waves["r"].between(0.5, 9.6).all()
    assert (waves["qrs_on"] <= waves["r"]).all() and (waves["r"] < waves["qrs_off"]).all()
    known = waves.dropna()
    assert (known["p_on"] < known["p_peak"]).all() and (known["p_off"] < known["qrs_off"]).all()
    assert (known["qrs_off"] < known["t_peak"]).all() and (known["t_peak"] < known["t_off"]).all()
    fibrillating = ludb_500.table["ecg_id"][ludb_500.has("AFIB")]
    assert waves.loc[waves["ecg_id"].isin(fibrillating), "p_on"].isna().all()
    normal = waves[waves["ecg_id"].isin(ludb_500.table["ecg_id"][ludb_500.has("NORM")])]
    assert 90 < 1000 * (normal["qrs_off"] - normal["qrs_on"]).median() < 110
    rate, slow = ludb_500.table["heart_rate"], ludb_500.has("SBRAD")
    assert rate[slow].median() < 62 < rate[~slow].median() and rate[ludb_500.has("STACH")].min() > 85


def test_100_hz_and_a_part(some_ludb: Path) -> None:
    part = load_cohort("ludb", root=some_ludb.parent, fs=100, n=5, seed=2)  # the folder above it does, too
    assert part.x.shape == (5, 12, 1000) and part.fs == 100
    again = load_cohort("ludb", root=str(some_ludb), fs=100, n=5, seed=2)
    assert part.table.equals(again.table) and np.array_equal(part.x, again.x)
    full = read_ludb(some_ludb, fs=500)
    row = full.table["ecg_id"].tolist().index(part.table["ecg_id"][0])
    assert np.abs(part.x[0] - full.x[row][:, ::5]).max() < 0.3  # the same signal, low-passed
    assert np.abs(einthoven_residual(part.x)).max() < 2e-3


def test_bad_records_are_left_out_and_listed(some_ludb: Path) -> None:
    (some_ludb / "data" / "3.dat").write_bytes(b"")
    (some_ludb / "data" / "5.v2").unlink()
    (some_ludb / "data" / "7.avf").write_bytes(b"\x01")
    half = (some_ludb / "data" / "8.ii").read_bytes()
    (some_ludb / "data" / "8.ii").write_bytes(half[: len(half) // 4 * 2])
    (some_ludb / "data" / "9.hea").write_text("")
    text = (some_ludb / "ludb.csv").read_text()
    (some_ludb / "ludb.csv").write_text(text.replace('"51\n"', "eleven").replace('\n2,"M\n"', "\n2,X"))
    cohort = read_ludb(some_ludb)
    left_out = cohort.notes["left_out"]
    assert left_out == {"Age": ["1"], "Sex": ["2"], "size": ["data/3"], "missing annotation": ["data/5"],
                        "annotation": ["data/7", "data/8"], "header": ["data/9"]}  # fmt: skip
    assert cohort.table["ecg_id"].tolist() == sorted(set(cohort.waves["ecg_id"])) == [4, 6, 10, 11, 12]
    with pytest.raises(InputError, match="eleven"):
        read_ludb(some_ludb, strict=True)


def test_what_cannot_be_read_is_one_error(some_ludb: Path) -> None:
    for changes, words in (({"fs": 0}, "fs=0"), ({"fs": 1000}, "fs=1000"), ({"n": 0}, "n=0"), ({"n": 1.5}, "n=1.5")):
        with pytest.raises(InputError, match=words):
            read_ludb(some_ludb, **changes)
    with pytest.raises(InputError, match="seconds=5"):
        load_cohort("ludb", root=some_ludb, seconds=5)
    for path in (some_ludb / "data").glob("*.dat"):
        path.unlink()
    with pytest.raises(InputError, match="none of 12 records of ludb could be read: missing file: 12"):
        read_ludb(some_ludb)
    (some_ludb / "ludb.csv").unlink()
    with pytest.raises(InputError, match=r"ludb\.csv"):
        read_ludb(some_ludb)
