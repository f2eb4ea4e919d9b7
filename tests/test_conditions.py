"""Conditions: groups that are disjoint and complete, bins as MIDT-ECG's, unknown said and not guessed."""

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib.config import Config
from ecglib.diffusion import GROUPS, Conditions, Generator, SignalInfo, network_of
from ecglib.diffusion.conditions import BINS
from ecglib.diffusion.model import load_tensors, load_weights, save_tensors
from ecglib.errors import InputError
from ecglib.signals import LEADS_8, STATEMENTS, in_group, load_cohort, save_ptbxl_layout
from ecglib.variants import variant


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


def first_threshold_above(value: float, thresholds: tuple[float, ...]) -> int:
    """The authors' rule, slowly: the first threshold above the value wins; none: the last bin."""
    for place, threshold in enumerate(thresholds):
        if threshold > value:
            return place
    return len(thresholds)


AUTHORS_BINS = {"age": (6, "12 17 34 54 74"), "weight": (5, "50 70 90 110"), "height": (5, "150 159 169 179"),
                "bmi": (6, "18.5 25 30 35 40"), "heart_rate": (6, "60 70 80 90 100")}  # fmt: skip


@pytest.mark.parametrize("group", AUTHORS_BINS)
def test_bins_are_the_authors_and_the_first_threshold_above_the_value_wins(group):
    n_bins, written = AUTHORS_BINS[group]
    thresholds = tuple(float(edge) for edge in written.split())
    values = np.array([edge + step for edge in thresholds for step in (-5, -0.01, 0, 0.01, 5)])
    if group == "bmi":  # follows from height and weight; a height of 1 m leaves the value itself, without rounding
        encoded = Conditions((group,)).encode(table(height=np.full(len(values), 100.0), weight=values))
    else:
        encoded = Conditions((group,)).encode(table(**{group: values}))
    assert BINS[group] == thresholds and encoded.shape[1] == n_bins + 1  # and unknown
    assert encoded.argmax(dim=1).tolist() == [first_threshold_above(value, thresholds) for value in values]
    assert torch.equal(encoded.sum(dim=1), torch.ones(len(values)))


@pytest.mark.parametrize(
    "ages",
    [[61, 17], [61.0, 17.0], np.array([61, 17], np.int64), np.array([61, 17], np.float32), ["61", "17"],
     pd.array([61, 17], "Int64"), np.array([61, 17], object)],
)  # fmt: skip
def test_an_age_is_an_age_whatever_its_type(ages):
    """The authors' code gives any age that is not an `int` a random bin."""
    encoded = Conditions(("age",)).encode(table(age=ages))
    assert encoded.argmax(dim=1).tolist() == [4, 2]


@pytest.mark.parametrize("missing", [np.nan, None, pd.NA])
def test_a_missing_age_is_unknown_and_its_neighbours_keep_theirs(missing):
    encoded = Conditions(("age",)).encode(table(age=pd.Series([61, missing, 17], dtype=object)))
    assert encoded.argmax(dim=1).tolist() == [4, 6, 2]


@pytest.mark.parametrize(
    ("column", "value"),
    [("age", -1), ("age", 300), ("age", np.inf), ("age", "old"), ("sex", 2), ("sex", "f"), ("height", 0),
     ("weight", -3.0), ("heart_rate", 0), ("heart_rate", 1e4)],
)  # fmt: skip
def test_an_impossible_value_is_refused_and_never_put_into_a_bin(column, value):
    conditions = Conditions(("age", "sex", "height", "weight", "bmi", "heart_rate", "rate"))
    with pytest.raises(InputError, match=f"column {column} is wrong in 1 of 2 rows"):
        conditions.encode(table(**{column: [np.nan, value]}))


def test_statements_that_are_text_or_absent_are_refused():
    with pytest.raises(InputError, match="scp_codes"):
        Conditions(("rhythm",)).encode(table(scp_codes=["{'SR': 0.0}"]))
    with pytest.raises(InputError, match="no column scp_codes"):
        Conditions(("age",)).encode(pd.DataFrame({"age": [50]}))


def test_ptb_xls_age_300_is_read_as_over_89_and_falls_into_the_last_bin(cohort, tmp_path):
    cohort.table.loc[0, "age"] = 90.0
    cohort.table["age_over_89"] = cohort.table["age"] == 90
    save_ptbxl_layout(cohort, tmp_path / "ptb-xl")
    assert "300" in (tmp_path / "ptb-xl" / "ptbxl_database.csv").read_text(encoding="utf-8")
    age = Conditions(("age",)).encode(load_cohort("ptb-xl", root=tmp_path / "ptb-xl").table)
    assert age[0].argmax() == 5 and age.sum() == len(cohort)


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


def tiny(name: str) -> Config:
    """A conditioning variant with a network of a few hundred weights a group."""
    return Config.preset("smoke").override(
        variant(name) | {"network.channels": 8, "network.blocks": 1, "network.state": 8, "sampling.steps": 3}
    )


def awake(config: Config):
    """A new network whose last layer is not zero, as after a step of training."""
    network = network_of(config, 8)
    torch.nn.init.normal_(network.leave.weight, generator=torch.Generator().manual_seed(1))
    return network


EVERYTHING = {"age": [9.0, 30.0, np.nan], "sex": [0.0, 1.0, np.nan], "height": [140.0, 175.0, np.nan],
              "weight": [40.0, 80.0, np.nan], "heart_rate": [55.0, 95.0, np.nan],
              "scp_codes": [{"NORM": 100.0, "SR": 0.0, "LVOLT": 0.0}, {"IMI": 50.0, "ABQRS": 0.0, "AFIB": 0.0}, {}],
              }  # fmt: skip


@pytest.mark.parametrize("name", ["labels", "labels-age", "labels-sex", "labels-age-sex", "groups", "groups-body"])
def test_every_embedding_gets_a_gradient_and_survives_a_reload(name, tmp_path):
    """The authors keep the embeddings of groups in a plain list: they are neither trained nor saved."""
    config = tiny(name)
    network, conditions = awake(config), Conditions(config.conditions.groups)
    encoded = conditions.encode(table(**EVERYTHING))
    x, t = torch.randn(3, 8, 200, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 100, 199])
    before = [embedding.weight.detach().clone() for embedding in network.embeddings]
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    (network(x, t, encoded) - x).square().mean().backward()
    optimiser.step()
    for embedding, was, given in zip(network.embeddings, before, encoded.split(conditions.sizes, dim=1), strict=True):
        asked = given.any(dim=0)
        assert asked.sum() >= 3 and asked[-1]  # two values and unknown
        moved = (embedding.weight.detach() != was).any(dim=0)
        assert torch.equal(moved, asked)  # what a record carries learns, and nothing else

    path = tmp_path / "model.safetensors"
    save_tensors(path, network.state_dict())
    again = load_weights(network_of(config.override({"seed": 1}), 8), load_tensors(path), path)
    for old, new in zip(network.embeddings, again.embeddings, strict=True):
        assert torch.equal(old.weight, new.weight)
    with torch.no_grad():
        assert torch.equal(network(x, t, encoded), again(x, t, encoded))


def test_a_changed_age_or_sex_changes_the_sample():
    config = tiny("groups")
    generator = Generator(config, SignalInfo(LEADS_8, 100, 1000, (0.0,) * 8, (1.0,) * 8), awake(config))

    def sample(**person):
        asked = table(**{"age": [30.0], "sex": [0.0], **person})
        return generator.sample(asked, seed=0).x

    first = sample()
    assert np.array_equal(sample(), first)
    assert np.array_equal(sample(age=[20.0]), first)  # the same bin
    for change in ({"age": [70.0]}, {"age": [np.nan]}, {"sex": [1.0]}, {"sex": [np.nan]}):
        assert np.abs(sample(**change) - first).max() > 1e-3, change
