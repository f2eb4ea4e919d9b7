"""Training: resumable to the bit, learns, and loses nothing when something goes wrong."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib.config import Config
from ecglib.diffusion import Generator, read_log, train
from ecglib.diffusion.batches import Batches, describe_signals
from ecglib.diffusion.checkpoint import CHECKPOINT, LOG, LOG_COLUMNS, open_log
from ecglib.diffusion.model import WEIGHTS, evaluate, load_tensors, network_of
from ecglib.diffusion.process import Schedule, loss_weight
from ecglib.diffusion.training import learning_rate
from ecglib.errors import InputError
from ecglib.runs import MANIFEST, locked, read_manifest, sha256_of
from ecglib.signals import LEADS_8, LEADS_12, Cohort, to_twelve_leads

TINY = Config.preset("smoke").override(
    {
        "network.channels": 8, "network.blocks": 1, "network.state": 8, "training.steps": 12, "training.batch": 4,
        "training.validate_every": 4, "training.save_every": 4, "diffusion.timesteps": 20, "conditions.widths": (4,),
        "mel.windows": (64,), "mel.n_mels": (16,), "sampling.steps": 5,
    }
)  # fmt: skip


def tiny_cohort(n: int = 40, fs: int = 100, n_times: int = 200) -> Cohort:
    """Records with a beat a second, whose height tells the sex: something to learn."""
    rng = np.random.default_rng(0)
    sex = np.arange(n) % 2
    beats = np.exp(-(((np.arange(n_times) % 100 - 50) / 3.0) ** 2))
    x = (1 + sex)[:, None, None] * rng.normal(1, 0.1, (n, 8, 1)) * beats + rng.normal(0, 0.02, (n, 8, n_times))
    table = pd.DataFrame({"ecg_id": np.arange(1, n + 1), "patient_id": np.arange(1, n + 1), "sex": sex,
                          "age": 50.0, "scp_codes": [{"NORM": 100.0, "SR": 0.0}] * n,
                          "strat_fold": np.arange(n) % 10 + 1})  # fmt: skip
    return Cohort(to_twelve_leads(x).astype(np.float32), fs, LEADS_12, table, source="tiny")


def files_of(run) -> dict[str, object]:
    """What two runs must have in common: all bytes, but for the times in the log."""
    files: dict[str, object] = {name: (run / name).read_bytes() for name in (CHECKPOINT, WEIGHTS, "config.json")}
    return files | {LOG: [list(row.values())[:-2] for row in open_log(run)]}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    train(TINY, tiny_cohort(), run, progress=False)
    return run


EVERYTHING = {"training.classes": "root", "training.precision": "bf16", "training.sheet_every": 5,
              "training.save_every": 5, "diffusion.draw": "logit-normal", "diffusion.weighting": "min-snr"}  # fmt: skip


@pytest.mark.parametrize("changes", [{}, EVERYTHING])
def test_a_run_taken_up_again_equals_one_that_was_not_interrupted_bit_for_bit(tmp_path, changes):
    config = TINY.override(changes)
    train(config, tiny_cohort(), tmp_path / "whole", progress=False)
    for stop in (3, 4, 9, None):
        train(config, tiny_cohort(), tmp_path / "run", progress=False, stop_after=stop)
        assert (tmp_path / "run" / MANIFEST).exists() is (stop is None)
    assert files_of(tmp_path / "run") == files_of(tmp_path / "whole")


def test_a_finished_run_returns_at_once_and_changes_nothing(whole_run):
    before = files_of(whole_run), (whole_run / MANIFEST).read_bytes()
    train(TINY, tiny_cohort(), whole_run, progress=False)
    assert before == (files_of(whole_run), (whole_run / MANIFEST).read_bytes())


def test_it_learns_and_the_best_average_is_kept(tmp_path):
    config = TINY.override({"training.steps": 200, "training.validate_every": 20, "training.learning_rate": 5e-3})
    run = train(config, tiny_cohort(), tmp_path / "run", progress=False)
    validation = [row["validation"] for row in read_log(run)]
    assert min(validation) < 0.6 * validation[0]
    kept = load_tensors(run / "model.safetensors")
    average = load_tensors(run / CHECKPOINT)
    is_last = all(torch.equal(kept[name], average[f"average.{name}"]) for name in kept)
    assert is_last == (int(np.argmin(validation)) == len(validation) - 1)


def test_every_embedding_is_trained_saved_and_loaded(whole_run):
    """The authors' code keeps them in a plain list, so they are neither trained nor saved."""
    from ecglib.diffusion import network_of

    fresh, loaded = network_of(TINY, 8), Generator.load(whole_run).network
    assert len(fresh.embeddings) == len(TINY.conditions.groups)
    for before, after in zip(fresh.embeddings, loaded.embeddings, strict=True):
        assert not torch.equal(before.weight, after.weight)


def test_embeddings_that_do_not_learn_stay_as_they_were(tmp_path):
    config = TINY.override({"conditions.learn": False, "training.optimiser": "adamw", "training.weight_decay": 0.1})
    train(config, tiny_cohort(), tmp_path / "run", progress=False, stop_after=6)
    train(config, tiny_cohort(), tmp_path / "run", progress=False)
    fresh, kept = network_of(config, 8, 200), Generator.load(tmp_path / "run").network
    for before, after in zip(fresh.embeddings, kept.embeddings, strict=True):
        assert torch.equal(before.weight, after.weight)
    assert not torch.equal(fresh.enter.weight, kept.enter.weight)


def test_without_standardising_the_model_works_in_millivolts(tmp_path):
    config = TINY.override({"training.standardise": False, "training.steps": 1})
    signals = Generator.load(train(config, tiny_cohort(), tmp_path / "run", progress=False)).signals
    assert signals.mean == (0.0,) * 8 and signals.scale == (1.0,) * 8 and signals.leads == LEADS_8


def test_another_configuration_or_cohort_in_the_folder_is_refused(whole_run):
    with pytest.raises(InputError, match="holds a run of config"):
        train(TINY.override({"training.steps": 13}), tiny_cohort(), whole_run, progress=False)
    with pytest.raises(InputError, match="other signals"):
        train(TINY, tiny_cohort(n_times=400), whole_run, progress=False)


def test_other_records_are_refused_also_where_mean_and_scale_are_the_same(tmp_path):
    config, cohort = TINY.override({"training.standardise": False}), tiny_cohort()
    run = train(config, cohort, tmp_path / "run", stop_after=3, progress=False)
    louder = replace(cohort, x=cohort.x * np.float32(1.5))
    older = replace(cohort, table=cohort.table.assign(age=51.0))
    others = replace(cohort, table=cohort.table.assign(scp_codes=[{"NORM": 100.0, "AFIB": 0.0}] * len(cohort)))
    beats = pd.DataFrame({"ecg_id": cohort.table["ecg_id"], "r": 0.5})
    for other in (louder, older, others, replace(cohort, waves=beats)):
        with pytest.raises(InputError, match="was trained on other records"):
            train(config, other, run, progress=False)
    cohort.save(tmp_path / "cohort")  # rounded to µV: the same records
    train(config, Cohort.load(tmp_path / "cohort"), run, progress=False)


@pytest.mark.parametrize("stop_after", [2.5, math.nan, "a", -1, True])
def test_no_number_of_steps_to_stop_after_is_refused(stop_after, tmp_path):
    with pytest.raises(InputError, match=r"stop_after=.*expected a whole number from 0"):
        train(TINY, tiny_cohort(), tmp_path / "run", progress=False, stop_after=stop_after)
    assert not (tmp_path / "run").exists()


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with locked(tmp_path / "run"), pytest.raises(InputError, match="in use by another run"):
        train(TINY, tiny_cohort(), tmp_path / "run", progress=False)


def test_a_loss_that_becomes_infinite_stops_and_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    run = tmp_path / "run"
    train(TINY, tiny_cohort(), run, progress=False, stop_after=4)
    good = files_of(run)
    with monkeypatch.context() as patch:
        huge = lambda *args, **keywords: 1e25 * evaluate(*args, **keywords)  # noqa: E731  its square overflows
        patch.setattr("ecglib.diffusion.losses.evaluate", huge)
        with pytest.raises(InputError, match=r"the loss became (nan|inf) at step 5"):
            train(TINY, tiny_cohort(), run, progress=False)
    assert files_of(run) == good and not (run / MANIFEST).exists()
    train(TINY, tiny_cohort(), run, progress=False)
    assert (run / MANIFEST).exists()


def test_a_gpu_asked_for_and_absent_is_refused(tmp_path):
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(InputError, match="torch sees no GPU"):
        train(TINY, tiny_cohort(), tmp_path / "run", device="cuda", progress=False)


def test_a_cohort_that_does_not_fit_is_refused(tmp_path):
    cohort = tiny_cohort()
    with pytest.raises(InputError, match=r"cohort\.fs is 100"):
        train(TINY, tiny_cohort(fs=500), tmp_path / "a", progress=False)
    with pytest.raises(InputError, match=r"no multiple of network\.patch"):
        train(TINY, tiny_cohort(n_times=201), tmp_path / "b", progress=False)
    with pytest.raises(InputError, match=r"no record is in fold 9 \(validation\)"):
        train(TINY, cohort.folds(1, 2, 10), tmp_path / "c", progress=False)


def test_learning_rate_warms_up_and_falls():
    config = Config.preset("quick")
    rates = [learning_rate(step, config) for step in range(config.training.steps)]
    assert rates[0] < rates[50] < max(rates) <= config.training.learning_rate
    assert rates[-1] == pytest.approx(0.02 * config.training.learning_rate, rel=0.01)
    paper = Config.preset("paper")
    assert {learning_rate(step, paper) for step in (0, 10, 99_999)} == {2e-4}


def test_the_log_says_how_it_goes_and_how_long_it_takes(whole_run):
    rows = read_log(whole_run)
    assert [row["step"] for row in rows] == [4, 8, 12] and all(tuple(row) == LOG_COLUMNS for row in rows)
    for row in rows:
        parts = row["mse"] + TINY.mel.weight * row["mel"] + row["rhythm"]
        assert row["train"] == pytest.approx(parts, rel=1e-5)
        assert row["gradient"] > 0 and row["seconds_per_step"] > 0
        left = (TINY.training.steps - row["step"]) * row["seconds_per_step"] / 60
        assert row["minutes_left"] == pytest.approx(left, abs=0.06)


def test_a_gradient_that_becomes_infinite_stops_before_it_is_saved(tmp_path, monkeypatch):
    """Its loss is still finite: what would be saved after that step could never go on."""
    run = tmp_path / "run"
    train(TINY, tiny_cohort(), run, progress=False, stop_after=4)
    good = files_of(run)

    def overflowing(*args, **keywords):
        output = evaluate(*args, **keywords)
        return output.register_hook(lambda gradient: gradient * math.inf) and output if output.requires_grad else output

    monkeypatch.setattr("ecglib.diffusion.losses.evaluate", overflowing)
    with pytest.raises(InputError, match=r"the gradient became (nan|inf) at step 5"):
        train(TINY, tiny_cohort(), run, progress=False, stop_after=5)
    assert files_of(run) == good


def test_each_step_weighs_as_the_configuration_says(tmp_path):
    """The logged loss is the weighted mean of the records' squared errors; an untrained network answers 0."""
    config = TINY.override({"diffusion.weighting": "min-snr", "training.steps": 1, "mel.weight": 0.0,
                            "network.wiener": 0.0})  # fmt: skip
    cohort = tiny_cohort()
    (row,) = read_log(train(config, cohort, tmp_path / "run", progress=False))
    teach, schedule = cohort.split()[0], Schedule.named(config.diffusion.schedule, config.diffusion.timesteps)
    batch = Batches(config, describe_signals(config, teach), schedule, teach).of_step(0)
    errors = [float(w * x.square().mean()) for w, x in zip(batch.weight, batch.x0, strict=True)]
    assert batch.weight.tolist() == pytest.approx(loss_weight(config.diffusion, schedule, batch.t).tolist())
    assert len(set(batch.weight.tolist())) > 1
    assert row["mse"] == pytest.approx(np.mean(errors), rel=1e-5)


def test_the_mel_loss_compares_what_the_configuration_names(tmp_path):
    first = [read_log(train(TINY.override({"training.steps": 1, "mel.estimate": name}), tiny_cohort(), tmp_path / name,
                            progress=False))[0] for name in ("x0", "posterior")]  # fmt: skip
    assert first[0]["mse"] == first[1]["mse"] and first[0]["mel"] != first[1]["mel"]


def test_bf16_changes_little_and_keeps_weights_in_float32(whole_run, tmp_path):
    run = train(TINY.override({"training.precision": "bf16"}), tiny_cohort(), tmp_path / "run", progress=False)
    full, half = load_tensors(whole_run / CHECKPOINT), load_tensors(run / CHECKPOINT)
    assert {value.dtype for value in half.values()} == {torch.float32, torch.float64}
    assert not torch.equal(full["network.leave.weight"], half["network.leave.weight"])
    for name, value in full.items():
        if name.startswith("network."):
            assert float((half[name] - value).abs().max()) < 0.02, name
    losses = [[row["train"] for row in read_log(each)] for each in (whole_run, run)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)


def test_sheets_are_drawn_while_it_trains_and_change_nothing(whole_run, tmp_path):
    run = train(TINY.override({"training.sheet_every": 5}), tiny_cohort(), tmp_path / "run", progress=False)
    sheets = sorted((run / "sheets").iterdir())
    assert [path.name for path in sheets] == ["step-000005.png", "step-000010.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in sheets)
    assert sheets[0].read_bytes() != sheets[1].read_bytes()
    assert {**files_of(run), "config.json": b""} == {**files_of(whole_run), "config.json": b""}
    assert not (whole_run / "sheets").exists()


def test_a_run_starts_from_the_kept_weights_of_another(whole_run, tmp_path):
    """As in healthy first, then all: another cohort, another scale, the same network."""
    cohort = tiny_cohort(n=60)
    config = TINY.override({"training.steps": 3, "training.learning_rate": 1e-8, "training.validate_every": 3})
    run = train(config, replace(cohort, x=2 * cohort.x), tmp_path / "run", progress=False, start_from=whole_run)
    old, new = (load_tensors(each / "model.safetensors") for each in (whole_run, run))
    assert all(torch.allclose(old[name], new[name], atol=1e-6) for name in old)
    assert Generator.load(run).signals == Generator.load(whole_run).signals
    assert read_manifest(run, "run")["start_from"] == {"config": TINY.id, "sha256": sha256_of(whole_run / WEIGHTS)}
    assert read_manifest(whole_run, "run")["start_from"] is None


def test_it_goes_on_only_from_what_it_started_from(whole_run, tmp_path):
    config, run = TINY.override({"training.steps": 8}), tmp_path / "run"
    train(config, tiny_cohort(), run, progress=False, start_from=whole_run, stop_after=2)
    with pytest.raises(InputError, match="give the start_from that it had"):
        train(config, tiny_cohort(), run, progress=False)
    train(config, tiny_cohort(), run, progress=False, start_from=whole_run)
    whole = train(config, tiny_cohort(), tmp_path / "whole", progress=False, start_from=whole_run)
    assert files_of(run) == files_of(whole)


@pytest.mark.parametrize(("changes", "words"), [
    ({"network.channels": 16}, "has network"), ({"network.wiener": 0.0}, "has network"),
    ({"conditions.groups": ("age", "sex", "rate")}, "has conditions.groups"), ({"conditions.widths": (8,)}, "widths"),
])  # fmt: skip
def test_a_start_from_another_network_is_refused(whole_run, tmp_path, changes, words):
    with pytest.raises(InputError, match=f"start_from.*{words}"):
        train(TINY.override(changes), tiny_cohort(), tmp_path / "run", progress=False, start_from=whole_run)
    assert not (tmp_path / "run").exists()


def test_a_start_from_an_unfinished_run_or_other_signals_is_refused(whole_run, tmp_path):
    train(TINY, tiny_cohort(), tmp_path / "half", progress=False, stop_after=4)
    with pytest.raises(InputError, match="did not finish"):
        train(TINY, tiny_cohort(), tmp_path / "run", progress=False, start_from=tmp_path / "half")
    with pytest.raises(InputError, match=r"start_from.*has signals"):
        train(TINY, tiny_cohort(n_times=400), tmp_path / "run", progress=False, start_from=whole_run)


def test_a_validation_loss_that_is_not_a_number_stops_it(tmp_path):
    cohort = tiny_cohort()
    x = cohort.x.copy()
    x[cohort.table["strat_fold"] == 9] *= np.float32(1e25)
    with pytest.raises(InputError, match=r"the validation became (nan|inf) at step 4"):
        train(TINY, replace(cohort, x=x), tmp_path / "run", progress=False)


def test_a_lead_without_signal_is_named():
    cohort = tiny_cohort()
    x = np.array(cohort.x[:])
    x[:, LEADS_12.index("V3")] = 0.25
    with pytest.raises(InputError, match="lead V3 is flat in all 40"):
        describe_signals(Config.preset("smoke"), replace(cohort, x=x))
