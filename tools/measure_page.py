"""How large, fast and exact the book's page "Play" is: ``python tools/measure_page.py OUT.csv``, after ``make book``.

The page is opened from the disk in a headless Chromium with one core for its WebAssembly. Its ECGs are compared with
PyTorch's, on the page's noise, for patients of the test fold.
"""

import os
import shutil
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
from playwright.sync_api import sync_playwright

from ecglib.diffusion import Generator
from ecglib.runs import ROOT, atomic_file, versions
from ecglib.signals import TEST_FOLD
from ecglib.study import Study
from ecglib.web import PageGenerator
from ecglib.web.build import RUNTIME

PAGE = ROOT / "book" / "_build" / "html" / "play.html"
OPENINGS, PATIENTS = 5, 10
SETTINGS = ({}, {"sampler": "ddim"}, {"guidance": 2.0})  # what differs from the preset's own sampling
DRAWN = "document.getElementById('play-status')?.textContent.startsWith('Drawn')"
DRAW = """async ([asked, how]) => {
    globalThis.measured ??= await Ecglib.Generator.open(Ecglib.parts);
    measured.signal.evaluations = measured.signal.milliseconds = 0;
    const { x } = await measured.sample(asked, how);
    return [x.map((lead) => [...lead]), measured.signal.milliseconds / measured.signal.evaluations];
}"""


def main(out: Path) -> None:
    """Measure and write a table with a row a quantity."""
    study = Study()
    generator = PageGenerator.of(Generator.load(study.finished_run()))
    patients = study.open_cohort().folds(TEST_FOLD).table.head(PATIENTS)
    files = [PAGE, *(PAGE.parent / "play").iterdir()]
    rows = [("size", "page and its scripts", sum(path.stat().st_size for path in files) / 1e6, "MB", len(files))]
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        waits = {name: [] for name in ("from opening the page", "processor time", "processor time of its main thread")}
        for _ in range(OPENINGS):
            page, begun = browser.new_page(), time.monotonic()
            session = page.context.new_cdp_session(page)
            session.send("Performance.enable", {"timeDomain": "threadTicks"})
            page.goto(PAGE.as_uri(), wait_until="commit")
            page.wait_for_function(DRAWN)
            wall = time.monotonic() - begun
            spent = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}
            for each, value in zip(waits.values(), (wall, spent["ProcessTime"], spent["ThreadTime"]), strict=True):
                each.append(value)
        rows += [("first ECG", f"median, {name}", np.median(values), "s", OPENINGS) for name, values in waits.items()]
        for setting in SETTINGS:
            errors, times = zip(*(compare(page, generator, patients.iloc[[k]], setting, seed=k)
                                  for k in range(len(patients))), strict=True)  # fmt: skip
            name = ", ".join(f"{key} {value}" for key, value in setting.items()) or "the preset's sampling"
            rows.append(("largest difference from PyTorch", name, max(errors), "mV", len(patients)))
            rows.append(("one evaluation", f"median, {name}", np.median(times), "ms", len(patients)))
        chromium = browser.version
        browser.close()
    table = pd.DataFrame(rows, columns=["quantity", "of", "value", "unit", "n"])
    load = f"{os.cpu_count()} cores with a load of {os.getloadavg()[1]:.1f}"
    used = f"Chromium {chromium}, {RUNTIME}, torch {versions()['torch']}"
    table = table.assign(study=study.folder.name, machine=load, versions=used, commit=versions()["commit"],
                         date=str(date.today()))  # fmt: skip
    with atomic_file(out) as temporary:
        head = f"# command: python tools/measure_page.py {out}\n"
        temporary.write_text(head + table.to_csv(index=False, float_format="%.4g"), encoding="utf-8")
    print(table.to_string())


def compare(page, generator: PageGenerator, patient: pd.DataFrame, setting: dict, seed: int) -> tuple[float, float]:
    """Return the largest difference between both ECGs of one patient, in mV, and the time of an evaluation, in ms."""
    row = patient.iloc[0]
    asked = {"scp_codes": sorted(row["scp_codes"]),
             **{name: None if pd.isna(row[name]) else float(row[name])
                for name in ("age", "sex", "heart_rate")}}  # fmt: skip
    defaults = generator.config.sampling
    how = {"sampler": defaults.sampler, "steps": defaults.steps, "spacing": defaults.spacing,
           "guidance": defaults.guidance, "seed": seed, **setting}  # fmt: skip
    theirs, spent = page.evaluate(DRAW, [asked, how])
    ours = generator.sample(patient[["ecg_id", "scp_codes", "age", "sex", "heart_rate"]], **how)
    return float(np.abs(np.array(theirs) - ours.x[0]).max()), spent


if __name__ == "__main__":
    main(Path(sys.argv[1]))
