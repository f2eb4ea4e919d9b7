"""What the book needs and may not find: papermill, Jupyter Book, npm. Each missing part is named, with its remedy."""

import io
import os
import subprocess
import sys
import tarfile

from ecglib.book import each_script_once
from ecglib.study import ROOT


def run_python(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ | environment, capture_output=True,
                          text=True)  # fmt: skip


def absent(package: str, folder) -> str:
    """A folder for PYTHONPATH in which `package` cannot be imported, as on a machine without it."""
    error = f"ModuleNotFoundError(\"No module named '{package}'\", name={package!r})"
    (folder / f"{package}.py").write_text(f"raise {error}")
    return str(folder)


def test_without_papermill_the_remedy_is_named(tmp_path):
    command = ["-m", "ecglib", "execute", "notebooks/00_map.ipynb", str(tmp_path / "out.ipynb")]
    done = subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": absent("papermill", tmp_path)})  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip() == "error: papermill is not installed; run `make setup`"
    assert not (tmp_path / "out.ipynb").exists()


def test_without_jupyter_book_the_remedy_is_named(tmp_path):
    code = ("from ecglib import book\n"
            "book._copy_chapters = lambda study: None\n"
            "from ecglib.__main__ import main; raise SystemExit(main(['render', '--preset', 'smoke']))")  # fmt: skip
    done = run_python(code, PYTHONPATH=absent("jupyter_book", tmp_path), ECGLIB_WORK=str(tmp_path / "work"))
    assert done.returncode == 2
    assert "it is not installed: run `make setup`" in done.stderr


def test_a_study_without_chapters_does_not_touch_another_studys_book(tmp_path):
    code = ("from ecglib import book; from pathlib import Path\n"
            f"book.BOOK = Path({str(tmp_path)!r}); (book.BOOK / 'chapters').mkdir()\n"
            "(book.BOOK / 'chapters' / '00_map.ipynb').write_text('of another study')\n"
            "from ecglib.__main__ import main; raise SystemExit(main(['render', '--preset', 'smoke']))")  # fmt: skip
    done = run_python(code, ECGLIB_WORK=str(tmp_path / "work"))
    assert done.returncode == 2 and "lacks 00_map.ipynb, 01_data.ipynb" in done.stderr
    assert "run `make book PRESET=smoke`" in done.stderr
    assert (tmp_path / "chapters" / "00_map.ipynb").read_text() == "of another study"


def test_without_npm_the_build_says_so_and_goes_on(tmp_path):
    code = ("from ecglib import book; from pathlib import Path\n"
            f"book.MATHJAX = Path({str(tmp_path / 'mathjax')!r}); book.vendor_mathjax()\n"
            "print(repr(book._mathjax_setting()))")  # fmt: skip
    done = run_python(code, PATH=str(tmp_path), ECGLIB_WORK=str(tmp_path / "work"))
    assert done.returncode == 0
    assert "MathJax not bundled" in done.stderr and "CDN" in done.stderr
    assert done.stdout.strip() == "''"


def fake_npm(folder, script: str) -> str:
    """Return a PATH whose npm is a shell script."""
    (folder / "bin").mkdir()
    (folder / "bin" / "npm").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "bin" / "npm").chmod(0o755)
    return f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"


def test_of_mathjax_only_what_is_shown_is_unpacked_and_by_python_3_11_2_too(tmp_path):
    fonts = "output/chtml/fonts/woff-v2"
    with tarfile.open(tmp_path / "mathjax.tgz", "w:gz") as tar:
        for name in ("package/es5/tex-mml-chtml.js", f"package/es5/{fonts}/A.woff", "package/es5/core.js",
                     "package/../../outside", f"package/es5/{fonts}/../../outside"):  # fmt: skip
            member = tarfile.TarInfo(name)
            member.size = 4
            tar.addfile(member, io.BytesIO(b"text"))
    script = f"echo \"$@\" > '{tmp_path}/asked'; cp '{tmp_path}/mathjax.tgz' . && echo mathjax.tgz"
    code = ("import tarfile; from ecglib import book; from pathlib import Path\n"
            "def extractall(self, path='.', members=None): raise AssertionError\n"  # no filter, as there
            "tarfile.TarFile.extractall = extractall\n"
            f"book.MATHJAX = Path({str(tmp_path / 'mathjax')!r}); book.vendor_mathjax()")  # fmt: skip
    done = run_python(code, PATH=fake_npm(tmp_path, script), ECGLIB_WORK=str(tmp_path / "work"))
    assert done.returncode == 0 and done.stderr == ""
    files = sorted(str(path.relative_to(tmp_path / "mathjax")) for path in (tmp_path / "mathjax").rglob("*.*"))
    assert files == [f"{fonts}/A.woff", "tex-mml-chtml.js"]
    assert not list(tmp_path.rglob("outside"))
    assert "--fetch-retries=1" in (tmp_path / "asked").read_text(), "npm's own retries last more than a minute"


def test_why_npm_brought_no_mathjax_is_said(tmp_path):
    script = "echo 'npm error code ENOTFOUND' >&2; echo 'npm error A complete log is in /a/b' >&2; exit 1"
    code = ("from ecglib import book; from pathlib import Path\n"
            f"book.MATHJAX = Path({str(tmp_path / 'mathjax')!r}); book.vendor_mathjax()")  # fmt: skip
    done = run_python(code, PATH=fake_npm(tmp_path, script), ECGLIB_WORK=str(tmp_path / "work"))
    assert done.returncode == 0 and "MathJax not bundled (npm error code ENOTFOUND)" in done.stderr


def test_scripts_of_the_head_are_kept_once():
    config, library = "<script>const A = 1</script>", '<script src="m.js?v=1"></script>'
    deferred = '<script defer="defer" src="m.js?v=1"></script>'
    other = '<script async src="n.js"></script>'
    body = f"<body>{library}{library}</body>"
    page = f"<head>\n{config}\n{deferred}\n{config}\n{other}{library}\n</head>{body}"
    assert each_script_once(page) == f"<head>\n{config}\n{deferred}\n\n{other}\n</head>{body}"
    assert each_script_once(body) == body, "a page without a head stays as it is"

def test_a_preset_of_the_papers_shape_is_trained_and_sampled_by_its_chapters(tmp_path):
    small = {"cohort.n": 320, "cohort.n_evaluate": 16, "network.channels": 8, "network.blocks": 2,
             "training.steps": 4, "training.validate_every": 2, "training.save_every": 2, "sampling.steps": 25,
             "sampling.batch": 16}  # fmt: skip
    (tmp_path / "sitecustomize.py").write_text(f"from ecglib.presets import PRESETS\nPRESETS['paper'] |= {small}\n")
    environment = os.environ | {"PRESET": "paper", "COHORT": "virtual", "SEED": "0", "OMP_NUM_THREADS": "1",
                                "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}",
                                "ECGLIB_WORK": str(tmp_path / "work")}  # fmt: skip
    chapters = [["execute", f"notebooks/{name}.ipynb", str(tmp_path / f"{name}.ipynb"), "-p", "preset", "paper"]
                for name in ("07_train", "08_sample")]  # fmt: skip
    for command in (["prepare"], *chapters):
        done = subprocess.run([sys.executable, "-m", "ecglib", *command], cwd=ROOT, capture_output=True, text=True,
                              env=environment)  # fmt: skip
        assert done.returncode == 0, done.stderr[-500:]
    trained = list((tmp_path / "work" / "virtual-paper-s0" / "runs").glob("*/config.json"))
    assert len(trained) == 1 and '"clock": false' in trained[0].read_text()
