r"""Sample entropy: how rarely a stretch that repeats goes on to repeat.

.. math:: \mathrm{SampEn}(m, r) = -\ln \frac{A}{B}, \quad
          B = \#\{i < j : \max_{k < m} |x_{i+k} - x_{j+k}| \le r\}, \quad A \text{ the same with } m + 1
"""

from __future__ import annotations

import numpy as np
from scipy.spatial.distance import pdist

LEAST_MATCHES = 5  # of length m + 1, for the coefficient to mean something
STEP = 1.2  # by which the tolerance grows until there are so many


def sample_entropy(x: np.ndarray, m: int = 2, r: float = 0.2) -> float:
    """Return the sample entropy of a signal (equation sample-entropy).

    Parameters
    ----------
    x : float (L,)
    m : int
        Length of the stretches compared.
    r : float
        Tolerance, in standard deviations of x.

    Returns
    -------
    float
        0 and more; NaN for a flat signal, for one of m samples or fewer, or where nothing repeats.

    Notes
    -----
    Source: Richman and Moorman, Am J Physiol Heart Circ Physiol 278:H2039–H2049, 2000.
    """
    x = np.asarray(x, np.float64)
    longer, shorter = _matches(x, m, r * x.std()) if len(x) > m and x.std() > 0 else (0, 0)
    return float(-np.log(longer / shorter)) if longer else np.nan


def entropy_coefficient(rr: np.ndarray) -> float:
    r"""Return the coefficient of sample entropy of R–R intervals, made for telling fibrillation in a dozen beats.

    Parameters
    ----------
    rr : float (n_intervals,)
        In s.

    Returns
    -------
    float
        High in fibrillation, low in sinus rhythm; NaN below six intervals.

    Notes
    -----
    .. math:: \mathrm{COSEn} = \mathrm{SampEn}(1, r) + \ln(2 r) - \ln \overline{RR}

    with r, in seconds, grown until at least five pairs match. Source: Lake and Moorman, Am J Physiol Heart Circ
    Physiol 300:H319–H325, 2011. Equation: sample-entropy.
    """
    rr = np.asarray(rr, np.float64)
    if len(rr) < LEAST_MATCHES + 1:
        return np.nan
    tolerance = 0.005
    longer, shorter = _matches(rr, 1, tolerance)
    while longer < LEAST_MATCHES:
        tolerance *= STEP
        longer, shorter = _matches(rr, 1, tolerance)
    return float(-np.log(longer / shorter) + np.log(2 * tolerance) - np.log(rr.mean()))


def _matches(x: np.ndarray, m: int, tolerance: float) -> tuple[int, int]:
    """Count pairs of stretches of length m + 1, and of length m, that stay within a tolerance; of the same starts."""
    stretches = np.lib.stride_tricks.sliding_window_view(x, m + 1)
    longer, shorter = (int((pdist(part, "chebyshev") <= tolerance).sum()) for part in (stretches, stretches[:, :m]))
    return longer, shorter
