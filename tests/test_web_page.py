"""The page itself, in a headless Chromium, opened from the disk: what it draws is what Python draws."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_training import tiny_cohort
from test_web import WEB

from ecglib.diffusion import GROUPS, Conditions, Generator, Schedule, clock, train
from ecglib.diffusion.samplers import SAMPLERS, spaced_steps
from ecglib.errors import InputError
from ecglib.signals import LEADS_12, STATEMENTS
from ecglib.web import CounterNoise, PageGenerator
from ecglib.web.build import LIMIT, PAGE, bundled_runtime, generator_script
from ecglib.web.describe import describe_groups

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: no page is opened")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine: no page is opened")
HEAD = '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
DRAWN = "document.getElementById('play-status').textContent.startsWith('Drawn')"

IDLE = "document.getElementById('play-result').getAttribute('aria-busy') === 'false'"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    config = WEB.override({"training.steps": 40})
    return train(config, tiny_cohort(), tmp_path_factory.mktemp("page") / "run", progress=False)


def put_page(folder: Path) -> Path:
    """Write the page as the book has it, without the book around it."""
    shutil.copytree(PAGE, folder / "play")
    (folder / "play.html").write_text(HEAD + (PAGE / "play.html").read_text(encoding="utf-8"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """A folder with the whole page; its name has a blank and letters beyond ASCII."""
    folder = put_page(tmp_path_factory.mktemp("Seite ♥ ä"))
    try:
        shutil.copy(bundled_runtime(), folder / "play")
    except InputError as error:
        pytest.skip(str(error))
    script = generator_script(run, tiny_cohort(), "smoke", LIMIT)
    (folder / "play" / "generator.js").write_text(script, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()


def opened(browser, folder: Path, **options):
    """Open the page, and note in `page.faults` what it asks of a network, and its errors."""
    page = browser.new_page(**options)
    page.faults = []
    page.on("request", lambda asked: page.faults.append(asked.url) if asked.url.startswith("http") else None)
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto((folder / "play.html").as_uri())
    return page


@pytest.fixture(scope="module")
def page(browser, folder):
    page = opened(browser, folder)
    page.wait_for_function(DRAWN)
    yield page
    assert page.faults == []
    page.close()


# ---- each part in JavaScript equals its like in Python


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**32 - 1])
def test_the_noise_is_the_same_bit_for_bit(page, seed):
    theirs = page.evaluate("""(seed) => {
        const noise = new Ecglib.CounterNoise(seed);
        return [Math.fround(noise.uniform()), ...noise.normal(20000)];
    }""", seed)  # fmt: skip
    noise = CounterNoise(seed, 1, (1, 20000))
    ours = np.concatenate([noise.uniform().numpy(), noise().numpy().ravel()])
    assert np.array_equal(np.array(theirs, np.float32), ours) and np.array_equal(theirs, ours.astype(np.float64))


@pytest.mark.parametrize("schedule", [Schedule.cosine(20), Schedule.cosine(200), Schedule.linear(50)])
@pytest.mark.parametrize("spacing", ["even", "log-snr"])
def test_the_steps_are_the_same(page, schedule, spacing):
    theirs = page.evaluate("""([alphaBar, spacing]) => alphaBar.map((_, k) =>
        Ecglib.spacedSteps(alphaBar, k + 1, spacing))""", [schedule.alpha_bar.tolist(), spacing])  # fmt: skip
    assert theirs == [spaced_steps(schedule, k + 1, spacing) for k in range(len(schedule))]


def test_requests_are_encoded_the_same(page):
    conditions, rng, codes = Conditions(GROUPS), np.random.default_rng(0), list(STATEMENTS.index)
    asked = [{"scp_codes": list(rng.choice(codes, rng.integers(0, 4), replace=False)),
              "age": rng.choice([None, 0, 12, 17, 74, 100, int(rng.integers(0, 100))]), "sex": rng.choice([None, 0, 1]),
              "heart_rate": rng.choice([None, 5, 30, 200, 300, int(rng.integers(30, 200))])}
             for _ in range(60)]  # fmt: skip
    groups = json.loads(json.dumps(describe_groups(conditions.vocabulary)))
    theirs = page.evaluate("([groups, asked]) => asked.map((one) => Ecglib.encode(groups, one))", [groups, asked])
    table = pd.DataFrame({"ecg_id": range(60), "scp_codes": [dict.fromkeys(one["scp_codes"], 0.0) for one in asked]})
    for name in ("age", "sex", "heart_rate"):
        table[name] = [np.nan if one[name] is None else float(one[name]) for one in asked]
    assert np.abs(np.array(theirs) - conditions.encode(table).numpy()).max() < 1e-6
    unknown = page.evaluate("(groups) => Ecglib.unknown(groups)", groups)
    assert unknown == conditions.unknown(1)[0].tolist()


def test_the_clock_is_the_same(page):
    beats = np.cumsum(np.r_[-0.3, np.random.default_rng(0).uniform(0.3, 1.2, 20)])
    theirs = page.evaluate("(beats) => [...Ecglib.clock(beats, 1000, 100, 4)]", beats.tolist())
    ours = clock([beats], 1000, 100).numpy().ravel()
    assert np.abs(np.array(theirs) - ours).max() < 1e-6


# ---- the whole page, through its controls


def set_slider(page, name: str, value: float) -> None:
    """Move a slider as a finger does: input, then change."""
    page.locator(f"#play-{name}").evaluate("(slider, value) => { slider.value = value; }", value)
    for kind in ("input", "change"):
        page.locator(f"#play-{name}").dispatch_event(kind)


def ask(page, *, codes: list[str], age, sex, heart_rate, steps: int, guidance: float, sampler: str, seed: int) -> None:
    for box in page.locator("#play-statements input").all():
        box.set_checked(box.get_attribute("value") in codes)
    for name, value in {"age": age, "heart_rate": heart_rate}.items():
        page.locator(f"#play-{name}-off").set_checked(value is None)
        if value is not None:
            set_slider(page, name, value)
    page.locator(f'#play-sex input[value="{"" if sex is None else sex}"]').check()
    set_slider(page, "steps", steps)
    set_slider(page, "guidance", guidance)
    page.locator("#play-sampler").select_option(sampler)
    page.locator("#play-seed").fill(str(seed))
    page.wait_for_function(IDLE)
    assert page.locator("#play-status").inner_text().startswith("Drawn in"), page.locator("#play-status").inner_text()


def downloaded(page, tmp_path: Path, button: str) -> str:
    with page.expect_download() as waiting:
        page.locator(button).click()
    waiting.value.save_as(tmp_path / "file")
    return (tmp_path / "file").read_text(encoding="utf-8")


REQUESTS = [
    {"codes": ["NORM", "SR"], "age": 50, "sex": 1, "heart_rate": 60, "guidance": 1.0, "seed": 0},
    {"codes": ["SR"], "age": None, "sex": 0, "heart_rate": 150, "guidance": 2.5, "seed": 2**32 - 1},
    {"codes": [], "age": 90, "sex": None, "heart_rate": None, "guidance": 0.0, "seed": 7},
]


@pytest.mark.parametrize(("sampler", "request_"), [*((name, REQUESTS[0]) for name in SAMPLERS),
                                                   *(("dpmpp", one) for one in REQUESTS[1:])])  # fmt: skip
def test_what_the_page_draws_is_what_pytorch_draws(page, run, tmp_path, sampler, request_):
    ask(page, **request_, sampler=sampler, steps=9)
    text = downloaded(page, tmp_path, "#play-csv")
    first_line = text.split("\n")[0]
    assert first_line.startswith("# synthetic ECG, not for clinical use")
    assert first_line.endswith(f"seed {request_['seed']}")
    drawn = pd.read_csv(tmp_path / "file", comment="#")
    assert tuple(drawn.columns) == ("time_s", *LEADS_12) and np.allclose(drawn["time_s"], np.arange(200) / 100)
    table = pd.DataFrame({"ecg_id": [1], "scp_codes": [dict.fromkeys(request_["codes"], 0.0)]})
    for name in ("age", "sex", "heart_rate"):
        table[name] = [np.nan if request_[name] is None else float(request_[name])]
    how = {"sampler": sampler, "steps": 9, "guidance": request_["guidance"], "seed": request_["seed"]}
    ours = PageGenerator.of(Generator.load(run)).sample(table, **how)
    error = np.abs(drawn[list(LEADS_12)].to_numpy().T - ours.x[0]).max()
    assert error < 1e-3, f"{error} mV; promised are 0.01"


def test_moving_a_slider_draws_another_ecg(page, tmp_path):
    ask(page, **REQUESTS[0], sampler="dpmpp", steps=9)
    before = downloaded(page, tmp_path, "#play-csv")
    page.locator("#play-heart_rate").focus()
    page.keyboard.press("End")
    page.wait_for_function(IDLE)
    assert page.locator("#play-heart_rate-value").inner_text() == "200 /min"
    assert "200/min asked for" in page.locator("#play-sheet title").text_content()
    assert downloaded(page, tmp_path, "#play-csv") != before
    page.locator("#play-next").click()
    page.wait_for_function("document.getElementById('play-status').textContent.includes('seed 1.')")


def test_the_sheet_is_right_to_the_millimetre(page, tmp_path):
    ask(page, **REQUESTS[0], sampler="ddim", steps=9)
    downloaded(page, tmp_path, "#play-csv")
    drawn = pd.read_csv(tmp_path / "file", comment="#")
    svg = downloaded(page, tmp_path, "#play-svg")
    assert "not for clinical use" in svg and "25 mm/s" in svg
    paths = dict(re.findall(r'data-lead="(\w+)"[^>]* d="([^"]+)"', svg))  # of lead II the last: the strip below
    assert set(paths) == set(LEADS_12)
    x, y = np.array([point.split() for point in re.split("[ML]", paths["II"])[1:]], dtype=float).T
    lead = drawn["II"].to_numpy()
    assert np.abs(x - (30 + 25 * drawn["time_s"])).max() < 0.006
    assert np.abs(y - (170 - 10 * (lead - np.median(lead)))).max() < 0.006


def test_the_steps_can_be_looked_at_again(page):
    ask(page, **REQUESTS[0], sampler="ddim", steps=9)
    trace = page.locator('#play-sheet path[data-lead="V1"]')
    result = trace.get_attribute("d")
    page.locator("#play-frame").focus()
    page.keyboard.press("Home")
    noise = trace.get_attribute("d")
    assert page.locator("#play-frame-value").inner_text() == "1 of 9" and noise != result
    page.get_by_label("the network's guess").check()
    assert trace.get_attribute("d") not in (noise, result)
    page.keyboard.press("Tab")
    page.locator("#play-frame").focus()
    page.keyboard.press("End")
    assert trace.get_attribute("d") == result


def test_an_impossible_seed_is_refused_in_words_and_the_ecg_stays(page):
    ask(page, **REQUESTS[0], sampler="ddim", steps=9)
    before = page.locator("#play-sheet").inner_html()
    page.locator("#play-seed").fill("-1")
    assert "whole number from 0 to 4294967295" in page.locator("#play-status").inner_text()
    assert page.locator("#play-sheet").inner_html() == before
    ask(page, **REQUESTS[0], sampler="ddim", steps=9)


def test_every_control_has_a_name_and_the_page_says_what_it_is(page):
    nameless = page.evaluate("""() => [...document.querySelectorAll('#play input, #play select, #play button')]
        .filter((one) => !one.labels?.length && !one.textContent.trim()).map((one) => one.id)""")  # fmt: skip
    assert nameless == []
    for name in ("age not told", "heart rate not told", "sex not told"):
        assert page.get_by_label(name, exact=True).count() == 1, "each says what is not told"
    labels = page.locator("#play-statements label").all_inner_texts()
    assert labels and all(re.search(r" \(\d+\)$", label) for label in labels), "counts are for eyes and readers alike"
    about = page.locator("#play-about").inner_text()
    assert "preset smoke" in about and "40 steps with seed 0" in about and "not for clinical use" in about


def test_after_a_drawing_that_failed_there_is_nothing_to_take_home(page):
    ask(page, **REQUESTS[0], sampler="ddim", steps=9)
    buttons = [page.locator("#play-csv"), page.locator("#play-svg")]
    page.evaluate("""() => {
        const generator = Ecglib.Generator.prototype, { sample } = generator;
        generator.sample = async () => { generator.sample = sample; throw new Error("no memory"); };
    }""")
    page.locator("#play-seed").fill("3")
    page.wait_for_function("document.getElementById('play-status').textContent.includes('no memory')")
    page.wait_for_function(IDLE)
    assert all(button.is_disabled() for button in buttons), "the file would hold the ECG before"
    page.locator("#play-frame").dispatch_event("input")
    page.get_by_label("the network's guess").check()
    ask(page, **REQUESTS[0], sampler="ddim", steps=9)
    assert all(button.is_enabled() for button in buttons)


@pytest.mark.parametrize("width", [320, 1400])
def test_it_fits_narrow_and_wide(browser, folder, width):
    page = opened(browser, folder, viewport={"width": width, "height": 700}, reduced_motion="reduce")
    page.wait_for_function(DRAWN)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


@pytest.mark.parametrize(("write", "expected"), [
    ({"generator.js": 'globalThis.Ecglib ??= {}; Ecglib.missing = "This page cannot draw here: no npm.";'}, "no npm"),
    ({}, "A part of this page is missing"),
    ({"runtime.js": 'globalThis.Ecglib ??= {}; Ecglib.wasm = "%%%"; var ort = {env: {wasm: {}}};',
      "generator.js": "Ecglib.parts = {};"}, "did not start"),
])  # fmt: skip
def test_what_is_missing_or_broken_is_said_in_words(browser, tmp_path, write, expected):
    put_page(tmp_path)
    for name, text in write.items():
        (tmp_path / "play" / name).write_text(text, encoding="utf-8")
    page = opened(browser, tmp_path)
    page.wait_for_function("document.querySelector('.play-wrong')")
    assert expected in page.locator("#play-status").inner_text()
    assert page.locator("#play-form").is_hidden()
    page.close()
