"""A panel to play with: ask a generator by hand, and see the sheet and what a cardiograph would print below it.

`reply` does the work, without widgets: a request → sheet, measures and a verdict. `panel` puts controls before it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ecglib.diffusion.conditions import RATE_KNOTS
from ecglib.errors import InputError
from ecglib.evaluation.guard import Guard
from ecglib.evaluation.measurements import delineate
from ecglib.evaluation.plausibility import PROMISES, SOFT, soft_violations
from ecglib.figures import Figure, describe, ecg_sheet
from ecglib.signals.cohort import Cohort
from ecglib.signals.statements import SINUS, STATEMENTS, in_group
from ecglib.signals.table import LIMITS

if TYPE_CHECKING:
    from ipywidgets import VBox

    from ecglib.diffusion import Generator

FIRST: dict[str, Any] = {"scp_codes": {"CLBBB": 100.0, "SR": 0.0}, "age": 70.0, "sex": 1.0, "heart_rate": 75.0}
"""The request that the panel opens with."""
POSSIBLE = {"age": LIMITS["age"], "heart_rate": (RATE_KNOTS[0], RATE_KNOTS[-1])}  # rates beyond are not told apart
STEPS = 25  # evaluations that the panel opens with: quick, and good enough to look at
HARD_ONLY = Guard({}, 0.99)  # hard limits alone; `Guard.fit` adds how long QRS is at an age
EXCLUSIVE = (  # statements of one set cannot stand beside those of the other, and why
    ({"NORM"}, set(in_group("diagnosis")) - {"NORM"}, "an ECG that is called normal has no other diagnosis"),
    (set(SINUS), {"AFIB", "AFLT"}, "either the sinus node leads or the atria fibrillate or flutter"),
    ({"SBRAD"}, {"STACH"}, "a rhythm is not slow and fast at once"),
    ({"AFIB"}, {"1AVB"}, "where atria fibrillate there is no P wave to measure PR from"),
    ({"CLBBB"}, {"CRBBB"}, "with both bundle branches blocked no beat of the atria comes through"),
)
ROWS = {
    "heart_rate": ("heart rate", "/min", 0), "rr_cv": ("irregularity, SD/mean of RR", "", 2),
    "pr_ms": ("PR", "ms", 0), "qrs_ms": ("QRS", "ms", 0), "qt_ms": ("QT", "ms", 0), "qtcf_ms": ("QTcF", "ms", 0),
    "axis_deg": ("axis", "°", 0), "st_mv": ("ST, 60 ms after QRS", "mV", 2),
}  # fmt: skip


@dataclass(frozen=True)
class Reply:
    """What came of a request.

    Parameters
    ----------
    figure : Figure
        The 12-lead sheet.
    measures : DataFrame
        One row a measure: ``measured``, ``unit`` and ``normal adults`` (2nd to 98th percentile, '' where not known).
    verdict : str
        In words: whether a heart could do this, what is unusual, and whether the statements are borne out.
    """

    figure: Figure
    measures: pd.DataFrame
    verdict: str


def contradictions(codes: Collection[str], heart_rate: float = np.nan) -> list[str]:
    """Say, one sentence each, which parts of a request exclude each other; an empty list if none do."""
    asked = set(codes)
    found = [f"{' '.join(sorted(asked & one))} with {' '.join(sorted(asked & other))}: {why}"
             for one, other, why in EXCLUSIVE if asked & one and asked & other]  # fmt: skip
    rate = pd.DataFrame({"heart_rate": [heart_rate]})
    for code, is_asked in (("SBRAD", "below 60"), ("STACH", "above 100")):
        if code in asked and not np.isnan(heart_rate) and not PROMISES[code](rate).item():
            found.append(f"{code} with {heart_rate:g}/min: it means a rate {is_asked}")
    return found


def reply(generator: Generator, request: dict[str, Any], *, guard: Guard = HARD_ONLY, **how: Any) -> Reply:
    """Sample one record and judge it.

    Parameters
    ----------
    generator : Generator
    request : dict
        ``scp_codes`` and, where known, ``age``, ``sex``, ``heart_rate``: a row of what `Generator.sample` takes.
    guard : Guard
        By default the hard limits alone.
    **how
        Of `Generator.sample`: sampler, steps, guidance, seed.

    Raises
    ------
    InputError
        If the request lacks ``scp_codes`` or contradicts itself, a value is impossible, or more than one is asked for.
    """
    if "scp_codes" not in request or how.get("copies", 1) != 1:
        raise InputError(f"request={request}, {how}; expected scp_codes, and one copy: one record is drawn and judged")
    rate = pd.to_numeric(pd.Series([request.get("heart_rate")], dtype=object), errors="coerce").item()  # words: NaN
    excluded = contradictions(request["scp_codes"], rate)  # words are refused below, by `sample`
    if excluded:
        raise InputError(f"the request contradicts itself: {'; '.join(excluded)}. Take one of them out")
    drawn = generator.sample(pd.DataFrame([{"ecg_id": 1, **request}]), **how)
    measures = delineate(drawn.x[:], drawn.fs, drawn.leads)
    figure = ecg_sheet(drawn.x[0], drawn.fs, drawn.leads, title=f"synthetic, asked: {_asked(drawn.table.iloc[0])}")
    return Reply(figure, _table(measures.iloc[0]), _verdict(drawn, measures, guard))


def _asked(row: pd.Series) -> str:
    return describe(row) + ("" if np.isnan(row["heart_rate"]) else f", {row['heart_rate']:g}/min")


def _table(measures: pd.Series) -> pd.DataFrame:
    rows = {}
    for name, (label, unit, digits) in ROWS.items():
        value = "not found" if np.isnan(measures[name]) else f"{measures[name]:.{digits}f}"
        low, high = SOFT.get(name, ("", ""))
        rows[label] = {"measured": value, "unit": unit, "normal adults": f"{low} to {high}" if name in SOFT else ""}
    return pd.DataFrame.from_dict(rows, orient="index")


def _verdict(drawn: Cohort, measures: pd.DataFrame, guard: Guard) -> str:
    if measures["reason"].item():
        return f"Nothing could be measured: {measures['reason'].item()}."
    codes = drawn.table["scp_codes"]
    reasons = guard.reasons(drawn).item()
    says = [f"The guard rejects it ({reasons})." if reasons else "Within what a heart can do."]
    broken = soft_violations(measures, codes).iloc[0]
    unusual = [label for name, (label, _, _) in ROWS.items() if broken.get(name, False)]
    if unusual:
        says.append(f"Unusual, and not explained by the statements: {', '.join(unusual)}.")
    for code in sorted(set(codes.item()) & set(PROMISES)):
        says.append(f"{code} is {'' if PROMISES[code](measures).item() else 'not '}borne out by the measures.")
    return " ".join(says)


def panel(generator: Generator, *, seen: Cohort | None = None, guard: Guard = HARD_ONLY) -> VBox:
    """Build controls for age, sex, statements, rate, guidance, sampler, steps and seed before a sheet and its measures.

    Whatever is changed, a new record is drawn; the same settings give the same record. What cannot be asked is said in
    words in the panel, and no sheet stands beside it.

    Parameters
    ----------
    generator : Generator
    seen : Cohort, optional
        Training records: only statements that they hold are offered, each with how often. Not given: all 71.
    guard : Guard
        By default the hard limits alone; ``Guard.fit(seen)`` also knows how long QRS is at an age.

    Returns
    -------
    ipywidgets.VBox
        With ``controls`` (name → widget), ``message``, ``sheet`` (PNG), ``measures`` and ``verdict`` (HTML).

    Raises
    ------
    InputError
        If ipywidgets is not installed.
    """
    try:
        import ipywidgets as w
    except ImportError as error:
        raise InputError(f"{error.name} is not installed; run `make setup`") from None
    controls = _controls(generator, _offered(seen))
    message, measures, verdict = w.HTML(), w.HTML(), w.HTML()
    sheet = w.Image(format="png", layout=w.Layout(max_width="100%"))

    def draw(_: object = None) -> None:
        message.value, sheet.value, measures.value, verdict.value = "drawing …", b"", "", ""
        sheet.layout.display = "none"  # an empty picture would be drawn as a broken one
        try:
            answer = reply(generator, _request(controls), guard=guard, **_how(controls))
        except InputError as error:
            message.value = f"<b>Not drawn.</b> {escape(str(error))}"
            return
        message.value = ""
        sheet.value, sheet.layout.display = answer.figure._repr_png_(), None
        measures.value = answer.measures.to_html(border=0)
        verdict.value = escape(answer.verdict)

    for control in controls.values():
        control.observe(draw, names="value")
    names = list(controls)
    columns = [w.VBox([controls[name] for name in part]) for part in (names[:1], names[1:])]
    view = w.VBox([w.HBox(columns, layout=w.Layout(flex_flow="row wrap")), message, sheet, verdict, measures])
    view.controls, view.message, view.sheet, view.measures, view.verdict = controls, message, sheet, measures, verdict
    draw()
    return view


def _offered(seen: Cohort | None) -> list[tuple[str, str]]:
    """Statements to choose from, each as (what the list shows, code)."""
    if seen is None:
        return [(f"{code}: {STATEMENTS.loc[code, 'description']}", code) for code in STATEMENTS.index]
    counts = seen.table["scp_codes"].map(list).explode().value_counts()
    return [(f"{code}: {STATEMENTS.loc[code, 'description']} (seen {n}×)", code) for code, n in counts.items()]


def _controls(generator: Generator, offered: list[tuple[str, str]]) -> dict[str, Any]:
    import ipywidgets as w

    from ecglib.diffusion.samplers import SAMPLERS

    settings, last = generator.config.sampling, generator.config.diffusion.timesteps
    first = [code for code in FIRST["scp_codes"] if code in dict(offered).values()]
    late: dict[str, Any] = {"continuous_update": False}
    return {
        "statements": w.SelectMultiple(options=offered, value=first, rows=13, description="statements",
                                       layout=w.Layout(width="36em")),
        "age": w.Text(f"{FIRST['age']:g}", description="age, years", placeholder="unknown", **late),
        "sex": w.Dropdown(options=[("woman", 1.0), ("man", 0.0), ("unknown", None)], value=FIRST["sex"],
                          description="sex"),
        "heart_rate": w.Text(f"{FIRST['heart_rate']:g}", description="rate, /min", placeholder="unknown", **late),
        "guidance": w.FloatSlider(1.0, min=0, max=5, step=0.25, description="guidance", **late),
        "sampler": w.Dropdown(options=list(SAMPLERS), value=settings.sampler, description="sampler"),
        "steps": w.IntSlider(min(STEPS, last), min=1, max=last, description="steps", **late),
        "seed": w.IntText(0, description="seed", **late),
    }  # fmt: skip


def _request(controls: dict[str, Any]) -> dict[str, Any]:
    codes = controls["statements"].value
    numbers = {name: _number(name, controls[name].value) for name in ("age", "heart_rate")}
    return {"scp_codes": dict.fromkeys(codes, 100.0), "sex": controls["sex"].value, **numbers}


def _number(name: str, text: str) -> float:
    """Read what was typed; nothing typed means unknown."""
    low, high = POSSIBLE[name]
    try:
        value = float(text.replace(",", ".")) if text.strip() else np.nan
    except ValueError:
        value = np.inf
    if text.strip() and not low <= value <= high:  # NaN fails too
        raise InputError(f"{name}={text!r}; expected a number from {low:g} to {high:g}, or nothing for unknown")
    return value


def _how(controls: dict[str, Any]) -> dict[str, Any]:
    return {name: controls[name].value for name in ("sampler", "steps", "guidance", "seed")}
