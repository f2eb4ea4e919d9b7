"""The kit: a folder to hand to physicians, and, apart from it, the key that stays sealed until their forms are in."""

from __future__ import annotations

import html
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.patches import Rectangle
from tqdm import tqdm

from ecglib.errors import InputError
from ecglib.evaluation.blinded.drawing import FS, STEP_MV, equally_long, paper_svg, prepare, trace_path
from ecglib.evaluation.blinded.forms import CHOICES, FIELDS, QUALITIES, RHYTHMS, write_form, write_key
from ecglib.evaluation.blinded.plan import ARMS, draw_plan, new_secret
from ecglib.evaluation.blinded.statistics import EQUIVALENT, equivalence_power, power
from ecglib.evaluation.checks import check_alike, check_role
from ecglib.figures import Figure, ecg_sheet
from ecglib.figures.sheet import PAGE, PAPER
from ecglib.figures.style import INK
from ecglib.runs import atomic_folder, sha256_of, write_manifest, write_text
from ecglib.signals.cohort import Cohort

HAND_OUT, KEY = "hand-out", "key/key.json"
PDF_METADATA = {"Title": "ECG sheets", "Creator": None, "Producer": None, "CreationDate": None}


def write_kit(real: Cohort, synthetic: Cohort, folder: Path | str, *, n: int = 100, secret: str | None = None,
              progress: bool = True) -> pd.DataFrame:  # fmt: skip
    """Write a blinded reading.

    Parameters
    ----------
    real, synthetic : Cohort
        What the sheets are drawn from: alike in rate, leads and length.
    folder : path
        Must not hold anything yet: a kit that was handed out is never replaced. In it, ``hand-out`` is for the
        readers: ``reading.html`` (one page, works without a network), ``sheets.pdf`` (to print), ``information.html``,
        ``protocol.html``, ``form.csv`` (for answers given on paper) and ``SEAL.txt``. ``key/key.json`` is not.
    n : int
        Different ECGs, an even number; a tenth of them is shown twice.
    secret : str, optional
        Hexadecimal; drawn from the operating system where not given, as it must be for a real study.
    progress : bool
        Whether to show a bar while sheets are drawn.

    Returns
    -------
    DataFrame
        The plan, of `draw_plan`: not for readers.

    Raises
    ------
    InputError
        If the cohorts do not fit together, `n` is odd or too large, the secret is not hexadecimal, or `folder` is not
        empty.
    """
    folder = Path(folder)
    for cohort, role in ((real, "real"), (synthetic, "synthetic")):
        check_role(cohort, role)
    check_alike(real, synthetic, "synthetic")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} holds something already, perhaps a kit that readers have in hand; move it away "
                         "to make another")  # fmt: skip
    secret = new_secret() if secret is None else secret
    plan = draw_plan(real, synthetic, n, secret)
    steps = prepare_plan(plan, real, synthetic)
    with atomic_folder(folder) as temporary:
        seal = write_key(temporary / KEY, plan, secret)
        hand_out = temporary / HAND_OUT
        ids = list(plan["sheet"])
        write_text(hand_out / "reading.html", reading_page(ids, steps, seal))
        _write_pdf(hand_out / "sheets.pdf", ids, steps, progress)
        facts = _facts(plan, seal) | {"real": html.escape(real.source), "synthetic": html.escape(synthetic.source)}
        for name in ("information.html", "protocol.html"):
            write_text(hand_out / name, _filled(name, style=_page("paper.css"), **facts))
        write_form(hand_out / "form.csv", seal, "", plan[["sheet"]])
        write_text(hand_out / "SEAL.txt", f"SHA-256 of the key of this reading:\n{seal}\n")
        digests = {str(p.relative_to(temporary)): sha256_of(p) for p in sorted(temporary.rglob("*")) if p.is_file()}
        write_manifest(temporary, "blinded", n=n, sha256=digests, sources=[real.source, synthetic.source])
    return plan


def prepare_plan(plan: pd.DataFrame, real: Cohort, synthetic: Cohort) -> np.ndarray:
    """Return what the plan's sheets draw, int32 (n_sheets, 12, 2500), in its order: both arms by `prepare`."""
    cohorts = dict(zip(ARMS, (real, synthetic), strict=True))
    steps = [prepare(cohorts[arm], np.array([row])) for arm, row in zip(plan["arm"], plan["row"], strict=True)]
    return np.concatenate(steps)


def reading_page(ids: list[str], steps: np.ndarray, seal: str) -> str:
    """Return the one page on which all sheets are read: HTML, style, script and sheets in one file.

    Parameters
    ----------
    ids : list of str
        Names of the sheets, in their order.
    steps : int (n_sheets, 12, 2500)
        As `prepare` gives them.
    seal : str
        Under which the browser keeps the answers, and which every exported row carries.
    """
    left, bottom, width, height = PAPER
    box = " ".join(str(round(20 * mm)) for mm in (left, PAGE[1] - bottom - height, width, height))
    paths = equally_long([trace_path(record) for record in steps])
    data = {"seal": seal, "fields": FIELDS, "sheets": [{"id": i, "d": d} for i, d in zip(ids, paths, strict=True)]}
    return _filled("reading.html", style=_page("reading.css"), script=_page("reading.js"), box=box, paper=paper_svg(),
                   ink=INK, kit=json.dumps(data).replace("</", "<\\/"), rhythms=_options(RHYTHMS),
                   shown=str(len(ids)))  # fmt: skip


def _options(values: tuple[str, ...]) -> str:
    return "".join(f"<option>{html.escape(value)}</option>" for value in values)


def _page(name: str) -> str:
    return (files(__package__) / "pages" / name).read_text(encoding="utf-8")


def _filled(name: str, **words: str) -> str:
    text = _page(name)
    for word, value in words.items():
        text = text.replace("{{" + word + "}}", value)
    return text


def _facts(plan: pd.DataFrame, seal: str) -> dict[str, str]:
    twice = int((plan["repeat_of"] != "").sum())
    n = len(plan) - twice
    low, high = (f"{100 * margin:g}" for margin in EQUIVALENT)
    return {"seal": seal, "sheets": str(len(plan)), "ecgs": str(n), "half": str(n // 2), "twice": str(twice),
            "minutes": f"{len(plan) / 2:.0f} to {len(plan)}",
            "low": low, "high": high, "power": f"{100 * power(n, EQUIVALENT[1]):.0f}",
            "equivalence_power": f"{100 * equivalence_power(n):.0f}"}  # fmt: skip


def _write_pdf(path: Path, ids: list[str], steps: np.ndarray, progress: bool) -> None:
    with PdfPages(path, metadata=PDF_METADATA) as pdf:
        for name, record in tqdm(list(zip(ids, steps, strict=True)), desc="sheets", disable=not progress, leave=False):
            printed_sheet(name, record).savefig(pdf, format="pdf")


def printed_sheet(name: str, record: np.ndarray) -> Figure:
    """Return a sheet to print, A4, with boxes to tick above the paper.

    Parameters
    ----------
    name : str
        The sheet's id.
    record : int32 (12, 2500)
        As `prepare` gives it.
    """
    figure = ecg_sheet(STEP_MV * record, FS, title=f"Sheet {name}",
                       caption="Print at 100 %: ten large squares are 50 mm.   Reader ________________")
    x, y = 52.0, PAPER[1] + PAPER[3] + 11
    for label, choices in (("", CHOICES["answer"]), ("sure (1–5)", CHOICES["confidence"]), ("quality", QUALITIES)):
        x = _boxes(figure, x, y, label, choices) + 6
    figure.axes[0].text(52, y - 7, f"rhythm {'_' * 44}   reason {'_' * 66}", fontsize=9, color=INK, va="center")
    return figure


def _boxes(figure: Figure, x: float, y: float, label: str, choices: tuple[str, ...]) -> float:
    """Draw a label and boxes to tick, from x mm on; return where they end."""
    axes = figure.axes[0]
    if label:
        axes.text(x, y, label, fontsize=9, color=INK, va="center")
        x += 2.0 * len(label)
    for choice in choices:
        axes.add_patch(Rectangle((x, y - 1.75), 3.5, 3.5, fill=False, edgecolor=INK, linewidth=0.6))
        axes.text(x + 4.5, y, choice, fontsize=9, color=INK, va="center")
        x += 8.5 + 1.8 * len(choice)
    return x
