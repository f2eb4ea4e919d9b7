"""make blinded and make unblind: wrong variables end at once; from a study to the analysis by the commands alone."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from cohorts import random_cohort
from test_blinded_kit import posing

from ecglib.__main__ import main
from ecglib.errors import InputError
from ecglib.evaluation.blinded import SimulatedReader, read_key, write_form
from ecglib.preflight import SHEETS, check_forms, check_kit
from ecglib.study import ROOT, Study


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """An empty work folder, in one whose name has a blank."""
    monkeypatch.setenv("ECGLIB_WORK", str(tmp_path / "my work"))
    for name in ("FORMS", "KEY", "N", "DATA", "COHORT", "PRESET", "SEED"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "my work"


def test_right_variables(work):
    assert check_kit("quick", "virtual", "", "0", "") == SHEETS == 100
    assert check_kit("quick", "virtual", "", "0", "20") == 20


@pytest.mark.parametrize(("n", "words"), [
    ("7", "N=7; expected an even number"), ("2", "N='2'; expected a whole number from 4"), ("0", "N='0'"),
    ("-4", "N='-4'"), ("ten", "N='ten'"), ("1e2", "N='1e2'"), ("99999999999", "N="),
])  # fmt: skip
def test_wrong_numbers(n, words):
    with pytest.raises(InputError, match=words):
        check_kit("quick", "virtual", "", "0", n)


def test_no_more_ecgs_than_the_preset_makes():
    assert check_kit("smoke", "virtual", "", "0", "64") == 64
    with pytest.raises(InputError, match=r"N=66 needs 33 synthetic ECGs, but PRESET=smoke makes 32; .*at most 64"):
        check_kit("smoke", "virtual", "", "0", "66")


def test_a_kit_is_what_was_handed_out_or_its_key(work):
    folder = work / "virtual-quick-s0" / "blinded"
    (folder / "analysis").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no kit, but results of another one's forms"):
        check_kit("quick", "virtual", "", "0", "")
    (folder / "analysis").rmdir()
    assert check_kit("quick", "virtual", "", "0", "") == SHEETS, "an empty folder"
    for part in ("hand-out", "key"):
        (folder / part).mkdir()
        with pytest.raises(InputError, match="readers may have in hand"):
            check_kit("quick", "virtual", "", "0", "")
        (folder / part).rmdir()


@pytest.mark.parametrize(("study", "words"), [
    (Study(), "make unblind"), (Study("ludb", "small", 1), "make unblind COHORT=ludb PRESET=small SEED=1"),
])  # fmt: skip
def test_a_study_says_how_make_is_called_for_it(study, words):
    assert study.make("unblind") == words


def test_wrong_names_are_those_of_make_book():
    with pytest.raises(InputError, match="PRESET='quik'"):
        check_kit("quik", "virtual", "", "0", "")
    with pytest.raises(InputError, match="COHORT='ludbb'"):
        check_forms("quick", "ludbb", "0", "x", "")
    with pytest.raises(InputError, match="SEED='x'"):
        check_forms("quick", "virtual", "x", "x", "")


def test_forms_and_keys_that_are_not_there(tmp_path):
    for forms in (str(tmp_path / "none"), str(tmp_path)):
        with pytest.raises(InputError, match=r"is no folder with \*.csv in it"):
            check_forms("quick", "virtual", "0", forms, "")
    (tmp_path / "answers.csv").touch()
    with pytest.raises(InputError, match=r"KEY: .*does not exist"):
        check_forms("quick", "virtual", "0", str(tmp_path), "")
    (tmp_path / "key.json").touch()
    assert check_forms("quick", "virtual", "0", str(tmp_path), str(tmp_path / "key.json"))[1] == tmp_path / "key.json"


def test_checks_need_nothing_but_the_standard_library(tmp_path):
    """Within two seconds, by a Python that sees no package; the quickest of three, since the machine may be busy."""
    for words, expected in ((["blinded", "--n", "7"], "even number"), (["unblind"], "FORMS is empty")):
        best = float("inf")
        for _ in range(3):
            begin = time.monotonic()
            done = subprocess.run([sys.executable, "-S", "-m", "ecglib", *words, "--check"], cwd=ROOT, text=True,
                                  capture_output=True, env=os.environ | {"ECGLIB_WORK": str(tmp_path)})  # fmt: skip
            best = min(best, time.monotonic() - begin)
            assert done.returncode == 2 and expected in done.stderr
            if best < 2:
                break
        assert best < 2


def test_from_a_study_to_the_analysis(work, tmp_path, capsys):
    real = random_cohort(60, n_times=1000, strat_fold=np.repeat([1, 9, 10], 20))
    study = work / "virtual-smoke-s0"
    real.save(study / "cohort")
    test = real.folds(10)
    samples = posing(random_cohort(20, n_times=1000, seed=1), test)
    replace(samples, source="synthetic").save(study / "samples")
    words = ["--preset", "smoke"]
    assert main(["blinded", *words, "--n", "12"]) == 0
    assert "14 sheets of 12 ECGs" in (said := capsys.readouterr().out) and "to practise with" in said
    assert "`make unblind PRESET=smoke FORMS=<folder>`" in said, "a kit of another study has another key"
    assert main(["blinded", *words, "--n", "12"]) == 2, "a kit is not replaced"
    assert "readers may have in hand" in capsys.readouterr().err
    key = read_key(study / "blinded" / "key" / "key.json")
    assert set(key.sheets["ecg_id"][key.sheets["arm"] == "real"]) <= set(test.table["ecg_id"]), "unseen records only"
    answers = SimulatedReader(2.0).read(key.sheets, 0, 0)
    write_form(tmp_path / "sent in" / "a.csv", key.seal, "A", answers.iloc[:-1])
    assert main(["unblind", *words, "--forms", str(tmp_path / "sent in")]) == 2
    assert "is open: 1 of 14" in capsys.readouterr().err and not (study / "blinded" / "analysis").exists()
    write_form(tmp_path / "sent in" / "a.csv", key.seal, "A", answers)
    assert main(["unblind", *words, "--forms", str(tmp_path / "sent in")]) == 0
    table = pd.read_csv(study / "blinded" / "analysis" / "analysis.csv").set_index(["reader", "quantity"])
    right = (answers["answer"] == key.sheets["arm"])[key.sheets["repeat_of"] == ""]
    assert table.loc[("A", "accuracy"), "value"] == pytest.approx(right.mean())


def test_without_samples_the_command_that_makes_them_is_named(work, capsys):
    random_cohort(60, n_times=1000, strat_fold=np.repeat([1, 9, 10], 20)).save(work / "virtual-smoke-s0" / "cohort")
    assert main(["blinded", "--preset", "smoke", "--n", "4"]) == 2
    assert "run `make book PRESET=smoke`" in capsys.readouterr().err
    assert not (work / "virtual-smoke-s0" / "blinded").exists()
