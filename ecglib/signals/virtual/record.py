"""One record: the steps from a patient and their statements to twelve leads and the truth about them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from ecglib.signals.leads import to_twelve_leads
from ecglib.signals.virtual.beats import MOMENTS, draw_leads, measures, place_beats, shown
from ecglib.signals.virtual.conduction import Setting, conduct
from ecglib.signals.virtual.heart import draw_shapes, quivering
from ecglib.signals.virtual.intervals import draw_intervals
from ecglib.signals.virtual.noise import draw_device
from ecglib.signals.virtual.patients import Patient
from ecglib.signals.virtual.rhythm import f_waves, flutter_waves


@dataclass(frozen=True)
class Record:
    """A record and its truth.

    Parameters
    ----------
    x : float32 (12, n_times)
        In mV.
    truth : dict
        Measures as `virtual_cohort` describes them.
    remarks : dict
        What a technician would write about the noise, as `noise.draw_device` describes it.
    waves : dict of arrays (n_beats,)
        Moments in s from the record's start, and ``kind``.
    """

    x: np.ndarray
    truth: dict[str, float]
    remarks: dict[str, str]
    waves: dict[str, np.ndarray]


def make_record(seed: int, rng: np.random.Generator, device: np.random.Generator, patient: Patient,
                codes: Collection[str], age: float, n_times: int, fs: int) -> Record:  # fmt: skip
    """Make a record of a patient with the statements `codes`.

    Parameters
    ----------
    seed : int
        With the patient's number, the seed of their build.
    rng, device : Generator
        Of the record, and of the device.
    patient : Patient
    codes : collection of str
        SCP statements, of the record's rhythm too; without any it is normal sinus rhythm.
    age : float
        In years.
    n_times, fs : int
        Samples, and samples per s.
    """
    seconds = n_times / fs
    intervals = draw_intervals(rng, patient, codes, age)
    impulses = conduct(rng, Setting(codes, intervals, age, seconds))
    shapes, place = draw_shapes(seed, patient, codes, age, set(impulses.kind))
    beats = place_beats(rng, impulses, intervals, shapes, np.array([place[kind] for kind in impulses.kind]))
    x = draw_leads(rng, beats, shapes, n_times, fs)
    t = np.arange(n_times) / fs
    if not np.isnan(impulses.cycle):
        first = float(impulses.qrs[impulses.kind == "N"].min())
        x += quivering(seed, patient, "AFLT") @ flutter_waves(t, impulses.cycle, first)
    elif "AFIB" in codes:
        x += quivering(seed, patient, "AFIB") @ f_waves(rng, t)
    noise, remarks = draw_device(device, n_times, fs)
    inside = shown(beats, seconds)
    waves = {name: getattr(beats, name)[inside] for name in (*MOMENTS, "kind")}
    usual = inside & ~np.isnan(beats.r) & (beats.kind != "V")  # the beats that the other measures are of
    prevailing = shapes[np.bincount(beats.shape[usual]).argmax()]
    truth = measures(beats, seconds) | {"axis_deg": prevailing.axis}
    return Record(to_twelve_leads(x + noise).astype(np.float32), truth, remarks, waves)
