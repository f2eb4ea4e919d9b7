"""Conditions: groups that are disjoint and complete, bins as MIDT-ECG's, unknown said and not guessed."""

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib.diffusion import GROUPS, Conditions
from ecglib.errors import InputError
from ecglib.signals import STATEMENTS, in_group


def table(**columns) -> pd.DataFrame:
    n = len(next(iter(columns.values())))
    return pd.DataFrame({"ecg_id": range(n), "scp_codes": [{"NORM": 100.0, "SR": 0.0}] * n, **columns})


def test_the_three_statement_groups_share_out_all_71():
    diagnosis, form, rhythm = (in_group(name) for name in ("diagnosis", "form", "rhythm"))
    assert (len(diagnosis), len(form), len(rhythm)) == (40, 19, 12)
    assert sorted(diagnosis + form + rhythm) == sorted(STATEMENTS.index)
    assert {"NDT", "NST_", "DIG", "LNGQT"} <= set(form)


def test_statements_are_multi_hot_whatever_their_likelihood():
    codes = [{"NORM": 100.0, "SR": 0.0}, {"IMI": 50.0, "LVH": 100.0, "AFIB": 0.0}, {}]
    conditions = Conditions(("diagnosis", "rhythm"))
    encoded = conditions.encode(table(scp_codes=codes))
    names = [name for group in conditions.vocabulary.values() for name in group]
    present = [{names[k] for k in np.flatnonzero(row)} for row in encoded.numpy()]
    assert present == [{"NORM", "SR"}, {"IMI", "LVH", "AFIB"}, {"unknown"}]
    assert encoded[2].sum() == 2  # unknown in both groups


def test_no_form_statement_is_not_unknown():
    encoded = Conditions(("form",)).encode(table(age=[50.0]))
    assert encoded.sum() == 0


@pytest.mark.parametrize(
    ("group", "values", "places"),
    [
        ("age", [0, 11.9, 12, 16, 17, 33, 54, 73, 74, 90], [0, 0, 1, 1, 2, 2, 4, 4, 5, 5]),
        ("height", [149, 150, 178, 179, 200], [0, 1, 3, 4, 4]),
        ("weight", [49, 50, 110, 130], [0, 1, 4, 4]),
    ],
)
def test_the_first_threshold_above_the_value_wins(group, values, places):
    encoded = Conditions((group,)).encode(table(**{group: np.array(values, float)}))
    assert encoded.argmax(dim=1).tolist() == places
    assert torch.equal(encoded.sum(dim=1), torch.ones(len(values)))


def test_an_age_that_is_not_an_int_is_an_age():
    """The authors' code gives any age that is not an `int` a random bin."""
    ages = pd.Series([60, 60.0, np.float32(60), np.int64(60)], dtype=float)
    assert len(set(map(tuple, Conditions(("age",)).encode(table(age=ages)).tolist()))) == 1


def test_missing_values_and_columns_are_unknown():
    conditions = Conditions(("age", "sex", "rate", "bmi"))
    encoded = conditions.encode(table(age=[np.nan], sex=[np.nan]))
    assert torch.equal(encoded, conditions.unknown(1))


def test_the_rate_is_shared_between_its_two_nearest_knots():
    encoded = Conditions(("rate",)).encode(table(heart_rate=[67.0, 30.0, 250.0]))
    assert encoded[0, 3:5].tolist() == pytest.approx([0.3, 0.7])
    assert encoded[1, 0] == 1 and encoded[2, -2] == 1
    assert torch.allclose(encoded.sum(dim=1), torch.ones(3))


def test_bmi_follows_from_height_and_weight():
    encoded = Conditions(("bmi",)).encode(table(height=[200.0, 150.0, np.nan], weight=[70.0, 100.0, 80.0]))
    assert encoded.argmax(dim=1).tolist() == [0, 5, 6]


def test_every_group_has_as_many_names_as_entries():
    everything = table(age=[50.0, np.nan], sex=[1.0, np.nan], height=[170.0, 180.0], weight=[70.0, 80.0])
    for group in GROUPS:
        conditions = Conditions((group,))
        assert conditions.encode(everything).shape == (2, *conditions.sizes)
        assert conditions.vocabulary[group][-1] == "unknown"


def test_dropping_replaces_whole_groups_by_unknown():
    conditions = Conditions(("diagnosis", "age", "sex"))
    full = conditions.encode(table(age=[50.0] * 4000, sex=[0.0] * 4000))
    dropped = conditions.drop(full, 0.2, torch.Generator().manual_seed(0))
    unknown = conditions.unknown(1)[0]
    lost = []
    for start, size in zip(np.cumsum([0, *conditions.sizes[:-1]]), conditions.sizes, strict=True):
        part = slice(start, start + size)
        is_unknown = (dropped[:, part] == unknown[part]).all(dim=1)
        assert torch.equal(dropped[~is_unknown][:, part], full[~is_unknown][:, part])
        lost.append(is_unknown)
    share = torch.stack(lost).float()
    assert share.mean().item() == pytest.approx(1 - 0.8**2, abs=0.02)  # all, or this one
    assert share.prod(dim=0).mean().item() == pytest.approx(0.2 + 0.8 * 0.2**3, abs=0.02)
    assert torch.equal(conditions.drop(full, 0.0, torch.Generator()), full)


def test_wrong_groups_are_refused():
    with pytest.raises(InputError, match="did you mean rhythm"):
        Conditions(("rythm",))
    with pytest.raises(InputError, match="twice"):
        Conditions(("age", "age"))


def test_an_encoding_gives_back_its_rate():
    conditions = Conditions(("sex", "rate"))
    encoded = conditions.encode(table(heart_rate=[72.0, np.nan, 45.5], sex=[0.0, 1.0, 0.0]))
    assert conditions.rate(encoded).tolist() == pytest.approx([1.2, 0.0, 45.5 / 60])
