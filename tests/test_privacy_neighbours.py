"""Neighbours: slow forms, the values of perfect copies and of perfect strangers, and how little five per cent move."""

import numpy as np
import pytest
from toys import PLANE, at, plane

from ecglib.evaluation import Comparison, NotComputable, evaluate
from ecglib.evaluation.privacy import dcr, nnaa
from ecglib.evaluation.privacy.neighbours import adversarial_accuracy

N = 300


def gauss(n: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, 2))


def compared(released: np.ndarray) -> Comparison:
    return Comparison(at(gauss(N, 1)), at(released, first_id=5001), train=at(gauss(N, 0), first_id=10_001))


def accuracy(t: np.ndarray, s: np.ndarray) -> float:
    def least(a, b, skip):
        return [min(np.linalg.norm(x - y) for j, y in enumerate(b) if not (skip and i == j)) for i, x in enumerate(a)]

    ts, tt, st, ss = least(t, s, False), least(t, t, True), least(s, t, False), least(s, s, True)
    return 0.5 * (np.mean(np.array(ts) > np.array(tt)) + np.mean(np.array(st) > np.array(ss)))


def test_nnaa_is_the_slow_one():
    c = Comparison(at(gauss(40, 1)), at(gauss(40, 2), first_id=5001), train=at(gauss(40, 0), first_id=10_001))
    values = nnaa(c, space=PLANE)
    train, real, released = (plane(getattr(c, role)) for role in ("train", "real", "synthetic"))
    assert values["aa train beats"] == pytest.approx(accuracy(train, released))
    assert values["aa test beats"] == pytest.approx(accuracy(real, released))
    assert values["privacy loss beats"] == pytest.approx(values["aa test beats"] - values["aa train beats"])


def test_copies_have_an_accuracy_of_0_and_lose_one_half():
    values = nnaa(compared(gauss(N, 0)), space=PLANE)
    assert values["aa train beats"] == 0 and values["privacy loss beats"] == pytest.approx(0.5, abs=0.05)


def test_strangers_are_at_one_half_and_far_ones_at_one():
    assert nnaa(compared(gauss(N, 2)), space=PLANE)["aa train beats"] == pytest.approx(0.5, abs=0.06)
    assert nnaa(compared(9 + gauss(N, 2)), space=PLANE)["aa train beats"] == 1


def test_five_per_cent_of_copies_hide_in_the_average():
    few = np.concatenate([gauss(N, 0)[: N // 20], gauss(N, 2)[N // 20 :]])
    values = nnaa(compared(few), space=PLANE)
    assert 0.4 < values["aa train beats"] < 0.53 and values["privacy loss beats"] < 0.1


def test_formula():
    assert adversarial_accuracy(np.array([1, 2]), np.array([2, 1]), np.array([3, 3]), np.array([1, 1])) == 0.75


def test_dcr_is_the_slow_one():
    c = compared(np.concatenate([gauss(N, 0)[:30], gauss(N, 2)[:70]]))
    train, real, released = (plane(getattr(c, role)) for role in ("train", "real", "synthetic"))
    values = dcr(c, space=PLANE)
    to = {name: np.sort(np.linalg.norm(released[:, None] - x, axis=-1)) for name, x in (("t", train), ("r", real))}
    assert values["nearer beats"] == pytest.approx((to["t"][:, 0] < to["r"][:, 0]).mean())
    assert values["nndr beats"] == pytest.approx(np.median(to["t"][:, 0] / to["t"][:, 1]), abs=1e-6)
    own = np.sort(np.linalg.norm(real[:, None] - train, axis=-1))
    assert values["nndr real beats"] == pytest.approx(np.median(own[:, 0] / own[:, 1]), abs=1e-6)


def test_one_odd_record_that_is_nearest_to_all_is_one_toss_of_a_coin():
    train = np.concatenate([gauss(N - 1, 0), [[6.0, 6.0]]])
    c = Comparison(at(gauss(N, 1)), at(9 + 0.1 * gauss(N, 2), first_id=5001), train=at(train, first_id=10_001))
    table = evaluate(c, [in_plane], resamples=0, floor=False).set_index("key")
    assert table.loc["nearer beats", "value"] == 1 and table.loc["distinct beats", "value"] == 1
    assert table.loc["distinct beats", ["n", "ci_low"]].tolist() == pytest.approx([1, 0.025])


def in_plane(c):
    """In two dimensions."""
    return dcr(c, space=PLANE)


def test_distinct_counts_each_nearest_record_once():
    c = compared(np.concatenate([gauss(N, 0)[:30], gauss(N, 2)[:70]]))
    train, real, released = (plane(getattr(c, role)) for role in ("train", "real", "synthetic"))
    near = {int(np.argmin(np.linalg.norm(np.concatenate([train, real]) - x, axis=1))) for x in released}
    assert dcr(c, space=PLANE)["distinct beats"] == pytest.approx(np.mean([k < N for k in near]))


def test_copies_are_nearer_to_members_and_have_a_ratio_of_0():
    values = dcr(compared(gauss(N, 0)), space=PLANE)
    assert values["nearer beats"] == 1 and values["nndr beats"] == 0


def test_ties_count_half():
    same = gauss(20, 0)
    c = Comparison(at(same), at(same, first_id=5001), train=at(same, first_id=10_001))
    assert dcr(c, space=PLANE)["nearer beats"] == 0.5


def test_one_record_a_patient_and_equally_many():
    train = at(np.repeat(gauss(30, 0), 2, axis=0), first_id=10_001, per_patient=2)
    c = Comparison(at(gauss(50, 1)), at(gauss(40, 2), first_id=5001), train=train)
    c.resampled({})
    nnaa(c, space=PLANE)
    assert c._counts == {"": 30}  # a patient's second record would be the first one's nearest neighbour


@pytest.mark.parametrize("metric", [nnaa, dcr])
def test_order_of_records_is_nothing(metric):
    c, rng = compared(np.concatenate([gauss(N, 0)[:99], gauss(N, 2)[99:]])), np.random.default_rng(0)
    mixed = {role: getattr(c, role).select(rng.permutation(N)) for role in ("real", "synthetic", "train")}
    assert metric(Comparison(**mixed), space=PLANE) == pytest.approx(metric(c, space=PLANE))


@pytest.mark.parametrize("metric", [nnaa, dcr])
def test_refusals(metric):
    with pytest.raises(NotComputable, match="needs the role train"):
        metric(Comparison(at(gauss(9, 0)), at(gauss(9, 1))), space=PLANE)
    with pytest.raises(NotComputable, match="at least 8 records"):
        metric(Comparison(at(gauss(7, 0)), at(gauss(9, 1)), train=at(gauss(9, 2))), space=PLANE)
