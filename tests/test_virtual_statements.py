"""All 71 statements: each shows what its definition says, in the truth and in the leads; the tables are whole."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from ecglib.signals import LEADS_12, STATEMENTS, einthoven_residual
from ecglib.signals.virtual.changes import COMPONENTS, LIMITS, PATTERNS, added, drawn, limits
from ecglib.signals.virtual.coefficients import read_table
from ecglib.signals.virtual.patients import Patient, load_chain, rules, stream
from ecglib.signals.virtual.record import Record, make_record
from ecglib.signals.virtual.rhythm import f_waves, flutter_waves

PATIENTS = 12
FS = 250


def record(number: int, *codes: str, seconds: float = 10) -> Record:
    """Make a record of one of twelve patients, half of them women, of 25 to 85 years."""
    tempo = tuple(stream(number, 0, 9).standard_normal(4).tolist())
    patient = Patient(number, 1, 25.0 + 5 * number, number % 2, 170, 70, frozenset(codes), tempo, (0.0,))
    return make_record(11, stream(11, number, 2), stream(11, number, 3), patient, codes, patient.age,
                       round(seconds * FS), FS)  # fmt: skip


def records(*codes: str) -> list[Record]:
    return [record(number, *codes) for number in range(PATIENTS)]


def beat(made: Record, lead: str, first: str, last: str, slack: float = 0.0) -> np.ndarray:
    """Return one lead between two moments of each whole beat, against the level just before QRS: a list of arrays."""
    x, found = made.x[LEADS_12.index(lead)], []
    for on, off, base in zip(*(made.waves[name] for name in (first, last, "qrs_on")), strict=True):
        if np.isfinite([on, off, base]).all() and base > 0.1 and off < 9.8:
            a, b, c = (round(t * FS) for t in (on - slack, off + slack, base))
            found.append(x[a : b + 1] - x[c - 4 : c].mean())
    return found


def highest(made: Record, lead: str) -> float:
    return float(np.median([y.max() for y in beat(made, lead, "qrs_on", "qrs_off")]))


def lowest(made: Record, lead: str) -> float:
    return float(np.median([y.min() for y in beat(made, lead, "qrs_on", "qrs_off")]))


def first_low(made: Record, lead: str) -> float:
    """The Q wave: the lowest point in the first 40 % of QRS."""
    return float(np.median([y[: max(2, int(0.4 * len(y)))].min() for y in beat(made, lead, "qrs_on", "qrs_off")]))


def t_wave(made: Record, lead: str) -> float:
    return float(np.median([y[len(y) // 2] for y in beat(made, lead, "t_peak", "t_peak", slack=0.02)]))


def st(made: Record, lead: str) -> float:
    """60 ms after the J point."""
    return float(np.median([y[min(round(0.06 * FS), len(y) - 1)] for y in beat(made, lead, "qrs_off", "t_off")]))


def share(made: list[Record], test) -> float:
    return float(np.mean([bool(test(one)) for one in made]))


def sokolow(made: Record) -> float:
    return max(highest(made, "V5"), highest(made, "V6")) - lowest(made, "V1")


def qtc(made: Record) -> float:
    return made.truth["qt_ms"] / np.cbrt(60 / made.truth["heart_rate"])


def rr_cv(made: Record) -> float:
    rr = np.diff(np.sort(made.waves["r"][~np.isnan(made.waves["r"])]))
    return rr.std() / rr.mean()


def no_p(made: Record) -> bool:
    return np.isnan(made.waves["p_on"]).all()


# statement: what its definition demands of the truth. Sources: PTB-XL's descriptions, and the recommendations of AHA,
# ACCF and HRS of 2009 (Surawicz et al. for blocks, Rautaharju et al. for QT), as far as they give limits.
DEFINITIONS = {
    "NORM": lambda m: m.truth["pr_ms"] < 200 and m.truth["qrs_ms"] < 120 and -30 <= m.truth["axis_deg"] <= 90,
    "SR": lambda m: 57 < m.truth["heart_rate"] < 101,
    "1AVB": lambda m: m.truth["pr_ms"] > 200,
    "LPR": lambda m: m.truth["pr_ms"] > 200,
    "CLBBB": lambda m: m.truth["qrs_ms"] >= 120,
    "CRBBB": lambda m: m.truth["qrs_ms"] >= 120,
    "IRBBB": lambda m: 110 <= m.truth["qrs_ms"] < 120,
    "ILBBB": lambda m: 110 <= m.truth["qrs_ms"] < 120,
    "IVCD": lambda m: m.truth["qrs_ms"] > 110,
    "WPW": lambda m: m.truth["pr_ms"] < 120 and m.truth["qrs_ms"] > 110,
    "LNGQT": lambda m: qtc(m) > 450,
    "DIG": lambda m: qtc(m) < 410,
    "SBRAD": lambda m: m.truth["heart_rate"] < 60 and not no_p(m),
    "STACH": lambda m: m.truth["heart_rate"] > 100 and not no_p(m),
    "SARRH": lambda m: rr_cv(m) > 0.06,
    "AFIB": lambda m: no_p(m) and rr_cv(m) > 0.1,
    "AFLT": no_p,
    "SVTAC": lambda m: no_p(m) and m.truth["heart_rate"] > 130 and rr_cv(m) < 0.03,
    "PSVT": lambda m: np.isnan(m.waves["p_on"]).any() and not no_p(m) and np.diff(m.waves["r"]).min() < 0.45,
    "LAFB": lambda m: m.truth["axis_deg"] <= -45,
    "LPFB": lambda m: m.truth["axis_deg"] >= 90,
    "RVH": lambda m: m.truth["axis_deg"] > 89,
    "2AVB": lambda m: m.truth["n_blocked"] >= 1 and m.truth["n_beats"] >= 3,
    "PVC": lambda m: m.truth["n_pvc"] >= 1,
    "PAC": lambda m: m.truth["n_pac"] >= 1,
    "PRC(S)": lambda m: m.truth["n_pac"] + m.truth["n_pvc"] >= 1,
    "SVARR": lambda m: m.truth["n_pac"] >= 2 and rr_cv(m) > 0.08,
    "BIGU": lambda m: abs(m.truth["n_pvc"] / m.truth["n_beats"] - 1 / 2) < 0.1,
    "TRIGU": lambda m: abs(m.truth["n_pvc"] / m.truth["n_beats"] - 1 / 3) < 0.1,
    "PACE": lambda m: (m.waves["kind"] != "N").all() and m.truth["qrs_ms"] > 120,
}


@pytest.mark.parametrize("statement", DEFINITIONS)
def test_the_truth_agrees_with_the_definition(statement):
    assert share(records(statement), DEFINITIONS[statement]) == 1


def test_third_degree_block_has_independent_atria():
    for made in records("3AVB"):
        p, qrs = (made.waves[name][~np.isnan(made.waves[name])] for name in ("p_on", "qrs_on"))
        assert len(p) > len(qrs) >= 4 and not np.isfinite(made.waves["p_on"] * made.waves["qrs_on"]).any()
        assert np.isnan(made.truth["pr_ms"]) and np.diff(qrs).std() < 0.05
        before = np.array([r - p[p < r].max() for r in qrs if (p < r).any()])
        assert before.std() > 0.05  # s: a P wave at every distance from QRS


def test_second_degree_block_is_wenckebach_or_mobitz():
    grown = []
    for made in records("2AVB"):
        pr = made.waves["qrs_on"] - made.waves["p_on"]
        assert np.nanmin(pr) > 0 and np.isnan(pr).sum() == made.truth["n_blocked"]
        assert np.diff(made.waves["p_on"]).std() < 0.12, "the atria go on evenly"
        pairs = ~np.isnan(pr[1:] + pr[:-1])
        grown.append(np.median(np.diff(pr)[pairs]) > 0.02 if pairs.any() else False)
    assert 0 < np.mean(grown) < 1


def test_a_ventricular_beat_is_early_wide_and_followed_by_a_pause():
    for made in records("PVC"):
        r, kind = (made.waves[name][~np.isnan(made.waves["r"])] for name in ("r", "kind"))
        usual = np.median(np.diff(r))
        for k in np.flatnonzero(kind == "V"):
            if 1 < k < len(r) - 1 and kind[k - 2] == kind[k - 1] == kind[k + 1] == "N":
                assert r[k] - r[k - 1] < 0.95 * usual and r[k + 1] - r[k] > 1.02 * usual
                assert r[k + 1] - r[k - 1] == pytest.approx(2 * usual, rel=0.25)  # the sinus node was not disturbed
        wide = (made.waves["qrs_off"] - made.waves["qrs_on"])[made.waves["kind"] == "V"]
        assert (wide >= 0.12).all()


@pytest.mark.parametrize("codes", [("SVARR", "PVC"), ("AFIB", "PVC"), ("PVC", "SR"), ("BIGU", "PVC", "SR")])
def test_a_stated_ventricular_beat_is_in_the_record(codes):
    assert all(m.truth["n_pvc"] > 0 for m in records(*codes))


def test_the_axis_is_of_the_beats_that_are_not_ventricular():
    for number in range(PATIENTS):
        with_, without = record(number, "BIGU", "SR"), record(number, "SR")
        assert with_.truth["axis_deg"] == pytest.approx(without.truth["axis_deg"], abs=1e-6)


def test_an_early_atrial_beat_finds_the_ventricles_ready():
    for number in range(PATIENTS):
        made = record(number, "STACH", "PAC", seconds=60)
        early = np.flatnonzero(made.waves["kind"] == "A")
        assert len(early) and (np.diff(made.waves["p_on"])[early - 1] > 0.32).all()


def test_a_ventricular_beat_is_there_in_an_attack_that_begins_within_the_record():
    assert share(records("PSVT", "PVC"), lambda made: made.truth["n_pvc"] >= 1) == 1
    assert all((np.diff(pd.Series(made.waves["r"]).dropna()) > 0).all() for made in records("PSVT", "PVC"))


@pytest.mark.parametrize("measure", ["axis", "pr"])
def test_statements_that_contradict_each_other_are_ruled_out(measure):
    names = load_chain("ptb-xl").names
    never = np.isneginf(rules(names))
    for (a, one), (b, other) in combinations(sorted(LIMITS[measure].items()), 2):
        if max(one.least, other.least) >= min(one.most, other.most) and "otherwise" not in (a, b):
            assert (never | never.T)[names.index(a), names.index(b)], (a, b)


LIMB = ("I", "II", "III", "aVR", "aVL", "aVF")
# statement: the leads in which most patients show it, and how. Territories as textbooks draw them.
Q_WAVES = {"IMI": ("III", "aVF"), "ASMI": ("V2",), "LMI": ("I", "aVL"), "ILMI": ("aVF",), "IPMI": ("III", "aVF")}
T_DOWN = {"IMI": ("III", "aVF"), "ASMI": ("V2",), "ISCAS": ("V1", "V2"), "ISCAN": ("V2", "V3"), "ISCLA": ("I", "aVL"),
          "ISCIN": ("III", "aVF"), "ISCAL": ("V3", "V4"), "ISCIL": ("II", "aVF"), "LVH": ("V6",),
          "INVT": ("II", "V4", "V5"), "CLBBB": ("I", "V6"), "CRBBB": ("V1",), "RVH": ("V1",),
          "ALMI": ("I", "V4")}  # fmt: skip
ST_DOWN = {"INJAS": ("V2",), "INJAL": ("V4",), "INJLA": ("I", "V6"), "INJIN": ("II", "aVF"), "INJIL": ("II", "V6"),
           "STD_": ("II", "V5"), "DIG": ("II", "V5"), "LVH": ("V6",)}  # fmt: skip
ST_UP = {"STE_": ("V2", "V3"), "ANEUR": ("V2", "V3"), "CLBBB": ("V1", "V2")}


@pytest.mark.parametrize("statement, leads", Q_WAVES.items())
def test_scars_have_q_waves(statement, leads):
    made = records(statement)
    assert all(share(made, lambda m, lead=lead: first_low(m, lead) < -0.06) >= 0.75 for lead in leads)


@pytest.mark.parametrize("statement, leads", T_DOWN.items())
def test_t_waves_turn_over(statement, leads):
    made = records(statement)
    assert all(share(made, lambda m, lead=lead: t_wave(m, lead) < 0) >= 0.75 for lead in leads)


@pytest.mark.parametrize("statement, leads", ST_DOWN.items())
def test_st_goes_down(statement, leads):
    plain, made = records("SR"), records(statement)
    for lead in leads:
        assert np.mean([st(one, lead) - st(normal, lead) for one, normal in zip(made, plain, strict=True)]) < -0.07


@pytest.mark.parametrize("statement, leads", ST_UP.items())
def test_st_goes_up(statement, leads):
    made = records(statement)
    assert all(share(made, lambda m, lead=lead: st(m, lead) > 0.1) >= 0.75 for lead in leads)


def test_voltages():
    assert share(records("VCLVH"), lambda m: sokolow(m) >= 3.3) >= 0.9  # 3.5 mV before breathing and noise
    assert share(records("LVH"), lambda m: sokolow(m) >= 2.4) >= 0.9  # often called below the limit
    assert share(records("HVOLT"), lambda m: sokolow(m) >= 3.2) >= 0.9
    for made in records("LVOLT"):
        assert max(highest(made, lead) - lowest(made, lead) for lead in LIMB) < 0.55  # 0.5 mV before noise
    for made in records("NORM"):
        assert max(highest(made, lead) - lowest(made, lead) for lead in LIMB) > 0.45


def test_p_waves_of_large_atria():
    def p_height(made: Record, lead: str) -> float:
        return float(np.median([y.max() - y[0] for y in beat(made, lead, "p_on", "p_off")]))

    def p_end(made: Record) -> float:
        return float(np.median([y[int(0.75 * len(y))] - y[0] for y in beat(made, "V1", "p_on", "p_off")]))

    usual = records("NORM")
    heights = [np.median([p_height(m, "II") for m in made]) for made in (usual, records("RAO/RAE"))]
    assert heights[0] < 0.2 < heights[1]
    assert np.median([p_end(m) for m in records("LAO/LAE")]) < np.median([p_end(m) for m in usual]) - 0.04
    lengths = [np.nanmedian(m.waves["p_off"] - m.waves["p_on"]) for m in records("LAO/LAE")]
    assert min(lengths) > 0.115


def test_right_ventricle_posterior_wall_and_septum_show_in_v1():
    def ratio(made: Record, lead: str) -> float:
        return highest(made, lead) / max(-lowest(made, lead), 0.01)

    usual = np.median([ratio(m, "V1") for m in records("NORM")])
    for statement, times in (("RVH", 3), ("PMI", 1.3), ("SEHYP", 1.3)):
        assert np.median([ratio(m, "V1") for m in records(statement)]) > times * usual, statement


def test_low_t_waves_are_low_and_u_waves_follow():
    usual = np.median([t_wave(m, "V5") for m in records("NORM")])
    for statement in ("LOWT", "NDT", "NT_", "EL"):
        assert np.median([t_wave(m, "V5") for m in records(statement)]) < 0.65 * usual, statement
    assert np.median([t_wave(m, "V3") for m in records("TAB_")]) < np.median([t_wave(m, "V3") for m in records("NORM")])


def test_notched_and_abnormal_qrs_differ_from_normal():
    for statement in ("ABQRS", "QWAVE", "IVCD", "NST_", "ISC_", "AMI", "IPLMI"):
        difference = [np.abs(a.x - b.x).max() for a, b in zip(records(statement), records("SR"), strict=True)]
        assert np.median(difference) > 0.15, statement


def test_flutter_is_a_saw_and_fibrillation_a_tremor():
    t = np.arange(0, 10, 1 / FS)
    saw = flutter_waves(t, 0.2, 0.0)[0]
    np.testing.assert_allclose(saw[50:], saw[:-50], atol=1e-9)  # 0.2 s are 50 samples
    assert abs(np.mean(np.diff(saw) < 0) - 0.5) > 0.15, "slow one way, fast the other"
    tremor = f_waves(np.random.default_rng(0), t)
    power, hz = np.abs(np.fft.rfft(tremor[0])) ** 2, np.fft.rfftfreq(len(t), 1 / FS)
    assert power[(hz > 3.5) & (hz < 20)].sum() > 0.9 * power[hz > 0.5].sum()
    for made in records("AFLT"):  # QRS complexes stand whole flutter waves apart
        rr = np.diff(made.waves["qrs_on"])
        cycles = np.arange(0.17, 0.25, 0.0005)
        assert min(np.abs(rr / c - np.round(rr / c)).max() for c in cycles) < 0.03


@pytest.mark.parametrize("codes", [
    ("CLBBB", "LVH", "AMI"), ("CRBBB", "LAFB", "1AVB"), ("AFIB", "PVC", "CRBBB", "IMI"), ("PACE", "AFIB"),
    ("3AVB", "AFIB"), ("AFLT", "PVC"), ("2AVB", "PVC"), ("WPW", "SVTAC"), ("SARRH", "SBRAD"),
    ("IMI", "ALMI", "PMI", "LVH"),
    ("LVOLT", "LVH"), ("ISC_", "INJAS", "DIG", "LNGQT"), ("BIGU", "PAC"), ("TRIGU", "PVC", "PAC"), ("1AVB", "WPW"),
    ("STACH", "1AVB"), ("PSVT", "PVC"), tuple(STATEMENTS.index),
])  # fmt: skip
def test_statements_together_stay_plausible(codes):
    for number in range(4):
        made = record(number, *codes)
        assert np.isfinite(made.x).all() and np.abs(made.x).max() < 6
        assert np.abs(einthoven_residual(made.x)).max() < 1e-5
        assert 20 < made.truth["heart_rate"] < 220 and 60 < made.truth["qrs_ms"] < 200


def test_every_statement_has_a_row_that_names_its_source():
    table = read_table("changes")
    assert set(table["statement"]) == {*STATEMENTS.index, "otherwise"}
    assert (table["source"].str.len() > 5).all()
    assert table["component"].isin((*COMPONENTS, "P", "QRS", "T", "notch", "f1", "f2", "none")).sum() > 150
    numbers = table[["x", "y", "z"]].apply(pd.to_numeric, errors="coerce")
    assert (numbers.notna().any(axis=1) | (table["component"] == "none")).all()
    bounds = table[~table["unit"].isin(("mV", "×", "")) | table["component"].isin(("limb", "sokolow"))]
    assert (numbers.loc[bounds.index, "y"] <= numbers.loc[bounds.index, "z"]).all()
    patterns = read_table("patterns")
    assert patterns["component"].isin(COMPONENTS).all() and (patterns["source"].str.len() > 5).all()
    assert {"narrow", "CLBBB", "paced", "PVC left", "WPW right"} <= set(PATTERNS)


def test_changes_saturate_and_limits_agree_or_the_later_wins():
    both, one = added(("IMI", "IPMI", "ILMI")), added(("IMI",))
    length = np.linalg.norm(both, axis=0) / np.maximum(np.linalg.norm(one, axis=0), 1e-9)
    assert length[COMPONENTS.index("Q")] < 1.7
    assert not added(()).any() and not added(("NORM", "SR")).any()
    assert limits(("LVH", "IRBBB"), "qrs")[1:] == (110, 114)  # both at once
    assert limits(("CRBBB", "LVH"), "qrs") == limits(("CRBBB",), "qrs")
    assert limits((), "pr").most < 200
    for z in (-9.0, -1.0, 0.0, 2.0, 50.0):
        assert 204 <= drawn(("1AVB",), "pr", 160, 20, z) <= 320


def test_records_of_any_length():
    assert record(1, "3AVB", seconds=5).truth["n_beats"] >= 2
    assert record(2, "TRIGU", seconds=31).truth["n_pvc"] > 6
