"""Ablations: the grid's errors, what is left to do, one real cell from training to table, and Make's targets."""

import runpy
import subprocess
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cohorts import random_cohort

from ecglib import ablations
from ecglib.ablations import BASELINE, KEY, Cell, collect, grid, named, pending, reductions, results, summary
from ecglib.config import Config
from ecglib.errors import InputError
from ecglib.runs import ROOT
from ecglib.signals import Cohort
from ecglib.variants import VARIANTS


def rows_of(*cells: Cell) -> pd.DataFrame:
    return pd.DataFrame([{"variant": c.variant, "cohort": c.cohort, "preset": c.preset, "seed": c.seed} for c in cells],
                        columns=KEY)  # fmt: skip


class TestGrid:
    def test_the_committed_one(self):
        cells = grid()
        assert {cell.variant for cell in cells} == set(VARIANTS)
        assert min(sum(c.variant == name and c.preset == "quick" for c in cells) for name in VARIANTS) >= 3

    @pytest.mark.parametrize(("line", "words"), [
        ("mel-non,virtual,quick,0", "did you mean mel-none"), ("mel-none,mars,quick,0", "cohort='mars'"),
        ("mel-none,virtual,quik,0", "quick"), ("mel-none,virtual,quick,x", "seeds='x'"),
        ("mel-none,virtual,quick,", "seeds=''"), ("mel-none,virtual,quick,0 0", "twice"),
    ])  # fmt: skip
    def test_a_wrong_line_is_named(self, tmp_path, line, words):
        path = tmp_path / "grid.csv"
        path.write_text(f"variant,cohort,preset,seeds\n{line}\n")
        with pytest.raises(InputError, match=words):
            grid(path)

    def test_a_missing_column(self, tmp_path):
        (tmp_path / "grid.csv").write_text("variant,cohort,preset\nmel-none,virtual,quick\n")
        with pytest.raises(InputError, match="seeds"):
            grid(tmp_path / "grid.csv")

    def test_the_baseline_differs_in_the_weight_of_the_mel_loss_only(self):
        weighted = Cell("mel-weighted").config
        assert Cell("mel-weighted").baseline.config == weighted.override({"mel.weight": 0.0})
        assert weighted.mel.weight > 0

    def test_a_mel_loss_on_sssd_ecg_is_compared_with_sssd_ecg(self):
        mel, sssd = Cell("sssd-mel-x0", seed=1), Cell("sssd-ecg", seed=1)
        assert mel.baseline == sssd and sssd.baseline == Cell(BASELINE, seed=1)
        assert sssd.config == mel.config.override(
            {f"mel.{name}": value for name, value in vars(sssd.config.mel).items()})  # fmt: skip
        assert pending([mel], rows_of()) == [Cell(BASELINE, seed=1), sssd, mel]

    @pytest.mark.parametrize(("short", "steps"), [("sssd-2x", 450), ("sssd-4x", 900)])
    def test_a_longer_training_is_compared_with_one_as_long(self, short, steps):
        mel = Cell(f"{short}-mel-x0")
        assert mel.baseline == Cell(short)
        assert mel.config.training.steps == mel.baseline.config.training.steps == steps

    def test_names(self):
        cell = Cell("mel-v6", "virtual", "quick", 2)
        assert named(cell.name) == cell and cell.baseline.variant == BASELINE
        with pytest.raises(InputError, match="did you mean"):
            named("virtual-quick-s2-mel-v7")


class TestPending:
    cells = (Cell(BASELINE), Cell("default"), Cell("default", seed=1))

    def test_what_has_a_row_is_done(self):
        assert pending(self.cells, rows_of(*self.cells)) == []
        assert pending(self.cells, rows_of()) == [Cell(BASELINE), Cell(BASELINE, seed=1), *self.cells[1:]]

    def test_a_baseline_is_needed_again_where_only_its_row_is_known(self):
        left = pending(self.cells, rows_of(self.cells[0], self.cells[2]))
        assert left == [Cell(BASELINE), Cell("default")]


@pytest.fixture(scope="module")
def small_world(tmp_path_factory):
    """Two real cells, trained for a few steps."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ECGLIB_WORK", str(tmp_path_factory.mktemp("work")))
    tiny = {"network.channels": 8, "network.blocks": 1, "network.state": 8, "training.steps": 6, "cohort.n": 160,
            "cohort.n_evaluate": 16}  # fmt: skip
    before = Config.preset
    patch.setattr(Config, "preset", staticmethod(lambda name: before(name).override(tiny if name == "smoke" else {})))
    cells = Cell(BASELINE, "virtual", "smoke"), Cell("guidance-2", "virtual", "smoke")
    with pytest.raises(InputError, match="run the cell virtual-smoke-s0-mel-none first"):
        ablations.run(cells[1], progress=False)
    tables = [ablations.run(cell, progress=False) for cell in cells]
    yield cells, tables
    patch.undo()


class TestRun:
    def test_rows_say_what_they_are(self, small_world):
        (base, other), (first, second) = small_world
        for cell, table in ((base, first), (other, second)):
            assert table[KEY].drop_duplicates().to_numpy().tolist() == [[cell.variant, "virtual", "smoke", 0]]
            assert {"value", "ci_low", "ci_high", "floor", "n", "steps", "seconds", "commit", "torch"} <= set(table)
        assert table.loc[table["value"].isna(), "reason"].str.startswith("not computed because").all()

    def test_differences_are_of_the_values(self, small_world):
        first, second = (table.set_index(["metric", "key"])["value"] for table in small_world[1])
        found = small_world[1][1].set_index(["metric", "key"])["difference"].dropna()
        assert len(found) > 5
        assert found.to_numpy() == pytest.approx((second - first)[found.index].to_numpy(), abs=1e-9)
        assert found.abs().max() > 0

    def test_sampling_alone_does_not_train_again(self, small_world):
        runs = ablations.work_folder() / "ablations" / "runs"
        assert len(list(runs.iterdir())) == 2  # the baseline's, and the preset's, which guidance-2 samples from

    def test_samples_of_an_edited_variant_are_drawn_anew(self, small_world, monkeypatch):
        cell = small_world[0][1]
        before = Cohort.load(cell.folder / "samples").x[:]
        monkeypatch.setitem(VARIANTS, "guidance-2", {"sampling.guidance": 4.0})
        ablations.run(Cell("guidance-2", "virtual", "smoke"), progress=False)
        edited = Cohort.load(cell.folder / "samples").x[:]
        assert (edited != before).any(), "they were of the old guidance"
        monkeypatch.undo()
        ablations.run(Cell("guidance-2", "virtual", "smoke"), progress=False)
        np.testing.assert_array_equal(Cohort.load(cell.folder / "samples").x[:], before)

    def test_collect_keeps_what_stands(self, small_world, tmp_path):
        path = tmp_path / "results.csv"
        table = collect(path)
        assert set(table["variant"]) == {BASELINE, "guidance-2"}
        edited = path.read_text().replace("virtual,smoke,0", "virtual,smoke,5", 1)
        path.write_text(edited)
        again = collect(path)
        assert (again["seed"] == 5).sum() == 1 and len(again) == len(table) + 1
        assert pending(list(small_world[0]), results(path)) == []


def test_reductions_by_hand():
    rows = pd.DataFrame([(BASELINE, 0, 0.11, 0.02, np.nan), (BASELINE, 1, 0.20, 0.02, np.nan),
                         ("default", 0, 0.06, 0.02, -0.04), ("default", 1, 0.10, 0.02, -0.10),
                         ("labels", 1, 0.30, 0.02, 0.10)],
                        columns=["variant", "seed", "value", "floor", "difference"])  # fmt: skip
    rows = rows.assign(metric="ilce", key="mean")
    found = reductions(rows, "ilce", "mean")
    assert found.loc["default", "raw"] == pytest.approx((-40 - 50) / 2), "the baseline of its own machine had 0.10"
    assert found.loc["default", ["raw_low", "raw_high"]].tolist() == pytest.approx([-50, -40])
    assert found.loc["default", "excess"] == pytest.approx((100 * (0.04 / 0.08 - 1) + 100 * (0.08 / 0.18 - 1)) / 2)
    assert found.loc["default", "possible"] == pytest.approx((-80 - 90) / 2)
    assert found.loc["labels", "seeds"] == 1 and BASELINE not in found.index
    at_floor = reductions(rows.assign(floor=rows["floor"].where(rows["seed"] == 0, 0.19)), "ilce", "mean")
    assert np.isnan(at_floor.loc["default", ["excess", "excess_low"]].to_numpy(float)).all(), "seed 1 is at its floor"
    assert at_floor.loc["default", "raw"] == found.loc["default", "raw"]
    assert reductions(rows, "ilce", "max").empty


def test_a_summary_by_hand():
    rows = pd.DataFrame([("default", 0, 0.1), ("default", 1, 0.3), ("labels", 0, 0.5), ("labels", 1, np.nan)],
                        columns=["variant", "seed", "value"])  # fmt: skip
    rows = rows.assign(metric="ilce", key="mean", floor=0.05)
    table = summary(rows, {"ilce mean": "ILCE", "ilce max": "largest"})
    assert table["ILCE"].to_dict() == {"default": "0.200 ± 0.141", "labels": "0.500", "floor": "0.050"}
    assert table["seeds"].tolist() == ["2", "1", ""] and "largest" not in table
    assert summary(rows, {"ilce max": "largest"}).empty


def test_make_runs_baselines_first_and_each_cell_once():
    command = ["make", "--no-print-directory", "-n", "CHECKED=1", "ablations-checked"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    planned = [line.split("-p cell ")[1] for line in done.stdout.splitlines() if "-p cell " in line]
    left = [cell.name for cell in pending(grid(), results())]
    assert sorted(planned) == sorted(left) and done.stdout.splitlines()[-1].endswith("ablations --collect")
    for ending in ((f"-{BASELINE}",), tuple(f"-{name}" for name in ablations.BASELINES.values())):
        first = [name for name in left if name.endswith(ending)]
        assert set(planned[: len(first)]) == set(first), f"what others are compared with ({ending}) must come first"
        planned = planned[len(first) :]


def test_what_a_variant_changes_in_words():
    assert ablations.told("default") == "the preset itself"
    assert ablations.told("guidance-2") == "sampling.guidance = 2.0"
    assert ablations.told("plain-mel-weighted") == "as plain-none; mel.weight = 0.02"
    assert ablations.told("sssd-ecg").startswith("network.patch = 1; ")


def test_real_records_are_one_cohort_split_by_patient(shared):
    prepare = runpy.run_path(str(ROOT / "tools" / "real_records.py"))["real_records"]
    cohort = prepare(shared / "data")
    parts = cohort.split()  # proves that they share no patient
    assert [len(part) for part in parts] == [156, 26, 75] and cohort.table["patient_id"].is_unique
    ludb = cohort.table["patient_id"].str.startswith("ludb")
    assert ludb.sum() == 200 and all((part.table["patient_id"].str.startswith("challenge")).any() for part in parts)
    left_out = sum(len(each) for each in cohort.notes["left_out"]["challenge-2021"].values())
    assert len(cohort) + left_out == 262 and np.isfinite(cohort.x[:]).all()


def test_beats_and_wander_are_told_apart_at_half_a_hertz():
    part = runpy.run_path(str(ROOT / "tools" / "correlation_bands.py"))["part"]
    cohort, time = random_cohort(3, n_times=1000), np.arange(1000) / 100
    wander, beats = (np.sin(2 * np.pi * hertz * time) for hertz in (0.2, 2.0))
    cohort = replace(cohort, x=np.broadcast_to((wander + beats).astype(np.float32), cohort.x.shape).copy())
    middle = slice(200, -200)  # away from the ends, which no filter knows how to go on from
    for kind, kept in ((None, wander + beats), ("lowpass", wander), ("highpass", beats)):
        found = part(cohort, kind).x[:, :, middle]
        assert np.abs(found - kept[middle]).max() < 0.05, kind
