"""The reading page in a real browser, from file://: clicks, keys, a reload, an export that the analysis reads."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from cohorts import random_cohort
from test_blinded_kit import posing

from ecglib.errors import InputError
from ecglib.evaluation.blinded import read_forms, read_key, unblind, write_kit

pytest.importorskip("playwright", reason="playwright is not installed: `make setup` installs it")
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium found: the reading page is tried in one")
N = 6  # and two of them twice
WIDE, TABLET, TELEPHONE = (1440, 900), (820, 1180), (390, 844)


@pytest.fixture(scope="module")
def kit(tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    real = random_cohort(20, n_times=1000)
    folder = tmp_path_factory.mktemp("kit ü") / "blinded"
    return folder, write_kit(real, posing(random_cohort(20, n_times=1000, seed=1), real), folder, n=N, progress=False)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def context(browser: Browser):
    context = browser.new_context(viewport={"width": WIDE[0], "height": WIDE[1]}, accept_downloads=True)
    context.set_default_timeout(5000)
    yield context
    context.close()


def opened(context: BrowserContext, kit, reader: str = "r-1") -> Page:
    """The page after the reader's code was typed."""
    page = context.new_page()
    page.errors = []
    page.on("pageerror", lambda error: page.errors.append(str(error)))
    page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
    page.goto((kit[0] / "hand-out" / "reading.html").as_uri())
    begin(page, reader)
    return page


def begin(page: Page, reader: str) -> None:
    page.get_by_label("Your code").fill(reader)
    page.keyboard.press("Enter")
    expect(page.locator("#start")).not_to_be_visible()


def progress(page: Page) -> str:
    return page.locator("#progress").inner_text()


def export(page: Page, folder: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def answer_by_keys(page: Page, answer: str, confidence: int) -> None:
    page.keyboard.press(answer)
    page.keyboard.press(str(confidence))
    page.keyboard.press("h")
    page.keyboard.type("atrial fib")  # a letter that is a key elsewhere chooses in the list
    page.keyboard.press("Escape")
    page.keyboard.press("g")


def test_a_reading_from_the_first_sheet_to_the_analysis(context, kit, tmp_path):
    folder, plan = kit
    requests: list[str] = []
    context.on("request", lambda request: requests.append(request.url))
    page = opened(context, kit)
    assert progress(page).startswith(f"Sheet 1 of {len(plan)}: {plan['sheet'][0]} · 0 answered")
    # the first sheets with the mouse, as a tablet would
    for k in range(3):
        page.get_by_label("synthetic" if k % 2 else "real", exact=False).first.check()
        page.get_by_label("5", exact=True).check()
        page.get_by_label("Rhythm").select_option("sinus rhythm")
        page.get_by_label("acceptable").check()
        page.get_by_label("What made you decide?").fill('=SUM(A1), "too, regular"\nsecond line ü')
        expect(page.locator("#missing")).to_contain_text("✓")
        page.locator("#next-below").click()
    assert progress(page).startswith("Sheet 4")
    page.reload()
    begin(page, "R-1")  # capital or small, the same reader
    assert progress(page).startswith("Sheet 4") and "3 answered" in progress(page)
    page.keyboard.press("b")
    expect(page.get_by_label("Rhythm")).to_have_value("sinus rhythm")
    expect(page.get_by_label("What made you decide?")).to_have_value('=SUM(A1), "too, regular"\nsecond line ü')
    page.keyboard.press("n")
    # an export too early is marked, and refused
    key = folder / "key" / "key.json"
    early = export(page, tmp_path / "early")
    assert early.name == "answers-R-1-open.csv"
    with pytest.raises(InputError, match=f"is open: {len(plan) - 3} of {len(plan)} sheets"):
        read_forms([early], read_key(key))
    # the others with keys alone
    for k in range(3, len(plan)):
        answer_by_keys(page, "s" if plan["arm"][k] == "synthetic" else "r", 1 + k % 5)
        page.keyboard.press("o")
    assert "all answered" in progress(page)
    done = export(page, tmp_path / "forms")
    assert done.name == "answers-R-1.csv" and not page.errors
    assert {url.split(":")[0] for url in requests} <= {"file", "blob"}, "the page reached out"
    forms = read_forms(tmp_path / "forms", read_key(key))
    assert forms["sheet"].tolist() == plan["sheet"].tolist()
    assert forms["answer"].tolist()[:3] == ["real", "synthetic", "real"]
    assert forms["answer"].tolist()[3:] == plan["arm"].tolist()[3:]
    assert forms["confidence"].tolist() == [5, 5, 5, *(1 + k % 5 for k in range(3, len(plan)))]
    assert forms["rhythm"].tolist()[2:4] == ["sinus rhythm", "atrial fibrillation"]
    assert forms["reason"][0] == '\'=SUM(A1), "too, regular"\nsecond line ü', "no formula for a spreadsheet"
    right = (forms["answer"] == forms["arm"])[forms["repeat_of"] == ""]
    table = unblind(tmp_path / "forms", key, tmp_path / "analysis").set_index(["reader", "quantity"])
    assert table.loc[("R-1", "accuracy"), "value"] == pytest.approx(right.mean())


def test_the_sheet_shown_is_the_sheet_named(context, kit):
    page = opened(context, kit)
    first = page.locator("#trace").get_attribute("d")
    page.get_by_label("Go to").select_option(index=len(kit[1]) - 1)
    assert progress(page).startswith(f"Sheet {len(kit[1])} of")
    again = kit[1][kit[1]["repeat_of"] == kit[1]["sheet"][0]]
    same = page.locator("#trace").get_attribute("d") == first
    assert same == (len(again) > 0 and again.index[0] == len(kit[1]) - 1)
    expect(page.get_by_role("button", name="Next ▶").first).to_be_disabled()
    box = page.locator("#trace").bounding_box()
    assert box["width"] > 700 and box["height"] > 200, "a trace is drawn"


def test_two_readers_on_one_device_do_not_meet(context, kit):
    page = opened(context, kit, "ONE")
    page.keyboard.press("r")
    page.keyboard.press("?")
    page.get_by_role("button", name="Another reader").click()
    begin(page, "TWO")
    assert not page.get_by_label("real", exact=False).first.is_checked()
    page.reload()
    begin(page, "ONE")
    assert page.get_by_label("real", exact=False).first.is_checked()


@pytest.mark.parametrize("code", ["", "Dr. Müller", "a" * 21, "a b", "-a"])
def test_a_code_is_needed_and_is_no_name(context, kit, code):
    page = context.new_page()
    page.goto((kit[0] / "hand-out" / "reading.html").as_uri())
    page.keyboard.press("Escape")
    field = page.get_by_label("Your code")
    field.evaluate("(field, value) => { field.value = value }", code)
    page.get_by_role("button", name="Begin").click()
    expect(page.locator("#start")).to_be_visible()


def test_keys_rest_while_words_are_typed_and_when_switched_off(context, kit):
    page = opened(context, kit)
    page.keyboard.press("w")
    page.keyboard.type("regular spikes, no P; 5 s")
    assert progress(page).startswith("Sheet 1") and not page.locator("input:checked:not(#keys)").count()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    page.get_by_label("single keys are on").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    assert not page.locator("input:checked:not(#keys)").count()


def test_after_a_rhythm_was_picked_single_keys_are_keys_again(context, kit):
    page = opened(context, kit)
    page.locator("#rhythm").focus()
    page.locator("#rhythm").select_option("sinus rhythm")  # as from the open list, without a key
    page.keyboard.press("a")
    expect(page.locator("#rhythm")).to_have_value("sinus rhythm")
    assert page.locator("[name=quality][value=acceptable]").is_checked()


def test_a_rhythm_chosen_by_letters_is_left_with_enter(context, kit):
    page = opened(context, kit)
    page.keyboard.press("h")
    page.keyboard.type("atrial fib")
    expect(page.locator("#rhythm")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("p")
    expect(page.locator("#rhythm")).to_have_value("atrial fibrillation")
    assert page.locator("[name=quality][value=poor]").is_checked()


def test_everything_has_a_name_and_can_be_reached_by_tab(context, kit):
    page = opened(context, kit)
    nameless = page.evaluate("""() => [...document.querySelectorAll('input, select, textarea')]
        .filter((each) => !each.labels.length && !each.ariaLabel).map((each) => each.outerHTML)""")
    assert nameless == []
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.get_by_role("img", name=f"Sheet {kit[1]['sheet'][0]}").count() == 1
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.name || document.activeElement.id"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid" or page.evaluate("document.activeElement === document.body")
    wanted = {"next", "jump", "export", "larger", "window", "answer", "confidence", "rhythm", "quality", "reason"}
    assert wanted <= reached
    page.keyboard.press("?")
    assert page.get_by_role("dialog").get_by_role("row").count() >= 8, "keys are explained"


@pytest.mark.parametrize("size", [WIDE, TABLET, TELEPHONE])
def test_it_fits_and_can_be_touched(browser, kit, size):
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, has_touch=True)
    page = opened(context, kit)
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    for each in page.locator("button:visible, select:visible, fieldset label:visible").all():
        assert each.bounding_box()["height"] >= 40, each.inner_text()
    page.locator("label", has_text="synthetic").tap()
    assert page.locator("[name=answer][value=synthetic]").is_checked()
    before = page.locator("#sheet").bounding_box()["width"]
    page.locator("#larger").tap()
    assert page.locator("#sheet").bounding_box()["width"] > 1.1 * before
    context.close()


def test_printed_from_the_page_a_millimetre_is_a_millimetre(context, kit):
    page = opened(context, kit)
    page.emulate_media(media="print")
    assert page.locator("#sheet").bounding_box()["width"] == pytest.approx(275 / 25.4 * 96, abs=1)
    assert not page.locator("nav").is_visible() and not page.locator("#form").is_visible()
    assert page.locator("#progress").is_visible(), "the sheet's name is printed"


def test_where_nothing_can_be_kept_the_page_says_so(context, kit):
    """A private window may refuse: the reading goes on, with a warning to export."""
    page = context.new_page()
    page.add_init_script("Object.defineProperty(window, 'localStorage', {get() { throw new Error('denied') }})")
    page.goto((kit[0] / "hand-out" / "reading.html").as_uri())
    begin(page, "R1")
    expect(page.get_by_role("alert")).to_contain_text("export before you close")
    page.keyboard.press("s")
    assert page.locator("[name=answer][value=synthetic]").is_checked()


def kept_place(page: Page, reader: str) -> str:
    """Where the browser keeps a reader's answers."""
    return f"ecg-reading {page.locator('#seal').text_content()} {reader}"


def test_two_tabs_of_one_reader_keep_the_answers_of_both(context, kit):
    first, second = opened(context, kit), opened(context, kit)
    second.evaluate("addEventListener('storage', (event) => event.stopImmediatePropagation(), true)")
    for key in ("r", "n", "s", "n", "r"):
        first.keyboard.press(key)
    second.keyboard.press("n")  # mere navigation
    second.keyboard.press("n")
    second.keyboard.press("n")
    second.keyboard.press("s")
    first.reload()
    begin(first, "R-1")
    for sheet, answer in enumerate(["real", "synthetic", "real", "synthetic"]):
        first.get_by_label("Go to").select_option(index=sheet)
        assert first.locator(f"[name=answer][value={answer}]").is_checked(), sheet


def test_a_second_tab_shows_what_the_first_was_told(context, kit):
    first, second = opened(context, kit), opened(context, kit)
    for key in ("r", "5"):
        first.keyboard.press(key)
    expect(second.locator("[name=answer][value=real]")).to_be_checked()
    second.keyboard.press("4")  # the newer one counts
    expect(first.locator("[name=confidence][value='4']")).to_be_checked()
    assert not first.errors and not second.errors


@pytest.mark.parametrize("text", ["{", '{"current": 1}', '"text"'])
def test_what_cannot_be_read_is_left_as_it_is_and_said(context, kit, text):
    page = opened(context, kit)
    place = kept_place(page, "R-1")
    page.evaluate("([place, text]) => localStorage.setItem(place, text)", [place, text])
    page.reload()
    begin(page, "R-1")
    expect(page.get_by_role("alert")).to_contain_text("of R-1 cannot be read. It is left as it is")
    page.keyboard.press("s")
    page.keyboard.press("n")
    assert page.evaluate("(place) => localStorage.getItem(place)", place) == text
    assert not page.errors
