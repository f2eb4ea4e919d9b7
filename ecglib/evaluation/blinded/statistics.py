r"""The statistics of a reading: shares with exact intervals, d′, area under the curve, equivalence, agreement, power.

A reader who calls a synthetic ECG synthetic scores a *hit*; one who calls a real ECG synthetic, a *false alarm*.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binom, binomtest, norm, rankdata
from scipy.stats import t as student

from ecglib.errors import InputError
from ecglib.evaluation.comparison import NotComputable

LEVEL = 0.95
LEAST_OF_EACH = 5  # ECGs of either kind for an area under the curve
EQUIVALENT = (0.4, 0.6)  # shares of right answers that count as guessing, stated before


class Estimate(NamedTuple):
    """A value with its 95 % interval and how many answers it rests on."""

    value: float
    ci_low: float
    ci_high: float
    n: int


def share(k: int, n: int, level: float = LEVEL) -> Estimate:
    r"""Return k/n with its exact interval (equation exact-binomial).

    Parameters
    ----------
    k, n : int
        How many of how many.
    level : float
        Of the interval.

    Notes
    -----
    .. math:: P(X \ge k \mid p_\mathrm{low}) = P(X \le k \mid p_\mathrm{high}) = \tfrac{1 - 0.95}{2}

    Source: Clopper and Pearson 1934, as ``scipy.stats.binomtest`` computes it.
    """
    if not 0 <= k <= n or n < 1:
        raise InputError(f"k={k} of n={n}; expected 0 ≤ k ≤ n and n ≥ 1")
    low, high = binomtest(int(k), int(n)).proportion_ci(level, method="exact")
    return Estimate(k / n, float(low), float(high), int(n))


def d_prime(hits: int, n_synthetic: int, false_alarms: int, n_real: int) -> Estimate:
    r"""Return how far apart both kinds look to a reader, in standard deviations (equation d-prime).

    Parameters
    ----------
    hits, n_synthetic : int
        Synthetic ECGs called synthetic, of how many.
    false_alarms, n_real : int
        Real ECGs called synthetic, of how many.

    Returns
    -------
    Estimate
        0 for a reader who guesses, whatever he prefers to say; below 0 for one who takes each for the other.

    Notes
    -----
    .. math:: d' = z(H) - z(F), \qquad H = \frac{\text{hits} + \frac12}{n_\mathrm{synthetic} + 1}, \quad
              F = \frac{\text{false alarms} + \frac12}{n_\mathrm{real} + 1}

    where z is the inverse of the normal distribution function. The halves keep shares of 0 and 1 finite (log-linear
    correction). Variance: H(1 − H) / (n φ(z(H))²) + the same of F.

    Source: the correction is Hautus 1995, the variance Gourevitch and Galanter 1967.
    """
    parts = [((k + 0.5) / (n + 1), n) for k, n in ((hits, n_synthetic), (false_alarms, n_real))]
    value = norm.ppf(parts[0][0]) - norm.ppf(parts[1][0])
    error = np.sqrt(sum(p * (1 - p) / (n * norm.pdf(norm.ppf(p)) ** 2) for p, n in parts))
    reach = norm.ppf((1 + LEVEL) / 2) * error
    return Estimate(float(value), float(value - reach), float(value + reach), n_synthetic + n_real)


def criterion(hits: int, n_synthetic: int, false_alarms: int, n_real: int) -> float:
    """Return the reader's leaning: −(z(H) + z(F))/2, above 0 for one who rather says real (equation d-prime).

    z(H) and z(F) are of different ECGs, so half their sum varies half as much as their difference: its interval reaches
    half as far as d′'s.
    """
    h, f = (hits + 0.5) / (n_synthetic + 1), (false_alarms + 0.5) / (n_real + 1)
    return float(-(norm.ppf(h) + norm.ppf(f)) / 2)


def confidence_auc(rating: np.ndarray, synthetic: np.ndarray) -> Estimate:
    r"""Return the area under the curve of signed confidence (equation confidence-auc).

    Parameters
    ----------
    rating : float (n,)
        Confidence 1–5, negative where the answer was real.
    synthetic : bool (n,)
        The truth.

    Returns
    -------
    Estimate
        The chance that a synthetic ECG is rated more synthetic than a real one; 0.5 for guessing. No interval at 0
        or 1, nor where all ratings are tied.

    Raises
    ------
    NotComputable
        If there are fewer than five of a kind.

    Notes
    -----
    .. math:: \mathrm{AUC} = \frac{1}{mn} \sum_{i,j} \bigl( [r_i > r_j] + \tfrac12 [r_i = r_j] \bigr),
              \quad i \text{ synthetic}, j \text{ real}

    Source: interval from the variance of DeLong, DeLong and Clarke-Pearson 1988, on the logit scale, so that it stays
    within 0 and 1.
    """
    rating, synthetic = np.asarray(rating, np.float64), np.asarray(synthetic, bool)
    a, b = rating[synthetic], rating[~synthetic]
    if min(len(a), len(b)) < LEAST_OF_EACH:
        raise NotComputable(f"there are {len(a)} synthetic and {len(b)} real ECGs; {LEAST_OF_EACH} of each are needed")
    # placements: the share of the other kind below (of b: above) each rating, ties counted half
    ranks = rankdata(np.concatenate([a, b]))
    of_a = (ranks[: len(a)] - rankdata(a)) / len(b)
    of_b = 1 - (ranks[len(a) :] - rankdata(b)) / len(a)
    value = float(of_a.mean())
    error = np.sqrt(of_a.var(ddof=1) / len(a) + of_b.var(ddof=1) / len(b))
    if not 0 < value < 1 or error == 0:
        return Estimate(value, np.nan, np.nan, len(rating))
    logit, reach = np.log(value / (1 - value)), norm.ppf((1 + LEVEL) / 2) * error / (value * (1 - value))
    low, high = 1 / (1 + np.exp(-(logit - reach))), 1 / (1 + np.exp(-(logit + reach)))
    return Estimate(value, float(low), float(high), len(rating))


def equivalence_p(k: int, n: int, margins: tuple[float, float] = EQUIVALENT) -> float:
    r"""Return the p-value of the test that the share of right answers lies within the margins (equation equivalence).

    Parameters
    ----------
    k, n : int
        Right answers of how many.
    margins : (float, float)
        What counts as guessing, fixed before the reading.

    Notes
    -----
    .. math:: p = \max\bigl( P(X \ge k \mid p_\mathrm{low}),\; P(X \le k \mid p_\mathrm{high}) \bigr)

    Below 0.05, both "40 % or less" and "60 % or more" are rejected: the 90 % exact interval lies within the margins. A
    test against 50 % that finds nothing shows nothing; this one does.

    Source: two one-sided tests, Schuirmann 1987, with exact binomial tails.
    """
    low, high = margins
    return float(max(binom.sf(k - 1, n, low), binom.cdf(k, n, high)))


def over_readers(right: np.ndarray, synthetic: np.ndarray) -> tuple[Estimate, float]:
    r"""Return the mean over readers, with an interval for other readers *and* other sheets (equation over-readers).

    Parameters
    ----------
    right : float (n_sheets, n_readers)
        1 where the answer was right; at least two readers.
    synthetic : bool (n_sheets,)
        The truth; sheets of one kind, or of both.

    Returns
    -------
    Estimate
        Never narrower than the exact interval of as many independent answers (`share`).
    p : float
        Of the equivalence test with the margins `EQUIVALENT`; never below that of as many independent answers.

    Notes
    -----
    .. math:: \mathrm{Var} = \frac{MS_R + \max(MS_S - MS_E, 0)}{n_\mathrm{readers}\, n_\mathrm{sheets}}, \qquad
              \nu = n_\mathrm{readers} - 1

    with the mean squares of readers, of sheets within their kind, and of the rest, once a reader's leaning to one
    answer (reader by kind) is taken out; the interval is Student's with
    :math:`\nu` degrees of freedom. Answers of several readers to one sheet are not independent, so counting them all
    as one binomial sample would make the interval too narrow. That interval, the exact one, is a lower limit all the
    same: where readers of one skill chance to be right equally often on all sheets, the analysis of variance finds no
    scatter, and its interval has no width. So the two together are returned: what lies between their outer ends.

    Source: the analysis of variance of several readers by Dorfman, Berbaum and Metz 1992, here for one kind of test.
    Differs: as many degrees of freedom as readers less one. More of them (Hillis 2007) left simulated truth outside of
    the interval twice as often as it should, with three or four readers.
    """
    right, synthetic = np.asarray(right, np.float64), np.asarray(synthetic, bool)
    n_sheets, n_readers = right.shape
    kinds = [kind for kind in (synthetic, ~synthetic) if kind.any()]
    of_sheet, of_reader, value = right.mean(axis=1), right.mean(axis=0), right.mean()
    of_kind = sum(np.where(kind, of_sheet[kind].mean(), 0.0) for kind in kinds)
    free = max(n_sheets - len(kinds), 1)
    ms_readers = n_sheets * ((of_reader - value) ** 2).sum() / (n_readers - 1)
    ms_sheets = n_readers * ((of_sheet - of_kind) ** 2).sum() / free
    rest = right - of_sheet[:, None]
    for kind in kinds:  # a reader who leans to one answer is right more often on one kind: that is no scatter
        rest[kind] -= rest[kind].mean(axis=0)
    ms_rest = (rest**2).sum() / (free * (n_readers - 1))
    total = ms_readers + max(ms_sheets - ms_rest, 0.0)
    error = np.sqrt(total / (n_readers * n_sheets))
    reach = student.ppf((1 + LEVEL) / 2, n_readers - 1) * error
    sides = np.array([value - EQUIVALENT[0], EQUIVALENT[1] - value])
    with np.errstate(divide="ignore", invalid="ignore"):
        p = float(student.sf(sides / error, n_readers - 1).max()) if error > 0 else float((sides <= 0).any())
    counted = share(k := round(right.sum()), right.size)
    low, high = min(max(value - reach, 0.0), counted.ci_low), max(min(value + reach, 1.0), counted.ci_high)
    return Estimate(float(value), float(low), float(high), n_sheets), max(p, equivalence_p(k, right.size))


def power(n: int, p: float, level: float = LEVEL) -> float:
    r"""Return the chance that n answers, each right with chance p, differ from guessing (equation power).

    Parameters
    ----------
    n : int
        Answers.
    p : float
        True share of right answers.
    level : float
        One minus the two-sided test's level.

    Notes
    -----
    .. math:: \mathrm{power} = \sum_{k:\, P(X \text{ as far from } n/2 \text{ as } k \,\mid\, \frac12) \le 0.05}
              \binom nk p^k (1 - p)^{n - k}

    Exact: no normal approximation, so it saws up and down with n.
    """
    k = np.arange(n + 1)
    far = np.minimum(1.0, 2 * binom.cdf(np.minimum(k, n - k), n, 0.5)) <= 1 - level + 1e-12
    return float(binom.pmf(k[far], n, p).sum())


def equivalence_power(n: int, p: float = 0.5, margins: tuple[float, float] = EQUIVALENT) -> float:
    """Return the chance that `equivalence_p` falls below 0.05 for n answers, each right with chance p."""
    shown = [k for k in range(n + 1) if equivalence_p(k, n, margins) < 1 - LEVEL]
    return float(binom.pmf(shown, n, p).sum())


def agreement(ratings: np.ndarray, categories: int) -> dict[str, float]:
    r"""Return how far readers agree beyond chance: Fleiss's kappa and Gwet's AC1 (equation agreement).

    Parameters
    ----------
    ratings : int (n_sheets, n_readers)
        Which of q categories, 0 to q − 1, each reader gave each sheet; none missing.
    categories : int
        q: all that could be chosen, whether anybody chose them or not.

    Returns
    -------
    dict
        ``observed`` (share of agreeing pairs of readers), ``fleiss_kappa``, ``gwet_ac1``; 1: full agreement, 0: chance.

    Raises
    ------
    InputError
        If a rating is no category.
    NotComputable
        If there are fewer than two readers, or all gave one and the same category, so that chance alone explains all.

    Notes
    -----
    .. math:: \frac{p_a - p_e}{1 - p_e}, \quad p_e = \sum_c \pi_c^2 \;(\kappa), \quad
              p_e = \frac{1}{q - 1} \sum_c \pi_c (1 - \pi_c) \;(\mathrm{AC1})

    with :math:`p_a` the share of agreeing pairs and :math:`\pi_c` how often category c was given, q categories in
    all. Where one category is given nearly always, kappa falls to 0 however much readers agree; AC1 does not.

    Source: Fleiss 1971; Gwet 2008.
    """
    ratings = np.asarray(ratings)
    n_sheets, n_readers = ratings.shape
    if n_readers < 2:
        raise NotComputable("agreement needs two readers at least")
    if len(np.unique(ratings)) < 2:
        raise NotComputable("all readers gave the same answer to every sheet")
    if not np.isin(ratings, np.arange(categories)).all():
        raise InputError(f"ratings hold {np.unique(ratings)}; expected whole numbers from 0 to {categories - 1}")
    counts = (ratings[:, :, None] == np.arange(categories)).sum(axis=1)  # (n_sheets, q)
    observed = float((counts * (counts - 1)).sum() / (n_sheets * n_readers * (n_readers - 1)))
    often = counts.mean(axis=0) / n_readers
    by_chance = {"fleiss_kappa": (often**2).sum(), "gwet_ac1": (often * (1 - often)).sum() / (categories - 1)}
    return {"observed": observed, **{name: float((observed - e) / (1 - e)) for name, e in by_chance.items()}}
