"""Published values beside what was measured here, claim by claim."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ecglib.figures.style import Figure, expect, style

if TYPE_CHECKING:
    from ecglib.claims import Finding

ROW, HEAD, WIDTH = 0.36, 0.75, 9.0  # inches of a finding, of a claim's title and axis, and of the figure
LONGEST = 60  # characters of a line
LINEAR, FAR = 100, (-100, -50, 0, 50, 100, 300, 1000, 3000)  # where a linear axis ends, and the ticks of a longer one


def published_beside(found: Mapping[str, Sequence[Finding]]) -> Figure:
    """Draw a panel a claim: a point with its interval for each finding, a star where a value was published.

    A panel with an interval that leaves ± `LINEAR` is logarithmic beyond, so that one wild value leaves room for all.

    Parameters
    ----------
    found : mapping of a claim to its findings
        Findings without a value, and claims without a finding, are left out.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If nothing is left to draw.
    """
    kept = {claim: [one for one in findings if np.isfinite(one.value)] for claim, findings in found.items()}
    kept = {claim: findings for claim, findings in kept.items() if findings}
    expect(bool(kept), "found", "no finding with a value", "at least one: `make ablations`, or a command of tools/")
    heights = [HEAD + ROW * len(findings) for findings in kept.values()]
    with style():
        figure = Figure(figsize=(WIDTH, sum(heights)), layout="constrained")
        panels = figure.subplots(len(kept), 1, squeeze=False, height_ratios=heights)[:, 0]
        for panel, (claim, findings) in zip(panels, kept.items(), strict=True):
            for k, one in enumerate(findings):
                panel.plot([one.low, one.high], [k, k], color="C0", linewidth=1.2)
                panel.plot(one.value, k, "o", color="C0", markersize=5)
                panel.plot(one.published, k, "k*", markersize=9)
            panel.set_yticks(range(len(findings)), [_label(one) for one in findings], fontsize=7)
            panel.set_ylim(len(findings) - 0.5, -0.5)
            panel.set_title(claim, fontsize=9, loc="left")
            panel.grid(axis="x", linewidth=0.4)
            largest = max(np.nanmax(np.abs([one.value, one.low, one.high])) for one in findings)
            if largest > LINEAR:
                panel.set_xscale("symlog", linthresh=LINEAR)
                panel.set_xticks(shown := [tick for tick in FAR if tick <= largest], shown)
    return figure


def _label(finding: Finding) -> str:
    lines = [*([finding.here.split(":")[0]] if ":" in finding.here else []), *finding.on.split("; ")]
    return "\n".join(line if len(line) <= LONGEST else line[: LONGEST - 1] + "…" for line in lines[:2])
