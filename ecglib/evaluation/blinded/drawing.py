"""One way of drawing for both arms: the same filter, rate and steps, and sheets that differ in nothing but the trace.

Whatever tells a real file from a synthetic one without telling a heart from a network is taken away here: sampling
rate, bandwidth, resolution, rounding of the computed leads, and the number of bytes of a drawing.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from scipy.signal import butter, sosfiltfilt

from ecglib.errors import InputError
from ecglib.figures.sheet import (
    BACKGROUND,
    BASELINES,
    COARSE,
    FINE,
    GAIN,
    LAYOUT,
    PAGE,
    PAPER,
    RHYTHM,
    SPEED,
    TRACE_LEFT,
)  # fmt: skip
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order, to_eight_leads, to_twelve_leads
from ecglib.signals.resample import resample

FS_IN, FS = 100, 250  # Hz: what both arms have at most, and what is drawn: 0.1 mm a sample
BAND_HZ, ORDER = (0.5, 40.0), 2
STEP_MV = 0.005
SECONDS = 10
UNIT = 0.05  # mm: all coordinates of a drawing are whole numbers of it; 5 µV are one, a sample two


def prepare(cohort: Cohort, rows: np.ndarray) -> np.ndarray:
    """Bring records of any cohort into the one form that is drawn.

    Parameters
    ----------
    cohort : Cohort
        At least 100 Hz and 10 s, the eight independent leads or all twelve.
    rows : int (n_records,)
        Which records.

    Returns
    -------
    int32 (n_records, 12, 2500)
        Steps of 5 µV at 250 Hz, each lead's median at 0. Read from the eight independent leads at 100 Hz, filtered
        without shift of phase (0.5–40 Hz), brought to 250 Hz, completed to twelve leads, and rounded last.

    Raises
    ------
    InputError
        If records are too short or too slowly sampled.
    """
    if cohort.fs < FS_IN or cohort.x.shape[2] < SECONDS * cohort.fs:
        raise InputError(f"records have {cohort.x.shape[2] / cohort.fs:g} s at {cohort.fs} Hz; expected at least "
                         f"{SECONDS} s at {FS_IN} Hz for a sheet")  # fmt: skip
    x = np.asarray(cohort.x[np.asarray(rows)], np.float64)[:, :, : SECONDS * cohort.fs]
    x = x[:, lead_order(cohort.leads, LEADS_8 if len(cohort.leads) == 8 else LEADS_12)]
    x = x if len(cohort.leads) == 8 else to_eight_leads(x)
    x = np.asarray(resample(x, cohort.fs, FS_IN), np.float64)
    x = sosfiltfilt(_band(), x, axis=-1, padtype="even", padlen=3 * FS_IN)
    x = to_twelve_leads(np.asarray(resample(x, FS_IN, FS), np.float64))
    steps = np.rint(x / STEP_MV).astype(np.int32)
    return steps - np.median(steps, axis=-1, keepdims=True).astype(np.int32)


@lru_cache(maxsize=1)
def _band() -> np.ndarray:
    return butter(ORDER, BAND_HZ, "bandpass", fs=FS_IN, output="sos")


def trace_path(steps: np.ndarray) -> str:
    """Return the path (SVG's ``d``) of one record's sheet: twelve leads of 2.5 s in three rows, and lead II whole.

    Parameters
    ----------
    steps : int32 (12, 2500)
        As `prepare` gives them.

    Returns
    -------
    str
        Whole units of 0.05 mm on a page of 297 mm × 210 mm; y grows downwards.
    """
    quarter = steps.shape[1] // 4
    parts = [_polyline(steps[LEADS_12.index(lead)], baseline, column * quarter, (column + 1) * quarter)
             for row, baseline in zip(LAYOUT, BASELINES, strict=False) for column, lead in enumerate(row)]  # fmt: skip
    return "".join([*parts, _polyline(steps[LEADS_12.index(RHYTHM)], BASELINES[-1], 0, steps.shape[1])])


def _polyline(steps: np.ndarray, baseline: float, first: int, last: int) -> str:
    up = GAIN * STEP_MV / UNIT  # units a step
    along = SPEED / FS / UNIT  # units a sample
    y = np.rint(up * steps[first : min(last + 1, len(steps))]).astype(int)
    x0, y0 = round(TRACE_LEFT / UNIT + along * first), round((PAGE[1] - baseline) / UNIT) - y[0]
    moves = np.column_stack([np.full(len(y) - 1, round(along)), -np.diff(y)])
    return f"M{x0} {y0}l" + " ".join(map(str, moves.ravel().tolist()))


def equally_long(paths: list[str]) -> list[str]:
    """Return the paths padded with blanks to one length, so that no drawing has more bytes than another."""
    longest = max(map(len, paths))
    return [path.ljust(longest) for path in paths]


def paper_svg() -> str:
    """Return what all sheets share, as SVG elements in units of 0.05 mm: ruled paper, names of leads, 1 mV pulses."""
    left, bottom, width, height = PAPER
    top = PAGE[1] - bottom - height
    lines = "".join(f'<path class="ruled {name}" stroke="{colour}" stroke-width="{thick / UNIT:.1f}" '
                    f'd="{_ruled(step)}"/>'
                    for step, colour, thick, name in ((1, FINE, 0.12, "fine"), (5, COARSE, 0.22, "")))  # fmt: skip
    names = [(TRACE_LEFT + column * SECONDS / 4 * SPEED, baseline, lead)
             for row, baseline in zip(LAYOUT, BASELINES, strict=False) for column, lead in enumerate(row)]  # fmt: skip
    names.append((TRACE_LEFT, BASELINES[-1], RHYTHM))
    labels = "".join(f'<text x="{_units(x + 1)}" y="{_units(PAGE[1] - y - 12)}">{lead}</text>' for x, y, lead in names)
    bars = "".join(f"M{_units(x)} {_units(PAGE[1] - y - 3)}v{_units(6)}" for x, y, _ in names if x > TRACE_LEFT)
    pulses = "".join(f"M{_units(left + 5)} {_units(PAGE[1] - y)}h{_units(2.5)}v{-_units(GAIN)}h{_units(0.2 * SPEED)}"
                     f"v{_units(GAIN)}h{_units(2.5)}" for y in BASELINES)  # fmt: skip
    return (f'<rect x="{_units(left)}" y="{_units(top)}" width="{_units(width)}" height="{_units(height)}" '
            f'fill="{BACKGROUND}"/>{lines}<path class="ink" d="{pulses}{bars}"/>'
            f'<g class="leads">{labels}</g>')  # fmt: skip


def _ruled(step: int) -> str:
    left, bottom, width, height = PAPER
    top = PAGE[1] - bottom - height
    across = "".join(f"M{_units(left + k)} {_units(top)}v{_units(height)}" for k in range(0, round(width) + 1, step))
    return across + "".join(f"M{_units(left)} {_units(top + k)}h{_units(width)}"
                            for k in range(0, round(height) + 1, step))  # fmt: skip


def _units(mm: float) -> int:
    return round(mm / UNIT)
