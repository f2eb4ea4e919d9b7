"""Differential privacy: no patient moves a step by more than C, the noise is as wide as said, and every step counts."""

import json
import math
import os
import subprocess
import sys
from dataclasses import fields, replace

import numpy as np
import opacus.accountants
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from opacus.optimizers import DPOptimizer
from scipy.stats import norm
from test_book import absent
from test_training import TINY as WITH_CLASSES
from test_training import tiny_cohort

from ecglib.diffusion import Generator, train
from ecglib.diffusion.batches import Batch
from ecglib.diffusion.checkpoint import CHECKPOINT, LOG
from ecglib.diffusion.losses import Losses
from ecglib.diffusion.model import WEIGHTS, SignalInfo, load_tensors, network_of
from ecglib.diffusion.private import (
    Patients,
    Privacy,
    attack_bound,
    clip,
    draw_patients,
    epsilon_of,
    flat_gradient,
    noise_for,
    noisy_mean,
    train_private,
)
from ecglib.diffusion.private.accounting import check_delta, statement
from ecglib.diffusion.private.training import SCALE_MV, randomness
from ecglib.errors import InputError
from ecglib.runs import MANIFEST, read_manifest
from ecglib.signals import LEADS_8, Cohort, save_ptbxl_layout
from ecglib.study import ROOT

TINY = WITH_CLASSES.override({"training.steps": 4, "training.save_every": 2, "network.wiener": 0.0,
                              "training.optimiser": "adamw"})  # fmt: skip
PRIVACY = Privacy(epsilon=5.0, patients=6, draws=2, records=2, seed=1)
SIGNALS = SignalInfo(LEADS_8, 100, 200, (0.0,) * 8, SCALE_MV)


def many_records(per_patient: int = 3) -> Cohort:
    """The tiny cohort, with several records a patient."""
    cohort = tiny_cohort()
    patient = np.arange(len(cohort)) // per_patient
    return replace(cohort, table=cohort.table.assign(patient_id=patient, strat_fold=patient % 10 + 1))


class Bench:
    """A network with weights away from zero, and the patients of a cohort."""

    def __init__(self, cohort: Cohort, privacy: Privacy = PRIVACY) -> None:
        self.patients = Patients(TINY, SIGNALS, cohort, privacy)
        self.network = network_of(TINY, 8, 200)
        torch.nn.init.normal_(self.network.leave.weight, std=0.1, generator=torch.Generator().manual_seed(0))
        self.losses = Losses(TINY, self.patients.schedule, 100, torch.device("cpu"))

    def batch(self, patient: int) -> Batch:
        return self.patients.batch(patient, *randomness(3, patient))

    def gradient(self, batch: Batch) -> torch.Tensor:
        return flat_gradient(self.losses.total(self.network, batch), self.network.parameters())


# ---- the mechanism


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), st.floats(1e-3, 1e3))
def test_clipping_bounds_the_norm_and_keeps_the_direction(values, bound):
    g = torch.tensor(values, dtype=torch.float64)
    clipped = clip(g, bound)
    assert clipped.norm() <= bound * (1 + 1e-12)
    if g.norm() <= bound:
        assert torch.equal(clipped, g)
    else:
        assert torch.allclose(clipped / bound, g / g.norm(), atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_not_a_number_is_refused(bad):
    with pytest.raises(InputError, match="a patient's gradient has norm"):
        clip(torch.tensor([1.0, bad]), 1.0)


def test_a_huge_patient_is_clipped():
    cohort = many_records()
    x = np.array(cohort.x)
    x[:3] *= 1e4  # the first patient
    bench = Bench(replace(cohort, x=x))
    huge, other = (bench.gradient(bench.batch(k)) for k in (0, 1))
    assert huge.norm() > 1e3 * other.norm(), "the plant is not seen"
    assert clip(huge, 0.5).norm() <= 0.5 * (1 + 1e-6)


def test_a_patient_moves_the_sum_by_no_more_than_the_bound_however_many_records_it_has():
    bench, bound = Bench(many_records(), replace(PRIVACY, records=3)), 0.05
    gradients = [bench.gradient(bench.batch(k)) for k in range(4)]
    assert min(g.norm() for g in gradients) > bound, "nothing would be clipped"
    whole = sum(clip(g, bound) for g in gradients)
    for k in range(4):
        without = sum(clip(g, bound) for j, g in enumerate(gradients) if j != k)
        assert (whole - without).norm() <= bound * (1 + 1e-4)
    # the usual way, a record as unit, gives a patient of three records up to three times as much
    records = [clip(bench.gradient(part), bound) for part in singles(bench.batch(0))]
    assert sum(records).norm() > 1.5 * bound


def singles(batch: Batch) -> list[Batch]:
    """Split a batch into batches of one."""

    def one(value, k):
        if isinstance(value, tuple):
            return tuple(part[k : k + 1] for part in value)
        return value[k : k + 1] if isinstance(value, torch.Tensor) else value

    return [Batch(**{f.name: one(getattr(batch, f.name), k) for f in fields(batch)}) for k in range(len(batch.t))]


def test_a_patients_gradient_is_the_mean_over_records_and_draws():
    bench = Bench(many_records())
    for patient in (0, 1):
        batch = bench.batch(patient)
        assert len(batch.t) == 4, "two of three records, each drawn twice"
        slow = torch.stack([bench.gradient(part) for part in singles(batch)]).mean(dim=0)
        fast = bench.gradient(batch)
        assert (fast - slow).norm() < 1e-4 * slow.norm()


def test_the_step_is_that_of_opacus():
    generator = torch.Generator().manual_seed(0)
    each = [torch.randn(7, generator=generator) * scale for scale in (0.1, 1.0, 30.0)]
    parameter = torch.nn.Parameter(torch.zeros(7))
    theirs = DPOptimizer(torch.optim.SGD([parameter], lr=1.0), noise_multiplier=0.0, max_grad_norm=1.5,
                         expected_batch_size=4)  # fmt: skip
    parameter.grad_sample = torch.stack(each)
    theirs.step()
    ours = noisy_mean(sum(clip(g, 1.5) for g in each), 1.5, 0.0, 4, generator)
    assert torch.allclose(-parameter.detach(), ours, atol=1e-5)


def test_the_noise_is_as_wide_as_said():
    n, noise, bound, expected = 400_000, 0.8, 2.5, 16.0
    drawn = noisy_mean(torch.ones(n), bound, noise, expected, torch.Generator().manual_seed(0)) * expected - 1
    assert abs(drawn.std() / (noise * bound) - 1) < 5 / math.sqrt(2 * n)
    assert abs(drawn.mean()) < 5 * noise * bound / math.sqrt(n)


def test_patients_are_drawn_independently_and_at_the_rate():
    n, rate, steps = 50, 0.1, 4000
    drawn = np.zeros((steps, n))
    for k in range(steps):
        drawn[k, draw_patients(n, rate, randomness(0, k)[0])] = 1
    sizes = drawn.sum(axis=1)
    assert np.abs(drawn.mean(axis=0) - rate).max() < 5 * math.sqrt(rate * (1 - rate) / steps)
    assert sizes.var() == pytest.approx(n * rate * (1 - rate), rel=0.1), "a fixed number has variance 0"
    assert np.abs(np.corrcoef(drawn.T)[np.triu_indices(n, 1)]).max() < 5.5 / math.sqrt(steps)


def test_a_patients_records_are_capped_and_all_have_their_turn():
    patients = Patients(TINY, SIGNALS, many_records(5), replace(PRIVACY, records=2, draws=3))
    seen = {float(x) for k in range(40) for x in patients.batch(0, *randomness(0, k)).x0.std(dim=(1, 2))}
    assert len(patients.batch(0, *randomness(0, 0)).t) == 6 and len(seen) == 5


# ---- the accounting


@pytest.mark.parametrize(("noise", "rate", "steps"), [(1.0, 0.02, 100), (0.6, 0.1, 10), (3.0, 1.0, 50)])
def test_epsilon_is_that_of_opacus_step_by_step(noise, rate, steps):
    accountant = opacus.accountants.RDPAccountant()
    for _ in range(steps):
        accountant.step(noise_multiplier=noise, sample_rate=rate)
    assert epsilon_of(noise, rate, steps, 1e-5) == pytest.approx(accountant.get_epsilon(delta=1e-5), rel=1e-9)


def gaussian_delta(epsilon: float, mu: float) -> float:
    """The exact δ of one Gaussian step without sampling, μ = 1/σ (Balle & Wang, 2018)."""
    return norm.cdf(mu / 2 - epsilon / mu) - math.exp(epsilon) * norm.cdf(-mu / 2 - epsilon / mu)


def test_epsilon_is_an_upper_bound_of_the_exact_one():
    for noise in (0.8, 2.0):
        spent = epsilon_of(noise, 1.0, 1, 1e-5)
        assert gaussian_delta(spent, 1 / noise) <= 1e-5
        assert gaussian_delta(0.7 * spent, 1 / noise) > 1e-5, "and not a loose one"


@pytest.mark.parametrize("epsilon", [0.5, 3.0, 10.0])
def test_the_noise_is_the_least_that_keeps_the_promise(epsilon):
    noise = noise_for(epsilon, 0.02, 100, 1e-5)
    assert epsilon_of(noise, 0.02, 100, 1e-5) <= epsilon < epsilon_of(noise - 2e-3, 0.02, 100, 1e-5)


def test_no_noise_no_promise_and_no_steps_no_cost():
    assert noise_for(math.inf, 0.02, 100, 1e-5) == 0 and epsilon_of(0.0, 0.02, 100, 1e-5) == math.inf
    assert epsilon_of(0.0, 0.02, 0, 1e-5) == 0
    with pytest.raises(InputError, match=r"epsilon=1e-09 in 1000 steps"):
        noise_for(1e-9, 1.0, 1000, 1e-9)


def test_no_attack_on_a_gaussian_step_beats_the_bound_and_the_best_one_meets_it():
    fpr = np.linspace(0, 1, 2001)
    tpr = norm.cdf(norm.ppf(fpr) + 1.0)  # the likelihood ratio test against N(0, 1) and N(1, 1)
    gaps = [attack_bound(e, gaussian_delta(e, 1.0), fpr) - tpr for e in (0.1, 0.5, 1.0, 2.0, 4.0)]
    assert min(gap.min() for gap in gaps) > -1e-9
    assert all(gap.min() < 1e-3 for gap in gaps)
    assert (attack_bound(math.inf, 0.0, fpr) == np.where(fpr > 0, 1.0, attack_bound(math.inf, 0.0, fpr))).all()


@pytest.mark.parametrize(("name", "value"), [("epsilon", 0.0), ("epsilon", -1.0), ("epsilon", math.nan), ("delta", 0.5),
                                             ("epsilon", "3"), ("epsilon", True), ("delta", None), ("clip", 1j),
                                             ("patients", 64.5), ("draws", 1.5), ("records", True), ("seed", 1.5),
                                             ("clip", 0.0), ("patients", 0), ("draws", 0), ("records", 0),
                                             ("seed", -1)])  # fmt: skip
def test_privacy_refuses_what_is_out_of_range(name, value):
    with pytest.raises(InputError, match=f"privacy.{name}="):
        Privacy(**{name: value})


def test_privacy_takes_the_numbers_of_numpy():
    privacy = Privacy(epsilon=np.float32(3), patients=np.int64(64), seed=np.uint32(0))
    assert json.loads(privacy.to_json()) == json.loads(Privacy(epsilon=3, patients=64, seed=0).to_json())


def test_a_delta_that_lets_a_patient_be_published_is_refused():
    check_delta(Privacy(delta=1e-3), 999)
    with pytest.raises(InputError, match=r"privacy.delta=0.001 with 1000 training patients.*1/1000 = 0.001"):
        check_delta(Privacy(delta=1e-3), 1000)


def test_without_opacus_the_extra_is_named(tmp_path):
    code = ("from ecglib.diffusion.private import epsilon_of\nfrom ecglib.errors import InputError\n"
            "try: epsilon_of(1.0, 0.1, 1, 1e-5)\nexcept InputError as error: print(error)")  # fmt: skip
    environment = os.environ | {"PYTHONPATH": absent("opacus", tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Opacus, which is not installed; run: pip install -c constraints.txt -e '.[dp]'" in done.stdout


# ---- the run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("private") / "run"
    return train_private(TINY, PRIVACY, many_records(), run, progress=False)


def weights(run):
    return (run / WEIGHTS).read_bytes()


def test_the_manifest_states_what_the_steps_spent(whole):
    manifest, plan = read_manifest(whole, "run"), json.loads((whole / "privacy.json").read_text(encoding="utf-8"))
    n = many_records().split()[0].table["patient_id"].nunique()
    assert plan["n_patients"] == n and plan["rate"] == 6 / n and plan["steps"] == 4
    accountant = opacus.accountants.RDPAccountant()
    accountant.history = [(plan["noise"], 6 / n, 4)]
    assert manifest["epsilon"] == pytest.approx(accountant.get_epsilon(delta=1e-5)) and manifest["epsilon"] <= 5
    assert manifest["delta"] == 1e-5
    assert "5 (delta 1e-05) for each training patient with all records" in manifest["privacy"]
    assert "void against who knows the noise's seed, 1" in manifest["privacy"]
    assert not (whole / LOG).exists(), "losses of training patients are not accounted for"


def test_a_run_in_pieces_gives_the_same_weights_and_counts_all_steps(whole, tmp_path):
    run = tmp_path / "run"
    for stop in (1, 3):
        train_private(TINY, PRIVACY, many_records(), run, progress=False, stop_after=stop)
        assert not (run / MANIFEST).exists()
    train_private(TINY, PRIVACY, many_records(), run, progress=False)
    assert weights(run) == weights(whole)
    assert read_manifest(run, "run")["epsilon"] == read_manifest(whole, "run")["epsilon"]
    before = (run / MANIFEST).read_bytes()
    train_private(TINY, PRIVACY, many_records(), run, progress=False)
    assert (run / MANIFEST).read_bytes() == before, "a finished run was touched"


@pytest.mark.parametrize("change", [{"epsilon": math.inf}, {"seed": None}, {"clip": 2.0}])
def test_a_run_goes_on_only_with_the_privacy_it_was_begun_with(tmp_path, change):
    train_private(TINY, PRIVACY, many_records(), tmp_path / "run", progress=False, stop_after=1)
    with pytest.raises(InputError, match=f"was begun with .*{next(iter(change))}.*by which its steps are counted"):
        train_private(TINY, replace(PRIVACY, **change), many_records(), tmp_path / "run", progress=False)
    longer = TINY.override({"training.steps": 8})
    with pytest.raises(InputError, match="choose another folder"):
        train_private(longer, PRIVACY, many_records(), tmp_path / "run", progress=False)


def test_a_damaged_checkpoint_is_no_fresh_start(tmp_path):
    train_private(TINY, PRIVACY, many_records(), tmp_path / "run", progress=False, stop_after=2)
    path = tmp_path / "run" / CHECKPOINT
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a whole safetensors file"):
        train_private(TINY, PRIVACY, many_records(), tmp_path / "run", progress=False)


def test_folders_of_ordinary_runs_are_refused(tmp_path):
    plain = TINY.override({"training.standardise": False})
    train(plain, many_records(), tmp_path / "run", progress=False, stop_after=1)
    with pytest.raises(InputError, match="choose another folder"):
        train_private(TINY, PRIVACY, many_records(), tmp_path / "run", progress=False)


def test_nothing_of_the_other_folds_or_of_patients_not_drawn_reaches_the_weights(whole, tmp_path):
    cohort = many_records()
    names = np.sort(cohort.split()[0].table["patient_id"].unique())
    drawn = draw_patients(len(names), 6 / len(names), randomness(1, 0)[0])
    absent_one = next(k for k in range(len(names)) if k not in drawn)
    assert len(drawn), "nobody was drawn"
    x = np.array(cohort.x)
    x[cohort.table["strat_fold"].isin([9, 10]).to_numpy()] += 5
    others = train_private(TINY, PRIVACY, replace(cohort, x=x), tmp_path / "others", progress=False)
    assert weights(others) == weights(whole)
    x[(cohort.table["patient_id"] == names[absent_one]).to_numpy()] *= 50
    states = []
    for name, signals in (("a", cohort.x), ("b", x)):
        run = train_private(TINY, PRIVACY, replace(cohort, x=signals), tmp_path / name, progress=False, stop_after=1)
        states.append((run / CHECKPOINT).read_bytes())
    assert states[0] == states[1], "statistics of a patient that was not drawn have leaked"


def test_without_a_seed_no_two_runs_are_alike(tmp_path):
    secret = replace(PRIVACY, seed=None)
    a, b = (train_private(TINY, secret, many_records(), tmp_path / name, progress=False) for name in "ab")
    assert weights(a) != weights(b)
    assert "seed" not in read_manifest(a, "run")["privacy"]
    assert json.loads((a / "privacy.json").read_text(encoding="utf-8"))["seed"] is None


@pytest.mark.parametrize(("changes", "words"), [({"network.wiener": 0.8}, "network.wiener=0.8 fits a filter"),
                                                ({"conditions.learn": False}, "conditions.learn=False"),
                                                ({"training.classes": "root"}, "training.classes='root'")])  # fmt: skip
def test_statistics_of_the_patients_are_refused(tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        train_private(TINY.override(changes), PRIVACY, many_records(), tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "config.json").exists()


def test_more_patients_a_step_than_there_are_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"privacy.patients=64 a step, but there are 12"):
        train_private(TINY, Privacy(), many_records(), tmp_path / "run", progress=False)


def test_a_public_start_brings_weights_and_statistics(tmp_path):
    config = TINY.override({"network.wiener": 0.8})
    public = train(config, tiny_cohort(), tmp_path / "public", progress=False)
    none = replace(PRIVACY, epsilon=math.inf)
    still = config.override({"training.learning_rate": 1e-8})
    run = train_private(still, none, many_records(), tmp_path / "run", progress=False, start_from=public)
    first, last = load_tensors(public / WEIGHTS), load_tensors(run / WEIGHTS)
    assert all(torch.allclose(first[name], last[name], atol=1e-6) for name in first)
    assert Generator.load(run).signals == Generator.load(public).signals
    manifest = read_manifest(run, "run")
    assert manifest["start_from"]["sha256"] and manifest["epsilon"] == "inf"
    assert manifest["privacy"].startswith("none: gradients were clipped")
    promised = train_private(still, PRIVACY, many_records(), tmp_path / "promised", progress=False, start_from=public)
    assert f"weights (sha256 {manifest['start_from']['sha256'][:12]}…)" in read_manifest(promised, "run")["privacy"]


def test_a_start_on_the_same_records_or_with_a_promise_of_its_own_is_refused(whole, tmp_path):
    plain = train(TINY, many_records(), tmp_path / "plain", progress=False)
    for origin, words in ((plain, "was trained on these same records"), (whole, r"is a private run \(epsilon 4\.9")):
        with pytest.raises(InputError, match=words):
            train_private(TINY, PRIVACY, many_records(), tmp_path / "run", progress=False, start_from=origin)
    assert not (tmp_path / "run").exists()
    many = train_private(TINY, replace(PRIVACY, delta=1e-2, epsilon=math.inf), many_records(), tmp_path / "inf",
                         progress=False, stop_after=1)  # fmt: skip
    assert not (many / MANIFEST).exists()
    with pytest.raises(InputError, match=r"privacy.delta=0.01 with 120 training patients"):
        train_private(TINY, replace(PRIVACY, delta=1e-2), tiny_cohort(150), tmp_path / "run", progress=False)


def test_the_statement_says_that_the_first_weights_are_taken_to_be_public():
    assert "first weights" not in statement(PRIVACY, 3.0)
    assert "Outside of it: the first weights (sha256 0123456789ab…), assumed to be of public records" in statement(
        PRIVACY, 3.0, "0123456789abcdef")  # fmt: skip


def test_what_was_promised_stands_on_the_card_of_what_was_made(tmp_path):
    cohort = replace(many_records(), x=np.tile(many_records().x, 5))  # ten seconds
    run = train_private(TINY, PRIVACY, cohort, tmp_path / "run", progress=False)
    samples = Generator.load(run).sample(cohort.table.head(2))
    assert samples.notes["epsilon"] == read_manifest(run, "run")["privacy"]
    save_ptbxl_layout(samples, tmp_path / "export")
    card = (tmp_path / "export" / "README.md").read_text(encoding="utf-8")
    assert "| epsilon | 5 (delta 1e-05) for each training patient" in card
    plain = train(TINY, cohort, tmp_path / "plain", progress=False)
    assert Generator.load(plain).sample(cohort.table.head(2)).notes["epsilon"] == "none: not differentially private"
    save_ptbxl_layout(replace(samples, notes={}), tmp_path / "unknown")
    assert "| epsilon | not stated |" in (tmp_path / "unknown" / "README.md").read_text(encoding="utf-8")
