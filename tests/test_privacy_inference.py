"""Attributes and identity: what is guessed of members beyond others, and who a record is linked to."""

from functools import partial

import numpy as np
import pytest
from toys import PLANE, at, plane

from ecglib.evaluation import Comparison, NotComputable, evaluate
from ecglib.evaluation.privacy import Space, attribute_inference, dcr, linkage, mir, nnaa

N = 200


def gauss(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 2))


def labels(n: int, seed: int) -> dict[str, object]:
    rng = np.random.default_rng(seed)
    codes = [{name: 100.0} for name in rng.choice(["NORM", "IMI", "LVH", "CLBBB"], n)]
    return {"sex": rng.integers(0, 2, n), "age": rng.integers(20, 90, n), "scp_codes": codes}


def sets(**released):
    real, train = at(gauss(N, 1), **labels(N, 11)), at(gauss(N, 0), first_id=10_001, **labels(N, 10))
    return real, train, at(released.pop("points"), first_id=5001, **released)


def test_copies_tell_every_attribute_of_members_and_nothing_of_others():
    real, train, released = sets(points=gauss(N, 0), **labels(N, 10))
    values = attribute_inference(Comparison(real, released, train=train), space=PLANE)
    for secret, chance in (("sex", 0.5), ("age", 11 / 70), ("superclasses", 0.25)):
        assert values[f"control {secret} beats"] == pytest.approx(chance, abs=0.1)
        assert values[f"{secret} beats"] == pytest.approx(1 - chance, abs=0.1)


def test_fresh_records_tell_no_more_of_members():
    real, train, released = sets(points=gauss(N, 2), **labels(N, 12))
    values = attribute_inference(Comparison(real, released, train=train), space=PLANE)
    assert all(abs(values[f"{secret} beats"]) < 0.15 for secret in ("sex", "age", "superclasses"))


def test_the_guess_is_that_of_the_nearest_record_one_each():
    real, train, released = sets(points=gauss(50, 2), **labels(50, 12))
    values = attribute_inference(Comparison(real, released, train=train), space=PLANE)
    near = [np.argmin(np.linalg.norm(plane(released) - x, axis=1)) for x in plane(real)]
    right = released.table["sex"].to_numpy()[near] == real.table["sex"].to_numpy()
    assert values["control sex beats"] == pytest.approx(right.mean())


def test_unknown_attributes_are_left_out_not_guessed():
    real, train, released = sets(points=gauss(N, 0), **(labels(N, 10) | {"sex": np.full(N, np.nan)}))
    values = attribute_inference(Comparison(real, released, train=train), space=PLANE)
    assert "sex beats" not in values and "age beats" in values


def asked(points_of_members: np.ndarray, points_of_others: np.ndarray) -> Comparison:
    real, train = at(gauss(N, 1)), at(gauss(N, 0), first_id=10_001)
    half = N // 2
    source = np.concatenate([10_001 + np.arange(half), 1 + np.arange(half)])
    released = at(np.concatenate([points_of_members[:half], points_of_others[:half]]), first_id=5001,
                  source_ecg_id=source)  # fmt: skip
    return Comparison(real, released, train=train)


def test_linkage_of_a_copier_of_members_is_a_gap_of_one():
    values = linkage(asked(gauss(N, 0), gauss(N, 7)), space=PLANE)
    assert values["rank1 train beats"] == 1 and values["rank1 real beats"] < 0.05
    assert values["gap beats"] == values["rank1 train beats"] - values["rank1 real beats"]


def test_conditions_that_give_both_away_alike_are_no_gap():
    near = 0.05 * gauss(N, 5)
    values = linkage(asked(gauss(N, 0) + near, gauss(N, 1) + near), space=PLANE)
    assert values["rank1 train beats"] > 0.1 and abs(values["gap beats"]) < 0.15


def test_galleries_are_equally_large_whatever_was_asked_for():
    """Hearts recognised equally badly on both sides are no gap, though ten times as many members were asked for."""
    hearts, others, rng = gauss(600, 0), gauss(60, 1), np.random.default_rng(2)
    train, real = at(hearts, first_id=10_001), at(others)
    source = np.concatenate([10_001 + np.arange(500), 1 + np.arange(50)])
    points = np.concatenate([hearts[:500], others[:50]]) + 0.5 * rng.standard_normal((550, 2))
    gaps = linkage(Comparison(real, at(points, first_id=50_001, source_ecg_id=source), train=train), space=PLANE)
    assert abs(gaps["gap beats"]) < 0.15


def every_second(cohort):
    """The points of half of the released records."""
    ids = cohort.table["ecg_id"].to_numpy()
    return np.where(((ids > 5000) & (ids < 6000) & (ids % 2 == 0))[:, None], np.nan, plane(cohort))


def test_records_without_a_place_are_counted():
    real, train = at(gauss(40, 1)), at(gauss(40, 0), first_id=10_001)
    released = at(gauss(40, 4), first_id=5001)
    compared = Comparison(real, released, train=train)
    for metric in (mir, nnaa, dcr):
        bound = partial(metric, space=Space("beats", every_second))
        reasons = evaluate(compared, [bound], resamples=0, floor=False)["reason"]
        assert reasons.str.contains("20 records without a place among beats left out").all()


def test_second_records_show_that_a_heart_is_recognised():
    hearts = gauss(60, 0)
    pairs = np.repeat(hearts, 2, axis=0) + 1e-3 * gauss(120, 9)
    real, train = at(gauss(60, 1)), at(pairs, first_id=10_001, per_patient=2)
    source = np.concatenate([10_001 + 2 * np.arange(30), 1 + np.arange(30)])
    released = at(gauss(60, 4), first_id=5001, source_ecg_id=source)
    assert linkage(Comparison(real, released, train=train), space=PLANE)["rank1 twice beats"] > 0.9


@pytest.mark.parametrize("metric", [attribute_inference, linkage])
def test_order_of_records_is_nothing(metric):
    c, rng = asked(gauss(N, 0), gauss(N, 7)), np.random.default_rng(0)
    mixed = {role: getattr(c, role).select(rng.permutation(N)) for role in ("real", "synthetic", "train")}
    assert metric(Comparison(**mixed), space=PLANE) == pytest.approx(metric(c, space=PLANE))


def test_refusals():
    c = asked(gauss(N, 0), gauss(N, 7))
    with pytest.raises(NotComputable, match="no column source_ecg_id"):
        linkage(Comparison(c.real, at(gauss(20, 3), first_id=5001), train=c.train), space=PLANE)
    with pytest.raises(NotComputable, match="conditions of real, and there are 0"):
        linkage(Comparison(c.real, c.synthetic.select(range(N // 2)), train=c.train), space=PLANE)
    with pytest.raises(NotComputable, match="role train"):
        attribute_inference(Comparison(c.real, c.synthetic), space=PLANE)
    nowhere = Space("beats", lambda cohort: plane(cohort) * (np.nan if cohort.table["ecg_id"].min() == 5001 else 1))
    with pytest.raises(NotComputable, match="0 synthetic records have a place"):
        attribute_inference(c, space=nowhere)
    few = Comparison(c.real.select(range(5)), c.synthetic, train=c.train)
    with pytest.raises(NotComputable, match="at least 8 patients"):
        attribute_inference(few, space=PLANE)
