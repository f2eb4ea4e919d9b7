"""MIMIC-IV-ECG: the translation of report lines, and a small tree in its layout, sound and broken."""

import re
from itertools import permutations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import wfdb
from handmade import make_cohort
from hypothesis import given
from hypothesis import strategies as st
from mimic_tree import LEADS, NOT_MEASURED, write_mimic

from ecglib.errors import InputError
from ecglib.signals import LEADS_12, STATEMENTS, Cohort
from ecglib.signals.readers.mimic import read_mimic
from ecglib.signals.readers.mimic_statements import (
    TERRITORIES,
    phrase_table,
    to_statements,
    translate,
    untranslated,
)

REPORTS = {
    1: ("Sinus rhythm.", "Normal ECG"),
    2: (),
    3: ("Sinus rhythm", "Rate irregular", "Gibberish; RATE  IRREGULAR"),
    5: ("Possible inferior infarct - age undetermined",),
}


@pytest.fixture(scope="module")
def source() -> Cohort:
    """24 records of 12 patients, a different shape in every lead."""
    return make_cohort(24, fs=500)


@pytest.fixture
def tree(folder: Path, source: Cohort) -> Path:
    """The first eight of them as MIMIC-IV-ECG."""
    write_mimic(folder, source.select(np.arange(8)), REPORTS)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def path_of(tree: Path, ecg_id: int) -> str:
    listed = pd.read_csv(tree / "record_list.csv")
    return str(listed.set_index("study_id").loc[40_000_000 + ecg_id, "path"])


# The table of phrases, and what it makes of lines.


def test_the_table_of_phrases_is_sound() -> None:
    table = phrase_table()
    assert set(table["statement"]) - {""} <= set(STATEMENTS.index)
    assert not table.duplicated(["phrase", "statement"]).any()
    diagnostic = table["statement"].map(STATEMENTS["superclass"]).fillna("") != ""
    assert set(table.loc[diagnostic, "likelihood"]) == {50.0, 100.0} and set(table["likelihood"]) == {0.0, 50.0, 100.0}
    assert not (diagnostic & table["normal"] & (table["statement"] != "NORM")).any()
    assert (table["phrase"] == table["phrase"].str.strip().str.lower()).all()


INFARCT = {"inferior": "IMI", "anteroseptal": "ASMI", "anterior": "AMI", "septal": "ASMI", "lateral": "LMI",
           "posterior": "PMI"}  # fmt: skip
ISCHEMIA = {"inferior": "ISCIN", "anteroseptal": "ISCAS", "anterior": "ISCAN", "septal": "ISCAS", "lateral": "ISCLA"}
AS_ONE = {  # statements of PTB-XL for two territories
    frozenset({"IMI", "LMI"}): {"ILMI"}, frozenset({"IMI", "PMI"}): {"IPMI"}, frozenset({"AMI", "LMI"}): {"ALMI"},
    frozenset({"AMI", "ASMI"}): {"ASMI"}, frozenset({"ISCIN", "ISCLA"}): {"ISCIL"},
    frozenset({"ISCAN", "ISCLA"}): {"ISCAL"}, frozenset({"ISCAN", "ISCAS"}): {"ISCAS"},
}  # fmt: skip


@pytest.mark.parametrize("between", [" and ", " & ", "/", "-"])
@pytest.mark.parametrize("line, statement", [
    ("{} infarct", INFARCT), ("{} ST elevation, consider acute infarct", INFARCT),
    ("{} T wave changes may be due to myocardial ischemia", ISCHEMIA),
    ("Abnormal T, consider ischemia, {} leads", ISCHEMIA)])  # fmt: skip
def test_two_territories_in_any_order_are_both_kept(line, statement, between):
    for two in permutations(TERRITORIES, 2):
        said = frozenset(statement[one] for one in two if one in statement)
        found = set(translate(line.format(between.join(two)))[0]) - {"TAB_"}
        assert found == AS_ONE.get(said, said), two


@pytest.mark.parametrize("phrase", phrase_table()["phrase"].unique())
def test_no_phrase_is_hidden_by_one_above_it(phrase: str) -> None:
    rows = phrase_table()[phrase_table()["phrase"] == phrase]
    found = translate(phrase.replace("*", "of whatever kind"))
    assert set(found.codes) == set(rows["statement"]) - {""} and found.known
    assert found.normal == rows["normal"].all()


@pytest.mark.parametrize(
    ("line", "codes"),
    [
        ("Sinus rhythm", {"SR": 0}),
        ("Sinus tachycardia.", {"STACH": 0}),
        ("ATRIAL FIBRILLATION", {"AFIB": 0}),
        ("Left bundle branch block", {"CLBBB": 100}),
        ("Incomplete RBBB and LAFB", {"IRBBB": 100, "LAFB": 100}),
        ("Inferior infarct - age undetermined", {"IMI": 100}),
        ("Anteroseptal infarct, age indeterminate", {"ASMI": 100}),
        ("Antero-lateral infarct", {"ALMI": 100}),
        ("Infero-lateral infarct", {"ILMI": 100}),
        ("Infero-posterior infarct", {"IPMI": 100}),
        ("Anterior/lateral infarct", {"ALMI": 100}),
        ("Anterior and lateral infarct", {"ALMI": 100}),
        ("Inferior and anterior infarct", {"IMI": 100, "AMI": 100}),
        ("Postero-lateral infarct", {"PMI": 100, "LMI": 100}),
        ("Supraventricular bigeminy", {"PAC": 100, "BIGU": 0}),
        ("Nonspecific ST and T wave abnormality", {"NST_": 100, "NT_": 0}),
        ("Nonspecific T wave changes", {"NT_": 0}),
        ("Lateral ST-T changes are nonspecific", {"NST_": 100, "NT_": 0}),
        ("Low QRS voltages in precordial leads", {"LVOLT": 0}),
        ("Prolonged QT interval", {"LNGQT": 100}),
        ("Pacemaker rhythm - no further analysis", {"PACE": 100}),
        ("No further analysis attempted due to paced rhythm", {"PACE": 100}),
        ("AV block, complete (third degree)", {"3AVB": 100}),
        ("Left ventricular hypertrophy by voltage only", {"VCLVH": 0}),
        # several findings in a line
        ("Sinus rhythm with PAC(s) with 1st degree A-V block", {"SR": 0, "PAC": 100, "1AVB": 100}),
        ("Atrial fibrillation with PVC(s) or aberrant ventricular conduction.", {"AFIB": 0, "PVC": 100, "ABQRS": 0}),
        ("Multiple premature complexes, vent & supraven", {"PVC": 100, "PAC": 100}),
        ("Ant/septal and lateral T wave abnormality suggests ischemia", {"ISCAS": 50, "ISCLA": 50}),
        # words that look like others
        ("Supraventricular tachycardia", {"SVTAC": 0}),
        ("Ventricular tachycardia, unsustained", {}),
        ("Atrial flutter with uncontrolled ventricular response with 2:1 A-V block", {"AFLT": 0}),
        ("2:1 A-V block", {"2AVB": 100}),
        ("ST junctional depression is nonspecific", {"STD_": 0}),
        ("Accelerated junctional rhythm", {"SVARR": 0}),
        ("*** CONSIDER ACUTE ST ELEVATION MI ***", {"STE_": 0}),
        ("I.V. CONDUCTION DEFECT OF RIGHT BUNDLE BRANCH BLOCK TYPE", {"IVCD": 100}),
        # hedges: possible, probable, consider, cannot rule out, may be, suggests, borderline, cannot be excluded
        ("Possible inferior infarct - age undetermined", {"IMI": 50}),
        ("Probable left atrial enlargement", {"LAO/LAE": 50}),
        ("Consider left atrial abnormality", {"LAO/LAE": 50}),
        ("Cannot rule out anterior infarct - age undetermined", {"AMI": 50}),
        ("Lateral T wave changes may be due to myocardial ischemia", {"ISCLA": 50}),
        ("Repol abnrm suggests ischemia, diffuse leads", {"ISC_": 50}),
        ("Sinus rhythm with borderline 1st degree A-V block.", {"SR": 0, "1AVB": 50}),
        ("Q in V1/V2 - septal infarct cannot be excluded", {"QWAVE": 0, "ASMI": 50}),
        ("Inferior ST elevation, CONSIDER ACUTE INFARCT", {"IMI": 50}),
        # a hedge lowers what follows it, not what stands before
        ("RBBB with RAD - possible left posterior fascicular block", {"CRBBB": 100, "LPFB": 50}),
        ("*** INFERIOR INFARCT - POSSIBLY ACUTE ***", {"IMI": 100}),
        ("Prolonged QT - consider ischemia, electrolyte imbalance", {"LNGQT": 100, "ISC_": 50, "EL": 50}),
        # negations
        ("No evidence of inferior infarct", {}),
        ("Sinus rhythm without PVC(s)", {"SR": 0}),
        ("Not atrial fibrillation, sinus arrhythmia", {"SARRH": 0}),
        ("No infarct - left bundle branch block", {"CLBBB": 100}),
        ("Anterior infarct ruled out", {}),
        ("Atrial flutter is not present", {}),
        # variants of the normal
        ("ST elev, probable normal early repol pattern", {}),
        ("RSR'(V1) - probable normal variant", {}),
        ("Small inferior Q waves noted: probably normal ECG", {"NORM": 50}),
        ("Abnormal ECG", {}),
        ("Borderline ECG", {}),
        ("", {}),
    ],
)
def test_a_line_becomes_statements(line: str, codes: dict[str, float]) -> None:
    assert translate(line).codes == codes


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        (["Sinus rhythm", "Normal ECG"], {"SR": 0, "NORM": 100}),
        (["Sinus bradycardia", "Normal ECG except for rate"], {"SBRAD": 0, "NORM": 100}),
        (["Sinus rhythm", "Left axis deviation", "Summary: NORMAL ECG"], {"SR": 0, "NORM": 100}),
        (["Sinus rhythm", "Normal ECG based on available leads"], {"SR": 0, "NORM": 50}),
        (["Normal ECG", "Sinus rhythm", "Right bundle branch block"], {"SR": 0, "CRBBB": 100}),
        (["Sinus rhythm", "Possible left atrial abnormality", "Normal ECG"], {"SR": 0, "LAO/LAE": 50}),
        (["Sinus rhythm", "Normal ECG", "Abnormal ECG"], {"SR": 0}),
        (["Atrial fibrillation", "Normal ECG"], {"AFIB": 0}),
        (["Sinus rhythm", "No infarct", "Normal ECG"], {"SR": 0, "NORM": 100}),
        (["Sinus rhythm"], {"SR": 0}),
        (["Possible inferior infarct", "Inferior infarct"], {"IMI": 100}),
        (["Sinus rhythm", "Rate irregular", "Normal ECG"], {"SR": 0, "NORM": 100}),
        ([], {}),
    ],
)
def test_a_report_becomes_statements(lines: list[str], codes: dict[str, float]) -> None:
    assert to_statements(lines) == codes


WORDS = sorted({word for phrase in phrase_table()["phrase"] for word in phrase.split()})
LINE = st.one_of(st.text(), st.lists(st.sampled_from([*WORDS, "no", "possible", "-", ",", "|", "."]), max_size=12)
                 .map(" ".join))  # fmt: skip


@given(st.lists(LINE, max_size=5))
def test_any_text_is_translated(lines: list[str]) -> None:
    codes = to_statements(lines)
    assert set(codes) <= set(STATEMENTS.index) and set(codes.values()) <= {0.0, 50.0, 100.0}


@given(st.sampled_from(sorted(set(phrase_table()["statement"]) - {""})), st.data())
def test_nothing_is_invented(code: str, data: st.DataObject) -> None:
    phrases = phrase_table().loc[phrase_table()["statement"] == code, "phrase"]
    last = tuple({phrase.split()[-1] for phrase in phrases})
    others = [word for word in WORDS if not word.startswith(last)]
    line = " ".join(data.draw(st.lists(st.sampled_from(others), max_size=12)))
    assert code not in translate(line).codes


@given(LINE)
def test_case_spaces_and_a_full_stop_change_nothing(line: str) -> None:
    assert translate(f"  {'  '.join(line.split(' '))} ") == translate(line)
    if line.isascii():
        assert translate(line.upper()) == translate(line.lower()) == translate(line)
    if not line.rstrip().endswith(("|", "?")):
        assert translate(line + ".").codes == translate(line).codes


@given(st.text(alphabet="jkxyz -"))
def test_words_that_no_phrase_has_are_unknown(line: str) -> None:
    assert translate(line) == ({}, True, False)


def test_lines_without_a_phrase_are_counted() -> None:
    reports = pd.Series(["Sinus rhythm; Odd", "odd.; ODD", "", "Sinus rhythm", *(f"Line {k}" for k in range(60))])
    counts = untranslated(reports)
    assert counts["odd"] == 2 and next(iter(counts)) == "odd" and len(counts) == 50 and "sinus rhythm" not in counts
    assert translate("sinus rhythm " * 40) == ({}, True, False)  # longer than any line of a machine


# The reader.


def test_leads_are_read_by_name(tree: Path, source: Cohort) -> None:
    cohort = read_mimic(tree, fs=500, strict=True)
    assert cohort.leads == LEADS_12 and cohort.x.shape == (8, 12, 5000) and cohort.source == "mimic-iv-ecg"
    np.testing.assert_allclose(cohort.x[:], source.x[:8], atol=0.5 / 200 + 6e-4)
    stored = wfdb.rdrecord(str(tree / path_of(tree, 1)))
    assert tuple(stored.sig_name) == LEADS and stored.sig_name[4:6] == ["aVF", "aVL"]  # the trap
    np.testing.assert_allclose(stored.p_signal[:, 4], cohort.x[0, LEADS_12.index("aVF")], atol=6e-4)
    assert np.abs(stored.p_signal[:, 4] - cohort.x[0, 4]).max() > 0.2
    for lead, x in zip(LEADS_12, cohort.x[0], strict=True):
        apart = {other: np.abs(x - stored.p_signal[:, k]).max() for k, other in enumerate(LEADS)}
        assert min(apart, key=apart.__getitem__) == lead


def test_the_table(tree: Path, source: Cohort) -> None:
    cohort = read_mimic(tree)
    table = cohort.table
    assert cohort.x.shape == (8, 12, 1000) and cohort.fs == 100 and cohort.notes["native_fs"] == 500
    assert table["ecg_id"].tolist() == [40_000_000 + k for k in range(1, 9)]
    assert table["patient_id"].tolist() == (10_000_000 + source.table["patient_id"][:8]).tolist()
    assert table["report"][:2].tolist() == ["Sinus rhythm.; Normal ECG", ""]
    assert table["scp_codes"][:6].tolist() == [{"SR": 0, "NORM": 100}, {}, {"SR": 0}, {"IMI": 100, "SR": 0},
                                               {"IMI": 50}, {"AFIB": 0}]  # fmt: skip
    assert cohort.notes["untranslated"] == {"rate irregular": 1, "gibberish": 1}
    assert table["age"].isna().all() and table["sex"].isna().all() and not table["age_over_89"].any()
    assert set(table["heart_rate"]) == {60.0} and set(table["qrs_ms"]) == {94.0} and set(table["qt_ms"]) == {396.0}
    assert table["pr_ms"].fillna(0).tolist() == [160, 160, 160, 160, 0, 0, 160, 160]  # two fibrillate
    assert cohort.notes["left_out"] == {} and cohort.notes["set_unknown"]["p_ms"] == 2


def test_what_was_not_measured_is_unknown(tree: Path) -> None:
    path = tree / "machine_measurements.csv"
    table = pd.read_csv(path)
    table.loc[0, ["rr_interval", "p_onset", "qrs_onset", "t_end"]] = 0, 61440, 200, NOT_MEASURED
    table.loc[1, ["p_axis", "qrs_axis", "t_axis", "rr_interval"]] = 32767, -32768, -21846, 65535
    table.loc[2, ["p_onset", "p_end", "qrs_end"]] = 29999, 30099, 55040  # a difference of 100 is no duration here
    table.loc[4, ["qrs_end", "t_axis"]] = 190, 180
    table.astype(str).replace("190", "wide").to_csv(path, index=False)
    cohort = read_mimic(tree)
    table = cohort.table
    assert table.loc[0, ["heart_rate", "p_ms", "pr_ms", "qt_ms"]].isna().all() and table.loc[0, "qrs_ms"] == 94
    assert table.loc[1, ["p_axis", "qrs_axis", "t_axis", "heart_rate"]].isna().all() and table.loc[1, "pr_ms"] == 160
    assert table.loc[2, ["p_ms", "pr_ms", "qrs_ms"]].isna().all() and table.loc[2, "qt_ms"] == 396
    assert np.isnan(table.loc[4, "qrs_ms"]) and table.loc[4, "t_axis"] == 180
    assert cohort.notes["set_unknown"] == {name: int(table[name].isna().sum()) for name in cohort.notes["set_unknown"]}
    assert cohort.notes["set_unknown"]["heart_rate"] == 2


def test_age_and_sex_come_from_mimic_iv(tree: Path) -> None:
    subjects = read_mimic(tree).table["patient_id"].unique()  # four, of two records each
    people = pd.DataFrame({"subject_id": subjects[:3], "gender": ["F", "M", "?"], "anchor_age": [60, 91, 85],
                           "anchor_year": [2170, 2175, 2174], "anchor_year_group": "2008 - 2010"})  # fmt: skip
    people.to_csv(tree / "patients.csv", index=False)
    cohort = read_mimic(tree)
    table = cohort.table  # ECGs of 2180
    assert cohort.notes["set_unknown"]["age"] == 2 and cohort.notes["set_unknown"]["sex"] == 4
    np.testing.assert_array_equal(table["age"][::2], [70, 90, 90, np.nan])
    np.testing.assert_array_equal(table["sex"][::2], [1, 0, np.nan, np.nan])
    assert table["age_over_89"][::2].tolist() == [False, True, True, False]
    people.assign(anchor_year=[2260, 2181, 1900]).to_csv(tree / "patients.csv", index=False)
    assert read_mimic(tree).table["age"].isna().all()  # before birth; withheld; 365 years
    pd.concat([people, people]).to_csv(tree / "patients.csv", index=False)
    with pytest.raises(InputError, match="subject_id appears twice"):
        read_mimic(tree)


def test_folds_and_a_part(tmp_path: Path, source: Cohort) -> None:
    listed = write_mimic(tmp_path, source)
    cohort = read_mimic(tmp_path, seed=3)
    assert len(cohort) == 24 and set(cohort.table["strat_fold"]) == set(range(1, 11))
    assert (cohort.table.groupby("patient_id")["strat_fold"].nunique() == 1).all()
    part = read_mimic(tmp_path, n=7, seed=3)
    assert 6 <= len(part) <= 7 and (part.table["patient_id"].value_counts() == 2).all()  # whole patients
    rows = cohort.table.set_index("ecg_id").loc[part.table["ecg_id"]]
    assert rows["strat_fold"].tolist() == part.table["strat_fold"].tolist()
    assert part.table.equals(read_mimic(tmp_path, n=7, seed=3).table)
    (tmp_path / "RECORDS.subset").write_text("\n".join(listed["path"][[3, 0]]) + "\n")
    for name in listed["path"][4:]:
        (tmp_path / f"{name}.hea").unlink()
    part = read_mimic(tmp_path, strict=True)
    assert part.table["path"].tolist() == listed["path"][[0, 3]].tolist() and set(part.table["strat_fold"]) == {1}


@pytest.mark.parametrize("name", ["record_list.csv", "machine_measurements.csv"])
def test_any_dialect_of_csv(tree: Path, name: str) -> None:
    expected = read_mimic(tree).table
    table = pd.read_csv(tree / name, dtype=str, keep_default_na=False)
    text = table.to_csv(index=False, sep=";", lineterminator="\r\n")
    (tree / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    pd.testing.assert_frame_equal(read_mimic(tree).table, expected)


def test_bad_records_are_left_out_and_listed(tree: Path, tmp_path: Path) -> None:
    names = {k: path_of(tree, k) for k in range(1, 9)}
    (tree / f"{names[1]}.dat").unlink()
    samples = np.fromfile(tree / f"{names[2]}.dat", "<i2")
    samples[600] = -32768  # how format 16 writes NaN
    (tree / f"{names[2]}.dat").write_bytes(samples.tobytes())
    edit(tree / f"{names[3]}.hea", " aVF", " aVX")
    (tmp_path / "outside.hea").write_text("x")
    for k, other in ((4, "../outside"), (5, "https://example.org/40000005"), (6, str(tmp_path / "outside"))):
        edit(tree / "record_list.csv", names[k] + "\n", other + "\n")
    edit(tree / "record_list.csv", ",40000007,40000007", ",forty,40000007")
    cohort = read_mimic(tree)
    assert cohort.table["ecg_id"].tolist() == [40_000_008]
    left_out = {name: reason for reason, found in cohort.notes["left_out"].items() for name in found}
    reason_of_url = left_out.pop("https://example.org/40000005")
    assert reason_of_url in ("path", "missing file")
    assert left_out == {names[1]: "missing file", names[2]: "missing samples", names[3]: "leads", "../outside": "path",
                        str(tmp_path / "outside"): "path", names[7]: "ids"}  # fmt: skip
    with pytest.raises(InputError, match="forty"):
        read_mimic(tree, strict=True)


def test_a_study_in_one_table_only(tree: Path) -> None:
    names = {k: path_of(tree, k) for k in (2, 5)}
    path = tree / "machine_measurements.csv"
    table = pd.read_csv(path)
    other = table.iloc[[0]].assign(study_id=49_999_999)  # measured, but not listed
    table.loc[4, "subject_id"] = 19_999_999  # of another subject than listed
    pd.concat([table.drop(index=1), other]).to_csv(path, index=False)
    cohort = read_mimic(tree)
    assert cohort.notes["left_out"] == {"no measurements": [names[2], names[5]]} and len(cohort) == 6
    with pytest.raises(InputError, match=f"no measurements: it lacks {re.escape(names[2])}"):
        read_mimic(tree, strict=True)
    other.to_csv(path, index=False)
    with pytest.raises(InputError, match="no study in common"):
        read_mimic(tree)


@pytest.mark.parametrize("name", ["record_list.csv", "machine_measurements.csv"])
def test_a_table_that_cannot_be_used_is_one_error(tree: Path, name: str) -> None:
    table = pd.read_csv(tree / name, dtype=str, keep_default_na=False)
    pd.concat([table, table.iloc[[2]]]).to_csv(tree / name, index=False)
    with pytest.raises(InputError, match="study_id 40000003 appears twice"):
        read_mimic(tree)
    needed = {"record_list.csv": "path", "machine_measurements.csv": "qrs_end"}[name]
    table.drop(columns=needed).to_csv(tree / name, index=False)
    with pytest.raises(InputError, match=f"has no column {needed}"):
        read_mimic(tree)
    (tree / name).unlink()
    with pytest.raises(InputError, match=name):
        read_mimic(tree)


def test_bad_arguments(tree: Path) -> None:
    for changes, words in (({"fs": 0}, "fs=0"), ({"fs": 1000}, "fs=1000"), ({"n": 0}, "n=0"), ({"n": 1}, "n=1")):
        with pytest.raises(InputError, match=words):
            read_mimic(tree, **changes)
    for path in tree.glob("files/*/*/*/*.hea"):
        path.unlink()
    with pytest.raises(InputError, match="none of 8 records of mimic-iv-ecg could be read: missing file: 8"):
        read_mimic(tree)
