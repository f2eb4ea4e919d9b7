"""Views of the generator and of its results: denoising strip, mel view, loss curve, values beside their floor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ecglib.figures.style import COLOURS, INK, MM, Figure, clean, expect, style
from ecglib.signals.leads import LEADS_8, LEADS_12, lead_order, to_twelve_leads

UNITS = {"ilce": "correlation", "ilce_paired": "correlation", "ilce_distributional": "correlation",
         "ilce_by_class": "correlation", "log_spectral_distance": "dB", "template_snr": "dB", "two_sample": "AUC",
         "interval_errors": "ms, mV", "interval_shifts": "ms, mV, 1/min", "asked_rate": "1/min",
         "kept_promises": "share", "implausibility": "excess share", "copies": "share", "linkage": "share",
         "distance_attack": "AUC, rate", "distance_attack_of_features": "AUC, rate",
         "white_box": "AUC, rate"}  # fmt: skip
DYNAMIC_RANGE_DB = 60


def denoising_strip(steps: np.ndarray, labels: Sequence[object], fs: int, *, lead: str = "II",
                    leads: Sequence[str] = LEADS_8, unit: str = "mV") -> Figure:  # fmt: skip
    """Draw one lead of a signal as noise is taken from it, step by step.

    Parameters
    ----------
    steps : float (n_steps, L) or (n_steps, n_leads, L)
        x_t or x0_hat, from noise to signal.
    labels : sequence
        What to write beside each step, such as ``t = 199``.
    fs : int
        Sampling rate in Hz.
    lead : str
        The lead drawn, where `steps` holds several; of eight leads in mV the others follow by algebra.
    leads : sequence of str
        Names of the leads in `steps`.
    unit : str
        Unit of the signal.

    Returns
    -------
    Figure

    Raises
    ------
    InputError
        If shapes, labels and leads do not fit, or the lead is neither there nor follows.
    """
    steps = np.asarray(steps, dtype=np.float64)
    expect(steps.ndim in (2, 3) and len(steps) > 0, "steps", f"of shape {steps.shape}", "(n_steps, [n_leads,] L)")
    expect(fs > 0, "fs", fs, "a positive number of Hz")
    expect(len(labels) == len(steps), "labels", f"{len(labels)} long", f"{len(steps)}, one per step")
    if steps.ndim == 3:
        expect(steps.shape[1] == len(leads), "leads", f"{len(leads)} names", f"{steps.shape[1]}, as steps has leads")
        if lead not in leads and tuple(leads) == LEADS_8 and unit == "mV":  # the algebra holds for millivolts only
            steps, leads = to_twelve_leads(steps), LEADS_12
        steps = steps[:, lead_order(leads, [lead])[0]]
    time = np.arange(steps.shape[1]) / fs
    with style():
        figure = Figure(figsize=(180 * MM, (15 * len(steps) + 12) * MM), layout="constrained")
        panels = figure.subplots(len(steps), 1, sharex=True, squeeze=False)[:, 0]
        for k, (axes, step, label) in enumerate(zip(panels, steps, labels, strict=True)):
            axes.plot(time, step, color=COLOURS[0] if k + 1 < len(steps) else INK, linewidth=0.8)
            axes.set_ylabel(clean(label, 24), rotation=0, ha="right", va="center")
            axes.set_xlim(0, steps.shape[1] / fs)
            axes.locator_params(axis="y", nbins=3)
            if k + 1 < len(steps):
                axes.spines["bottom"].set_visible(False)
                axes.tick_params(bottom=False)
        panels[-1].set_xlabel("time (s)")
        figure.align_ylabels(panels)
        figure.supylabel(f"lead {clean(lead)} ({clean(unit)})" if lead else clean(unit), fontsize=9)
    return figure


def mel_view(x: np.ndarray, fs: int, mel: np.ndarray, centres_hz: np.ndarray, times_s: np.ndarray, *,
             lead: str = "") -> Figure:  # fmt: skip
    """Draw a signal above its mel spectrogram.

    Parameters
    ----------
    x : float (L,)
        One lead, in mV.
    fs : int
        Sampling rate in Hz.
    mel : float (n_mels, n_frames)
        Magnitudes in the mel bands, ≥ 0.
    centres_hz : float (n_mels,)
        Centre frequency of each band, in Hz, ascending.
    times_s : float (n_frames,)
        Time of each frame, in s, ascending.
    lead : str
        The lead's name.

    Returns
    -------
    Figure
        Colour is 20·lg of the magnitude, in dB relative to its largest value, down to −60 dB.

    Raises
    ------
    InputError
        If the shapes do not fit, or `mel` is negative or not finite.
    """
    x, mel = np.asarray(x, dtype=np.float64), np.asarray(mel, dtype=np.float64)
    expect(x.ndim == 1, "x", f"of shape {x.shape}", "(L,)")
    shape = (len(centres_hz), len(times_s))
    expect(mel.shape == shape, "mel", f"of shape {mel.shape}", f"(n_mels, n_frames) = {shape}")
    expect(bool(np.isfinite(mel).all() and (mel >= 0).all()), "mel", "negative or not finite", "magnitudes ≥ 0")
    largest = mel.max() or 1.0
    decibels = 20 * np.log10(np.maximum(mel / largest, 10 ** (-DYNAMIC_RANGE_DB / 20)))
    with style():
        figure = Figure(figsize=(180 * MM, 100 * MM), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.6))
        above.plot(np.arange(len(x)) / fs, x, color=INK, linewidth=0.8)
        above.set_ylabel(f"{clean(lead)} (mV)".strip())
        image = below.pcolormesh(times_s, centres_hz, decibels, cmap="cividis", shading="nearest",
                                 vmin=-DYNAMIC_RANGE_DB, vmax=0, rasterized=True)  # fmt: skip
        below.set(xlabel="time (s)", ylabel="mel band's centre (Hz)", xlim=(0, len(x) / fs))
        below.set_ylim(bottom=max(0.0, below.get_ylim()[0]))
        figure.colorbar(image, ax=below, label="magnitude (dB re largest)")
    return figure


def loss_curve(log: pd.DataFrame) -> Figure:
    """Draw the training log.

    Parameters
    ----------
    log : DataFrame
        ``step`` and any of ``train``, ``validation`` (NaN where not measured), and more losses.

    Raises
    ------
    InputError
        If there is no column ``step`` or no loss.
    """
    losses = [name for name in log.columns if name != "step" and pd.api.types.is_numeric_dtype(log[name])]
    expect("step" in log and bool(losses), "log", f"of columns {list(log.columns)}", "step, train, validation")
    with style():
        figure = Figure(figsize=(140 * MM, 80 * MM), layout="constrained")
        axes = figure.subplots()
        for k, name in enumerate(losses):
            known = log[["step", name]].dropna()
            marker = "o" if len(known) < 60 else None
            axes.plot(known["step"], known[name], marker=marker, markersize=3, label=clean(name), color=COLOURS[k % 10])
        axes.set(xlabel="training step", ylabel="loss", yscale="log" if (log[losses].min() > 0).all() else "linear")
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def interval_plot(table: pd.DataFrame, *, units: Mapping[str, str] = UNITS, controls: Sequence[str] = ()) -> Figure:
    """Draw each value with its interval beside the real-against-real floor and controls, one panel a metric.

    Parameters
    ----------
    table : DataFrame
        What `ecglib.evaluation.evaluate` returns.
    units : mapping of metric to unit
        For the axes' labels.
    controls : sequence of str
        Columns of `table` to draw too; a control far beyond the rest stands at the panel's edge.

    Returns
    -------
    Figure
        Values that could not be computed are named with their reason.

    Raises
    ------
    InputError
        If `table` is empty or lacks a column.
    """
    needed = ["metric", "key", "value", "ci_low", "ci_high", "n", "floor", "reason", *controls]
    expect(set(needed) <= set(table.columns), "table", f"of columns {list(table.columns)}", ", ".join(needed))
    expect(len(table) > 0, "table", "empty", "at least one row")
    groups = [(name, rows.reset_index(drop=True)) for name, rows in table.groupby("metric", sort=False)]
    heights = [len(rows) + 2.2 for _, rows in groups]
    with style():
        figure = Figure(figsize=(150 * MM, 7 * sum(heights) * MM), layout="constrained")
        panels = figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)[:, 0]
        for axes, (name, rows) in zip(panels, groups, strict=True):
            _intervals(axes, str(name), rows, units.get(str(name), ""), controls)
        panels[0].legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2, fontsize=8)
    return figure


def _intervals(axes: Axes, name: str, rows: pd.DataFrame, unit: str, controls: Sequence[str]) -> None:
    places = np.arange(len(rows))
    value, low, high, floor = (rows[column].to_numpy(float) for column in ("value", "ci_low", "ci_high", "floor"))
    axes.hlines(places, low, high, color=COLOURS[0], linewidth=2)
    axes.plot(value, places, "o", color=COLOURS[0], markersize=5, label="value, 95 % interval")
    axes.plot(floor, places, "D", color=COLOURS[1], markersize=5, fillstyle="none", label="floor: real against real")
    for place, missing, reason in zip(places, ~np.isfinite(value), rows["reason"], strict=True):
        if missing:
            across = axes.get_yaxis_transform()
            axes.text(0.01, float(place), clean(reason, 90), fontsize=7, va="center", transform=across)
    keys = [clean(key, 30) or "–" for key in rows["key"]]
    axes.set_yticks(places, [f"{key} (n = {n})" for key, n in zip(keys, rows["n"], strict=True)])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    if not np.isfinite(value).any():
        axes.set_xticks([])
    shown = np.concatenate([value, low, high, floor])
    shown = shown[np.isfinite(shown)]
    largest = shown.max() if len(shown) else 1.0
    left, right = shown.min(initial=0) * 1.05, 1.05 * largest if largest > 0 else 1
    if controls:
        left, right = left - 0.5 * (right - left) * bool(left < 0), right + 0.5 * (right - left)
    for k, control in enumerate(controls):
        at = rows[control].to_numpy(float).clip(left, right)
        label = clean(control.replace("_", " "))
        axes.plot(at, places, "x+12"[k % 4], color=COLOURS[2 + k % 4], clip_on=False, label=label)
    axes.set_xlim(left, right)
    axes.set_xlabel(clean(name.replace("_", " ")) + (f" ({clean(unit)})" if unit else ""))
    axes.grid(axis="x", color="#dddddd", linewidth=0.5)
