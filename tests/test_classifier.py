"""The classifier of superclasses: it learns what is there, its files are honest, a seed makes it again."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from ecglib.errors import InputError
from ecglib.evaluation.classifier import CLASSES, N_FEATURES, Classifier, targets, train_classifier
from ecglib.signals import Cohort, load_cohort


@cache
def cohorts() -> tuple[Cohort, Cohort, Cohort]:
    return load_cohort("virtual", n=900, seed=21, fs=100).split()


@cache
def trained() -> Classifier:
    train, validation, _ = cohorts()
    return train_classifier(train, validation, epochs=8, progress=False)


def test_it_finds_superclasses_of_patients_it_never_saw():
    _, _, test = cohorts()
    truth, chance = targets(test), trained().probabilities(test)
    areas = [roc_auc_score(truth[:, k], chance[:, k]) for k in range(5) if 3 <= truth[:, k].sum() <= len(test) - 3]
    assert len(areas) >= 3 and np.mean(areas) > 0.7


def test_thresholds_and_areas_are_of_the_validation_fold():
    _, validation, _ = cohorts()
    truth, chance = targets(validation), trained().probabilities(validation)
    for k, name in enumerate(CLASSES):
        assert trained().auroc[name] == pytest.approx(roc_auc_score(truth[:, k], chance[:, k]))
        at = trained().thresholds[k]
        youden = [(chance[truth[:, k] == 1, k] >= t).mean() - (chance[truth[:, k] == 0, k] >= t).mean()
                  for t in (at, at * 0.8, at * 1.2)]  # fmt: skip
        assert youden[0] == max(youden)


def test_shapes_and_found_sets():
    _, _, test = cohorts()
    assert trained().features(test).shape == (len(test), N_FEATURES)
    assert np.abs(trained().features(test)).max() <= 1
    chance = trained().probabilities(test)
    assert chance.shape == (len(test), 5) and 0 <= chance.min() and chance.max() <= 1
    found = trained().found(test)
    assert found[0] == {name for name, on in zip(CLASSES, chance[0] >= trained().thresholds, strict=True) if on}


def test_a_record_does_not_depend_on_its_neighbours():
    _, _, test = cohorts()
    together, alone = trained().features(test), trained().features(test.select([5]))
    assert alone[0] == pytest.approx(together[5], abs=1e-5)


def test_the_digest_names_the_weights():
    train, validation, _ = cohorts()
    few = train.select(np.arange(80))
    one, two = (train_classifier(few, validation, epochs=1, seed=seed, progress=False) for seed in (0, 1))
    assert len(one.digest) == 64 and one.digest != two.digest
    assert one.digest == train_classifier(few, validation, epochs=1, seed=0, progress=False).digest


def test_the_same_seed_makes_the_same_classifier_and_leaves_torchs_generator_alone():
    train, validation, _ = cohorts()
    few = train.select(np.arange(80))
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = (train_classifier(few, validation, epochs=1, progress=False) for _ in range(2))
    assert torch.equal(before, torch.random.get_rng_state())
    assert np.array_equal(first.features(validation), second.features(validation))


class TestFiles:
    def test_saved_and_loaded_it_is_the_same(self, folder):
        _, _, test = cohorts()
        again = Classifier.load(trained().save(folder / "classifier"))
        assert np.array_equal(again.probabilities(test), trained().probabilities(test))
        assert again.thresholds.tolist() == trained().thresholds.tolist()

    def test_changed_weights_are_refused(self, tmp_path):
        trained().save(tmp_path)
        path = tmp_path / "classifier.safetensors"
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(bytes(data))
        with pytest.raises(InputError, match="not the file that its manifest names"):
            Classifier.load(tmp_path)

    def test_changed_thresholds_are_refused(self, tmp_path):
        trained().save(tmp_path)
        path = tmp_path / "classifier.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "thresholds": [0, 0, 0, 0, 0]}))
        with pytest.raises(InputError, match="not the file that its manifest names"):
            Classifier.load(tmp_path)

    def test_an_empty_folder_is_refused(self, tmp_path):
        with pytest.raises(InputError):
            Classifier.load(tmp_path)


def test_another_sampling_rate_is_refused():
    with pytest.raises(InputError, match="fs=200 Hz; the classifier was trained at 100 Hz"):
        trained().features(load_cohort("virtual", n=4, seed=1, fs=200))


def test_an_empty_validation_set_is_refused():
    train, validation, _ = cohorts()
    with pytest.raises(InputError, match="validation 0"):
        train_classifier(train, validation.select([]), progress=False)


def test_leads_are_read_by_name():
    test = cohorts()[2].select(range(4))
    right = trained().features(test)
    swapped = [*range(3), 5, 4, 3, *range(6, 12)]  # as MIMIC-IV-ECG has them
    mimic = replace(test, x=test.x[:, swapped], leads=tuple(test.leads[k] for k in swapped))
    assert np.array_equal(trained().features(mimic), right)
    with pytest.raises(InputError, match="are wanted"):
        trained().features(replace(test, x=test.x[:, :6], leads=test.leads[:6]))
    with pytest.raises(InputError, match="no record"):
        trained().features(test.select([]))
    with pytest.raises(InputError, match="epochs=0"):
        train_classifier(*cohorts()[:2], epochs=0)
