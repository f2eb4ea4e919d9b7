"""The panel: what is set on its widgets is asked, drawn, measured and judged, and what cannot be asked is said."""

import numpy as np
import pandas as pd
import pytest
from test_training import TINY, tiny_cohort

from ecglib import widgets
from ecglib.diffusion import Generator, train
from ecglib.errors import InputError
from ecglib.evaluation import delineate
from ecglib.evaluation.guard import Guard
from ecglib.signals.statements import STATEMENTS
from ecglib.signals.virtual import virtual_cohort
from ecglib.signals.virtual.patients import draw_patients, draw_statements
from ecglib.widgets import FIRST, contradictions, panel, reply


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    config = TINY.override({"training.steps": 30, "training.learning_rate": 5e-3})
    run = train(config, tiny_cohort(n_times=600), tmp_path_factory.mktemp("widgets") / "run", progress=False)
    return Generator.load(run)


@pytest.fixture
def view(generator):
    return panel(generator)


def sheet(view) -> bytes:
    return bytes(view.sheet.value)


def shown(view) -> tuple[bytes, str, str]:
    return sheet(view), view.measures.value, view.verdict.value


def test_it_opens_with_a_sheet_its_measures_and_a_verdict(view):
    assert view.message.value == ""
    assert sheet(view).startswith(b"\x89PNG")
    assert "QRS" in view.measures.value and "normal adults" in view.measures.value
    assert view.verdict.value


@pytest.mark.parametrize(("name", "value"), [("age", "20"), ("sex", 0.0), ("heart_rate", "50"), ("guidance", 3.0),
                                             ("sampler", "ddim"), ("steps", 3), ("seed", 7), ("age", ""),
                                             ("statements", ("AFIB",)), ("statements", ())])  # fmt: skip
def test_a_changed_control_draws_another_sheet_and_back_the_same_one(view, name, value):
    first, control = shown(view), view.controls[name]
    before, control.value = control.value, value
    assert view.message.value == "" and sheet(view).startswith(b"\x89PNG")
    assert sheet(view) != first[0]
    control.value = before
    assert shown(view) == first, "the same settings give the same record"


def test_the_table_changes_with_the_record(view):
    tables = {view.measures.value}
    for seed in (1, 2, 3):
        view.controls["seed"].value = seed
        tables.add(view.measures.value)
    assert len(tables) > 1


@pytest.mark.parametrize(("name", "value", "words"), [
    ("age", "old", "age='old'; expected a number from 0 to 120"),
    ("age", "300", "expected a number from 0 to 120"),
    ("age", "nan", "expected a number from 0 to 120"),
    ("heart_rate", "fast", "heart_rate='fast'"),
    ("heart_rate", "300", "expected a number from 30 to 200"),
    ("seed", -1, "seed=-1; expected a whole number"),
    ("statements", ("NORM", "CLBBB"), "contradicts itself: NORM with CLBBB"),
    ("statements", ("SBRAD",), "SBRAD with 75/min: it means a rate below 60"),
])  # fmt: skip
def test_wrong_input_is_said_and_no_sheet_stands_beside_it(view, name, value, words):
    control = view.controls[name]
    before, control.value = control.value, value
    assert words.replace("'", "&#x27;") in view.message.value
    assert shown(view) == (b"", "", "") and view.sheet.layout.display == "none"
    control.value = before
    assert view.message.value == "" and sheet(view) and view.sheet.layout.display is None


def test_what_was_typed_is_shown_as_text_not_as_html(view):
    view.controls["age"].value = "<img src=x>"
    assert "<img" not in view.message.value and "&lt;img" in view.message.value


def test_only_statements_that_were_seen_are_offered_with_their_counts(generator):
    view = panel(generator, seen=tiny_cohort())
    assert [code for _, code in view.controls["statements"].options] == ["NORM", "SR"]
    assert all(label.endswith("(seen 40×)") for label, _ in view.controls["statements"].options)
    assert view.controls["statements"].value == ("SR",) and sheet(view)
    assert len(panel(generator).controls["statements"].options) == len(STATEMENTS)


def test_the_panel_shows_what_the_function_gives(generator, view):
    answer = reply(generator, FIRST, steps=view.controls["steps"].value)
    assert sheet(view) == answer.figure._repr_png_()
    assert view.measures.value == answer.measures.to_html(border=0)


def test_measures_and_verdict_are_those_of_the_record():
    cohort = virtual_cohort(60, population="teaching")
    block = cohort.select(np.flatnonzero(cohort.has("CLBBB"))[:1])
    measures = delineate(block.x, block.fs)
    table = widgets._table(measures.iloc[0])
    assert table.loc["QRS", "measured"] == f"{measures['qrs_ms'].item():.0f}" and table.loc["QRS", "unit"] == "ms"
    assert "CLBBB is borne out" in widgets._verdict(block, measures, widgets.HARD_ONLY)
    narrow = delineate(cohort.x, cohort.fs)["qrs_ms"].to_numpy() < 100
    normal = cohort.select(np.flatnonzero(cohort.has("NORM") & narrow)[:1])
    strict = Guard({(False, -1): (10.0, 0.0)}, 0.99)  # QRS of at most 10 ms
    assert "rejects it (QRS for age)" in widgets._verdict(normal, delineate(normal.x, normal.fs), strict)
    wrong = normal.select([0])
    wrong.table["scp_codes"] = [{"CLBBB": 100.0}]
    assert "CLBBB is not borne out" in widgets._verdict(wrong, delineate(wrong.x, wrong.fs), widgets.HARD_ONLY)


def test_a_flat_record_has_no_measure_and_the_verdict_says_why():
    cohort = virtual_cohort(1)
    measures = delineate(np.zeros_like(cohort.x), cohort.fs)
    assert widgets._verdict(cohort, measures, widgets.HARD_ONLY).startswith("Nothing could be measured")


def test_contradictions_name_both_sides():
    assert contradictions(["NORM", "SR"], 70) == [] and contradictions(["SBRAD"], 50) == []
    assert contradictions(["STACH"], np.nan) == []
    both = contradictions(["AFIB", "SR", "1AVB"])
    assert len(both) == 2 and both[0].startswith("SR with AFIB:") and both[1].startswith("AFIB with 1AVB:")
    known = set(STATEMENTS.index)
    assert all(one <= known and other <= known and not one & other for one, other, _ in widgets.EXCLUSIVE)


def test_virtual_patients_never_contradict_themselves():
    rng = np.random.default_rng(0)
    drawn = [draw_statements(rng, patient, 60.0, "ptb-xl") for patient in draw_patients(2000, 0, "ptb-xl")]
    assert [codes for codes in drawn if contradictions(codes)] == []


def test_a_contradictory_request_is_refused_before_sampling(generator):
    both = {"scp_codes": {"NORM": 100.0, "CLBBB": 100.0}}
    with pytest.raises(InputError, match="NORM with CLBBB"):
        reply(generator, both, on_step=lambda *step: pytest.fail("it sampled"))


@pytest.mark.parametrize(("request_", "how"), [
    ({}, {}), ({"scp_codes": {"NORM": 100.0}}, {"copies": 2}),
    ({"scp_codes": {"NORM": 100.0}, "heart_rate": "fast"}, {}), ({"scp_codes": "NORM"}, {}),
])  # fmt: skip
def test_what_is_no_request_is_an_input_error(generator, request_, how):
    with pytest.raises(InputError):
        reply(generator, request_, **how)


def test_without_ipywidgets_the_remedy_is_named(generator, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ipywidgets", None)  # as on a machine without it
    with pytest.raises(InputError, match="ipywidgets is not installed; run `make setup`"):
        panel(generator)


def test_an_unknown_value_is_asked_as_unknown(generator):
    request = {"scp_codes": {"NORM": 100.0}, "age": np.nan, "sex": None, "heart_rate": np.nan}
    bare = reply(generator, {"scp_codes": {"NORM": 100.0}}, steps=3)
    pd.testing.assert_frame_equal(reply(generator, request, steps=3).measures, bare.measures)
