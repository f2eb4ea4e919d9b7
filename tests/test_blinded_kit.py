"""The kit hides what it must hide: plan, drawing, key and seal; and a hunt for leaks that catches leaky renderings."""

import hashlib
import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cohorts import random_cohort
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import uniform_filter1d

from ecglib.errors import InputError
from ecglib.evaluation.blinded import (
    draw_plan,
    hunt,
    new_secret,
    page_features,
    pdf_features,
    printed_sheet,
    read_key,
    reading_page,
    write_kit,
)  # fmt: skip
from ecglib.evaluation.blinded.drawing import FS, STEP_MV, UNIT, equally_long, paper_svg, prepare, trace_path
from ecglib.evaluation.blinded.kit import prepare_plan
from ecglib.figures import ecg_sheet
from ecglib.figures.sheet import PAGE
from ecglib.signals import LEADS_8, LEADS_12, Cohort, to_eight_leads

N_PATIENTS = 240


@pytest.fixture(scope="module")
def arms() -> tuple[Cohort, Cohort]:
    """Two arms of one population, the second posing as synthetic: hearts cannot tell them apart."""
    real = random_cohort(N_PATIENTS, n_times=1000)
    return real, posing(random_cohort(N_PATIENTS, n_times=1000, seed=1), real)


def posing(cohort: Cohort, real: Cohort) -> Cohort:
    source = real.table["ecg_id"].to_numpy()
    return replace(cohort, table=cohort.table.assign(source_ecg_id=source, ecg_id=7_310_000 + source))


class TestPlan:
    @settings(max_examples=30, deadline=None)
    @given(n=st.integers(2, 60).map(lambda half: 2 * half), secret=st.integers(0, 2**128 - 1))
    def test_half_real_a_tenth_twice_ids_unique_and_no_patient_in_both_arms(self, arms, n, secret):
        real, synthetic = arms
        plan = draw_plan(real, synthetic, n, f"{secret:x}")
        once = plan[plan["repeat_of"] == ""]
        twice = plan[plan["repeat_of"] != ""]
        assert (once["arm"] == "real").sum() == (once["arm"] == "synthetic").sum() == n // 2
        assert (twice["arm"] == "real").sum() == (twice["arm"] == "synthetic").sum() == max(1, round(n / 20))
        assert plan["sheet"].is_unique and plan["sheet"].str.fullmatch("[B-Z]{4}").all()
        assert not once.duplicated(["arm", "row"]).any()
        shown = real.table.set_index("ecg_id").loc[once.loc[once["arm"] == "real", "ecg_id"], "patient_id"]
        imitated = synthetic.table["source_ecg_id"].iloc[once.loc[once["arm"] == "synthetic", "row"]]
        assert not set(shown) & set(real.table.set_index("ecg_id").loc[imitated, "patient_id"])

    def test_a_repeat_shows_the_same_ecg_later(self, arms):
        plan = draw_plan(*arms, 100, "c0ffee")
        place = pd.Series(range(len(plan)), index=plan["sheet"])
        for _, again in plan[plan["repeat_of"] != ""].iterrows():
            before = plan.iloc[place[again["repeat_of"]]]
            assert (before["arm"], before["row"], before["repeat_of"]) == (again["arm"], again["row"], "")
            assert place[again["sheet"]] - place[before["sheet"]] > 30

    def test_the_secret_decides_everything(self, arms):
        pd.testing.assert_frame_equal(draw_plan(*arms, 40, "ab"), draw_plan(*arms, 40, "ab"))
        assert list(draw_plan(*arms, 40, "ab")["sheet"]) != list(draw_plan(*arms, 40, "ac")["sheet"])

    def test_statements_are_matched(self, arms):
        real, synthetic = arms
        plan = draw_plan(real, synthetic, 100, "7")
        once = plan[plan["repeat_of"] == ""]
        tables = {"real": real.table, "synthetic": synthetic.table}
        counts = {arm: tables[arm].iloc[once.loc[once["arm"] == arm, "row"]]["scp_codes"].map(str).value_counts()
                  for arm in tables}  # fmt: skip
        pd.testing.assert_series_equal(counts["real"].sort_index(), counts["synthetic"].sort_index(), check_names=False)

    def test_without_sources_every_record_stands_for_itself(self, arms):
        real, synthetic = arms
        alone = replace(synthetic, table=synthetic.table.drop(columns="source_ecg_id"))
        assert len(draw_plan(real, alone, 240, "1")) == 264

    def test_whether_there_are_enough_patients_is_no_matter_of_luck(self, arms):
        """Eight real patients, ten sources, five of them among the eight: twelve different ECGs can be had, not 14."""
        real, synthetic = arms[0].select(np.arange(8)), arms[1].select(np.arange(3, 13))
        for secret in range(40):
            plan = draw_plan(real, synthetic, 12, f"{secret:x}")
            shown = plan[plan["repeat_of"] == ""]
            sources = synthetic.table["source_ecg_id"].iloc[shown.loc[shown["arm"] == "synthetic", "row"]]
            assert len(shown) == 12 and not set(sources) & set(shown.loc[shown["arm"] == "real", "ecg_id"])
            with pytest.raises(InputError, match=r"n=14 ECGs .* at most 12"):
                draw_plan(real, synthetic, 14, f"{secret:x}")

    @pytest.mark.parametrize(("n", "secret", "words"), [
        (20, 5, "secret, a int, is not a hexadecimal number"), (20, "", "hexadecimal"), (20, "-1", "hexadecimal"),
        (3, "1", "even number"), (2, "1", "even number from 4"), (0, "1", "even number"), (-4, "1", "even number"),
        (20, "xyz", "hexadecimal"), (242, "1", "at most 240: give a smaller N"),
    ])  # fmt: skip
    def test_refusals(self, arms, n, secret, words):
        with pytest.raises(InputError, match=words):
            draw_plan(*arms, n, secret)


class TestDrawing:
    def test_both_arms_come_to_the_same_form(self, arms):
        real, _ = arms
        rows = np.arange(4)
        at_500 = random_cohort(4, n_times=5000, fs=500)
        eight = replace(real, x=to_eight_leads(real.x), leads=LEADS_8)
        for cohort in (real, at_500, eight):
            steps = prepare(cohort, rows)
            assert steps.shape == (4, 12, 2500) and steps.dtype == np.int32
        np.testing.assert_array_equal(prepare(real, rows), prepare(eight, rows))
        mixed = replace(real, x=real.x[:, ::-1], leads=LEADS_12[::-1])
        np.testing.assert_array_equal(prepare(real, rows), prepare(mixed, rows))

    def test_what_lies_outside_of_the_band_is_taken_away(self, arms):
        real, _ = arms
        time = np.arange(1000) / 100
        hum, drift = 0.2 * np.sin(2 * np.pi * 49 * time), 0.5 * np.sin(2 * np.pi * 0.05 * time)
        spoilt = replace(real, x=(real.x + hum + drift).astype(np.float32))
        inner = slice(500, 2000)
        difference = (prepare(spoilt, np.arange(3)) - prepare(real, np.arange(3)))[:, :, inner] * STEP_MV
        assert np.abs(difference - np.median(difference, axis=-1, keepdims=True)).max() < 0.05

    def test_the_limb_leads_are_rounded_alike(self, arms):
        steps = prepare(arms[0], np.arange(5))
        assert np.abs(steps[:, 2] - steps[:, 1] + steps[:, 0]).max() <= 4  # III − II + I, each rounded and centred

    def test_too_short_or_too_slow(self):
        with pytest.raises(InputError, match="5 s at 100 Hz; expected at least 10 s"):
            prepare(random_cohort(2), np.arange(2))
        with pytest.raises(InputError, match="at 50 Hz"):
            prepare(random_cohort(2, fs=50), np.arange(2))

    def test_the_page_and_the_printed_sheet_draw_the_same_lines(self, arms):
        steps = prepare(arms[0], np.arange(1))[0]
        drawn = points(trace_path(steps))
        figure = ecg_sheet(STEP_MV * steps, FS)
        printed = [line.get_xydata() for line in figure.axes[0].get_lines() if len(line.get_xydata()) > 100]
        assert len(drawn) == len(printed) == 13
        for ours, theirs in zip(drawn, printed, strict=True):
            np.testing.assert_allclose(ours * UNIT, np.column_stack([theirs[:, 0], PAGE[1] - theirs[:, 1]]), atol=0.03)

    def test_one_second_is_25_mm_and_one_millivolt_10(self):
        steps = np.zeros((12, 2500), np.int32)
        steps[1, 500] = round(1 / STEP_MV)
        strip = points(trace_path(steps))[-1] * UNIT
        np.testing.assert_allclose(strip[-1] - strip[0], [25 * 2499 / 250, 0])
        np.testing.assert_allclose(strip[500] - strip[0], [50, -10])
        assert re.search(r"v-200h100v200", paper_svg())  # the pulse: 10 mm high, 5 mm wide

    def test_all_drawings_have_as_many_bytes(self):
        assert equally_long(["M1", "M1 2", ""]) == ["M1  ", "M1 2", "    "]


def points(path: str) -> list[np.ndarray]:
    """The polylines of a path, absolute, float (n, 2)."""
    lines = []
    for part in path.split("M")[1:]:
        start, _, steps = part.partition("l")
        numbers = np.array(steps.split(), float).reshape(-1, 2)
        lines.append(np.cumsum(np.vstack([np.array(start.split(), float), numbers]), axis=0))
    return lines


@pytest.fixture(scope="module")
def kit(arms, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kit é ü") / "blinded"
    plan = write_kit(*arms, folder, n=20, secret="5eed", progress=False)
    return folder, plan


class TestKit:
    def test_what_is_handed_out_and_what_is_not(self, kit):
        folder, _ = kit
        handed = {path.name for path in (folder / "hand-out").iterdir()}
        assert handed == {"reading.html", "sheets.pdf", "information.html", "protocol.html", "form.csv", "SEAL.txt"}
        assert (folder / "key" / "key.json").stat().st_mode & 0o077 == 0

    def test_the_seal_is_the_keys_salted_sha256(self, kit):
        folder, plan = kit
        key = read_key(folder / "key" / "key.json")
        assert key.seal == hashlib.sha256((folder / "key" / "key.json").read_bytes()).hexdigest()
        assert key.secret == "5eed"
        for name in ("reading.html", "information.html", "protocol.html", "form.csv", "SEAL.txt"):
            assert key.seal in (folder / "hand-out" / name).read_text(encoding="utf-8"), name
        assert list(key.sheets["sheet"]) == list(plan["sheet"])

    def test_a_new_secret_each_time(self, arms, tmp_path):
        write_kit(*arms, tmp_path / "kit", n=4, progress=False)
        key = read_key(tmp_path / "kit" / "key" / "key.json")
        assert re.fullmatch("[0-9a-f]{32}", key.secret) and key.secret != new_secret()

    def test_nothing_handed_out_holds_the_truth(self, kit):
        folder, plan = kit
        key = (folder / "key" / "key.json").read_text()
        for path in (folder / "hand-out").iterdir():
            data = path.read_bytes()
            assert b"5eed" not in data and b"repeat_of" not in data and b"ecg_id" not in data
            assert not re.search(rb"7310[0-9]{3}", data), f"{path.name} names a record"
        assert all(f'"{sheet}"' in key for sheet in plan["sheet"])
        printed = (folder / "hand-out" / "sheets.pdf").read_bytes()
        assert not re.search(rb"CreationDate|ModDate|Producer|Author", printed)

    def test_every_word_of_the_templates_is_filled_in(self, kit):
        for path in (kit[0] / "hand-out").glob("*.html"):
            assert not re.search(r"\{\{|\}\}", re.sub(r"<script>.*?</script>", "", path.read_text(), flags=re.S)), path
            assert not re.search(r"(src|href)=.?https?:|@import|url\(", path.read_text()), f"{path} reaches out"

    def test_a_kit_is_never_replaced(self, kit, arms):
        before = (kit[0] / "key" / "key.json").read_bytes()
        with pytest.raises(InputError, match="holds something already"):
            write_kit(*arms, kit[0], n=4)
        assert (kit[0] / "key" / "key.json").read_bytes() == before

    def test_cohorts_that_do_not_fit_leave_nothing_behind(self, arms, tmp_path):
        with pytest.raises(InputError, match="resample"):
            write_kit(arms[0], random_cohort(20, fs=200, n_times=2000), tmp_path / "kit", n=4)
        with pytest.raises(InputError, match="at most 240"):
            write_kit(*arms, tmp_path / "kit", n=1000)
        with pytest.raises(InputError, match="secret, a str, is not a hexadecimal"):
            write_kit(*arms, tmp_path / "kit", n=4, secret="")
        assert list(tmp_path.iterdir()) == []

    def test_the_printed_sheet_has_boxes_for_every_answer(self, arms):
        figure = printed_sheet("BCDF", prepare(arms[0], np.arange(1))[0])
        words = [text.get_text() for text in figure.axes[0].texts]
        assert {"Sheet BCDF", "real", "synthetic", "1", "5", "good", "acceptable", "poor"} <= set(words)
        assert tuple(np.round(figure.get_size_inches() * 25.4)) == PAGE
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.axes[0].texts if text.get_text()]
        assert all(0 <= box.x0 and box.x1 <= figure.bbox.width and box.y1 <= figure.bbox.height for box in boxes)
        assert not [(a, b) for k, a in enumerate(boxes) for b in boxes[:k] if a.overlaps(b)], "texts overlap"

    @pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": 9, "secret": "a", "sheets": []}'])
    def test_a_key_that_is_none(self, tmp_path, text):
        (tmp_path / "key.json").write_text(text)
        with pytest.raises(InputError, match="is no key"):
            read_key(tmp_path / "key.json")
        with pytest.raises(InputError, match="does not exist"):
            read_key(tmp_path / "none.json")


@pytest.fixture(scope="module")
def sealed(arms):
    """A plan of 120 ECGs, what its sheets draw, which are synthetic, and which are shown for the first time."""
    plan = draw_plan(*arms, 120, "1ea4")
    synthetic, first = plan["arm"] == "synthetic", plan["repeat_of"] == ""
    return plan, prepare_plan(plan, *arms), synthetic.to_numpy(), first.to_numpy()


def hunted(ids, steps, synthetic, first) -> tuple[float, float]:
    return hunt(page_features(reading_page(list(ids), steps, "seal"))[first], synthetic[first])


class TestLeaks:
    def test_nothing_leaks_from_the_page(self, sealed):
        plan, steps, synthetic, first = sealed
        auc, p = hunted(plan["sheet"], steps, synthetic, first)
        assert p > 0.02 and 0.3 < auc < 0.68

    def test_p_is_uniform_over_kits(self, arms):
        """Eight kits: without a leak, the smallest of eight p-values is above 0.003 in 97 of 100 runs."""
        found = []
        for secret in range(1, 9):
            plan = draw_plan(*arms, 32, f"{secret:x}")
            first = (plan["repeat_of"] == "").to_numpy()
            page = reading_page(list(plan["sheet"]), prepare_plan(plan, *arms), "seal")
            found.append(hunt(page_features(page)[first], (plan["arm"] == "synthetic").to_numpy()[first])[1])
        assert min(found) > 0.003 and 0.2 < np.mean(found) < 0.8

    def test_nothing_leaks_from_the_printed_sheets(self, kit):
        folder, plan = kit
        first = (plan["repeat_of"] == "").to_numpy()
        features = pdf_features(folder / "hand-out" / "sheets.pdf", list(plan["sheet"]))
        _, p = hunt(features[first], (plan["arm"] == "synthetic").to_numpy()[first])
        assert p > 0.01
        times = {path.stat().st_mtime for path in (folder / "hand-out").iterdir()}
        assert max(times) - min(times) < 120  # files of the kit as a whole: none of them is of one sheet

    def test_bytes_of_a_drawing_are_equal(self, sealed):
        plan, steps, *_ = sealed
        assert page_features(reading_page(list(plan["sheet"]), steps, "seal"))["bytes"].nunique() == 1

    @pytest.mark.parametrize("leak", ["steps", "filter", "order", "ids", "offset"])
    def test_a_leaky_rendering_is_caught(self, sealed, leak):
        """Positive controls: one fault in one arm's rendering, each of which the kit takes care not to have."""
        plan, steps, synthetic, first = sealed
        ids, steps = plan["sheet"].to_numpy(), steps.copy()
        if leak == "steps":  # one arm was stored with 10 µV a step
            steps[synthetic] = 2 * (steps[synthetic] // 2)
        if leak == "filter":  # one arm went through a filter more
            steps[synthetic] = np.rint(uniform_filter1d(steps[synthetic].astype(float), 9, axis=-1))
        if leak == "offset":  # one arm was put on its baseline, the other was not
            steps[synthetic] += 60
        if leak == "order":
            order = np.argsort(synthetic, kind="stable")
            ids, steps, synthetic, first = ids[order], steps[order], synthetic[order], first[order]
        if leak == "ids":  # names in the order in which cohorts were joined
            ids = np.array([f"{'S' if one else 'R'}{name[1:]}" for one, name in zip(synthetic, ids, strict=True)])
        auc, p = hunted(ids, steps, synthetic, first)
        assert p < 0.01 and auc > 0.7

    def test_too_few_sheets_or_one_arm(self, sealed):
        plan, steps, synthetic, _ = sealed
        features = page_features(reading_page(list(plan["sheet"]), steps, "seal"))
        with pytest.raises(InputError, match="at least 20"):
            hunt(features[:10], synthetic[:10])
        with pytest.raises(InputError, match="both arms"):
            hunt(features, np.ones(len(features), bool))
        with pytest.raises(InputError, match="no sheets"):
            page_features("<html></html>")

    def test_the_page_carries_what_the_form_offers(self, sealed):
        plan, steps, *_ = sealed
        page = reading_page(list(plan["sheet"]), steps[: len(plan)], "seal")
        data = json.loads(re.search(r'id="kit">(.*?)</script>', page, re.S)[1])
        assert set(data) == {"seal", "fields", "sheets"} and set(data["sheets"][0]) == {"id", "d"}
