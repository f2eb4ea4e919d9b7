"""PhysioNet/CinC Challenge 2021: the table of codes, headers of every dialect, and the real records at hand."""

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import numpy as np
import pandas as pd
import pytest
import wfdb
from handmade import sound_counts
from hypothesis import given
from hypothesis import strategies as st

from ecglib.errors import InputError
from ecglib.signals import LEADS_12, STATEMENTS
from ecglib.signals.readers.challenge import _facts, _patient, read_challenge, snomed_table, to_statements
from ecglib.signals.readers.metadata import parse_codes

SINUS = {"SR", "SBRAD", "STACH", "SARRH"}


@pytest.fixture
def tree(folder: Path) -> Callable[..., Path]:
    """Return a function that writes one record of the Challenge below `folder`, and returns `folder`."""

    def write(name: str, dx: str = "426783006", *, fs: int = 500, seconds: float = 10, age: str = "56",
              sex: str = "Female", old: bool = False, signal: str = "") -> Path:  # fmt: skip
        record, n_times = name.rsplit("/", 1)[-1], round(fs * seconds)
        shift = crc32((signal or name).encode()) % 4001  # another signal for another name
        counts = np.tile(sound_counts(), (1, 40))[:, :n_times] + shift
        path = folder / f"{name}.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(24) + counts.T.astype("<i2").tobytes())
        form, gain, mark = ("16x1+24", "1000.0(0)/mV", "# ") if old else ("16+24", "1000/mv", "#")
        lines = [f"{record} 12 {fs} {n_times} 04-Jun-2020 15:11:55"]
        for lead, row in zip(LEADS_12, counts, strict=True):
            total = (int(row.sum()) + 32768) % 65536 - 32768
            lines.append(f"{record}.mat {form} {gain} 16 0 {row[0]} {total} 0 {lead}")
        lines += [f"{mark}{text}" for text in (f"Age: {age}", f"Sex: {sex}", f"Dx: {dx}", "Rx: Unknown")]
        path.with_suffix(".hea").write_text("\n".join(lines) + "\n", encoding="utf-8")
        return folder

    return write


def test_the_table_of_codes_is_sound() -> None:
    table = pd.DataFrame(snomed_table()).T
    assert len(table) == 133 and table.index.is_unique and table.index.str.fullmatch("[0-9]+").all()
    assert set(table["statement"]) - {""} <= set(STATEMENTS.index) and (table["name"] != "").all()
    diagnostic = table["statement"].map(STATEMENTS["superclass"]).fillna("") != ""
    assert set(table.loc[diagnostic, "likelihood"]) == {100.0} and set(table["likelihood"]) == {0.0, 100.0}
    assert not table.loc[diagnostic, "normal"].any() and set(table["normal"]) == {0, 1}
    assert table.groupby("statement")["likelihood"].nunique().max() == 1


@pytest.mark.parametrize(
    ("codes", "statements"),
    [
        ("426783006", {"NORM": 100, "SR": 0}),
        ("426177001 426783006", {"NORM": 100, "SBRAD": 0}),
        ("426783006 39732003", {"NORM": 100, "SR": 0}),
        ("426783006 270492004", {"SR": 0, "1AVB": 100}),
        ("426783006 164865005", {"SR": 0}),
        ("426783006 999999", {"SR": 0}),
        ("39732003", {}),
        ("251146004", {"LVOLT": 0}),
        ("164889003 59118001", {"AFIB": 0, "CRBBB": 100}),
        ("59118001 713427006", {"CRBBB": 100}),
        ("", {}),
    ],
)
def test_codes_become_statements(codes: str, statements: dict[str, float]) -> None:
    assert to_statements(codes.split()) == statements


@pytest.mark.parametrize(
    ("age", "sex", "expected"),
    [
        ("56", "Female", (56, False, 1, [])),
        ("NaN", "Unknown", (np.nan, False, np.nan, [])),
        ("", "", (np.nan, False, np.nan, [])),
        ("300", "M", (90, True, 0, [])),
        (">89", "F", (90, True, 1, [])),
        ("-1", "Male", (np.nan, False, 0, ["age"])),
        ("old", "x", (np.nan, False, np.nan, ["age", "sex"])),
        ("inf", "male", (np.nan, False, 0, ["age"])),
    ],
)
def test_age_and_sex(age: str, sex: str, expected: tuple[object, ...]) -> None:
    np.testing.assert_equal(tuple(_patient(_facts([f"Age: {age}", f"Sex: {sex}"])).values()), expected)


def test_comments_of_either_dialect() -> None:
    assert _facts(["Age: 56", "DX : 1,2 ,1", "no colon"]) == {"age": "56", "dx": "1 2"}
    assert _facts(["Dx: 1;2", "Dx: 3"])["dx"] == "1 2 3" and _facts(["Dx: Unknown"])["dx"] == ""


@given(st.lists(st.one_of(st.text(), st.text().map("Age: {}".format), st.text().map("Dx:{}".format))))
def test_no_comment_is_an_error(comments: list[str]) -> None:
    facts = _facts(comments)
    assert all(name == name.strip().lower() for name in facts)
    codes = facts.get("dx", "").split()
    assert len(codes) == len(set(codes)) and set(to_statements(codes)) <= set(STATEMENTS.index)
    patient = _patient(facts)
    assert np.isnan(patient["age"]) or 0 <= patient["age"] <= 120


@given(st.lists(st.sampled_from([*snomed_table(), "999", "AF"]), unique=True))
def test_every_code_is_translated_or_left(codes: list[str]) -> None:
    statements = to_statements(codes)
    expected = {statement for code in codes for statement in to_statements([code])}
    assert set(statements) <= expected and expected - set(statements) <= {"NORM", "SR"}
    assert set(statements) & SINUS or "NORM" not in statements


def test_records_of_ptbxl_are_for_training_alone(tree: Callable[..., Path]) -> None:
    """Some of them share a patient, and only PTB-XL's own table says which."""
    for k in range(1, 31):
        root = tree(f"ptb-xl/g1/HR{k:05d}")
    assert set(read_challenge(root).table["strat_fold"]) == set(range(1, 9))
    with pytest.raises(InputError, match="no record is in fold 9"):
        read_challenge(root).split()


def test_the_published_layout(tree: Callable[..., Path]) -> None:
    names = ["cpsc_2018/g1/A0001", "cpsc_2018_extra/g1/Q0001", "georgia/g11/E00001", "ptb-xl/g1/HR00001",
             "chapman_shaoxing/g1/JS00001", "ningbo/g1/JS10647"]  # fmt: skip
    for k, name in enumerate(names):
        root = tree(f"training/{name}", old=k % 2 == 0, seconds=14.5 if k == 0 else 10)
    for name, changes in (("cpsc_2018/g1/A0002", {"seconds": 9}), ("ptb/g1/S0001", {"fs": 1000}),
                          ("st_petersburg_incart/g1/I0001", {"fs": 257, "seconds": 30})):  # fmt: skip
        tree(f"training/{name}", **changes)
    cohort = read_challenge(root)
    assert cohort.x.shape == (6, 12, 1000) and cohort.source == "challenge-2021" and cohort.waves is None
    table = cohort.table.set_index("record")
    assert table["origin"].to_dict() == {name.split("/")[2]: name.split("/")[0] for name in names}
    assert table["ecg_id"].to_dict() == {"A0001": 100001, "Q0001": 200001, "E00001": 300001, "HR00001": 1,
                                         "JS00001": 400001, "JS10647": 410647}  # fmt: skip
    assert (table["patient_id"] == table["ecg_id"]).all() and table.loc["A0001", "recorded_s"] == 14.5
    assert cohort.notes["left_out"] == {"length": ["training/cpsc_2018/g1/A0002"], "fs": [
        "training/ptb/g1/S0001", "training/st_petersburg_incart/g1/I0001"]}  # fmt: skip
    part = read_challenge(root / "training" / "georgia" / "g11", fs=500, strict=True)
    assert part.x.shape == (1, 12, 5000) and part.table["origin"][0] == "g11"
    with pytest.raises(InputError, match=r"A0002\.hea: length: 4500 samples; expected 5000"):
        read_challenge(root, strict=True)


def test_longer_records_are_cut_as_they_are(tree: Callable[..., Path]) -> None:
    root = tree("A0001", seconds=14.5)
    cohort = read_challenge(root, fs=500)
    expected = wfdb.rdrecord(str(root / "A0001"), sampto=5000).p_signal.T
    np.testing.assert_allclose(cohort.x[0], expected, atol=1e-6)


def test_what_has_no_statement_is_counted(tree: Callable[..., Path]) -> None:
    tree("g1/E00001", "426783006,164865005")
    tree("g1/E00002", "164865005,424242", age="-1")
    root = tree("g1/E00003", "Unknown", sex="?")
    cohort = read_challenge(root)
    assert cohort.notes["untranslated"] == {"164865005": 2, "424242": 1}
    assert cohort.notes["set_unknown"] == {"age": 1, "sex": 1}
    assert cohort.table["snomed"].tolist() == ["426783006 164865005", "164865005 424242", ""]
    assert cohort.table["scp_codes"].tolist() == [{"SR": 0.0}, {}, {}]


def test_bad_records_are_left_out_and_listed(tree: Callable[..., Path]) -> None:
    for name in ("HR00001", "HR00002", "HR00003", "HR00004", "HR00005", "mine", "again/HR00001", "HR123456"):
        root = tree(f"in/{name}") / "in"
    outside = tree("out/HR00009") / "out"
    (root / "HR00002.hea").write_text("")
    (root / "HR00003.hea").write_text((root / "HR00003.hea").read_text().split("#Dx")[0])
    (root / "HR00004.mat").unlink()
    (root / "HR00009.hea").symlink_to(outside / "HR00009.hea")
    (root / "linked").symlink_to(outside)
    cohort = read_challenge(root)
    assert cohort.table["record"].tolist() == ["HR00001", "HR00005"]
    assert cohort.notes["left_out"] == {
        "path": ["linked", "HR00009"], "header": ["HR00002"], "Dx": ["HR00003"], "missing file": ["HR00004"],
        "record name": ["HR123456", "again/HR00001", "mine"],
    }  # fmt: skip
    with pytest.raises(InputError, match="it is a link to a folder"):
        read_challenge(root, strict=True)


def test_the_same_signal_twice_is_read_once(tree: Callable[..., Path]) -> None:
    tree("a/E00012", signal="one")
    root = tree("b/E00021", signal="one")
    assert read_challenge(root).notes["left_out"] == {"duplicate signal": ["b/E00021"]}


def test_what_cannot_be_read_is_one_error(tree: Callable[..., Path]) -> None:
    root = tree("E00001")
    for changes, words in (({"fs": 1000}, "fs=1000"), ({"n": 0}, "n=0")):
        with pytest.raises(InputError, match=words):
            read_challenge(root, **changes)
    (root / "E00001.mat").unlink()
    with pytest.raises(InputError, match="none of 1 records of challenge-2021 could be read: missing file: 1"):
        read_challenge(root)
    (root / "E00001.hea").write_text("")
    with pytest.raises(InputError, match="none of 1 headers could be used: header: 1"):
        read_challenge(root)
    (root / "E00001.hea").unlink()
    with pytest.raises(InputError, match="holds no header"):
        read_challenge(root)
    with pytest.raises(InputError, match="No such file"):
        read_challenge(root / "absent")


def test_a_subset(tree: Callable[..., Path]) -> None:
    for number in range(1, 13):
        root = tree(f"g1/E{number:05d}", "426783006" if number % 2 else "164889003")
    part, again = read_challenge(root, n=6, seed=3), read_challenge(root, n=6, seed=3)
    assert part.table.equals(again.table) and np.array_equal(part.x, again.x) and part.has("AFIB").sum() == 3
    assert set(read_challenge(root).table["strat_fold"]) == set(range(1, 11))
    (root / "RECORDS.subset").write_text("g1/E00002\ng1/E00007\n")
    assert read_challenge(root).table["record"].tolist() == ["E00002", "E00007"]


def test_the_real_records(shared: Path) -> None:
    cohort = read_challenge(shared / "data" / "challenge-2021", fs=500)
    left_out, notes = cohort.notes["left_out"], cohort.notes
    print(f"\n{len(cohort)} of 62 records read; left out: { {k: len(v) for k, v in left_out.items()} }; "
          f"untranslated: {notes['untranslated']}; arms: {notes['arms_swapped']}")  # fmt: skip
    assert len(cohort) == 57 and Counter(cohort.table["origin"]) == {"ptb-xl": 22, "chapman_ningbo": 35}
    assert left_out == {"flat lead": [f"chapman_ningbo/JS{k}" for k in (20004, 20008, 45542, 45544, 45551)]}
    assert cohort.notes["untranslated"] == {"425856008": 7, "39732003": 2, "164865005": 2, "251187003": 1,
                                            "365413008": 1, "13640000": 1}  # fmt: skip
    assert cohort.notes["set_unknown"] == {} and cohort.table["sex"].isin((0, 1)).all()
    assert cohort.has("AFIB").sum() == 2 and cohort.has("PVC").sum() == 4 and cohort.has("NORM").sum() == 20
    path = shared / "data" / "challenge-2021" / "chapman_ningbo" / "JS20013"
    row = cohort.table["record"].tolist().index("JS20013")
    np.testing.assert_allclose(cohort.x[row], wfdb.rdrecord(str(path)).p_signal.T, atol=1e-6)


def test_every_code_of_the_real_headers_is_in_the_table(shared: Path) -> None:
    headers = [path.read_text() for path in (shared / "data" / "challenge-2021").glob("*/*.hea")]
    codes = {code for text in headers for code in re.findall(r"[0-9]+", re.findall("# ?Dx:(.*)", text)[0])}
    assert len(headers) == 62 and len(codes) == 35 and codes <= set(snomed_table())


def genuine(shared: Path) -> pd.Series:
    table = pd.read_csv(shared / "data" / "ptb-xl-metadata" / "ptbxl_database_partial.csv", index_col="ecg_id")
    return table["scp_codes"].map(parse_codes).map(set)


def test_translated_statements_against_the_genuine_ones(shared: Path) -> None:
    table = read_challenge(shared / "data" / "challenge-2021" / "ptb-xl").table.set_index("ecg_id")
    true = genuine(shared)
    both = table.index.intersection(true.index)
    found = table.loc[both, "scp_codes"].map(set)
    right = sum(len(found[k] & true[k]) for k in both)
    lost = Counter(statement for k in both for statement in true[k] - found[k])
    added = Counter(statement for k in both for statement in found[k] - true[k])
    print(f"\n{len(both)} PTB-XL records: {right} statements as in PTB-XL, lost {dict(lost)}, added {dict(added)}")
    assert len(both) == 11 and right == 21
    assert lost == {"NORM": 1, "SR": 1, "IMI": 1} and added == {"1AVB": 1, "SARRH": 1}


def test_what_the_rule_for_norm_rests_on(shared: Path) -> None:
    codes = genuine(shared)
    sinus_alone = codes[codes.map(lambda found: bool(found & SINUS) and not found - SINUS - {"NORM"})]
    assert len(sinus_alone) == 812 and sinus_alone.map(lambda found: "NORM" in found).all()
    assert not codes.map(lambda found: "SR" in found and len(found & SINUS) > 1).any()
    low = codes[codes.map(lambda found: {"LVOLT"} < found < {"LVOLT", "NORM"} | SINUS)]
    assert len(low) == 8 and low.map(lambda found: "NORM" in found).all()
