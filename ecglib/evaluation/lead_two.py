r"""What lead II alone says of the rhythm: intervals between beats, regularity of the signal, P waves, f waves.

The second paper reads sinus rhythm and atrial fibrillation off lead II. A fibrillating atrium gives irregular beats, no
P wave before them, and small f waves of 4 to 9 Hz instead; each of these is one number here.
"""

from __future__ import annotations

import numpy as np
from scipy.signal import butter, sosfiltfilt, welch
from scipy.spatial import cKDTree

from ecglib.errors import InputError
from ecglib.signals.beats import find_beats
from ecglib.signals.cohort import Cohort
from ecglib.signals.leads import LEADS_8, LEADS_12, to_twelve_leads
from ecglib.signals.resample import resample

FEATURES = ("sdnn_ms", "rmssd_ms", "rr_cv", "rmssd_over_rr", "sample_entropy", "template_correlation", "p_correlation",
            "f_wave_share")  # fmt: skip
FS = 100  # Hz, at which all of this is measured
LEAST_BEATS = 4
BEAT_S, P_S, QRS_S = (-0.25, 0.40), (-0.24, -0.06), (-0.08, 0.08)  # around R
F_HZ, ALL_HZ = (4.0, 9.0), (0.5, 40.0)


def lead_two_features(cohort: Cohort) -> np.ndarray:
    """Measure lead II of every record.

    Parameters
    ----------
    cohort : Cohort
        Twelve leads, or the eight that lead II follows from.

    Returns
    -------
    float64 (n_records, 8)
        `FEATURES`: SDNN and RMSSD in ms; the R–R intervals' coefficient of variation, and RMSSD over the mean R–R
        interval; sample entropy of the signal; mean correlation of beats with their median beat, and of the stretches
        before QRS with their median (P waves, if there are any); share of 4–9 Hz in the power that is left between
        0.5 and 40 Hz when the median beat is taken from each beat (f waves). NaN where there are fewer than four beats;
        sample entropy also where no stretch of the signal comes back.

    Raises
    ------
    InputError
        If the cohort has neither lead II nor I and aVF, or less than 100 Hz.

    Notes
    -----
    Source: the second paper selects by SDNN, RMSSD, sample entropy and template correlation in lead II; its parameters
    of the last two are not known to us, so `sample_entropy` has its usual ones (m = 2, r = 0.2 SD). P correlation and
    f waves are this project's additions. Equation: sample-entropy.
    """
    return np.array([_features(signal) for signal in lead_two(cohort)]).reshape(-1, len(FEATURES))


def lead_two(cohort: Cohort) -> np.ndarray:
    """Return lead II of every record in mV, float64 (n_records, L), at 100 Hz, 0.5 to 40 Hz."""
    if cohort.fs < FS:
        raise InputError(f"records have {cohort.fs} Hz; expected at least {FS} Hz")
    if "II" in cohort.leads:
        x = np.asarray(cohort.x[:], np.float64)[:, cohort.leads.index("II")]
    elif cohort.leads == LEADS_8:
        x = to_twelve_leads(np.asarray(cohort.x[:], np.float64))[:, LEADS_12.index("II")]
    else:
        raise InputError(f"records have leads {', '.join(cohort.leads)}; expected II, or the eight independent ones")
    band = butter(2, ALL_HZ, "bandpass", fs=FS, output="sos")
    return sosfiltfilt(band, np.asarray(resample(x, cohort.fs, FS), np.float64), axis=-1)


def _features(signal: np.ndarray) -> list[float]:
    r = np.rint(find_beats(signal[None], FS) * FS).astype(int)
    if len(r) < LEAST_BEATS:
        return [np.nan] * len(FEATURES)
    r = _aligned(signal, r)
    rr = 1e3 * np.diff(r) / FS
    rmssd = float(np.sqrt(np.mean(np.diff(rr) ** 2)))
    sdnn = float(rr.std(ddof=1))
    return [sdnn, rmssd, sdnn / rr.mean(), rmssd / rr.mean(), sample_entropy(signal), _likeness(signal, r, BEAT_S),
            _likeness(signal, r, P_S), _f_wave_share(signal, r)]  # fmt: skip


def _aligned(signal: np.ndarray, r: np.ndarray) -> np.ndarray:
    """Move each beat by up to 40 ms to where its QRS complex fits the median one best."""
    median = np.median(_stretches(signal, r, QRS_S), axis=0)
    fit = np.correlate(signal, median - median.mean(), mode="full")[len(median) - 1 + round(QRS_S[0] * FS) :]
    moves = np.arange(-4, 5)
    places = (r[:, None] + moves).clip(0, len(fit) - 1)
    return r + moves[fit[places].argmax(axis=1)]


def sample_entropy(signal: np.ndarray, m: int = 2, r: float = 0.2) -> float:
    r"""Return the sample entropy of a signal (equation sample-entropy).

    Parameters
    ----------
    signal : float (L,)
        Any unit.
    m : int
        Length of the stretches compared.
    r : float
        How near two stretches lie to count as alike, in standard deviations of the signal.

    Returns
    -------
    float
        0 for a signal that repeats itself; 2.19 for white noise. NaN if no two stretches are alike, or it is flat.

    Notes
    -----
    .. math:: -\ln \frac{\#\{i \ne j:\, \max_{k \le m} |x_{i+k} - x_{j+k}| < r\,\mathrm{SD}\}}
              {\#\{i \ne j:\, \max_{k < m} |x_{i+k} - x_{j+k}| < r\,\mathrm{SD}\}}

    Source: Richman and Moorman 2000.
    """
    signal = np.asarray(signal, np.float64)
    n = len(signal) - m  # stretches that can be one longer
    near = r * signal.std() if n > 0 else 0.0
    if n < 2 or near == 0:
        return np.nan
    stretches = np.column_stack([signal[k : k + n] for k in range(m + 1)])
    trees = (cKDTree(stretches[:, :m]), cKDTree(stretches))
    short, long = (tree.count_neighbors(tree, near, p=np.inf) - n for tree in trees)
    return float(-np.log(long / short)) if long > 0 else np.nan


def _likeness(signal: np.ndarray, r: np.ndarray, window_s: tuple[float, float]) -> float:
    """Return the mean correlation of stretches around R with their median."""
    stretches = _stretches(signal, r, window_s)
    median = np.median(stretches, axis=0)
    a = stretches - stretches.mean(axis=1, keepdims=True)
    b = median - median.mean()
    scale = np.sqrt((a**2).sum(axis=1) * (b**2).sum())
    return float((a[scale > 0] @ b / scale[scale > 0]).mean()) if (scale > 0).any() else np.nan


def _stretches(signal: np.ndarray, r: np.ndarray, window_s: tuple[float, float]) -> np.ndarray:
    first, last = (round(at * FS) for at in window_s)
    whole = r[(r + first >= 0) & (r + last <= len(signal))]
    return signal[whole[:, None] + np.arange(first, last)]


def _f_wave_share(signal: np.ndarray, r: np.ndarray) -> float:
    first, last = (round(at * FS) for at in BEAT_S)
    median, rest = np.median(_stretches(signal, r, BEAT_S), axis=0), signal.copy()
    for k, at in enumerate(r):
        begin, end = max(at + first, 0), min(at + last, len(signal))
        if k + 1 < len(r):
            end = min(end, r[k + 1] + first)  # where beats crowd, the later one's P wave is its own
        rest[begin:end] -= median[begin - at - first : end - at - first]
    frequency, power = welch(rest, FS, nperseg=min(256, len(rest)))
    every, f_waves = (power[(frequency >= low) & (frequency <= high)].sum() for low, high in (ALL_HZ, F_HZ))
    return float(f_waves / every) if every > 0 else np.nan
