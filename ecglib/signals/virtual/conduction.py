"""From the pacemaker to the ventricles: which atrial impulse makes which beat, one short function a rhythm.

Each function returns `Impulses`: when the atria are excited, when the ventricles are, and what kind of beat it is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from ecglib.signals.virtual.changes import demands, drawn
from ecglib.signals.virtual.coefficients import VALUE, truncated
from ecglib.signals.virtual.intervals import Intervals
from ecglib.signals.virtual.rhythm import BEFORE, beat_count, fibrillating_rr, sinus_rr, start

KINDS = ("N", "A", "V", "paced", "escape", "blocked P")
"""Conducted from sinus node or atria; atrial premature; ventricular premature; paced; escape; P without QRS."""


@dataclass(frozen=True)
class Impulses:
    """Onsets in s, float64 (n,): `p` NaN without P wave, `qrs` NaN without QRS; `kind`, str (n,), of `KINDS`."""

    p: np.ndarray
    qrs: np.ndarray
    kind: np.ndarray
    cycle: float = np.nan
    """Of flutter, in s: waves start at `qrs`."""

    def sorted(self) -> Impulses:
        """Return the impulses in order of time."""
        order = np.argsort(np.fmin(self.p, self.qrs), kind="stable")
        return Impulses(self.p[order], self.qrs[order], self.kind[order], self.cycle)


@dataclass(frozen=True)
class Setting:
    """What a rhythm depends on: the record's statements, its intervals, the age in years, the length in s."""

    codes: Collection[str]
    intervals: Intervals
    age: float
    seconds: float


def conduct(rng: np.random.Generator, record: Setting) -> Impulses:
    """Draw a record's impulses, from before its start to after its end, in order of time."""
    codes = record.codes
    if "PACE" in codes:
        impulses = paced(rng, record)
    elif "3AVB" in codes:
        impulses = third_degree_block(rng, record)
    elif "2AVB" in codes:
        impulses = second_degree_block(rng, record)
    elif "AFIB" in codes:
        impulses = fibrillation(rng, record)
    elif "AFLT" in codes:
        impulses = flutter(rng, record)
    elif "PSVT" in codes or "SVTAC" in codes:
        impulses = supraventricular_tachycardia(rng, record)
    else:
        impulses = sinus(rng, record)
    return ventricular_beats(rng, record, impulses).sorted()


def _alike(p: np.ndarray, qrs: np.ndarray, kind: str) -> Impulses:
    return Impulses(p, qrs, np.full(len(p), kind, dtype=object))


def _join(first: Impulses, second: Impulses) -> Impulses:
    p, qrs, kind = (np.concatenate([getattr(first, name), getattr(second, name)]) for name in ("p", "qrs", "kind"))
    return Impulses(p, qrs, kind, first.cycle)


def _pr(rng: np.random.Generator, intervals: Intervals, n: int) -> np.ndarray:
    return (intervals.pr + VALUE["beat_pr_sd_ms"] * rng.standard_normal(n).clip(-2, 2)) / 1000


def sinus(rng: np.random.Generator, record: Setting) -> Impulses:
    """Every sinus impulse is conducted; an atrial premature beat comes early and sets the sinus node back."""
    rr = sinus_rr(rng, record.intervals.rate, record.codes, record.age, record.seconds)
    kind = np.full(len(rr), "N", dtype=object)
    for early in _premature_atrial(rng, record.codes, len(rr), record.seconds):
        rr[early] *= VALUE["pac_early"] * np.exp(0.1 * rng.standard_normal())
        rr[early] = max(rr[early], VALUE["refractory_ms"] / 1000)  # sooner, the ventricles would not answer
        rr[early + 1] *= VALUE["pac_pause"]
        kind[early] = "A"
    p = start(rng, rr)
    return Impulses(p, p + _pr(rng, record.intervals, len(p)), kind)


def _premature_atrial(rng: np.random.Generator, codes: Collection[str], n: int, seconds: float) -> np.ndarray:
    """Return which of `n` beats are atrial premature beats; never two in a row."""
    if demands(codes, "every"):
        return np.array([], dtype=int) if _ventricular(codes) else _each_nth(rng, codes, n)
    if not demands(codes, "premature") or (_ventricular(codes) and not {"PAC", "SVARR"} & set(codes)):
        return np.array([], dtype=int)
    return _some(rng, drawn(codes, "premature", 0, 0.8, rng.standard_normal()), n, seconds)


def _ventricular(codes: Collection[str]) -> bool:
    """Tell whether premature beats come from the ventricles: PVC is said, or a pattern of unknown origin."""
    return "PVC" in codes or (demands(codes, "every") and "PAC" not in codes)


def _each_nth(rng: np.random.Generator, codes: Collection[str], n: int) -> np.ndarray:
    every = int(drawn(codes, "every", 0, 0, 0))
    return np.arange(rng.integers(1, every + 1), n - 1, every)


def _some(rng: np.random.Generator, per_ten_seconds: float, n: int, seconds: float) -> np.ndarray:
    """Return about so many of `n` beats, none next to another, at least one well inside the record."""
    inside = np.arange(BEFORE + 1, max(n - 5, BEFORE + 3))
    wanted = min(max(1, round(per_ten_seconds * seconds / 10)), (len(inside) + 1) // 2)
    gaps = np.sort(rng.choice(len(inside) - wanted + 1, wanted, replace=False)) + np.arange(wanted)
    return inside[gaps]


def ventricular_beats(rng: np.random.Generator, record: Setting, impulses: Impulses) -> Impulses:
    """Add ventricular premature beats; impulses that find the ventricles refractory are blocked.

    This makes the compensatory pause: the sinus node goes on undisturbed, but its next impulse comes to nothing.
    """
    if not _ventricular(record.codes):
        return impulses
    present = ~np.isnan(impulses.qrs)
    qrs, kind = impulses.qrs[present], impulses.kind[present]
    if demands(record.codes, "every"):
        chosen = _each_nth(rng, record.codes, len(qrs))
    else:
        free = np.flatnonzero(kind != "A")
        chosen = free[_some(rng, drawn(record.codes, "ectopic", 0, 0.8, rng.standard_normal()), len(free),
                            record.seconds)]  # fmt: skip
    chosen = chosen[chosen > 0]
    before, after = qrs[chosen - 1], qrs[chosen]
    coupling = VALUE["pvc_coupling"] * (after - before) * np.exp(0.04 * rng.standard_normal(len(chosen)))
    ectopic = before + np.minimum(np.maximum(coupling, VALUE["pvc_earliest_ms"] / 1000), after - before - 0.05)
    refractory = ((impulses.qrs[:, None] > ectopic) &
                  (impulses.qrs[:, None] < ectopic + VALUE["refractory_ms"] / 1000)).any(axis=1)  # fmt: skip
    refractory |= np.isin(impulses.qrs, after)
    kind = np.where(refractory, "blocked P", impulses.kind)
    shown = ~refractory | ~np.isnan(impulses.p)  # in fibrillation there is no P wave to be blocked
    conducted = Impulses(impulses.p[shown], np.where(refractory, np.nan, impulses.qrs)[shown], kind[shown],
                         impulses.cycle)  # fmt: skip
    return _join(conducted, _alike(np.full(len(ectopic), np.nan), ectopic, "V"))


def fibrillation(rng: np.random.Generator, record: Setting) -> Impulses:
    """The ventricles are hit at random; there is no P wave."""
    qrs = start(rng, fibrillating_rr(rng, record.intervals.rate, record.seconds))
    return _alike(np.full(len(qrs), np.nan), qrs, "N")


def flutter(rng: np.random.Generator, record: Setting) -> Impulses:
    """Every second, third or fourth flutter wave is conducted; saw teeth instead of P waves."""
    cycle = 1 / drawn(record.codes, "f_rate", 0, 0.3, rng.standard_normal())
    usual = int(np.clip(round(60 / record.intervals.rate / cycle), 2, 4))
    steady = rng.random() < VALUE["flutter_steady_share"]
    ratios = np.full(60 + int(record.seconds / cycle / 2), usual)
    if not steady:
        ratios += rng.choice([-1, 0, 0, 1], len(ratios))
    qrs = np.cumsum(ratios.clip(2, 5) * cycle) - cycle * (3 + 4 * rng.random())
    qrs = qrs[qrs < record.seconds + 2]
    return replace(_alike(np.full(len(qrs), np.nan), qrs, "N"), cycle=cycle)


def supraventricular_tachycardia(rng: np.random.Generator, record: Setting) -> Impulses:
    """A circuit beats fast and evenly; P waves hide in QRS. PSVT begins or ends within the record."""
    mean = 60 / record.intervals.rate
    qrs = start(rng, mean * (1 + 0.008 * rng.standard_normal(beat_count(mean, record.seconds))))
    attack = _alike(np.full(len(qrs), np.nan), qrs, "N")
    if "PSVT" not in record.codes:
        return attack
    change = record.seconds * rng.uniform(0.35, 0.65)
    calm = replace(record.intervals, rate=rng.uniform(68, 92), pr=min(record.intervals.pr, 190))
    rest = sinus(rng, replace(record, codes=(), intervals=calm))
    begins = rng.random() < VALUE["psvt_begins_share"]
    keep = attack.qrs > change if begins else attack.qrs < change
    edge = attack.qrs[keep][0] - 0.4 if begins else attack.qrs[keep][-1] + 0.75
    resting = rest.qrs < edge if begins else rest.p > edge
    return _join(Impulses(attack.p[keep], attack.qrs[keep], attack.kind[keep]),
                 Impulses(rest.p[resting], rest.qrs[resting], rest.kind[resting])).sorted()  # fmt: skip


def second_degree_block(rng: np.random.Generator, record: Setting) -> Impulses:
    """Wenckebach: PR grows until a P wave is blocked. Mobitz II: PR stays, and one P in n is blocked.

    With one P in two blocked the two cannot be told apart.
    """
    p = start(rng, sinus_rr(rng, record.intervals.rate, (), record.age, record.seconds))
    cycle = round(drawn(record.codes, "drop", 0, 1, rng.standard_normal()))
    place = (np.arange(len(p)) + rng.integers(cycle)) % cycle  # of the P wave in its group; the last is blocked
    pr = _pr(rng, record.intervals, len(p))
    if rng.random() < VALUE["wenckebach_share"]:
        pr = pr + VALUE["wenckebach_ms"] / 1000 * (1 - np.exp(-0.6 * place))  # PR grows most at first
    blocked = place == cycle - 1
    return Impulses(p, np.where(blocked, np.nan, p + pr), np.where(blocked, "blocked P", "N").astype(object))


def third_degree_block(rng: np.random.Generator, record: Setting) -> Impulses:
    """No impulse passes: the atria beat for themselves, and below the block an escape rhythm does, slower."""
    rate = drawn(record.codes, "escape_rate", 0, 6, rng.standard_normal())
    mean = 60 / rate
    qrs = start(rng, mean * (1 + 0.01 * rng.standard_normal(beat_count(mean, record.seconds))))
    escape = _alike(np.full(len(qrs), np.nan), qrs, "escape")
    return escape if "AFIB" in record.codes else _join(_atria(rng, record), escape)


def _atria(rng: np.random.Generator, record: Setting) -> Impulses:
    p = start(rng, sinus_rr(rng, record.intervals.rate, (), record.age, record.seconds))
    return _alike(p, np.full(len(p), np.nan), "blocked P")


def paced(rng: np.random.Generator, record: Setting) -> Impulses:
    """A pacemaker drives the ventricles: after each P wave, or, in fibrillation and by chance, on its own."""
    mean = 60 / drawn(record.codes, "paced_rate", 0, 4, rng.standard_normal())
    quivering = "AFIB" in record.codes or "AFLT" in record.codes
    if rng.random() < VALUE["vvi_share"] or quivering:
        qrs = start(rng, np.full(beat_count(mean, record.seconds), mean))
        alone = _alike(np.full(len(qrs), np.nan), qrs, "paced")
        return alone if quivering else _join(_atria(rng, record), alone)
    p = start(rng, sinus_rr(rng, 60 / mean, (), record.age, record.seconds))
    delay = truncated(rng, VALUE["paced_pr_ms"], 15, 130, 200)
    return _alike(p, p + delay / 1000, "paced")
