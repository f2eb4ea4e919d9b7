"""Figures: millimetres that are right, text that does no harm, labels with units, and refusals."""

import io
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from cohorts import ludb, random_cohort

from ecglib.errors import InputError
from ecglib.evaluation import Comparison, evaluate, fidelity
from ecglib.figures import denoising_strip, ecg_sheet, interval_plot, loss_curve, mel_view, sheet_grid
from ecglib.figures.sheet import LAYOUT, PAGE, PAPER, TRACE_LEFT
from ecglib.signals import LEADS_8, LEADS_12, to_eight_leads, to_twelve_leads


def drawn(figure, kind="png"):
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind)
    return buffer.getvalue()


def figure_pixels(figure, dpi):
    wide, high = figure.get_size_inches() * dpi
    return int(high), int(wide)


def lines(figure):
    found = {}
    for line in figure.axes[0].get_lines():
        found.setdefault(line.get_label(), []).append(line.get_xydata())
    return found


def texts(figure):
    return [text.get_text() for text in figure.axes[0].texts]


@pytest.fixture(scope="module")
def record():
    return random_cohort(1, n_times=1000).x[0]


class TestSheet:
    def test_page_is_true_to_size(self, record):
        figure = ecg_sheet(record, 100)
        np.testing.assert_allclose(figure.get_size_inches() * 25.4, PAGE)
        box = figure.axes[0].get_position()
        assert (box.x0, box.y0, box.x1, box.y1) == (0, 0, 1, 1)
        assert figure.axes[0].get_xlim() == (0, PAGE[0]) and figure.axes[0].get_ylim() == (0, PAGE[1])

    @pytest.mark.parametrize(
        ("kind", "width", "height"),
        [
            ("pdf", rb"MediaBox \[ ?0 0 ([\d.]+) ", rb"MediaBox \[ ?0 0 [\d.]+ ([\d.]+)"),
            ("svg", rb'<svg [^>]*width="([\d.]+)pt"', rb'<svg [^>]*height="([\d.]+)pt"'),
        ],
    )
    def test_files_print_true_to_size(self, record, kind, width, height):
        text = re.sub(rb"\s+", b" ", drawn(ecg_sheet(record, 100), kind))
        size = [float(re.search(pattern, text).group(1)) for pattern in (width, height)]
        np.testing.assert_allclose(np.array(size) / 72 * 25.4, PAGE, atol=0.05)

    @pytest.mark.parametrize("fs", [100, 500])
    def test_ten_seconds_are_250_mm_and_one_millivolt_10_mm(self, fs):
        x = np.zeros((12, 10 * fs))
        x[1, 2 * fs] = 1.0  # lead II, 1 mV at 2 s
        strip = lines(ecg_sheet(x, fs))["II"][1]
        np.testing.assert_allclose(strip[[0, -1], 0], [TRACE_LEFT, TRACE_LEFT + 25 * (10 - 1 / fs)])
        peak = strip[:, 1].argmax()
        np.testing.assert_allclose(strip[peak] - strip[0], [50, 10])

    def test_calibration_pulse(self, record):
        pulses = lines(ecg_sheet(record, 100))["1 mV"]
        assert len(pulses) == 4
        for pulse in pulses:
            top = pulse[pulse[:, 1] == pulse[:, 1].max()]
            assert np.ptp(pulse[:, 1]) == 10 and np.ptp(top[:, 0]) == 5

    def test_grid(self, record):
        grids = {item.get_label(): item.get_segments() for item in ecg_sheet(record, 100).axes[0].collections}
        for step in (1, 5):
            upright = sorted(line[0][0] for line in grids[f"grid-{step}-mm"] if line[0][0] == line[1][0])
            np.testing.assert_allclose(np.diff(upright), step)
            assert (upright[0], upright[-1]) == (PAPER[0], PAPER[0] + PAPER[2])
        assert TRACE_LEFT % 5 == PAPER[0] % 5 == 0  # time 0 and baselines on bold lines

    def test_each_lead_in_its_quarter(self, record):
        found = lines(ecg_sheet(record, 100))
        for row in LAYOUT:
            for column, lead in enumerate(row):
                trace = found[lead][0]
                assert trace[0, 0] == pytest.approx(TRACE_LEFT + 62.5 * column)
                signal = record[LEADS_12.index(lead)].astype(float)
                part = signal[250 * column : 250 * column + len(trace)] - np.median(signal)
                np.testing.assert_allclose(np.diff(trace[:, 1]), 10 * np.diff(part), atol=1e-9)

    def test_lead_order_and_eight_leads(self, record):
        expected = lines(ecg_sheet(record, 100))
        eight = to_eight_leads(record.astype(float))
        for other in (ecg_sheet(record[::-1], 100, LEADS_12[::-1]), ecg_sheet(eight, 100),
                      ecg_sheet(eight[::-1], 100, LEADS_8[::-1])):  # fmt: skip
            for lead, traces in lines(other).items():
                np.testing.assert_allclose(traces[0], expected[lead][0], atol=1e-5)

    @pytest.mark.parametrize(
        ("n_times", "fs", "seconds"), [(300, 100, 3), (3000, 100, 10), (2, 100, 0.02), (999, 97, 10)]
    )
    def test_shorter_and_longer_records(self, n_times, fs, seconds):
        figure = ecg_sheet(np.zeros((12, n_times)), fs)
        strip = lines(figure)["II"][1]
        assert np.ptp(strip[:, 0]) == pytest.approx(25 * (seconds - 1 / fs), abs=25 / fs)
        assert any("first 10 s of 30 s" in text for text in texts(figure)) == (n_times == 3000)

    def test_giant_waves_stay_on_the_paper(self, record):
        figure = ecg_sheet(record * 1000, 100)
        figure.savefig(buffer := io.BytesIO(), format="raw", dpi=100)
        pixels = np.frombuffer(buffer.getvalue(), np.uint8).reshape(*figure_pixels(figure, 100), 4)[..., :3]
        margin = round((PAGE[1] - PAPER[1] - PAPER[3] - 1) / 25.4 * 100)
        assert (pixels[:margin] == 255).all()  # above the paper, where an empty title stands
        assert (pixels[margin + 10 : -100] < 100).any()

    @pytest.mark.parametrize(
        "text",
        ["<script>alert('x')</script>", "a $\\frac{1$ b", "cost $5", "$x$ & \\$", "a\nb\0\tc", "{}%s", "é" * 500, ""],
    )
    def test_any_text_is_drawn_as_itself(self, record, text):
        figure = ecg_sheet(record, 100, title=text, caption=text)
        svg = drawn(figure, "svg").decode()
        assert "<script" not in svg
        title = texts(figure)[-3]
        assert "\n" not in title and "\0" not in title and len(title) <= 160

    def test_says_its_scale(self, record):
        assert any("25 mm/s" in text and "10 mm/mV" in text for text in texts(ecg_sheet(record, 100)))

    @pytest.mark.parametrize(
        ("x", "arguments", "message"),
        [
            (np.zeros((3, 100)), {}, "x is of shape"),
            (np.zeros(100), {}, "x is of shape"),
            (np.full((12, 100), np.nan), {}, "NaN"),
            (np.zeros((12, 1)), {}, "at least two"),
            (np.zeros((12, 100)), {"fs": 0}, "fs is 0"),
            (np.zeros((12, 100)), {"leads": LEADS_8}, "leads is 8 names"),
            (np.zeros((12, 100)), {"leads": ["X", *LEADS_12[1:]]}, "'X' is not one of the twelve"),
        ],
    )
    def test_refusals(self, x, arguments, message):
        with pytest.raises(InputError, match=message):
            ecg_sheet(x, arguments.pop("fs", 100), **arguments)

    def test_real_record(self):
        record = ludb(1).x[0]
        found = lines(ecg_sheet(record, 500))
        assert np.ptp(found["V4"][0][:, 1]) == pytest.approx(10 * np.ptp(record[9, 3750:]), abs=0.01)
        assert len(drawn(ecg_sheet(record, 500))) > 30_000


def test_sheet_shows_itself_without_pyplot(record):
    assert ecg_sheet(record, 100)._repr_png_()[:4] == b"\x89PNG"


def test_no_display_is_needed():
    code = "from ecglib.figures import ecg_sheet; import numpy as np; ecg_sheet(np.zeros((8, 99)), 100)._repr_png_()"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PATH": "", "MPLBACKEND": "agg"}, timeout=60)


class TestGrid:
    def test_real_beside_synthetic(self):
        real, other = random_cohort(5), random_cohort(5, seed=1)
        figure = sheet_grid(real, [0, 3], other=other, leads=("II", "V5"))
        assert len(figure.axes) == 4
        assert [axes.get_title("left").split(":")[0] for axes in figure.axes] == ["real", "synthetic"] * 2
        assert figure.axes[2].get_xlabel() == "time (s)" and "mV" in figure.get_supylabel()
        trace = figure.axes[3].get_lines()[0].get_ydata()
        np.testing.assert_allclose(np.diff(trace), np.diff(other.x[3, 1].astype(float)), atol=1e-9)
        assert drawn(figure)

    def test_eight_leads_and_one_column(self):
        assert len(sheet_grid(random_cohort(3, leads=LEADS_8), np.arange(3), leads=("III",)).axes) == 3

    def test_refusals(self):
        with pytest.raises(InputError, match="rows is empty"):
            sheet_grid(random_cohort(2), [])
        with pytest.raises(InputError, match="positions below 2"):
            sheet_grid(random_cohort(4), [3], other=random_cohort(2))


class TestViews:
    def test_strip(self, record):
        steps = np.stack([to_eight_leads(record), 2 * to_eight_leads(record)])
        figure = denoising_strip(steps, ["t = 1", "t = 0"], 100, lead="III")
        assert [axes.get_ylabel() for axes in figure.axes] == ["t = 1", "t = 0"]
        expected = to_twelve_leads(steps[1].astype(float))[2]
        np.testing.assert_allclose(figure.axes[1].get_lines()[0].get_ydata(), expected)
        assert figure.axes[-1].get_xlabel() == "time (s)" and "(mV)" in figure.get_supylabel()
        assert drawn(figure) and drawn(denoising_strip(steps[:, 0], ["$a", "<b>"], 100))

    def test_strip_refusals(self, record):
        with pytest.raises(InputError, match="labels is 1 long"):
            denoising_strip(np.zeros((2, 100)), ["a"], 100)
        with pytest.raises(InputError, match="leads is 8 names"):
            denoising_strip(np.zeros((2, 12, 100)), ["a", "b"], 100)

    def test_scaled_leads_are_not_completed(self, record):
        steps = to_eight_leads(record)[None]
        figure = denoising_strip(steps, ["t = 0"], 100, lead="V1", unit="standard deviations")
        np.testing.assert_allclose(figure.axes[0].get_lines()[0].get_ydata(), steps[0, 2])
        with pytest.raises(InputError, match="leads II are wanted"):
            denoising_strip(steps, ["t = 0"], 100, unit="standard deviations")

    def test_mel_is_in_hertz_and_decibels(self):
        mel = np.outer([1.0, 0.1, 0.0], np.ones(4))
        figure = mel_view(np.zeros(100), 100, mel, np.array([3.0, 6.0, 9.0]), np.array([0.0, 0.3, 0.6, 0.9]))
        above, below, bar = figure.axes
        decibels = np.asarray(below.collections[0].get_array()).reshape(3, 4)[:, 0]
        np.testing.assert_allclose(decibels, [0, -20, -60])
        assert "Hz" in below.get_ylabel() and "dB" in bar.get_ylabel() and "mV" in above.get_ylabel()
        assert drawn(figure)

    @pytest.mark.parametrize("mel", [np.zeros((4, 3)), -np.ones((3, 4)), np.full((3, 4), np.nan)])
    def test_mel_refusals(self, mel):
        with pytest.raises(InputError, match="mel is"):
            mel_view(np.zeros(100), 100, mel, np.arange(3.0), np.arange(4.0))

    def test_silence(self):
        assert drawn(mel_view(np.zeros(100), 100, np.zeros((3, 4)), np.arange(3.0), np.arange(4.0)))

    def test_loss(self):
        log = pd.DataFrame({"step": [0, 10, 20], "train": [1.0, 0.5, 0.2], "validation": [1.1, np.nan, 0.3]})
        axes = loss_curve(log).axes[0]
        assert [len(line.get_xdata()) for line in axes.get_lines()] == [3, 2]
        assert axes.get_xlabel() == "training step" and axes.get_yscale() == "log"
        assert drawn(loss_curve(log))
        with pytest.raises(InputError, match="log is of columns"):
            loss_curve(log[["train"]])

    def test_intervals_beside_the_floor(self):
        metrics = [fidelity.ilce, fidelity.ilce_paired, fidelity.log_spectral_distance]
        table = evaluate(Comparison(random_cohort(20), random_cohort(20, seed=1)), metrics, resamples=20)
        figure = interval_plot(table)
        assert len(figure.axes) == 3  # ilce_paired has no partners: its panel says so
        assert "source_ecg_id" in figure.axes[1].texts[0].get_text()
        assert figure.axes[2].get_xlabel() == "log spectral distance (dB)"
        assert figure.axes[0].get_yticklabels()[0].get_text() == "mean (n = 20)"
        values = figure.axes[2].get_lines()[0].get_xdata()
        np.testing.assert_allclose(values, table[table.metric == "log_spectral_distance"].value)
        assert drawn(figure)

    def test_controls_stand_in_the_panel_and_far_ones_at_its_edge(self):
        table = evaluate(Comparison(random_cohort(20), random_cohort(20, seed=1)), [fidelity.ilce], resamples=20)
        table = table.assign(copies=0.0, spoiled=99.0)
        axes = interval_plot(table, controls=["copies", "spoiled"]).axes[0]
        left, right = axes.get_xlim()
        at = {line.get_label(): line.get_xdata() for line in axes.get_lines()}
        assert (at["copies"] == 0).all() and (at["spoiled"] == right).all() and left == 0
        assert drawn(interval_plot(table.assign(ci_high=np.inf)))  # no bound: the panel's width is of the others

    def test_interval_refusals(self):
        with pytest.raises(InputError, match="table is of columns"):
            interval_plot(pd.DataFrame({"value": [1.0]}))


def test_style_does_not_leak():
    import matplotlib

    before = dict(matplotlib.rcParams)
    loss_curve(pd.DataFrame({"step": [0], "train": [1.0]}))
    assert dict(matplotlib.rcParams) == before


def test_set_style_is_the_style_of_the_librarys_own_figures():
    code = ("import matplotlib; from ecglib.figures import set_style; from ecglib.figures.style import COLOURS, style\n"
            "before = dict(matplotlib.rcParams)\n"
            "with style(): inside = dict(matplotlib.rcParams)\n"
            "assert dict(matplotlib.rcParams) == before != inside\n"
            "set_style(); assert dict(matplotlib.rcParams) == inside\n"
            "assert matplotlib.rcParams['axes.prop_cycle'].by_key()['color'] == list(COLOURS)")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)
