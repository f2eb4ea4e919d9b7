"""From forms and key to a table: each reader, and all of them, with intervals; then a figure."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ecglib.errors import InputError
from ecglib.evaluation.blinded.forms import ANSWERS, CHOICES, read_forms, read_key
from ecglib.evaluation.blinded.statistics import (
    EQUIVALENT,
    Estimate,
    agreement,
    confidence_auc,
    criterion,
    d_prime,
    equivalence_p,
    over_readers,
    share,
)  # fmt: skip
from ecglib.evaluation.comparison import NotComputable
from ecglib.runs import MANIFEST, atomic_file, sha256_of, write_manifest, write_text

COLUMNS = ["quantity", "reader", "value", "ci_low", "ci_high", "n", "reason"]
ALL = "all readers"
DRAWS = 500
LEAST_READERS = 3  # below it, readers cannot stand for others


def analyse(forms: pd.DataFrame, *, seed: int = 0, draws: int = DRAWS) -> pd.DataFrame:
    """Analyse complete forms.

    Parameters
    ----------
    forms : DataFrame
        Of `read_forms`: complete, of one kit.
    seed : int
        Of the bootstrap over sheets.
    draws : int
        Of that bootstrap.

    Returns
    -------
    DataFrame, one row a quantity and reader
        ``quantity``, ``reader``, ``value``, ``ci_low``, ``ci_high`` (95 %), ``n``, ``reason``. Each reader has
        ``accuracy``, ``sensitivity`` (synthetic called synthetic), ``specificity`` (real called real), ``d_prime``,
        ``criterion``, ``confidence_auc``, ``equivalence_p``, and ``consistency`` on sheets shown twice, whose second
        showing counts nowhere else. All readers together have mean accuracy, sensitivity and specificity, an
        equivalence p, and agreement: ``observed``, ``fleiss_kappa``, ``gwet_ac1``, of the answers and (``rhythm_…``) of
        the rhythms. What cannot be computed is NaN, with its reason.

    Notes
    -----
    A reader's own intervals are about other sheets for the same reader. Those of the mean over readers are about other
    sheets *and* other readers (`over_readers`). Agreement is that of these readers: its interval draws sheets again.
    """
    first = forms[forms["repeat_of"] == ""]
    rows = []
    for reader, answers in first.groupby("reader", sort=False):
        rows += _of_reader(str(reader), answers, forms[forms["reader"] == reader])
    rows += _of_all(first, np.random.default_rng([seed, 15]), draws)
    return pd.DataFrame(rows, columns=COLUMNS)


def _row(quantity: str, reader: str, estimate: Estimate, reason: str = "") -> dict[str, object]:
    return {"quantity": quantity, "reader": reader, **estimate._asdict(), "reason": reason}


def _absent(quantity: str, reader: str, n: int, why: object) -> dict[str, object]:
    return _row(quantity, reader, Estimate(np.nan, np.nan, np.nan, n), f"not computed because {why}")


def _of_reader(reader: str, answers: pd.DataFrame, all_sheets: pd.DataFrame) -> list[dict[str, object]]:
    synthetic = (answers["arm"] == "synthetic").to_numpy()
    said = (answers["answer"] == "synthetic").to_numpy()
    n, right = len(answers), int((said == synthetic).sum())
    counts = tuple(int(each.sum()) for each in (said & synthetic, synthetic, said & ~synthetic, ~synthetic))
    skill, leaning = d_prime(*counts), criterion(*counts)
    reach = (skill.ci_high - skill.ci_low) / 4  # half of d′'s
    rows = [_row("accuracy", reader, share(right, n)), _row("sensitivity", reader, share(*counts[:2])),
            _row("specificity", reader, share(counts[3] - counts[2], counts[3])),
            _row("d_prime", reader, skill),
            _row("criterion", reader, Estimate(leaning, leaning - reach, leaning + reach, n))]  # fmt: skip
    try:
        rating = answers["confidence"].to_numpy() * np.where(said, 1, -1)
        area = confidence_auc(rating, synthetic)
        without = "no interval at 0 or 1" if area.value in (0, 1) else "no interval: all ratings are tied"
        rows.append(_row("confidence_auc", reader, area, without if np.isnan(area.ci_low) else ""))
    except NotComputable as why:
        rows.append(_absent("confidence_auc", reader, n, why))
    p = equivalence_p(right, n)
    rows.append(_row("equivalence_p", reader, Estimate(p, np.nan, np.nan, n), _verdict(p)))
    again = all_sheets[all_sheets["repeat_of"] != ""]
    before = all_sheets.set_index("sheet")["answer"].reindex(again["repeat_of"]).to_numpy()
    same = int((again["answer"].to_numpy() == before).sum())
    rows.append(_row("consistency", reader, share(same, len(again))) if len(again)
                else _absent("consistency", reader, 0, "no sheet was shown twice"))  # fmt: skip
    return rows


def _verdict(p: float) -> str:
    low, high = (round(100 * margin) for margin in EQUIVALENT)
    return f"within {low}–{high} %: {'shown' if p < 0.05 else 'not shown'} at the 5 % level"


def _of_all(first: pd.DataFrame, rng: np.random.Generator, draws: int) -> list[dict[str, object]]:
    wide = {field: first.pivot(index="sheet", columns="reader", values=field) for field in ("answer", "rhythm")}
    arm = first.drop_duplicates("sheet").set_index("sheet")["arm"]
    synthetic = (arm[wide["answer"].index] == "synthetic").to_numpy()
    right = (wide["answer"].to_numpy() == np.where(synthetic, *ANSWERS[::-1])[:, None]).astype(float)
    n_sheets, n_readers = right.shape
    rows = []
    parts = {"accuracy": np.ones(n_sheets, bool), "sensitivity": synthetic, "specificity": ~synthetic}
    for name, sheets in parts.items():
        if n_readers < LEAST_READERS:
            alone = Estimate(float(right[sheets].mean()), np.nan, np.nan, int(sheets.sum()))
            rows.append(_row(name, ALL, alone, f"no interval: {n_readers} readers cannot stand for others"))
            continue
        estimate, p = over_readers(right[sheets], synthetic[sheets])
        rows.append(_row(name, ALL, estimate))
        if name == "accuracy":
            rows.append(_row("equivalence_p", ALL, Estimate(p, np.nan, np.nan, n_sheets), _verdict(p)))
    for field, prefix in (("answer", ""), ("rhythm", "rhythm_")):
        codes = wide[field].apply(lambda column, names=CHOICES[field]: column.map(names.index)).to_numpy(int)
        rows += _agreements(codes, len(CHOICES[field]), prefix, rng, draws)
    return rows


def _agreements(codes: np.ndarray, categories: int, prefix: str, rng: np.random.Generator, draws: int
                ) -> list[dict[str, object]]:  # fmt: skip
    names = ("observed", "fleiss_kappa", "gwet_ac1")
    try:
        values = agreement(codes, categories)
    except NotComputable as why:
        return [_absent(prefix + name, ALL, len(codes), why) for name in names]
    drawn = []
    for _ in range(draws):
        try:
            some = codes[rng.integers(0, len(codes), len(codes))]
            drawn.append(list(agreement(some, categories).values()))
        except NotComputable:  # a draw of sheets on which all agree on one category: no value, and counted below
            continue
    if len(drawn) < 0.9 * (draws):
        return [_row(prefix + name, ALL, Estimate(values[name], np.nan, np.nan, len(codes)),
                     "no interval: it could be computed in too few draws") for name in names]  # fmt: skip
    low, high = np.quantile(drawn, [0.025, 0.975], axis=0)
    return [_row(prefix + name, ALL, Estimate(values[name], low[k], high[k], len(codes)))
            for k, name in enumerate(names)]  # fmt: skip


def unblind(forms: Path | str, key: Path | str, folder: Path | str, *, seed: int = 0) -> pd.DataFrame:
    """Read forms and key, analyse them, and write the results: once, as the sealed protocol says.

    Parameters
    ----------
    forms : path
        Folder of the readers' CSV files.
    key : path
        ``key.json`` of the kit.
    folder : path
        ``analysis.csv``, ``answers.csv`` (every answer beside the truth), ``analysis.png`` and the manifest go there.
    seed : int
        Of `analyse`.

    Raises
    ------
    InputError
        As `read_forms` and `read_key` raise it, or if `folder` holds a finished analysis; nothing is written then.
    """
    from ecglib.figures import reading_plot

    folder = Path(folder)
    if (folder / MANIFEST).exists():
        raise InputError(f"{folder} holds a finished analysis, and the protocol allows one; if another is due, say why "
                         "when you publish it, and move this one away first")  # fmt: skip
    opened = read_key(key)
    answers = read_forms(forms, opened)
    table = analyse(answers, seed=seed)
    for name, content in (("analysis.csv", table), ("answers.csv", answers)):
        with atomic_file(folder / name) as path:
            content.to_csv(path, index=False)
    with atomic_file(folder / "analysis.png") as path:
        reading_plot(table).savefig(path, metadata={"Software": "ecglib"}, format="png")
    write_text(folder / "SEAL.txt", opened.seal + "\n")
    digests = {path.name: sha256_of(path) for path in sorted(Path(forms).glob("*.csv"))}
    write_manifest(folder, "evaluation", seal=opened.seal, seed=seed, forms=digests)
    return table
