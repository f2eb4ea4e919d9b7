"""Does a hand-out say by its bytes what its sheets must not say? A classifier is set on them to find out.

It sees what a curious reader could: the order, the ids, the sizes and the letters of every drawing. Where both arms
are drawn from *one* population of records, hearts cannot tell it anything, so whatever it finds is a leak of the kit.
"""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from ecglib.errors import InputError

LETTERS_OF_A_PATH = "0123456789 -lM"
LEAST_SHEETS, FOLDS, RIDGE = 20, 5, 3.0


def page_features(page: str) -> pd.DataFrame:
    """Return what a reading page shows of each sheet besides its ECG.

    Parameters
    ----------
    page : str
        Text of ``reading.html``.

    Returns
    -------
    DataFrame, one row a sheet, indexed by its id
        Place in the order, the id's letters, bytes of the drawing with and without padding, compressed too, how often
        each character stands in it, and where its curves begin.
    """
    found = re.search(r'<script type="application/json" id="kit">(.*?)</script>', page, re.S)
    if not found:
        raise InputError("page holds no sheets; give the text of a kit's reading.html")
    rows = []
    for place, sheet in enumerate(json.loads(found[1])["sheets"]):
        path = sheet["d"]
        row = {"place": place, "bytes": len(path), "drawn": len(path.rstrip())}
        row["packed"] = len(zlib.compress(path.encode()))
        row |= {f"start {k}": int(y) for k, y in enumerate(re.findall(r"M\d+ (-?\d+)", path))}
        row |= {f"letter {k}": ord(letter) for k, letter in enumerate(sheet["id"])}
        row |= {f"count {letter!r}": path.rstrip().count(letter) for letter in LETTERS_OF_A_PATH}
        rows.append(pd.Series(row, name=sheet["id"]))
    return pd.DataFrame(rows)


def pdf_features(path: Path | str, ids: list[str]) -> pd.DataFrame:
    """Return how many bytes each page of ``sheets.pdf`` takes, packed and unpacked, indexed by `ids` in page order."""
    data = Path(path).read_bytes()
    packed = re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", data, re.S)
    streams = [(len(each), zlib.decompress(each)) for each in packed]
    pages = [(size, len(text)) for size, text in streams if text.count(b" l\n") > 1000]  # lines: a sheet's curves
    if len(pages) != len(ids):
        raise InputError(f"{path} holds {len(pages)} drawings for {len(ids)} sheets")
    return pd.DataFrame(pages, index=ids, columns=["pdf bytes packed", "pdf bytes"])


def hunt(features: pd.DataFrame, synthetic: np.ndarray, *, permutations: int = 999,
         seed: int = 0) -> tuple[float, float]:  # fmt: skip
    r"""Try to tell arms by features that should not know (equation leak-hunt).

    Parameters
    ----------
    features : DataFrame, one row a sheet
        Each ECG once: leave second showings out.
    synthetic : bool (n_sheets,)
        The truth.
    permutations : int
        Of the labels, for the p-value.
    seed : int
        Of folds and permutations.

    Returns
    -------
    auc, p : float
        Mean area under the curve over five folds, and the share of label permutations that do as well, the true labels
        counted among them, so that it is never 0.

    Raises
    ------
    InputError
        If there are fewer than 20 sheets, or they are of one arm.

    Notes
    -----
    .. math:: \hat y = X_\mathrm{test} (X^\top X + \lambda I)^{-1} X^\top y

    where X holds the features' ranks and their squares, and y is ±1 on the training folds. The matrix before y is the
    same for every permutation of the labels, so that a thousand of them cost hardly more than one.
    """
    synthetic = np.asarray(synthetic, bool)
    if len(features) < LEAST_SHEETS or synthetic.all() or not synthetic.any():
        raise InputError(f"features has {len(features)} sheets, {synthetic.sum()} of them synthetic; expected both "
                         f"arms and at least {LEAST_SHEETS} sheets for a hunt")  # fmt: skip
    rng = np.random.default_rng([seed, 16])
    x = np.apply_along_axis(rankdata, 0, features.to_numpy(np.float64)) / len(features) - 0.5
    x = np.concatenate([x, 3 * (x**2 - (x**2).mean(axis=0))], axis=1)  # arms may lie apart in spread, not in level
    labels = np.stack([synthetic, *(rng.permutation(synthetic) for _ in range(permutations))], axis=1)
    fold = np.empty(len(x), int)
    for arm in (synthetic, ~synthetic):
        fold[arm] = rng.permutation(arm.sum()) % FOLDS
    areas = np.nanmean([_areas(x, labels, fold == k) for k in range(FOLDS)], axis=0)
    return float(areas[0]), float((areas >= areas[0] - 1e-12).mean())


def _areas(x: np.ndarray, labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return the area under the curve on one fold, for every column of labels; NaN where it holds one arm only."""
    train = x[~test]
    to_scores = x[test] @ np.linalg.solve(train.T @ train + RIDGE * np.eye(x.shape[1]), train.T)
    ranks = rankdata(to_scores @ np.where(labels[~test], 1.0, -1.0), axis=0)
    truth = labels[test]
    ones = truth.sum(axis=0)
    others = len(truth) - ones
    above = (ranks * truth).sum(axis=0) - ones * (ones + 1) / 2
    return np.divide(above, ones * others, out=np.full(len(ones), np.nan), where=ones * others > 0)
