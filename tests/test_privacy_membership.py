"""Attacks by distance: two known distributions, known copies, patients as units, and the naive answer beside F1."""

import numpy as np
import pytest
from toys import PLANE, at, plane

from ecglib.evaluation import Comparison, NotComputable, evaluate
from ecglib.evaluation.privacy import distance_attack, feature_metrics, mir
from ecglib.evaluation.privacy.membership import within

N = 400


def gauss(n: int, seed: int, spread: float = 1.0) -> np.ndarray:
    return spread * np.random.default_rng(seed).standard_normal((n, 2))


@pytest.fixture(scope="module")
def copied() -> Comparison:
    """Half of the members are released as they are."""
    members = gauss(N, 0)
    return Comparison(at(gauss(1000, 1)), at(members[: N // 2], first_id=5001), train=at(members, first_id=10_001),
                      held_out=at(gauss(N, 3), first_id=20_001))  # fmt: skip


@pytest.fixture(scope="module")
def fresh() -> Comparison:
    return Comparison(at(gauss(1000, 1)), at(gauss(N, 2), first_id=5001), train=at(gauss(N, 0), first_id=10_001),
                      held_out=at(gauss(N, 3), first_id=20_001))  # fmt: skip


def test_the_score_is_the_slow_one(copied):
    members, others = (plane(getattr(copied, role)) for role in ("train", "real"))
    released, reference = plane(copied.synthetic), plane(copied.held_out)
    reference = reference[np.linspace(0, N - 1, N // 2).astype(int)]

    def score(x):
        return min(np.linalg.norm(x - r) for r in reference) - min(np.linalg.norm(x - s) for s in released)

    a, b = ([score(x) for x in points] for points in (members, others))
    slow = np.mean([(x > y) + 0.5 * (x == y) for x in a for y in b])
    assert distance_attack(copied, space=PLANE)["auc beats"] == pytest.approx(slow, abs=1e-6)


def test_copies_are_found_in_the_area_and_in_the_tail(copied, fresh):
    values, none = distance_attack(copied, space=PLANE), distance_attack(fresh, space=PLANE)
    assert values["auc beats"] > 0.6 and abs(none["auc beats"] - 0.5) < 0.06
    assert values["tpr 1% beats"] > 5 * none["tpr 1% beats"]


def test_calibration_takes_away_that_common_records_are_near_everything():
    """Members lie in the middle, others anywhere: without a reference that alone looks like membership."""
    comparison = Comparison(at(gauss(600, 1, 1.5)), at(gauss(N, 2), first_id=5001),
                            train=at(gauss(600, 0, 0.5), first_id=10_001),
                            held_out=at(gauss(N, 3), first_id=20_001))  # fmt: skip
    values = distance_attack(comparison, space=PLANE)
    assert values["auc uncalibrated beats"] > 0.75 and abs(values["auc beats"] - 0.5) < 0.06


def test_a_patient_is_as_exposed_as_the_most_exposed_record():
    members = gauss(60, 0)
    both = [at(members, first_id=10_001, per_patient=k) for k in (1, 2)]
    others, reference = at(gauss(60, 1), per_patient=2), at(gauss(60, 3), first_id=20_001)
    released = at(members[::2], first_id=5001)  # one of each patient's two records
    alone, pairs = (Comparison(others, released, train=train, held_out=reference) for train in both)
    table = evaluate(pairs, [distance_attack], resamples=0, floor=False)
    assert (table["n"] == 30).all()
    values = [distance_attack(c, space=PLANE)["auc beats"] for c in (pairs, alone)]
    assert values[0] > values[1]


@pytest.mark.parametrize("more", ["train", "real"])
def test_more_records_of_a_patient_are_no_membership(more):
    """Released records that know nothing; one side has two records a patient, the other one: the better of two wins."""
    roles = {"real": at(gauss(N, 2), first_id=5001), "train": at(gauss(N, 0), first_id=10_001)}
    points = np.concatenate([gauss(N, 5)[:, None], gauss(N, 6)[:, None]], axis=1).reshape(-1, 2)
    roles[more] = at(points, first_id=30_001, per_patient=2)
    c = Comparison(synthetic=at(gauss(1000, 1)), held_out=at(gauss(N, 3), first_id=20_001), **roles)
    assert abs(distance_attack(c, space=PLANE)["auc beats"] - 0.5) < 0.06
    assert abs(mir(c, space=PLANE)["f1 beats"] - 0.5) < 0.05


def test_order_of_records_is_nothing(copied):
    rng = np.random.default_rng(0)
    roles = {role: getattr(copied, role) for role in ("real", "synthetic", "train", "held_out")}
    mixed = {role: c.select(rng.permutation(len(c))) for role, c in roles.items() if role != "held_out"}
    shuffled = Comparison(**mixed, held_out=copied.held_out)
    for metric in (mir, distance_attack):
        assert metric(shuffled, space=PLANE) == pytest.approx(metric(copied, space=PLANE), nan_ok=True)


def test_f1_is_the_slow_one_and_the_naive_answer_is_two_thirds(copied):
    values = mir(copied, space=PLANE)
    released = plane(copied.synthetic)
    members, others = (np.array([min(np.linalg.norm(x - s) for s in released) for x in plane(getattr(copied, role))])
                       for role in ("train", "real"))  # fmt: skip

    def f1(theta):
        t, f = (members <= theta + 1e-12).mean(), (others <= theta + 1e-12).mean()
        precision, recall = t / (t + f), t
        return 2 * precision * recall / (precision + recall) if t else 0.0

    thetas = np.concatenate([members, others])
    assert values["f1 best beats"] == pytest.approx(max(map(f1, thetas)), abs=1e-9)
    half = min(theta for theta in thetas if (members <= theta).mean() + (others <= theta).mean() >= 1)
    assert values["f1 beats"] == pytest.approx(f1(half), abs=1e-9)
    assert values["f1 naive"] == pytest.approx(2 / 3)


def test_an_attack_that_knows_nothing_has_an_f1_of_one_half(fresh):
    values = mir(fresh, space=PLANE)
    assert abs(values["f1 beats"] - 0.5) < 0.05 and values["f1 best beats"] >= 2 / 3 - 1e-9


def test_within_counts():
    t, f = within(np.array([1.0, 2.0]), np.array([2.0, 3.0, 4.0, 5.0]))
    assert t.tolist() == [0.5, 1, 1, 1, 1] and f.tolist() == [0, 0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("missing", ["train", "held_out"])
def test_a_missing_role_is_named(copied, missing):
    roles = {"train": copied.train, "held_out": copied.held_out} | {missing: None}
    with pytest.raises(NotComputable, match=f"needs the role {missing}"):
        distance_attack(Comparison(copied.real, copied.synthetic, **roles), space=PLANE)


def test_few_patients_are_refused():
    few = Comparison(at(gauss(6, 1)), at(gauss(9, 2)), train=at(gauss(9, 0)), held_out=at(gauss(9, 3)))
    for metric in (mir, distance_attack):
        with pytest.raises(NotComputable, match="at least 8 patients"):
            metric(few, space=PLANE)


def test_feature_metrics_say_features_in_their_keys(copied):
    class Looks:
        def features(self, cohort):
            return plane(cohort)

    table = evaluate(copied, feature_metrics(Looks()), resamples=0, floor=False)
    keys = table.loc[~table["key"].isin(["", "f1 naive"]), "key"]
    assert keys.str.endswith(" features").all() and len(keys) > 8
