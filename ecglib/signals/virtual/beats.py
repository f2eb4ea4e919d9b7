"""When each wave of each beat begins and ends, and the leads' course over a record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ecglib.signals.virtual.changes import COMPONENTS, ST_T, P
from ecglib.signals.virtual.coefficients import VALUE
from ecglib.signals.virtual.conduction import Impulses
from ecglib.signals.virtual.heart import Shape
from ecglib.signals.virtual.intervals import Intervals

MOMENTS = ("p_on", "p_peak", "p_off", "qrs_on", "r", "qrs_off", "t_peak", "t_off")


@dataclass(frozen=True)
class Beats:
    """The beats of a record: moments in s from its start, float64 (n_beats,); NaN where a wave is absent.

    `shape` is each beat's place in the record's list of shapes, `kind` one of `conduction.KINDS`.
    """

    p_on: np.ndarray
    p_peak: np.ndarray
    p_off: np.ndarray
    qrs_on: np.ndarray
    r: np.ndarray
    qrs_off: np.ndarray
    t_peak: np.ndarray
    t_off: np.ndarray
    shape: np.ndarray
    kind: np.ndarray


def place_beats(rng: np.random.Generator, impulses: Impulses, intervals: Intervals, shapes: Sequence[Shape],
                shape: np.ndarray) -> Beats:  # fmt: skip
    """Set every wave of every beat around the impulses' onsets.

    QT follows the rate by Fridericia's cube root, QT = QTc · RR^(1/3), with RR mostly the record's mean and a little
    the last interval. Source: Fridericia 1920. Beats from the ventricles are wider, by a share of their QT too.
    """
    p_peak, r, t_peak = np.array([(s.p_peak, s.r, s.t_peak) for s in shapes])[shape].T
    own = np.array([s.qrs_ms for s in shapes])[shape]
    qrs = np.where(np.isnan(own), intervals.qrs, own)
    qrs_off = impulses.qrs + qrs / 1000
    qtc = intervals.qtc + VALUE["qt_per_wide_qrs"] * (qrs - intervals.qrs)
    qt = qtc / 1000 * np.cbrt(_rr(impulses.qrs))
    qt += VALUE["beat_qt_sd_ms"] / 1000 * rng.standard_normal(len(qrs)).clip(-2, 2)
    t_off = impulses.qrs + np.maximum(qt, qrs / 1000 + 0.09)
    p_off = impulses.p + intervals.p / 1000
    return Beats(impulses.p, impulses.p + p_peak * (p_off - impulses.p), p_off, impulses.qrs,
                 impulses.qrs + r * qrs / 1000, qrs_off, qrs_off + t_peak * (t_off - qrs_off), t_off, shape,
                 impulses.kind)  # fmt: skip


def _rr(qrs: np.ndarray) -> np.ndarray:
    """Return the RR interval in s that rules each beat's QT; NaN for a P wave without QRS."""
    rr, present = np.full(len(qrs), np.nan), ~np.isnan(qrs)
    times = qrs[present]
    mean = (times[-1] - times[0]) / (len(times) - 1)
    last = np.diff(times, prepend=times[0] - mean).clip(0.5 * mean, 1.5 * mean)
    rr[present] = (1 - VALUE["qt_memory"]) * mean + VALUE["qt_memory"] * last
    return rr


def time_courses(beats: Beats, shapes: Sequence[Shape], fs: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Return G beat by beat, each component's course around it.

    Parameters
    ----------
    beats : Beats
    shapes : sequence of Shape
    fs : int
        Samples per s.

    Returns
    -------
    g : float64 (n_beats, K, width)
        Dimensionless. Each Gaussian is seen through the recorder's low-pass filter, itself taken as a Gaussian of
        width 0.3/fs: widths add in squares, areas are kept.
    first : int64 (n_beats,)
        The sample of the record at which each beat's stretch begins; it may lie before 0.
    """
    starts, lengths = np.empty((len(beats.r), len(COMPONENTS))), np.empty((len(beats.r), len(COMPONENTS)))
    for waves, on, off in ((P, beats.p_on, beats.p_off), (slice(3, 11), beats.qrs_on, beats.qrs_off),
                           (ST_T, beats.qrs_off, beats.t_off)):  # fmt: skip
        starts[:, waves], lengths[:, waves] = on[:, None], (off - on)[:, None]
    centre = starts + np.stack([s.centre for s in shapes])[beats.shape] * lengths
    true_width = np.stack([s.width for s in shapes])[beats.shape] * lengths
    width = np.hypot(true_width, 0.3 / fs)
    height = true_width / width
    absent = np.isnan(centre)
    begin, end = np.fmin(beats.p_on - 0.08, beats.qrs_on - 0.08), np.fmax(beats.p_off + 0.30, beats.t_off + 0.28)
    first = np.floor(begin * fs).astype(int)
    t = (first[:, None] + np.arange(int(np.ceil(np.max(end - begin) * fs)))) / fs
    centre, width, height = np.where(absent, 0, centre), np.where(absent, 1, width), np.where(absent, 0, height)
    u = (t[:, None, :] - centre[..., None]) / width[..., None]
    return height[..., None] * np.exp(-0.5 * u * u), first


def draw_leads(rng: np.random.Generator, beats: Beats, shapes: Sequence[Shape], n_times: int, fs: int) -> np.ndarray:
    """Return the heart's signal (8, n_times) in mV: (D M + R) G, beat by beat, swinging with respiration.

    No two beats are alike: chest and heart move with each breath, and every component varies a little by itself.
    """
    g, first = time_courses(beats, shapes, fs)
    when = np.fmin(beats.r, np.where(np.isnan(beats.r), beats.p_on, np.inf))
    breath = np.sin(2 * np.pi * (VALUE["respiration"] * when + rng.random()))[:, None, None]
    own = 1 + VALUE["beat_gain_sd"] * rng.standard_normal((len(beats.r), 1, len(COMPONENTS)))
    amplitudes = np.stack([s.amplitudes for s in shapes])[beats.shape]
    amplitudes = (amplitudes + breath * np.stack([s.breathing for s in shapes])[beats.shape]) * own
    waves = amplitudes @ g  # (n_beats, 8, width)
    x = np.zeros((8, n_times))
    for wave, start in zip(waves, first.tolist(), strict=True):
        low, high = max(start, 0), min(start + wave.shape[1], n_times)
        if low < high:
            x[:, low:high] += wave[:, low - start : high - start]
    return x


def measures(beats: Beats, seconds: float) -> dict[str, float]:
    """Return a record's true measures: medians over the beats shown, in ms, rate in 1/min, and counts of beats.

    Ventricular premature beats do not count in the medians.
    """
    inside = shown(beats, seconds)
    led = inside & (beats.kind != "V")
    kind, r = beats.kind[inside], beats.r[inside & ~np.isnan(beats.r)]
    return {
        "heart_rate": 60 * (len(r) - 1) / float(r[-1] - r[0]) if len(r) > 1 else np.nan,
        "pr_ms": _median(beats.qrs_on[led] - beats.p_on[led]),
        "qrs_ms": _median(beats.qrs_off[led] - beats.qrs_on[led]),
        "qt_ms": _median(beats.t_off[led] - beats.qrs_on[led]),
        "n_beats": len(r),
        "n_pac": int((kind == "A").sum()),
        "n_pvc": int((kind == "V").sum()),
        "n_blocked": int((kind == "blocked P").sum()),
    }


def shown(beats: Beats, seconds: float) -> np.ndarray:
    """Tell which beats lie in the record: by their R, or by their P peak where there is no QRS; bool (n_beats,)."""
    when = np.where(np.isnan(beats.r), beats.p_peak, beats.r)
    return (when >= 0) & (when < seconds)


def _median(seconds: np.ndarray) -> float:
    known = seconds[~np.isnan(seconds)]
    return 1000 * float(np.median(known)) if len(known) else np.nan
