"""Virtual patients as a population: PTB-XL's rates, couplings, ages and sexes; rules; the same draw whatever n is."""

import ast
import itertools
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ecglib.errors import InputError
from ecglib.signals.export import PTBXL_COLUMNS
from ecglib.signals.statements import STATEMENTS
from ecglib.signals.virtual.annotations import annotations, heart_axis
from ecglib.signals.virtual.patients import (
    POPULATIONS,
    RECORD,
    draw_patient,
    draw_patients,
    draw_statements,
    load_chain,
    read_table,
    rules,
    stream,
)

N = 20_000
PUBLISHED = {"NORM": 9514, "MI": 5486, "STTC": 5250, "CD": 4907, "HYP": 2655}  # of PTB-XL 1.0.3's 21,799 records
TEACHING = {"AFIB", "CLBBB", "CRBBB", "1AVB", "IMI", "LVH", "SBRAD", "STACH", "SR", "NORM"}


def draw(n: int, population: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Return the records' patients and bool (n, K): which of the chain's statements each record carries."""
    rows, stated, names = [], [], load_chain(population).names
    for patient in draw_patients(n, 0, population):
        for visit in range(min(patient.n_records, n - len(rows))):
            age = patient.age_at(visit)
            codes = draw_statements(stream(0, len(rows) + 1, RECORD), patient, age, population)
            rows.append({"patient_id": patient.patient_id, "age": age, "sex": patient.sex, "height": patient.height,
                         "weight": patient.weight, "codes": codes, "lasting": patient.statements})  # fmt: skip
            stated.append([name in codes for name in names])
    return pd.DataFrame(rows), np.array(stated)


@pytest.fixture(scope="module")
def drawn() -> tuple[pd.DataFrame, np.ndarray]:
    return draw(N, "ptb-xl")


@pytest.fixture(scope="module")
def sample(shared: Path) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Rows of PTB-XL's table, which statements they carry, and weights (sum 1) that undo the sample's enrichment."""
    rows = pd.read_csv(shared / "data" / "ptb-xl-metadata" / "ptbxl_database_partial.csv")
    codes = rows["scp_codes"].map(ast.literal_eval)
    stated = np.array([[name in found for name in load_chain("ptb-xl").names] for found in codes])
    thinned = ~codes.map(lambda found: "AFIB" in found) & (rows["ecg_id"] > 548)
    weights = np.where(thinned, (21_799 - (~thinned).sum()) / thinned.sum(), 1.0)
    return rows, stated, weights / weights.sum()


def of_superclass(stated: np.ndarray, superclass: str) -> np.ndarray:
    found = STATEMENTS["superclass"].reindex(list(load_chain("ptb-xl").names)) == superclass
    return stated[:, found].any(axis=1)


def test_every_statement_of_ptbxl_has_its_rate(drawn):
    table = read_table("population_ptb-xl").set_index("statement")
    assert set(table.index) == set(STATEMENTS.index) and len(table) == 71
    wanted, found = table["prevalence"].to_numpy(), drawn[1].mean(axis=0)
    error = 3.5 * np.sqrt(1.3 * wanted / N)  # 1.3: a patient's records share the lasting statements
    far = np.abs(found - wanted) > 0.05 * wanted + error
    assert not far.any(), dict(zip(table.index[far], found[far] / wanted[far], strict=True))


@pytest.mark.parametrize("superclass", PUBLISHED)
def test_superclasses_have_the_published_rates(drawn, superclass):
    assert of_superclass(drawn[1], superclass).mean() == pytest.approx(PUBLISHED[superclass] / 21_799, rel=0.06)


def test_rates_against_ptbxls_rows(drawn, sample):
    _, stated, weights = sample
    names = np.array(load_chain("ptb-xl").names)
    common = stated.sum(axis=0) > 30
    real, found = weights @ stated, drawn[1].mean(axis=0)
    error = 3 * np.sqrt((weights**2) @ stated)  # the sample's, which is far larger than the draw's
    far = common & (np.abs(found - real) > 0.2 * real + error)
    assert common.sum() > 40 and not far.any(), names[far]


def test_statements_meet_as_in_ptbxl(drawn, sample):
    _, stated, weights = sample
    names = load_chain("ptb-xl").names
    rows, real = stated.T.astype(int) @ stated, (stated.T * weights) @ stated
    found = drawn[1].T.astype(float) @ drawn[1] / N
    pairs = [(i, j) for i, j in itertools.combinations(range(len(names)), 2)
             if rows[i, j] >= 20 and rules(names)[i, j] == 0 and found[i, j] > 0]  # fmt: skip
    lift = [[np.log(p[i, j] / (p[i, i] * p[j, j])) for i, j in pairs] for p in (real, found)]
    assert len(pairs) > 120
    assert np.corrcoef(lift)[0, 1] > 0.93
    assert np.abs(np.subtract(*lift)).mean() < 0.25


def test_ages_and_sexes_of_statements(drawn, sample):
    rows, stated, weights = sample
    people, found = drawn
    adult = (rows["age"] >= 18).to_numpy()
    for k in np.flatnonzero(stated.sum(axis=0) > 100):
        real, mine = adult & stated[:, k], found[:, k]
        name = load_chain("ptb-xl").names[k]
        age = np.average(rows["age"][real] + 0.5, weights=weights[real])
        assert people["age"][mine].mean() == pytest.approx(age, abs=4.5), name
        assert people["sex"][mine].mean() == pytest.approx(np.average(rows["sex"][real], weights=weights[real]),
                                                           abs=0.15), name  # fmt: skip


def test_people_are_ptbxls_adults(drawn):
    people = drawn[0]
    assert people["age"].between(18, 95).all() and 61 < people["age"].median() < 64  # PTB-XL: 62
    assert 0.46 < people["sex"].mean() < 0.51  # PTB-XL: 48 % women
    men = people[people["sex"] == 0]
    assert 172 < men["height"].mean() < 176 and 160 < people["height"][people["sex"] == 1].mean() < 164
    assert 0.3 < np.corrcoef(men["height"], men["weight"])[0, 1] < 0.5
    n_records = people.groupby("patient_id").size()
    assert n_records.mean() == pytest.approx(21_799 / 18_869, rel=0.02) and n_records.max() >= 4


@pytest.mark.parametrize("population", POPULATIONS)
def test_rules_hold_in_every_record(population):
    people, stated = draw(4000, population)
    names = load_chain(population).names
    for i, j in np.argwhere(np.isinf(rules(names))):
        assert not (stated[:, i] & stated[:, j]).any(), (names[i], names[j])
    rhythms = STATEMENTS.index[STATEMENTS["group"] == "rhythm"].difference(["BIGU", "TRIGU"])
    basic = stated[:, [name in rhythms for name in names]].sum(axis=1)
    assert basic.max() == 1 and basic.mean() > 0.93
    for codes in people["codes"]:
        assert set(codes.values()) <= {0, 15, 35, 50, 80, 100}
        diagnoses = {name for name in codes if STATEMENTS["superclass"][name]}
        assert "NORM" not in codes or (diagnoses == {"NORM"} and "AFIB" not in codes)
        assert not {"BIGU", "TRIGU"} & set(codes) or "SR" in codes


def test_lasting_statements_stay_and_atrial_fibrillation_comes_and_goes(drawn):
    people, _ = drawn
    chain = load_chain("ptb-xl")
    stays = {name for name, share in zip(chain.names, chain.lasts, strict=True) if share == 1}
    several = people[people.duplicated("patient_id", keep=False)]
    assert len(several) > 3000
    for codes, lasting in zip(several["codes"], several["lasting"], strict=True):
        assert lasting & stays == set(codes) & stays
    has = several[several["lasting"].map(lambda found: "AFIB" in found)]
    assert 0.58 < has["codes"].map(lambda codes: "AFIB" in codes).mean() < 0.74


@pytest.mark.parametrize("population", POPULATIONS)
def test_a_patient_is_the_same_whatever_n(population):
    few, many = (list(draw_patients(n, 5, population)) for n in (30, 90))
    assert many[: len(few)] == few and few[7] == draw_patient(5, 8, population)
    assert few != list(draw_patients(30, 6, population))
    codes = [draw_statements(stream(5, 3, RECORD), few[0], 60.0, population) for _ in range(2)]
    assert codes[0] == codes[1]


def test_the_teaching_population_is_enriched_and_small():
    people, stated = draw(6000, "teaching")
    names = load_chain("teaching").names
    assert set(names) == TEACHING
    share = dict(zip(names, stated.mean(axis=0), strict=True))
    before = {"AFIB": 0.12, "CRBBB": 0.08, "CLBBB": 0.08, "1AVB": 0.079, "IMI": 0.12, "LVH": 0.11, "SBRAD": 0.075,
              "STACH": 0.07, "NORM": 0.525}  # fmt: skip
    for name, wanted in before.items():
        assert share[name] == pytest.approx(wanted, rel=0.17), name
    for name, age in {"NORM": 55, "AFIB": 71, "CRBBB": 71, "IMI": 67, "LVH": 66}.items():
        assert people["age"][stated[:, names.index(name)]].mean() == pytest.approx(age, abs=3), name
    for codes in people["codes"]:
        assert codes == {name: 0.0 if STATEMENTS["group"][name] == "rhythm" else 100.0 for name in codes}


@pytest.mark.parametrize("population", POPULATIONS)
def test_lasting_statements_come_first_and_every_name_is_known(population):
    chain = load_chain(population)
    assert (chain.lasts[: chain.n_lasting] > 0).all() and set(chain.names) <= set(STATEMENTS.index)
    table = read_table("rules")
    known = set(STATEMENTS.index) | {"DIAGNOSES"}
    assert {name for text in (*table["first"], *table["then"]) for name in text.split()} <= known


def test_an_unknown_population_is_an_error():
    with pytest.raises(InputError, match="population='mimic'"):
        next(draw_patients(1, 0, "mimic"))


def test_annotations_fill_ptbxls_columns():
    patient = next(p for p in draw_patients(5000, 0, "ptb-xl") if p.n_records >= 3)
    codes = {"IMI": 100.0, "SR": 0.0, "PVC": 100.0}
    truth = {"axis_deg": -45.0, "n_pvc": 2, "n_pac": 0, "static_noise": "I-V1"}
    found = [annotations(stream(0, k + 1, RECORD), patient, codes, k, truth) for k in range(3)]
    made = {"ecg_id", "patient_id", "age", "sex", "height", "weight", "scp_codes", "strat_fold", "filename_lr",
            "filename_hr"}  # fmt: skip
    assert set(found[0]) | made == set(PTBXL_COLUMNS)
    row = found[0]
    assert row["report"] == ("virtual patient: inferior myocardial infarction; sinus rhythm; "
                             "ventricular premature complex")  # fmt: skip
    assert row["heart_axis"] == "ALAD" and row["extra_beats"] == "2VES" and row["static_noise"] == "I-V1"
    assert row["infarction_stadium1"] in {"unknown", "Stadium I", "Stadium II", "Stadium II-III", "Stadium III"}
    dates = [datetime.fromisoformat(str(row["recording_date"])) for row in found]
    assert dates == sorted(dates) and dates[0].year >= 2001
    assert (dates[2] - dates[0]).days == pytest.approx(365.25 * (patient.age_at(2) - patient.age_at(0)), abs=1)


def test_annotations_of_a_record_with_nothing_to_remark():
    patient = draw_patient(0, 1, "ptb-xl")
    row = annotations(stream(0, 1, RECORD), patient, {}, 0, {})
    assert row["report"] == "virtual patient: no statement" and row["heart_axis"] == row["extra_beats"] == ""
    assert row["infarction_stadium1"] == row["pacemaker"] == "" and row["validated_by_human"] is False
    paced = annotations(stream(0, 1, RECORD), patient, {"PACE": 100.0, "INJAS": 100.0}, 0, {})
    assert paced["pacemaker"] == "ja, pacemaker" and paced["infarction_stadium1"] == "unknown"


@pytest.mark.parametrize(
    ("degrees", "code"),
    [(0, "LAD"), (60, "MID"), (-60, "ALAD"), (100, "RAD"), (150, "ARAD"), (-120, "ARAD"), (180, "ARAD"), (30, "LAD"),
     (np.nan, "")],
)  # fmt: skip
def test_heart_axis(degrees, code):
    assert heart_axis(degrees) == code
