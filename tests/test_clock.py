"""The beat clock: ticks at the rate asked for, beats on whole numbers, zeros where the rate is unknown."""

import numpy as np
import torch

from ecglib.diffusion import beat_phase, clock
from ecglib.diffusion.clock import HARMONICS
from ecglib.signals import load_cohort


def test_the_clock_ticks_at_its_rate_from_its_phase():
    ticks = clock(torch.tensor([1.2]), torch.tensor([0.25]), 1000, 100)
    beats = 1.2 * torch.arange(1000) / 100 + 0.25
    assert torch.allclose(ticks[0, 0], torch.sin(2 * np.pi * beats), atol=1e-4)
    assert torch.allclose(ticks[0, HARMONICS + 1], torch.cos(4 * np.pi * beats), atol=1e-4)


def test_an_unknown_rate_stops_the_clock():
    assert torch.equal(clock(torch.zeros(2), torch.tensor([0.0, 0.4]), 100, 100), torch.zeros(2, 2 * HARMONICS, 100))


def test_beats_of_a_regular_rhythm_fall_on_whole_numbers():
    cohort = load_cohort("virtual", n=80, seed=0)
    cohort = cohort.select(~cohort.has("AFIB"))
    phase = beat_phase(cohort)
    offsets = []
    for k, (ecg_id, rate) in enumerate(zip(cohort.table["ecg_id"], cohort.table["heart_rate"], strict=True)):
        r = cohort.waves.loc[cohort.waves["ecg_id"] == ecg_id, "r"].dropna().to_numpy()
        beats = r * rate / 60 + float(phase[k])
        offsets.append(np.abs(beats - beats.round()).mean())
    assert np.median(offsets) < 0.06


def test_the_phase_found_in_the_signal_is_that_of_the_truth():
    from dataclasses import replace

    cohort = load_cohort("virtual", n=40, seed=1)
    cohort = cohort.select(~cohort.has("AFIB"))
    difference = beat_phase(cohort) - beat_phase(replace(cohort, waves=None))
    assert float((difference - difference.round()).abs().median()) < 0.05
    unknown = replace(cohort, table=cohort.table.assign(heart_rate=np.nan))
    assert torch.equal(beat_phase(unknown), torch.zeros(len(cohort)))
