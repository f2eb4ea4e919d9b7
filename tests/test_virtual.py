"""Virtual patients: the leads obey physics, the truth fits the signal, statements look like what they say."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecglib.errors import InputError
from ecglib.signals import LEADS_8, Cohort, check_disjoint, einthoven_residual, load_cohort, to_eight_leads
from ecglib.signals.virtual import coefficient_table, patients_by_statement, virtual_cases, virtual_cohort
from ecglib.signals.virtual.conduction import KINDS
from ecglib.signals.virtual.heart import conducted, draw_anatomy, lead_field, rotation
from ecglib.signals.virtual.noise import draw_device, draw_noise
from ecglib.signals.virtual.patients import draw_patients

N = 400
ORDER = ["qrs_on", "r", "qrs_off", "t_peak", "t_off"]
LEAD = {name: k for k, name in enumerate(("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"))}


@pytest.fixture(scope="module")
def cohort() -> Cohort:
    return virtual_cohort(N, seed=3, population="teaching", workers=1)


@pytest.fixture(scope="module")
def like_ptbxl() -> Cohort:
    return virtual_cohort(N, seed=3, workers=1)


@pytest.fixture(scope="module")
def beats(cohort) -> pd.DataFrame:
    """Every beat with its record's row of the table."""
    return cohort.waves.merge(cohort.table, on="ecg_id")


def qrs_peaks(cohort: Cohort, row: int) -> tuple[np.ndarray, np.ndarray]:
    """Return median lowest and highest QRS value (12,) of a record, against the level just before QRS."""
    waves = cohort.waves[cohort.waves["ecg_id"] == cohort.table["ecg_id"][row]].query("qrs_on > 0.1 and qrs_off < 9.9")
    x, low, high = cohort.x[row], [], []
    for on, off in zip(waves["qrs_on"] * cohort.fs, waves["qrs_off"] * cohort.fs, strict=True):
        beat = x[:, int(on) : int(off) + 2] - x[:, int(on) - 3 : int(on)].mean(axis=1, keepdims=True)
        low.append(beat.min(axis=1))
        high.append(beat.max(axis=1))
    return np.median(low, axis=0), np.median(high, axis=0)


def t_peaks(cohort: Cohort, row: int) -> np.ndarray:
    """Return the median T amplitude (12,) at T's peak, against the level just before QRS."""
    waves = cohort.waves[cohort.waves["ecg_id"] == cohort.table["ecg_id"][row]].query("qrs_on > 0.1 and t_peak < 9.9")
    peak, on = ((waves[name] * cohort.fs).astype(int).to_numpy() for name in ("t_peak", "qrs_on"))
    return np.median(cohort.x[row][:, peak] - cohort.x[row][:, on - 2], axis=1)


def share(cohort: Cohort, statement: str, test) -> float:
    rows = np.flatnonzero(cohort.has(statement))
    assert len(rows) >= 15
    return float(np.mean([test(row) for row in rows]))


def test_shape_units_and_columns(cohort):
    assert cohort.x.shape == (N, 12, 1000) and cohort.x.dtype == np.float32
    assert cohort.source == "virtual" and list(cohort.table["ecg_id"]) == list(range(1, N + 1))
    assert 0.5 < np.abs(cohort.x).max(axis=(1, 2)).min() and np.abs(cohort.x).max() < 8
    for name in ("age", "sex", "height", "weight", "heart_rate", "qrs_ms", "qt_ms", "axis_deg"):
        assert cohort.table[name].notna().all(), name
    assert cohort.table["age"].between(18, 95).all()


def test_limb_leads_obey_einthoven_and_goldberger(cohort):
    assert np.abs(einthoven_residual(cohort.x)).max() < 1e-5


def test_leads_are_more_than_a_dipole(cohort):
    values = [np.linalg.svd(x - x.mean(axis=1, keepdims=True), compute_uv=False)[:5] for x in to_eight_leads(cohort.x)]
    part = np.median(np.array(values) / np.linalg.norm(values, axis=1, keepdims=True), axis=0)
    assert part[3] > 0.02 and part[2] > 0.05  # LUDB has 0.07 and 0.12


def test_residue_is_what_makes_the_rank():
    patient = next(draw_patients(1, 0, "teaching"))
    amplitudes = conducted(draw_anatomy(0, patient), patient, ("NORM",), patient.age).amplitudes
    dipole = lead_field() @ np.linalg.lstsq(lead_field(), amplitudes, rcond=None)[0]
    assert np.linalg.matrix_rank(dipole, tol=1e-9) == 3
    assert np.linalg.matrix_rank(amplitudes, tol=1e-3) > 3


def test_same_seed_same_bits_whatever_n_and_workers(like_ptbxl):
    for few in (virtual_cohort(40, seed=3), virtual_cohort(150, seed=3, workers=2)):
        n = len(few)
        assert np.array_equal(few.x, like_ptbxl.x[:n])
        columns = [name for name in few.table if name != "strat_fold"]
        pd.testing.assert_frame_equal(few.table[columns], like_ptbxl.table[columns].iloc[:n])
        whole = like_ptbxl.waves[like_ptbxl.waves["ecg_id"] <= n]
        pd.testing.assert_frame_equal(few.waves, whole.reset_index(drop=True))
    assert not np.array_equal(virtual_cohort(2, seed=4).x, few.x[:2])


def test_the_beats_are_the_same_at_every_rate():
    slow, fast = (virtual_cohort(12, seed=1, fs=fs) for fs in (100, 500))
    pd.testing.assert_frame_equal(slow.waves, fast.waves)
    assert np.median([np.corrcoef(a[7], b[7, ::5])[0, 1] for a, b in zip(slow.x, fast.x, strict=True)]) > 0.95


def test_r_is_where_the_leads_are_largest(cohort):
    late = []
    for ecg_id, waves in cohort.waves.groupby("ecg_id"):
        x = to_eight_leads(cohort.x[ecg_id - 1])
        for on, r, off in waves.query("qrs_on > 0.1 and qrs_off < 9.9")[["qrs_on", "r", "qrs_off"]].to_numpy() * 100:
            first = int(np.ceil(on))
            beat = x[:, first : int(off) + 1] - x[:, first - 3 : first].mean(axis=1, keepdims=True)
            late.append((first + np.argmax((beat**2).sum(axis=0)) - r) / 100)
    late = np.abs(late)
    assert np.mean(late <= 0.030) > 0.98 and np.median(late) < 0.006


@pytest.mark.parametrize("which", ["cohort", "like_ptbxl"])
def test_waves_are_in_order_and_equal_to_the_table(which, request):
    cohort = request.getfixturevalue(which)
    beats = cohort.waves.merge(cohort.table, on="ecg_id")
    assert set(cohort.waves["ecg_id"]) == set(cohort.table["ecg_id"]) and set(beats["kind"]) <= set(KINDS)
    blocked = beats["kind"] == "blocked P"
    assert beats.loc[blocked, "p_peak"].between(0, 10).all() and beats.loc[~blocked, "r"].between(0, 10).all()
    assert beats.loc[blocked, ORDER].isna().all(axis=None) and beats.loc[~blocked, ORDER].notna().all(axis=None)
    assert (np.diff(beats.loc[~blocked, ORDER], axis=1) > 0).all()
    with_p = beats[beats["p_on"].notna()]
    assert (np.diff(with_p[["p_on", "p_peak", "p_off"]], axis=1) > 0).all()
    assert (with_p["p_off"] < with_p["qrs_on"])[~blocked].all()
    truth = pd.DataFrame({
        "pr_ms": beats["qrs_on"] - beats["p_on"],
        "qrs_ms": beats["qrs_off"] - beats["qrs_on"],
        "qt_ms": beats["t_off"] - beats["qrs_on"],
    }).where(beats["kind"] != "V").groupby(beats["ecg_id"]).median() * 1000  # fmt: skip
    table = cohort.table.set_index("ecg_id")
    np.testing.assert_allclose(truth, table[truth.columns], atol=1e-6)
    in_time = cohort.waves.dropna(subset="r").sort_values(["ecg_id", "r"]).groupby("ecg_id")["r"]
    np.testing.assert_allclose(60 / in_time.apply(lambda r: r.diff().mean()), table["heart_rate"], rtol=1e-9)
    kinds = beats.groupby("ecg_id")["kind"].value_counts().unstack(fill_value=0).reindex(columns=KINDS, fill_value=0)
    assert (kinds[["V", "A", "blocked P"]].to_numpy() == table[["n_pvc", "n_pac", "n_blocked"]].to_numpy()).all()
    assert (kinds.drop(columns="blocked P").sum(axis=1) == table["n_beats"]).all()


def test_statements_occur_together_as_they_may(cohort):
    codes = [set(codes) for codes in cohort.table["scp_codes"]]
    rhythms = {"SR", "SBRAD", "STACH", "AFIB"}
    assert all(len(found & rhythms) == 1 for found in codes)
    assert all(found - rhythms == {"NORM"} for found in codes if "NORM" in found)
    assert not any({"AFIB", "NORM"} <= found or {"AFIB", "1AVB"} <= found for found in codes)
    assert not any({"CLBBB", "CRBBB"} <= found for found in codes)
    assert all(found - rhythms or "AFIB" in found for found in codes)
    for statement in ("SBRAD", "STACH", "AFIB", "1AVB", "CLBBB", "CRBBB", "IMI", "LVH"):
        assert cohort.has(statement).mean() > 0.04, statement


def test_rates_and_rhythms(cohort):
    rate, table = cohort.table["heart_rate"], cohort.table
    assert (rate[cohort.has("SBRAD")] < 60).all() and (rate[cohort.has("STACH")] > 100).all()
    assert rate[cohort.has("SR")].between(56, 102).all()
    cv = cohort.waves.groupby("ecg_id")["r"].apply(lambda r: r.diff().std() / r.diff().mean()).to_numpy()
    assert (cv[cohort.has("AFIB")] > 0.1).all() and np.median(cv[cohort.has("SR")]) < 0.05
    p = cohort.waves.groupby("ecg_id")["p_on"].apply(lambda p: p.notna().any()).to_numpy()
    assert np.array_equal(p, ~cohort.has("AFIB")) and np.array_equal(table["pr_ms"].isna(), cohort.has("AFIB"))


def test_intervals_by_statement_age_and_sex(cohort):
    table, norm = cohort.table, cohort.has("NORM")
    assert (table["pr_ms"][cohort.has("1AVB")] > 200).all()
    assert (table["pr_ms"][~cohort.has("1AVB") & ~cohort.has("AFIB")] < 200).all()
    block = cohort.has("CLBBB") | cohort.has("CRBBB")
    assert (table["qrs_ms"][block] >= 120).all() and (table["qrs_ms"][~block] < 120).all()
    normal = table[norm].assign(qtc=lambda t: t["qt_ms"] / np.cbrt(60 / t["heart_rate"]))
    women = normal["sex"] == 1
    assert normal["qtc"][women].mean() > normal["qtc"][~women].mean() + 4
    assert normal["axis_deg"].between(-31, 100).all()
    assert normal["axis_deg"][normal["age"] > 60].mean() < normal["axis_deg"][normal["age"] < 40].mean() - 8


def test_normal_looks_normal(cohort):
    upright = [LEAD[name] for name in ("I", "II", "V4", "V5")]
    assert share(cohort, "NORM", lambda row: (t_peaks(cohort, row)[upright] > 0).all()) > 0.95
    assert share(cohort, "NORM", lambda row: t_peaks(cohort, row)[LEAD["aVR"]] < 0) > 0.95
    low, high = np.median([qrs_peaks(cohort, row) for row in np.flatnonzero(cohort.has("NORM"))], axis=0)
    assert (np.diff(high[6:10]) > 0).all(), "R grows from V1 to V4"
    assert -low[LEAD["V2"]] > high[LEAD["V2"]] and high[LEAD["V5"]] > -low[LEAD["V5"]]


def test_bundle_branch_blocks_look_so(cohort):
    assert share(cohort, "CLBBB", lambda row: -qrs_peaks(cohort, row)[0][LEAD["V1"]] > 0.5) > 0.95
    v1_to_v6 = [LEAD["V1"], LEAD["V6"]]
    assert share(cohort, "CLBBB", lambda row: np.diff(np.sign(t_peaks(cohort, row)[v1_to_v6]))[0] == -2) > 0.9

    def late(row: int, lead: str) -> float:
        waves = cohort.waves[cohort.waves["ecg_id"] == row + 1].query("qrs_on > 0.1 and qrs_off < 9.9")
        at = ((0.27 * waves["qrs_on"] + 0.73 * waves["qrs_off"]) * cohort.fs).round().astype(int)
        before = (waves["qrs_on"] * cohort.fs).astype(int) - 2
        return float(np.median(cohort.x[row, LEAD[lead], at] - cohort.x[row, LEAD[lead], before]))

    assert share(cohort, "CRBBB", lambda row: late(row, "V1") > 0.1) > 0.95
    assert share(cohort, "CRBBB", lambda row: late(row, "I") < -0.05 and late(row, "V6") < 0) > 0.8


def test_inferior_infarction_has_q_and_inverted_t_below(cohort):
    below = [LEAD["III"], LEAD["aVF"]]
    assert share(cohort, "IMI", lambda row: (qrs_peaks(cohort, row)[0][below] < -0.08).all()) > 0.95
    assert share(cohort, "IMI", lambda row: (t_peaks(cohort, row)[below] < 0).all()) > 0.9


def test_hypertrophy_has_voltage_and_strain(cohort):
    def sokolow(row: int) -> float:
        low, high = qrs_peaks(cohort, row)
        return -low[LEAD["V1"]] + max(high[LEAD["V5"]], high[LEAD["V6"]])

    plain = cohort.has("LVH") & ~cohort.has("CRBBB")
    large = [sokolow(row) for row in np.flatnonzero(plain)]
    usual = [sokolow(row) for row in np.flatnonzero(cohort.has("NORM"))]
    assert np.median(large) > 3.4 and np.median(usual) < 3 and np.median(large) > np.median(usual) + 0.8
    assert share(cohort, "LVH", lambda row: t_peaks(cohort, row)[LEAD["V6"]] < 0) > 0.75


def test_patients_return_with_the_same_heart_and_one_fold(cohort):
    table = cohort.table
    records = table["patient_id"].value_counts()
    assert 0.08 < (records > 1).mean() < 0.25
    for name in ("sex", "height", "weight", "strat_fold"):
        assert (table.groupby("patient_id")[name].nunique() == 1).all(), name
    said = table["scp_codes"].map(lambda codes: " ".join(sorted(set(codes) - {"SR", "SBRAD", "STACH"})))
    axes = table.groupby([table["patient_id"], said])["axis_deg"]
    assert (axes.count() > 1).sum() > 10 and (axes.max() - axes.min()).max() < 10  # degrees: only age turns the heart
    assert set(table["strat_fold"]) == set(range(1, 11))
    check_disjoint(*cohort.split())


def test_noise_follows_from_electrodes_and_stays_small():
    levels = np.array([draw_noise(np.random.default_rng(k), 1000, 100).std(axis=1) for k in range(60)])
    assert 0.01 < np.median(levels) < 0.08 and levels.max() < 1


def test_a_technician_remarks_on_noise_as_often_as_in_ptbxl():
    remarks = pd.DataFrame([draw_device(np.random.default_rng(k), 500, 100)[1] for k in range(800)])
    share = (remarks != "").mean()
    assert 0.04 < share["baseline_drift"] < 0.15 and 0.08 < share["static_noise"] < 0.25  # PTB-XL: 0.08 and 0.16
    assert 0.02 < share["burst_noise"] < 0.08 and 0 < share["electrodes_problems"] < 0.03


def test_a_step_and_a_burst_are_in_the_leads_that_are_named():
    seen = {}
    for k in range(400):
        noise, remarks = draw_device(np.random.default_rng(k), 500, 100)
        if remarks["electrodes_problems"] and len(remarks["electrodes_problems"].split(",")) == 1:
            named = LEADS_8.index(remarks["electrodes_problems"])
            seen[k] = np.abs(np.diff(noise, axis=1)).max(axis=1).argmax() == named
    assert len(seen) >= 2 and np.mean(list(seen.values())) > 0.6


def test_every_coefficient_names_its_source():
    table = coefficient_table()
    assert table["name"].is_unique and np.isfinite(table["value"]).all()
    assert (table["source"].str.len() > 5).all() and (table["unit"] != "").all()
    assert table["source"].str.contains("assumption").any()


def test_saved_and_loaded_within_half_a_microvolt(cohort, tmp_path):
    cohort.save(tmp_path / "virtual")
    back = Cohort.load(tmp_path / "virtual")
    assert np.abs(back.x[:] - cohort.x).max() < 0.501e-3
    assert list(back.table["scp_codes"]) == list(cohort.table["scp_codes"])
    np.testing.assert_allclose(back.waves["r"], cohort.waves["r"], atol=1e-4)


@pytest.mark.parametrize("name, value", [
    ("n", 0), ("n", -3), ("n", 2.5), ("n", True), ("n", "10"), ("seed", -1), ("seed", None), ("fs", 50), ("fs", 250.0),
    ("fs", 5000), ("seconds", 1), ("seconds", float("nan")), ("seconds", "10"), ("seconds", 1e9),
])  # fmt: skip
def test_wrong_arguments_are_named(name, value):
    with pytest.raises(InputError, match=rf"^{name}=.*expected"):
        virtual_cohort(**{"n": 2, name: value})


def test_wrong_arguments_of_cases_and_counts_are_named():
    with pytest.raises(InputError, match="first=-5; expected a whole number from 1"):
        virtual_cases({"NORM": 100}, 2, first=-5)
    for codes, named in ((("AFIB", "PAC"), "AFIB and PAC"), (("PACE", "AFLT"), "PACE and AFLT"),
                         (("DIG", "SR", "LNGQT"), "DIG and LNGQT"), (("WPW", "LAO/LAE"), "WPW and LAO/LAE"),
                         (("RVH", "LAFB"), "LAFB and RVH")):  # fmt: skip
        with pytest.raises(InputError, match=f"{named} cannot stand in one record"):
            virtual_cases(dict.fromkeys(codes, 0), 2)
    with pytest.raises(InputError, match="expected statements with likelihoods"):
        virtual_cases(["2AVB"], 2)
    with pytest.raises(InputError, match="n='100'"):
        load_cohort("virtual", n="100")
    with pytest.raises(InputError, match="n='3'; expected"):
        patients_by_statement("3")


@pytest.mark.parametrize("code", ["PACE", "3AVB"])
def test_the_axis_is_of_beats_that_occur(code):
    """P waves without a QRS are more than the beats here, and no beat: the leads tell roughly which axis is right."""
    cohort = virtual_cases({code: 100}, 12, seed=0)
    cohort = cohort.select(cohort.table["n_blocked"] > 0)
    assert len(cohort) >= 4
    for x, row in zip(cohort.x, cohort.table.itertuples(), strict=True):
        waves = cohort.waves[(cohort.waves["ecg_id"] == row.ecg_id) & cohort.waves["r"].notna()]
        on, off = (np.round(100 * waves[name]).astype(int).clip(0, 999) for name in ("qrs_on", "qrs_off"))
        net = np.median([(x[:, a : b + 1] - x[:, [a]]).sum(axis=1) for a, b in zip(on, off, strict=True)], axis=0)
        seen = np.degrees(np.arctan2(net[5] * 2 / np.sqrt(3), net[0]))
        assert abs((seen - row.axis_deg + 180) % 360 - 180) < 100, (row.ecg_id, seen, row.axis_deg)


def test_few_records_and_other_lengths():
    one = virtual_cohort(1, seed=2, fs=250, seconds=12.5)
    assert one.x.shape == (1, 12, 3125) and len(one.waves) > 5


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), fs=st.sampled_from([100, 128, 500]), seconds=st.floats(5, 15))
def test_any_seed_gives_a_sound_record(seed, fs, seconds):
    cohort = virtual_cohort(2, seed=seed, fs=fs, seconds=seconds)
    assert cohort.x.shape[2] == round(seconds * fs) and np.isfinite(cohort.x).all()
    assert np.abs(einthoven_residual(cohort.x)).max() < 1e-5 and cohort.table["heart_rate"].between(30, 180).all()


@given(degrees=st.floats(-180, 180), axis=st.integers(0, 2))
def test_a_rotation_keeps_lengths(degrees, axis):
    turn = rotation(degrees, axis)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(turn) == pytest.approx(1)
