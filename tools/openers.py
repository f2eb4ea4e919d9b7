"""The picture at the head of each chapter: ``python tools/openers.py book/_static/openers [NN ...]``.

Sketches of the chapter's question, no results: traces are virtual patients', everything else is drawn by hand. One
function a chapter; SVG without dates, so that the same code gives the same file.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
import torch
from matplotlib.patches import Rectangle

from ecglib.diffusion import Schedule, q_sample
from ecglib.diffusion.mel import mel_filters, spectrogram
from ecglib.figures import Figure
from ecglib.figures.style import COLOURS, INK, style
from ecglib.signals import LEADS_12, load_cohort, to_eight_leads
from ecglib.signals.virtual import virtual_cases
from ecglib.signals.virtual.torso import lead_field

BLUE, ORANGE, GREEN, RED, GREY = COLOURS[0], COLOURS[1], COLOURS[2], COLOURS[3], "#9a9a9a"
SIZE = (8.4, 1.9)  # inches
COHORT = load_cohort("virtual", n=160, seed=0, population="teaching")
RNG = np.random.default_rng(0)
AF = 6  # a patient with clear f waves


def trace(statement: str, lead: str = "II", seconds: float = 3.0, number: int = 0) -> np.ndarray:
    """Return a lead of a virtual patient with a statement, in mV."""
    row = np.flatnonzero(COHORT.has(statement))[number]
    return np.asarray(COHORT.x[row, LEADS_12.index(lead), : int(100 * seconds)], dtype=float)


def strip(axes, y, left=0.0, width=1.0, height=1.0, bottom=0.0, **how):
    """Draw a trace into a box, in units of the picture; its own range fills the box."""
    x = left + width * np.linspace(0, 1, len(y))
    how = {"color": INK, "linewidth": 1.0} | how
    axes.plot(x, bottom + height * (y - y.min()) / np.ptp(y), **how)


def arrow(axes, start, end, colour=GREY, bend=0.0):
    """Draw an arrow."""
    style_ = {"arrowstyle": "-|>", "color": colour, "linewidth": 1.3, "connectionstyle": f"arc3,rad={bend}"}
    axes.annotate("", end, start, arrowprops=style_)


def box(axes, x, y, words, colour="#eef3f7", size=9):
    """Write words in a box."""
    frame = {"boxstyle": "round,pad=0.45", "facecolor": colour, "edgecolor": GREY}
    axes.text(x, y, words, ha="center", va="center", fontsize=size, bbox=frame)


def cloud(n, width, height, x, y):
    """Return the points of a round cloud: (n, 2), cut at two standard deviations."""
    points = RNG.standard_normal((2 * n, 2))
    return points[np.hypot(*points.T) < 2][:n] * [width, height] + [x, y]


def o00(axes):
    """From patients to a verdict: the steps of the book, one after the other."""
    names = ["patients", "records", "train", "ask", "synthetic\nrecords", "judge"]
    for k, name in enumerate(names):
        box(axes, 0.08 + 0.168 * k, 0.55, name, ("#dcecf7", "#dcecf7", "#fbe3cf", "#fbe3cf", "#dcecf7", "#dff0df")[k])
        if k:
            arrow(axes, (0.08 + 0.168 * k - 0.115, 0.55), (0.08 + 0.168 * k - 0.058, 0.55))
    arrow(axes, (0.248, 0.36), (0.9, 0.36), bend=0.22)
    axes.text(0.57, 0.19, "real ones stand beside them", ha="center", fontsize=8, color="#555555")


def o01(axes):
    """One beat in one lead, and the same beat in six others."""
    y = trace("NORM", "II", 1.6)
    strip(axes, y, 0.02, 0.5, 0.8, 0.1, linewidth=1.6)
    for k, lead in enumerate(("I", "aVF", "V1", "V2", "V4", "V6")):
        bottom, left = 0.68 - 0.33 * (k % 3), 0.62 + 0.2 * (k // 3)
        strip(axes, trace("NORM", lead, 1.6), left, 0.16, 0.24, bottom)
        axes.text(left - 0.01, bottom + 0.12, lead, ha="right", fontsize=8, color="#555555")
    axes.text(0.56, 0.5, "=?", ha="center", va="center", fontsize=13, color=GREY)


def o02(axes):
    """The loop of the heart's vector, and what three leads see of it."""
    row = np.flatnonzero(COHORT.has("NORM"))[0]
    v = np.linalg.pinv(lead_field()) @ to_eight_leads(np.asarray(COHORT.x[row, :, :300], dtype=float))
    size = 0.55 / np.abs(v).max()
    x, y = 0.12 + 0.226 * size * v[0], 0.3 + size * v[2]  # seen from above
    axes.plot(x, y, color=BLUE, linewidth=1.1)
    k = int(np.hypot(v[0], v[2]).argmax())
    arrow(axes, (0.12, 0.3), (x[k], y[k]), RED)
    arrow(axes, (0.36, 0.5), (0.44, 0.5))
    for k, lead in enumerate(("I", "aVF", "V2")):
        strip(axes, trace("NORM", lead, 3), 0.52, 0.46, 0.26, 0.7 - 0.33 * k)
        axes.text(0.5, 0.8 - 0.33 * k, lead, ha="right", fontsize=8, color="#555555")


def o03(axes):
    """A beat under ever more noise, and back."""
    x0 = torch.tensor(trace("NORM", "V5", 1.6) / 0.4)[None, None]
    schedule, noise = Schedule.named("cosine", 200), torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    for k, t in enumerate((0, 20, 50, 100, 199)):
        y = q_sample(schedule, x0, torch.tensor([t]), noise.double())[0, 0].numpy()
        strip(axes, y, 0.01 + 0.2 * k, 0.175, 0.55, 0.22, color=INK if k == 0 else BLUE)
    arrow(axes, (0.1, 0.93), (0.9, 0.93))
    arrow(axes, (0.9, 0.07), (0.1, 0.07), ORANGE)
    axes.text(0.5, 0.85, "noise is added", ha="center", fontsize=8, color="#555555", backgroundcolor="white")
    axes.text(0.5, 0.0, "learnt: one step back", ha="center", fontsize=8, color="#555555", backgroundcolor="white")


def o04(axes):
    """One trace into four resonators of different pitch: a summary of the past."""
    strip(axes, trace("NORM", "II", 3), 0.0, 0.3, 0.5, 0.25)
    time = np.linspace(0, 4, 400)
    for k, pitch in enumerate((0.5, 1.2, 2.6, 5.0)):
        box(axes, 0.43, 0.86 - 0.25 * k, " ", size=6)
        rings = np.exp(-0.9 * time) * np.cos(2 * np.pi * pitch * time)
        strip(axes, rings, 0.47, 0.25, 0.2, 0.76 - 0.25 * k, color=BLUE)
        arrow(axes, (0.31, 0.5), (0.405, 0.86 - 0.25 * k))
        arrow(axes, (0.73, 0.86 - 0.25 * k), (0.81, 0.5))
    axes.text(0.84, 0.5, "a summary\nof the past", va="center", fontsize=9)


def o05(axes):
    """A trace and its mel spectrogram below it."""
    y = trace("NORM", "V5", 4)
    strip(axes, y, 0.0, 1.0, 0.42, 0.55)
    magnitude = spectrogram(torch.tensor(y)[None], 64)[0].transpose(-1, -2).double() @ mel_filters(64, 16, 100).double()
    level = 20 * np.log10(np.maximum(magnitude.numpy().T, 1e-3))
    axes.imshow(level, origin="lower", aspect="auto", extent=(0, 1, 0, 0.45), cmap="cividis", interpolation="nearest")


def o06(axes):
    """What is asked for, and two leads of a left bundle branch block."""
    for k, (words, colour) in enumerate((("left bundle branch block", "#dcecf7"), ("sinus rhythm", "#dcecf7"),
                                         ("woman, 70 years", "#fbe3cf"), ("rate: unknown", "#eeeeee"))):  # fmt: skip
        box(axes, 0.16, 0.88 - 0.25 * k, words, colour)
    arrow(axes, (0.33, 0.5), (0.44, 0.5))
    strip(axes, trace("CLBBB", "V1", 4), 0.47, 0.52, 0.38, 0.55)
    strip(axes, trace("CLBBB", "V6", 4), 0.47, 0.52, 0.38, 0.05)


def o07(axes):
    """A noisy beat, the network's guess, and its distance from the truth."""
    y = trace("NORM", "II", 1.6)
    noisy, guess = y + 0.18 * RNG.standard_normal(len(y)), np.convolve(y, np.ones(7) / 7, "same")
    strip(axes, noisy, 0.0, 0.24, 0.6, 0.2, color=BLUE)
    arrow(axes, (0.26, 0.5), (0.32, 0.5))
    box(axes, 0.4, 0.5, "network", "#fbe3cf")
    arrow(axes, (0.48, 0.5), (0.54, 0.5))
    x = 0.57 + 0.3 * np.linspace(0, 1, len(y))
    axes.fill_between(x, 0.3 + 0.5 * y, 0.3 + 0.5 * guess, color=RED, alpha=0.5, linewidth=0)
    axes.plot(x, 0.3 + 0.5 * y, color=INK, linewidth=1)
    axes.plot(x, 0.3 + 0.5 * guess, color=ORANGE, linewidth=1)
    axes.text(0.89, 0.5, "how wrong?", va="center", fontsize=9)
    arrow(axes, (0.93, 0.36), (0.4, 0.3), GREY, -0.25)


def o08(axes):
    """A trace that clears from noise to an ECG."""
    y = trace("NORM", "II", 9, 1)
    clear = np.clip(np.linspace(-0.25, 1.25, len(y)), 0, 1)
    axes.plot(np.linspace(0, 1, len(y)), 0.35 + 0.35 * (clear * y + (1 - clear) * 0.5 * RNG.standard_normal(len(y))),
              color=INK, linewidth=0.9)  # fmt: skip


def o09(axes):
    """A network with all its parts, and one with a part missing."""
    parts = ["mel loss", "clock", "attention", "age and sex", "kernel"]
    for side, missing in ((0.0, None), (0.52, 0)):
        for k, part in enumerate(parts):
            gone = k == missing
            colour = "white" if gone else "#fbe3cf" if k == 0 else "#dcecf7"
            axes.add_patch(Rectangle((side, 0.8 - 0.19 * k), 0.24, 0.16, facecolor=colour, edgecolor=GREY,
                                     linestyle=":" if gone else "-"))  # fmt: skip
            axes.text(side + 0.12, 0.88 - 0.19 * k, "" if gone else part, ha="center", va="center", fontsize=8)
        strip(axes, trace("LVH", "V5", 2), side + 0.27, 0.15, 0.7, 0.15, color=INK if missing is None else BLUE)
    axes.text(0.47, 0.5, "−", ha="center", va="center", fontsize=18, color=GREY)
    axes.text(0.97, 0.5, "= ?", ha="center", va="center", fontsize=13, color=GREY)


def o10(axes):
    """Correlations between leads of two groups of records, and two beats to be compared."""
    one, other = ([np.corrcoef(COHORT.x[k]) for k in rows] for rows in (range(80), range(80, 160)))
    for left, found in ((0.03, one), (0.3, other)):
        axes.imshow(np.mean(found, axis=0), cmap="vlag", vmin=-1, vmax=1, extent=(left, left + 0.21, 0.03, 0.97),
                    aspect="auto", interpolation="nearest")  # fmt: skip
    axes.text(0.27, 0.5, "?", ha="center", va="center", fontsize=16, color=GREY)
    strip(axes, trace("NORM", "V5", 3), 0.6, 0.4, 0.35, 0.58)
    strip(axes, trace("NORM", "V5", 3, 4), 0.6, 0.4, 0.35, 0.05, color=BLUE)


def o11(axes):
    """One beat with its PR, QRS and QT."""
    row = np.flatnonzero(COHORT.has("NORM"))[0]
    beat = COHORT.waves[COHORT.waves["ecg_id"] == COHORT.table["ecg_id"][row]].iloc[2]
    first, last = beat["p_on"] - 0.15, beat["t_off"] + 0.15
    y = np.asarray(COHORT.x[row, 1, int(100 * first) : int(100 * last)], dtype=float)
    strip(axes, y, 0.15, 0.7, 0.68, 0.28, linewidth=1.6)
    edges = (("PR", "p_on", "qrs_on", 0.16), ("QRS", "qrs_on", "qrs_off", 0.16), ("QT", "qrs_on", "t_off", 0.02))
    for name, start, end, level in edges:
        a, b = (0.15 + 0.7 * (beat[edge] - first) / (last - first) for edge in (start, end))
        axes.annotate("", (b, level), (a, level), arrowprops={"arrowstyle": "<->", "color": BLUE})
        axes.text((a + b) / 2, level + 0.02, name, ha="center", va="bottom", fontsize=8, color=BLUE)


def o12(axes):
    """Patients and synthetic records as points; one of them is suspiciously near."""
    real, made = RNG.random((26, 2)) * [0.9, 0.8] + [0.05, 0.1], RNG.random((26, 2)) * [0.9, 0.8] + [0.05, 0.1]
    made[0] = real[5] = [0.62, 0.55]
    axes.scatter(*real.T, color=BLUE, s=26, label="patients")
    axes.scatter(*made.T, facecolor="none", edgecolor=ORANGE, s=60, linewidth=1.3, label="synthetic")
    axes.scatter(*real[5], facecolor="none", edgecolor=RED, s=420, linewidth=1.5)
    axes.text(0.655, 0.55, "whose is this?", va="center", fontsize=9, color=RED, backgroundcolor="white")
    axes.legend(loc="upper right", fontsize=8, frameon=True, facecolor="white", edgecolor="none")


def o13(axes):
    """One real record and six synthetic ones teach a classifier."""
    strip(axes, trace("NORM", "II", 2), 0.02, 0.16, 0.4, 0.3)
    axes.text(0.21, 0.5, "+", ha="center", va="center", fontsize=16, color=GREY)
    for k in range(6):
        strip(axes, trace("NORM", "II", 2, 2 + k), 0.25 + 0.17 * (k % 2), 0.14, 0.24, 0.7 - 0.33 * (k // 2), color=BLUE)
    arrow(axes, (0.6, 0.5), (0.66, 0.5))
    box(axes, 0.74, 0.5, "classifier", "#dff0df")
    arrow(axes, (0.82, 0.5), (0.87, 0.5))
    axes.text(0.89, 0.5, "better on\nreal ones?", va="center", fontsize=9)


def o14(axes):
    """Sinus rhythm above, atrial fibrillation below."""
    rows = ((0.55, "NORM", 0, "sinus\nrhythm", INK), (0.05, "AFIB", AF, "atrial\nfibrillation", RED))
    for bottom, statement, number, words, colour in rows:
        strip(axes, trace(statement, "II", 8, number), 0.12, 0.88, 0.38, bottom, color=colour)
        axes.text(0.1, bottom + 0.18, words, ha="right", va="center", fontsize=8)


def o15(axes):
    """Two sheets, each to be called real or synthetic."""
    for left, name, number in ((0.03, "NORM", 0), (0.53, "NORM", 5)):
        axes.add_patch(Rectangle((left, 0.2), 0.44, 0.78, facecolor="#fdf3f2", edgecolor=GREY))
        strip(axes, trace(name, "II", 5, number), left + 0.02, 0.4, 0.45, 0.38)
        axes.text(left + 0.22, 0.08, "☐ real    ☐ synthetic", ha="center", va="center", fontsize=9)


def o16(axes):
    """How often statements occur, and an ECG of the rarest."""
    heights = 0.9 * np.exp(-np.arange(24) / 5) + 0.03
    colours = [BLUE] * 20 + [RED] * 4
    axes.bar(0.01 + 0.018 * np.arange(24), heights, width=0.014, color=colours, align="edge")
    arrow(axes, (0.43, 0.2), (0.53, 0.5), RED, -0.3)
    case = virtual_cases({"2AVB": 100.0, "SR": 0.0}, 1, seed=0)
    strip(axes, np.asarray(case.x[0, 1, :700], dtype=float), 0.55, 0.44, 0.6, 0.2)


def o17(axes):
    """Learnt on one cloud of records, used on another."""
    for centre, colour, words in ((0.2, BLUE, "learnt here"), (0.75, ORANGE, "used there")):
        points = cloud(60, 0.05, 0.19, centre, 0.6)
        axes.scatter(*points.T, s=12, color=colour)
        axes.text(centre, 0.02, words, ha="center", fontsize=9)
    arrow(axes, (0.36, 0.58), (0.58, 0.58))
    axes.text(0.47, 0.66, "?", ha="center", fontsize=14, color=GREY)


def o18(axes):
    """Nine clipped gradients, one of them hers, and noise: was she in it?."""
    x = 0.05
    for k in range(9):
        arrow(axes, (x, 0.5), (x + 0.055, 0.5 + 0.06 * np.sin(2 * k)), RED if k == 4 else BLUE)
        x += 0.058
    axes.text(0.295, 0.66, "hers", ha="center", fontsize=8, color=RED)
    axes.text(0.63, 0.5, "+ noise =", va="center", ha="center", fontsize=10)
    axes.scatter(*cloud(300, 0.045, 0.18, 0.85, 0.58).T, s=3, color=GREY)
    axes.text(0.85, 0.02, "was she in it?", ha="center", fontsize=9)


def o19(axes):
    """Published values and those measured here, with the gap between."""
    for k, (star, point) in enumerate(((0.3, 0.72), (0.62, 0.5), (0.45, 0.47))):
        level = 0.82 - 0.32 * k
        axes.plot([0.1, 0.95], [level, level], color="#dddddd", linewidth=1)
        axes.plot([star, point], [level, level], color=GREY, linewidth=3, alpha=0.5)
        axes.plot(star, level, "*", color=INK, markersize=13)
        axes.errorbar(point, level, xerr=0.07, fmt="o", color=BLUE, capsize=3)
    axes.text(0.1, 0.0, "★ published", fontsize=8)
    axes.text(0.3, 0.0, "● measured here", fontsize=8, color=BLUE)
    axes.text(0.55, 0.0, "— the gap", fontsize=8, color="#555555")


def main(folder: Path, names: list[str]) -> None:
    """Draw the pictures named, or all."""
    drawers = {name[1:]: thing for name, thing in globals().items() if name[0] == "o" and name[1:].isdecimal()}
    for name in names or drawers:
        with style(), matplotlib.rc_context({"svg.hashsalt": name, "svg.fonttype": "path"}):
            figure = Figure(figsize=SIZE)
            axes = figure.add_axes((0, 0.02, 1, 0.96))
            axes.set_axis_off()
            drawers[name](axes)
            axes.set(xlim=(0, 1), ylim=(-0.04, 1.02))
            figure.savefig(folder / f"{name}.svg", metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
