"""Photograph the reading page: ``python -m tools.picture_of_reading`` writes book/_static/blinded_page.png.

Needs the default study's samples (`make book`), playwright (in the extra "test") and a Chromium.
"""

import shutil
import tempfile
from pathlib import Path

from PIL import Image

from ecglib.evaluation.blinded import write_kit
from ecglib.study import ROOT, Study

PICTURE = ROOT / "book" / "_static" / "blinded_page.png"


def main() -> None:
    """Write the picture."""
    from playwright.sync_api import sync_playwright

    study = Study().need("samples")
    with tempfile.TemporaryDirectory() as place, sync_playwright() as play:
        folder = Path(place) / "kit"
        write_kit(study.open_cohort().split()[2], study.open_samples(), folder, n=20, secret="b00c", progress=False)
        browser = play.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 780})
        page.goto((folder / "hand-out" / "reading.html").as_uri())
        page.get_by_label("Your code").fill("R1")
        for key in ("Enter", "s", "4", "a"):
            page.keyboard.press(key)
        page.screenshot(path=PICTURE)
        browser.close()
    with Image.open(PICTURE) as picture:
        picture.quantize(96).save(PICTURE, optimize=True)
    print(PICTURE)


if __name__ == "__main__":
    main()
