"""Statistics against hand-computed examples; open, foreign and altered forms refused; known skill recovered."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, norm
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from ecglib.errors import InputError
from ecglib.evaluation import NotComputable
from ecglib.evaluation.blinded import (
    SimulatedReader,
    agreement,
    analyse,
    confidence_auc,
    criterion,
    d_prime,
    equivalence_p,
    equivalence_power,
    over_readers,
    power,
    read_forms,
    read_key,
    share,
    unblind,
    write_form,
)  # fmt: skip
from ecglib.evaluation.blinded.analysis import ALL, COLUMNS
from ecglib.evaluation.blinded.forms import FIELDS, write_key
from ecglib.figures import reading_plot


def plan_of(n: int = 100, twice: int = 10) -> pd.DataFrame:
    """A plan without records: real and synthetic in turn, the first `twice` sheets shown again at the end."""
    sheet = ["".join(letters) for letters in itertools.islice(itertools.product("BCDFGHJK", repeat=4), n + twice)]
    arm = ["real", "synthetic"] * (n // 2)
    return pd.DataFrame({"sheet": sheet, "arm": arm + arm[:twice], "ecg_id": range(n + twice),
                         "repeat_of": [""] * n + sheet[:twice]})  # fmt: skip


@pytest.fixture
def study(tmp_path):
    """A key, and a folder of forms of three simulated readers."""
    plan = plan_of(40, 4)
    seal = write_key(tmp_path / "key" / "key.json", plan, "ab" * 16)
    for k, skill in enumerate((0.0, 1.0, 2.0)):
        write_form(tmp_path / "forms" / f"answers-R{k}.csv", seal, f"R{k}", SimulatedReader(skill).read(plan, 0, k))
    return tmp_path


class TestShares:
    @pytest.mark.parametrize(("k", "n", "low", "high"), [
        # Clopper–Pearson by its definition for the ends; 22 of 44 by bisection of binomial tails
        (0, 10, 0.0, 1 - 0.025 ** (1 / 10)), (10, 10, 0.025 ** (1 / 10), 1.0), (1, 1, 0.025, 1.0),
    ])  # fmt: skip
    def test_exact_interval_at_the_ends(self, k, n, low, high):
        assert share(k, n) == pytest.approx((k / n, low, high, n), abs=1e-9)

    @given(n=st.integers(1, 60), k=st.integers(0, 60))
    @settings(max_examples=40, deadline=None)
    def test_exact_interval_is_where_the_tails_are_2_5_percent(self, n, k):
        k = min(k, n)
        _, low, high, _ = share(k, n)
        if k > 0:
            assert binom.sf(k - 1, n, low) == pytest.approx(0.025, abs=1e-6)
        if k < n:
            assert binom.cdf(k, n, high) == pytest.approx(0.025, abs=1e-6)

    @pytest.mark.parametrize(("k", "n"), [(-1, 4), (5, 4), (0, 0)])
    def test_impossible_counts(self, k, n):
        with pytest.raises(InputError, match="expected 0 ≤ k ≤ n"):
            share(k, n)


class TestDPrime:
    def test_by_hand(self):
        """40 of 50 hits and 10 of 50 false alarms: H = 40.5/51, F = 10.5/51; z(H) = −z(F) = 0.8208."""
        value = d_prime(40, 50, 10, 50).value
        assert value == pytest.approx(2 * norm.ppf(40.5 / 51)) == pytest.approx(1.6417, abs=1e-3)
        assert criterion(40, 50, 10, 50) == pytest.approx(0, abs=1e-12)

    def test_leaning_does_not_look_like_skill(self):
        assert d_prime(45, 50, 45, 50).value == pytest.approx(0)
        assert criterion(45, 50, 45, 50) < -1  # says synthetic nearly always

    def test_the_leaning_of_a_reader_varies_half_as_much_as_the_skill(self):
        """Simulated: z(H) and z(F) of 50 ECGs each; the table's interval is as wide as the leaning scatters."""
        rng = np.random.default_rng(0)
        counts = rng.binomial(50, [0.8, 0.4], (4000, 2))
        scatter = np.std([criterion(hits, 50, false, 50) for hits, false in counts])
        skill = d_prime(40, 50, 20, 50)
        assert (skill.ci_high - skill.value) / 2 == pytest.approx(norm.ppf(0.975) * scatter, rel=0.1)

    def test_shares_of_0_and_1_are_finite(self):
        everything = d_prime(50, 50, 0, 50)
        assert np.isfinite(everything[:3]).all() and everything.value > 4
        assert d_prime(0, 50, 50, 50).value == pytest.approx(-everything.value)


class TestAuc:
    @given(st.lists(st.tuples(st.integers(-5, 5), st.booleans()), min_size=10, max_size=60))
    @settings(max_examples=60, deadline=None)
    def test_equals_sklearn_and_the_slow_count(self, pairs):
        rating, synthetic = (np.array(column) for column in zip(*pairs, strict=True))
        if min(synthetic.sum(), (~synthetic).sum()) < 5:
            with pytest.raises(NotComputable, match="5 of each"):
                confidence_auc(rating, synthetic)
            return
        found = confidence_auc(rating, synthetic)
        slow = np.mean([(a > b) + 0.5 * (a == b) for a in rating[synthetic] for b in rating[~synthetic]])
        assert found.value == pytest.approx(slow) == pytest.approx(roc_auc_score(synthetic, rating))
        if np.isfinite(found.ci_low):
            assert 0 <= found.ci_low <= found.value <= found.ci_high <= 1

    def test_by_hand(self):
        """Synthetic sheets rated 4, 4, 1, −2, −5, real ones 2, −1, −2, −3, −5: of 25 pairs 16 right and two tied."""
        found = confidence_auc(np.array([4, 4, 1, -2, -5, 2, -1, -2, -3, -5]), np.arange(10) < 5)
        assert found.value == pytest.approx((5 + 5 + 4 + 2.5 + 0.5) / 25)

    def test_variance_by_the_slow_form(self):
        rng = np.random.default_rng(0)
        a, b = rng.integers(-5, 6, 30) + 1.0, rng.integers(-5, 6, 20) + 0.0
        placed = np.array([[(x > y) + 0.5 * (x == y) for y in b] for x in a])
        error = np.sqrt(placed.mean(1).var(ddof=1) / 30 + placed.mean(0).var(ddof=1) / 20)
        found = confidence_auc(np.concatenate([a, b]), np.arange(50) < 30)
        logit = np.log(found.ci_high / (1 - found.ci_high)) - np.log(found.ci_low / (1 - found.ci_low))
        assert logit / 2 == pytest.approx(norm.ppf(0.975) * error / (found.value * (1 - found.value)))


class TestEquivalence:
    @given(n=st.integers(5, 250), k=st.integers(0, 250))
    @settings(max_examples=60, deadline=None)
    def test_equals_the_90_percent_exact_interval_within_the_margins(self, n, k):
        k = min(k, n)
        _, low, high, _ = share(k, n, level=0.9)
        p = equivalence_p(k, n)
        if abs(p - 0.05) > 1e-9:
            assert (p < 0.05) == (0.4 < low and high < 0.6)

    def test_22_of_44_does_not_show_that_readers_guess(self):
        assert equivalence_p(22, 44) > 0.05
        assert equivalence_p(100, 200) < 0.05


class TestPower:
    def test_by_enumeration(self):
        """All outcomes of 12 answers, each counted if as far from half as the rarest twentieth allows."""
        n, p = 12, 0.7
        rare = [k for k in range(n + 1) if sum(binom.pmf(j, n, 0.5) for j in range(n + 1)
                                               if abs(j - n / 2) >= abs(k - n / 2)) <= 0.05]  # fmt: skip
        assert power(n, p) == pytest.approx(sum(binom.pmf(k, n, p) for k in rare))

    def test_the_stated_powers(self):
        assert round(100 * power(44, 0.6)) == 26 and round(100 * power(200, 0.6)) == 79

    def test_by_simulation(self):
        from scipy.stats import binomtest

        right = np.random.default_rng(0).binomial(100, 0.6, 2000)
        found = np.mean([binomtest(int(k), 100).pvalue <= 0.05 for k in right])
        assert power(100, 0.6) == pytest.approx(found, abs=0.04)

    @given(n=st.integers(6, 300))
    @settings(max_examples=30, deadline=None)
    def test_the_level_is_kept(self, n):
        assert power(n, 0.5) <= 0.05 + 1e-9
        assert equivalence_power(n, 0.4) <= 0.05 + 1e-9 and equivalence_power(n, 0.6) <= 0.05 + 1e-9


class TestAgreement:
    def test_by_hand(self):
        """Four sheets, three readers: agreeing pairs 3/3, 1/3, 3/3, 1/3 → 2/3. Category 1 was given 6 of 12 times:
        chance is 1/2 for both coefficients, so both are (2/3 − 1/2) / (1/2) = 1/3."""
        ratings = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 0], [1, 0, 0]])
        assert agreement(ratings, 2) == pytest.approx({"observed": 2 / 3, "fleiss_kappa": 1 / 3, "gwet_ac1": 1 / 3})

    def test_kappa_falls_where_one_answer_prevails_and_ac1_does_not(self):
        """Two readers, 95 sheets both "real", 5 split: observed .95; π = .025; chance .95125 (κ) and .04875 (AC1)."""
        ratings = np.zeros((100, 2), int)
        ratings[:5, 0] = 1
        found = agreement(ratings, 2)
        assert found["observed"] == pytest.approx(0.95)
        assert found["fleiss_kappa"] == pytest.approx((0.95 - 0.95125) / (1 - 0.95125))
        assert found["gwet_ac1"] == pytest.approx((0.95 - 0.04875) / (1 - 0.04875))

    def test_fleiss_against_a_slow_form_with_four_categories(self):
        ratings = np.random.default_rng(1).integers(0, 4, (30, 5))
        pairs = np.mean([a == b for row in ratings for a, b in itertools.permutations(row, 2)])
        often = np.array([np.mean(ratings == c) for c in range(4)])
        found = agreement(ratings, 4)
        assert found["observed"] == pytest.approx(pairs)
        assert found["fleiss_kappa"] == pytest.approx((pairs - (often**2).sum()) / (1 - (often**2).sum()))

    def test_guessers_agree_by_chance_and_copies_wholly(self):
        rng = np.random.default_rng(2)
        guessed = rng.integers(0, 2, (4000, 4))
        assert agreement(guessed, 2)["fleiss_kappa"] == pytest.approx(0, abs=0.03)
        assert agreement(np.repeat(guessed[:, :1], 3, axis=1), 2)["gwet_ac1"] == 1

    def test_a_category_that_nobody_chose_could_have_been_chosen(self):
        """12 rhythms on the form, 3 used. π = 1/2, 1/4, 1/4: Σ π (1 − π) = 5/8, by chance (5/8) / 11 and not / 2."""
        ratings = np.array([[0, 0], [0, 0], [1, 1], [2, 2], [0, 1], [0, 2], [0, 0], [1, 2]])
        often = np.array([0.5, 0.25, 0.25])
        chance = (often * (1 - often)).sum() / 11
        assert agreement(ratings, 12)["gwet_ac1"] == pytest.approx((5 / 8 - chance) / (1 - chance))
        assert agreement(ratings, 12)["fleiss_kappa"] == agreement(ratings, 3)["fleiss_kappa"]
        with pytest.raises(InputError, match="0 to 1"):
            agreement(ratings, 2)

    @pytest.mark.parametrize(("ratings", "why"), [(np.zeros((5, 3), int), "same answer"), ([[0], [1]], "two readers")])
    def test_not_computable(self, ratings, why):
        with pytest.raises(NotComputable, match=why):
            agreement(np.asarray(ratings), 2)


def edited(path, change):
    form = pd.read_csv(path, dtype=str, keep_default_na=False)
    change(form).to_csv(path, index=False)


class TestForms:
    def test_round_trip(self, study):
        key = read_key(study / "key" / "key.json")
        forms = read_forms(study / "forms", key)
        assert len(forms) == 3 * 44 and list(forms.columns) == [*FIELDS, "arm", "repeat_of"]
        assert set(forms["reader"]) == {"R0", "R1", "R2"} and forms["confidence"].between(1, 5).all()

    @pytest.mark.parametrize(("change", "words"), [
        (lambda f: f.iloc[:-3], "is open: 3 of 44 sheets lack an answer"),
        (lambda f: f.assign(answer=["", *f["answer"][1:]]), "is open: 1 of 44"),
        (lambda f: f.assign(rhythm=[" ", *f["rhythm"][1:]]), "is open: 1 of 44"),
        (lambda f: f.assign(confidence=[""] * len(f)), "is open: 44 of 44.*BBBB, .*…"),
        (lambda f: f.assign(answer="fake"), "has answer 'fake'; expected one of real, synthetic"),
        (lambda f: f.assign(confidence="6"), "has confidence '6'"),
        (lambda f: f.assign(quality="GOOD"), "has quality 'GOOD'"),
        (lambda f: f.assign(seal="0" * 64), "carries the seal 000000000000…"),
        (lambda f: f.assign(seal=[*f["seal"][1:], "x"]), "carries the seal"),
        (lambda f: f.assign(reader=""), "expected one code"),
        (lambda f: f.assign(reader=[*"ab"] * 22), "expected one code"),
        (lambda f: f.assign(reader="R2"), "are both of reader 'R2'"),
        (lambda f: f.assign(reader="r2"), "are both of reader 'R2'"),
        (lambda f: f.assign(reader="R2\u200b"), "expected one code in every row, of up to 20 letters"),
        (lambda f: f.assign(reader=ALL), "'ALL READERS'.*expected one code"),
        (lambda f: f.assign(reader="-R1"), "no hyphen first"),
        (lambda f: f.assign(reader="R" * 21), "up to 20 letters"),
        (lambda f: pd.concat([f, f.iloc[:1]]), "is there twice"),
        (lambda f: f.assign(sheet=["ZZZZ", *f["sheet"][1:]]), "'ZZZZ' is not of this kit"),
        (lambda f: f.drop(columns="rhythm"), "lacks rhythm"),
        (lambda f: f.iloc[:0], "lacks rows"),
    ])  # fmt: skip
    def test_forms_that_are_refused(self, study, change, words):
        edited(study / "forms" / "answers-R1.csv", change)
        with pytest.raises(InputError, match=words) as caught:
            unblind(study / "forms", study / "key" / "key.json", study / "analysis")
        assert "answers-R1.csv" in str(caught.value) and not (study / "analysis").exists()

    @pytest.mark.parametrize("data", [b"", b"\xff\xfe\x00bad", b'"unclosed\n1,2', b"PK\x03\x04zip"])
    def test_files_that_are_no_forms(self, study, data):
        (study / "forms" / "answers-R1.csv").write_bytes(data)
        with pytest.raises(InputError, match=r"answers-R1\.csv (cannot be read as CSV|lacks)"):
            read_forms(study / "forms", read_key(study / "key" / "key.json"))

    def test_a_spreadsheets_way_of_saving_is_read(self, study):
        """A byte-order mark, quotes and another order of columns change nothing."""
        path = study / "forms" / "answers-R1.csv"
        before = read_forms([path], read_key(study / "key" / "key.json"))
        form = pd.read_csv(path, dtype=str, keep_default_na=False)
        form[sorted(form.columns)].to_csv(path, index=False, encoding="utf-8-sig", quoting=1, lineterminator="\r\n")
        pd.testing.assert_frame_equal(read_forms([path], read_key(study / "key" / "key.json")), before)

    def test_a_form_that_a_spreadsheet_saved_with_semicolons_is_read(self, study):
        path, key = study / "forms" / "answers-R1.csv", read_key(study / "key" / "key.json")
        edited(path, lambda form: form.assign(reason='too regular, "; a, b, c'))
        before = read_forms([path], key)
        pd.read_csv(path, dtype=str, keep_default_na=False).to_csv(path, index=False, sep=";")
        pd.testing.assert_frame_equal(read_forms([path], key), before)

    def test_a_code_in_small_letters_is_that_in_capitals(self, study):
        edited(study / "forms" / "answers-R1.csv", lambda form: form.assign(reader="dr-7"))
        forms = read_forms(study / "forms", read_key(study / "key" / "key.json"))
        assert set(forms["reader"]) == {"R0", "DR-7", "R2"}

    def test_a_changed_key_no_longer_fits_its_seal(self, study):
        """The owner swaps the truth of two sheets after the fact: every form refuses the key."""
        path = study / "key" / "key.json"
        content = json.loads(path.read_text())
        content["sheets"][0]["arm"], content["sheets"][1]["arm"] = "synthetic", "real"
        path.write_text(json.dumps(content, indent=1) + "\n")
        with pytest.raises(InputError, match="of another kit, or was changed since"):
            unblind(study / "forms", path, study / "analysis")

    def test_no_forms(self, study, tmp_path):
        key = read_key(study / "key" / "key.json")
        with pytest.raises(InputError, match="is no folder"):
            read_forms(tmp_path / "none", key)
        with pytest.raises(InputError, match=r"holds no \*\.csv"):
            read_forms(tmp_path, key)


def forms_of(plan: pd.DataFrame, readers: list[SimulatedReader], seed: int) -> pd.DataFrame:
    parts = [reader.read(plan, seed, 1000 * seed + k).assign(reader=f"R{k}") for k, reader in enumerate(readers)]
    return pd.concat(parts).merge(plan, on="sheet")


def wide(table: pd.DataFrame) -> pd.DataFrame:
    return table.set_index(["reader", "quantity"])


class TestAnalysis:
    def test_table(self, study):
        table = unblind(study / "forms", study / "key" / "key.json", study / "analysis")
        assert list(table.columns) == COLUMNS
        rows = wide(table)
        assert rows.loc[("R0", "accuracy"), "n"] == 40 and rows.loc[("R0", "sensitivity"), "n"] == 20
        assert rows.loc[("R0", "consistency"), "n"] == 4
        assert rows.loc[("R2", "d_prime"), "value"] > rows.loc[("R0", "d_prime"), "value"]
        every = rows.loc[ALL]
        assert {"accuracy", "equivalence_p", "fleiss_kappa", "gwet_ac1", "rhythm_fleiss_kappa"} <= set(every.index)
        assert every.loc["rhythm_fleiss_kappa", "reason"].startswith("not computed because all readers gave the same")
        known = table.dropna(subset=["ci_low"])
        assert ((known["ci_low"] <= known["value"] + 1e-12) & (known["value"] <= known["ci_high"] + 1e-12)).all()
        assert table.loc[table["value"].isna(), "reason"].str.startswith("not computed because").all()
        written = {path.name for path in (study / "analysis").iterdir()}
        assert written == {"analysis.csv", "answers.csv", "analysis.png", "SEAL.txt", "manifest.json"}
        pd.testing.assert_frame_equal(pd.read_csv(study / "analysis" / "analysis.csv").fillna({"reason": ""}), table)

    def test_a_finished_analysis_is_not_made_again(self, study):
        where = study / "forms", study / "key" / "key.json", study / "analysis"
        unblind(*where)
        before = {path.name: path.read_bytes() for path in (study / "analysis").iterdir()}
        (study / "forms" / "answers-R2.csv").unlink()
        with pytest.raises(InputError, match=r"holds a finished analysis, .*move this one away"):
            unblind(*where)
        assert {path.name: path.read_bytes() for path in (study / "analysis").iterdir()} == before

    def test_a_reader_of_one_answer_and_one_confidence(self):
        plan = plan_of(20, 0)
        forms = plan.assign(reader="R", answer="real", confidence=3, rhythm="other", quality="good")
        rows = wide(analyse(forms, draws=100)).loc["R"]
        assert rows.loc["confidence_auc", "reason"] == "no interval: all ratings are tied"
        leaning = rows.loc["criterion"]
        assert leaning["ci_low"] < leaning["value"] < leaning["ci_high"] and leaning["value"] > 1
        reach = (rows.loc["d_prime", "ci_high"] - rows.loc["d_prime", "value"]) / 2
        assert leaning["ci_high"] - leaning["value"] == pytest.approx(reach)

    def test_counts_are_the_readers_own(self):
        """One reader, four sheets: hit, miss, false alarm, right rejection; one of two repeats answered otherwise."""
        plan = plan_of(4, 2)
        answers = ["real", "synthetic", "synthetic", "real", "synthetic", "synthetic"]
        forms = plan.assign(reader="R", answer=answers, confidence=[5, 4, 1, 2, 3, 3], rhythm="other", quality="good")
        table = wide(analyse(forms, draws=100)).loc["R"]
        rows = table["value"]
        assert rows[["accuracy", "sensitivity", "specificity", "consistency"]].tolist() == [0.5, 0.5, 0.5, 0.5]
        assert table.loc["confidence_auc", "reason"].startswith("not computed because there are 2 synthetic and 2 real")
        assert rows["d_prime"] == 0 == rows["criterion"]

    def test_mean_over_readers_by_hand(self):
        """Readers right on (1, 1), (1, 0), (0, 0) of two synthetic sheets: mean 1/2; MS of readers 2·(1/4 + 0 + 1/4)/2
        = 1/2; of sheets 3·(1/36 + 1/36)/1 = 1/6; of the rest (0 + 4·1/36 …)/2 = 1/6, so the variance is 1/2 / 6."""
        right = np.array([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        estimate, p = over_readers(right, np.ones(2, bool))
        rest = right - right.mean(1, keepdims=True) - right.mean(0) + right.mean()
        assert (rest**2).sum() / 2 == pytest.approx(1 / 6)
        assert estimate.value == 0.5 and (estimate.ci_low, estimate.ci_high) == (0, 1)
        assert student.sf(0.1 / np.sqrt(1 / 12), 2) < p == pytest.approx(equivalence_p(3, 6))

    def test_readers_who_agree_on_everything_are_as_one(self):
        right = np.repeat((np.arange(100) % 10 < 7)[:, None], 4, axis=1)
        estimate, _ = over_readers(right, np.arange(100) < 50)
        width = 2 * student.ppf(0.975, 3) * np.sqrt(0.7 * 0.3 / 98)
        assert estimate.ci_high - estimate.ci_low == pytest.approx(width, rel=0.01)

    def test_readers_without_scatter_are_no_surer_than_as_many_answers(self):
        """All right, or each reader right on half of the sheets and each sheet by half of the readers' answers."""
        estimate, p = over_readers(np.ones((20, 3)), np.arange(20) < 10)
        assert estimate == pytest.approx((1.0, 0.025 ** (1 / 60), 1.0, 20)) and p == pytest.approx(1)
        right = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [0, 1, 1], [1, 0, 1]])
        estimate, p = over_readers(right, np.arange(6) < 3)
        assert estimate[:3] == pytest.approx(share(9, 18)[:3]) and p == pytest.approx(equivalence_p(9, 18)) and p > 0.2

    def test_two_readers_cannot_stand_for_others(self):
        rows = wide(analyse(forms_of(plan_of(), [SimulatedReader(1)] * 2, 0), draws=200)).loc[ALL]
        assert np.isnan(rows.loc["accuracy", "ci_low"]) and "2 readers" in rows.loc["accuracy", "reason"]
        assert "equivalence_p" not in rows.index

    def test_without_repeats_there_is_no_consistency(self):
        plan = plan_of(20, 0)
        rows = wide(analyse(forms_of(plan, [SimulatedReader(1)], 0), draws=100))
        assert rows.loc[("R0", "consistency"), "reason"].startswith("not computed because no sheet was shown twice")

    def test_same_seed_same_table(self):
        forms = forms_of(plan_of(), [SimulatedReader(1)] * 3, 0)
        pd.testing.assert_frame_equal(analyse(forms, seed=3, draws=300), analyse(forms, seed=3, draws=300))

    def test_figure(self):
        table = analyse(forms_of(plan_of(), [SimulatedReader(d) for d in (0, 1, 2)], 0), draws=200)
        figure = reading_plot(table)
        assert [axes.get_xlim() for axes in figure.axes] == [(0, 1)] * 3
        assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["R0", "R1", "R2", ALL]
        with pytest.raises(InputError, match="without accuracy"):
            reading_plot(table[table["quantity"] == "d_prime"])


RUNS, SKILL, LEANING = 200, 1.0, 0.3


@pytest.fixture(scope="module")
def truth() -> dict[str, float]:
    """What a simulated reader of that skill and leaning comes to with endless sheets."""
    hit, right_rejection = norm.cdf(SKILL / 2 - LEANING), norm.cdf(SKILL / 2 + LEANING)
    plan = plan_of(4096, 0)
    many = [SimulatedReader(SKILL, LEANING).read(plan, seed, seed).assign(arm=plan["arm"]) for seed in range(40)]
    answers = pd.concat(many)
    rating = answers["confidence"].to_numpy() * np.where(answers["answer"] == "synthetic", 1, -1)
    return {"accuracy": (hit + right_rejection) / 2, "sensitivity": hit, "specificity": right_rejection,
            "d_prime": SKILL, "confidence_auc": roc_auc_score(answers["arm"] == "synthetic", rating)}  # fmt: skip


class TestSimulatedReaders:
    def test_known_skill_lies_within_the_intervals_as_often_as_they_say(self, truth):
        """Coverage over 200 readings of 100 ECGs by one reader; 95 % ± three standard errors, exact intervals above."""
        plan = plan_of()
        inside = {name: 0 for name in truth}
        for run in range(RUNS):
            rows = wide(analyse(forms_of(plan, [SimulatedReader(SKILL, LEANING)], run + 1), draws=4)).loc["R0"]
            for name, value in truth.items():
                inside[name] += rows.loc[name, "ci_low"] <= value <= rows.loc[name, "ci_high"]
        covered = {name: count / RUNS for name, count in inside.items()}
        print(covered)
        assert all(0.95 - 3 * np.sqrt(0.05 * 0.95 / RUNS) <= share <= 0.999 for share in covered.values()), covered

    @pytest.mark.parametrize("n_readers", [3, 5])
    def test_the_interval_of_all_readers_covers_as_often_as_it_says(self, n_readers):
        """Readers drawn from readers of differing skill, with evidence in common; a binomial of all answers fails."""
        plan, rng, runs = plan_of(100, 0), np.random.default_rng(0), 300
        skills = np.array([0.0, 0.5, 1.0, 1.5, 2.0])
        truth, inside, pooled = norm.cdf(skills / 2).mean(), 0, 0
        for run in range(runs):
            answers = [SimulatedReader(skill).read(plan, run, 1000 * run + k)["answer"]
                       for k, skill in enumerate(rng.choice(skills, n_readers))]  # fmt: skip
            right = np.stack(answers, axis=1) == plan["arm"].to_numpy()[:, None]
            estimate, _ = over_readers(right, plan["arm"] == "synthetic")
            inside += estimate.ci_low <= truth <= estimate.ci_high
            counted = share(int(right.sum()), right.size)
            pooled += counted.ci_low <= truth <= counted.ci_high
        print(n_readers, inside / runs, pooled / runs)
        assert 0.91 <= inside / runs
        assert pooled / runs < 0.85

    def test_readers_who_lean_to_one_answer_do_not_narrow_the_interval(self):
        """Eight readers whose criteria differ by 1.5 SD: what they err more on one kind they err less on the other."""
        rng, runs, d, synthetic = np.random.default_rng(0), 400, 1.0, np.arange(40) % 2 == 0
        leans = 1.5 * norm.ppf((np.arange(2000) + 0.5) / 2000)
        truth, inside = (norm.cdf(d / 2 - leans) + norm.cdf(d / 2 + leans)).mean() / 2, 0
        for _ in range(runs):
            evidence = np.where(synthetic, d / 2, -d / 2)[:, None] + rng.normal(size=(40, 8))
            right = (evidence > 1.5 * rng.normal(size=8)) == synthetic[:, None]
            estimate, _ = over_readers(right, synthetic)
            inside += estimate.ci_low <= truth <= estimate.ci_high
        assert 0.91 <= inside / runs

    def test_evidence_in_common_makes_readers_agree(self):
        plan = plan_of(400, 0)
        kappa = [wide(analyse(forms_of(plan, [SimulatedReader(0, shared=shared)] * 3, 1), draws=8)
                      ).loc[(ALL, "fleiss_kappa"), "value"] for shared in (0.0, 0.5, 0.95)]  # fmt: skip
        assert abs(kappa[0]) < 0.1 and kappa[0] < kappa[1] < kappa[2] and kappa[2] > 0.6

    def test_guessers_are_not_found_out_more_often_than_the_level_allows(self):
        plan, seen = plan_of(), []
        for run in range(300):
            answers = SimulatedReader(0.0).read(plan, run, 5000 + run)
            first = answers[plan["repeat_of"] == ""]
            low, high = share(int((first["answer"] == plan["arm"][: len(first)]).sum()), len(first))[1:3]
            seen.append(not low <= 0.5 <= high)
        assert np.mean(seen) < 0.09

    @pytest.mark.parametrize("shared", [-0.1, 1.1])
    def test_a_share_out_of_range(self, shared):
        with pytest.raises(InputError, match="expected 0 to 1"):
            SimulatedReader(1.0, shared=shared)
