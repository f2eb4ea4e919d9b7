"""Where randomness comes from: every record once an epoch, classes as often as asked for, all of it from keys alone."""

import numpy as np
import pandas as pd
import pytest
import torch

from ecglib.diffusion.batches import class_chance
from ecglib.diffusion.seeds import RecordNoise, batch_rows, seeded
from ecglib.errors import InputError


def test_each_epoch_sees_each_record_once():
    rows = np.concatenate([batch_rows(10, 4, 0, step) for step in range(5)])
    assert sorted(rows[:10]) == sorted(rows[10:]) == list(range(10))
    assert list(rows[:10]) != list(rows[10:])
    assert len(batch_rows(3, 8, 0, 2)) == 8  # a batch larger than the cohort spans epochs


CODES = [{"NORM": 100.0, "SR": 0.0}] * 16 + [{"IMI": 100.0}] * 4 + [{"IMI": 80.0, "LAFB": 0.0}] + [{"SR": 0.0}]


@pytest.mark.parametrize(("classes", "shares"), [("balanced", [1, 1, 1, 1]), ("root", [4, 2, 1, 1])])
def test_sets_of_superclasses_come_as_often_as_asked_for(classes, shares):
    chance = class_chance(pd.DataFrame({"scp_codes": CODES}), classes)
    assert chance.sum() == pytest.approx(1)
    parts = [chance[:16], chance[16:20], chance[20:21], chance[21:]]
    assert [part.sum() for part in parts] == pytest.approx(np.array(shares) / sum(shares))
    drawn = np.concatenate([batch_rows(22, 50, 3, step, chance) for step in range(200)])
    found = [np.mean((drawn >= low) & (drawn < high)) for low, high in ((0, 16), (16, 20), (20, 21), (21, 22))]
    assert found == pytest.approx(np.array(shares) / sum(shares), abs=0.02)


def test_naturally_there_is_nothing_to_weigh_and_other_words_are_refused():
    table = pd.DataFrame({"scp_codes": CODES})
    assert class_chance(table, "natural") is None
    with pytest.raises(InputError, match=r"training\.classes='balancd' is not known: did you mean balanced"):
        class_chance(table, "balancd")


@pytest.mark.parametrize("classes", ["natural", "balanced"])
def test_a_step_draws_the_same_whatever_was_drawn_before(classes):
    chance = class_chance(pd.DataFrame({"scp_codes": CODES}), classes)
    forwards = [batch_rows(22, 6, 1, step, chance).tolist() for step in range(12)]
    backwards = [batch_rows(22, 6, 1, step, chance).tolist() for step in reversed(range(12))]
    assert forwards == backwards[::-1]
    assert forwards[3] != forwards[4] != batch_rows(22, 6, 2, 4, chance).tolist()


def test_purposes_and_steps_have_streams_of_their_own():
    keys = [(0, "step", 0), (0, "step", 1), (0, "validation", 0), (1, "step", 0), (0, "step", 2**40)]
    assert len({float(torch.rand((), generator=seeded(*key))) for key in keys}) == 5


def test_a_records_noise_depends_on_its_own_key_alone():
    keys, cpu = [(0, 7, 0), (0, 8, 0), (0, 7, 1)], torch.device("cpu")
    together, alone = RecordNoise(keys, (8, 20), cpu), RecordNoise(keys[1:2], (8, 20), cpu)
    assert torch.equal(together.uniform()[1:2], alone.uniform())
    for _ in range(2):
        first, second = together(), alone()
        assert torch.equal(first[1:2], second) and not torch.equal(first[0], first[2])


def test_large_numbers_have_noise_of_their_own():
    cpu, word = torch.device("cpu"), 2**32
    keys = [(3, 5, 0), (3, 5, 1), (3, 5 + word, 0), (3, 5 + 2 * word, 0), (3, 2**53, 0)]
    drawn = RecordNoise(keys, (8, 20), cpu)()
    assert all(not torch.equal(drawn[i], drawn[j]) for i in range(len(keys)) for j in range(i))
    state = int(np.random.SeedSequence((3, 5, 1)).generate_state(1, np.uint64)[0] >> 1)
    assert torch.equal(drawn[1], torch.randn((8, 20), generator=torch.Generator().manual_seed(state)))
