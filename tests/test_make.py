"""The Makefile is the DAG: what is done is not done again, and a touched notebook takes only its readers along.

`make --dry-run` on the project's own Makefile, in a copy of the tree whose products are empty files of known age.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STUDY = "work/virtual-quick-s0"


@pytest.fixture
def tree(tmp_path):
    """A built tree: sources oldest, products after them in the order in which they are made."""
    root = tmp_path / "a clone with blänks"
    root.mkdir()
    shutil.copy(ROOT / "Makefile", root)
    for folder in ("ecglib", "notebooks", "book"):
        made = shutil.ignore_patterns("_build", "chapters", "__pycache__", "mathjax")
        shutil.copytree(ROOT / folder, root / folder, ignore=made)
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, root)
    for path in root.rglob("*"):
        os.utime(path, (1000, 1000))
    chapters = [f"{STUDY}/chapters/{path.name}" for path in sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]
    products = [".venv/.installed", f"{STUDY}/request", f"{STUDY}/cohort/manifest.json", *chapters,
                "book/chapters/.study", "book/_build/html/index.html"]  # fmt: skip
    for age, name in enumerate(products):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text({f"{STUDY}/request": "\n", "book/chapters/.study": STUDY + "\n"}.get(name, ""))
        os.utime(path, (2000 + age, 2000 + age))
    return root


def would_run(tree: Path, *variables: str) -> set[str]:
    """Return the commands that a real build of `tree` would give, by name."""
    given = ("MAKEFLAGS", "MAKELEVEL", "DATA", "COHORT", "PRESET", "SEED")
    environment = {name: value for name, value in os.environ.items() if name not in given}

    def make(*words: str) -> str:
        done = subprocess.run(["make", "CHECKED=1", *variables, *words], cwd=tree, env=environment, check=True,
                              capture_output=True, text=True)  # fmt: skip
        return done.stdout

    compared = [f"{STUDY}/request", "book/chapters/.study"]
    if not variables:  # for real: they are compared on every call, and rewritten only where they differ
        ages = [(tree / name).stat().st_mtime for name in compared]
        make(*compared)
        assert ages == [(tree / name).stat().st_mtime for name in compared]
    planned = make("-n", "book-checked", *(word for name in compared for word in ("-o", name)))
    steps = re.findall(r"-m ecglib (prepare|render)|execute notebooks/(\d\d)", planned)
    return {command or chapter for command, chapter in steps}


def test_nothing_changed_means_nothing_to_do(tree):
    assert would_run(tree) == set()


@pytest.mark.parametrize(
    ("touched", "expected"),
    [
        ("notebooks/03_diffusion.ipynb", {"03", "render"}),
        ("notebooks/10_fidelity.ipynb", {"10", "render"}),
        ("notebooks/08_sample.ipynb", {"08", "10", "11", "12", "13", "15", "16", "17", "render"}),
        ("notebooks/07_train.ipynb", {"07", "08", "10", "11", "12", "13", "14", "15", "16", "17", "render"}),
        ("book/intro.md", {"render"}),
        ("ecglib/web/page/play.js", {"render"}),
    ],
)
def test_a_touched_file_takes_only_its_readers_along(tree, touched, expected):
    os.utime(tree / touched, (5000, 5000))
    assert would_run(tree) == expected


def test_changed_signals_code_makes_the_cohort_and_all_that_follows_again(tree):
    os.utime(tree / "ecglib" / "signals" / "cohort.py", (5000, 5000))
    everything = {path.name[:2] for path in (ROOT / "notebooks").glob("[0-9]*.ipynb")}
    assert would_run(tree) == {"prepare", "render"} | everything


def test_a_chapter_that_failed_is_not_taken_for_done(tree):
    (tree / STUDY / "chapters" / "03_diffusion.ipynb").unlink()
    (tree / STUDY / "chapters" / "03_diffusion.failed.ipynb").write_text("{}")
    assert would_run(tree) == {"03", "render"}


def test_another_preset_or_seed_is_another_study(tree):
    assert "prepare" in would_run(tree, "PRESET=smoke")
    assert "prepare" in would_run(tree, "SEED=1")


def request_of(tree: Path, data: str, **environment: str) -> str:
    name = "work/ludb-quick-s0/request"
    subprocess.run(["make", "CHECKED=1", "COHORT=ludb", f"DATA={data}", name], cwd=tree, check=True,
                   env=os.environ | environment, capture_output=True)  # fmt: skip
    return (tree / name).read_text()


def test_a_home_folder_that_no_shell_expanded_is_watched_as_well(tree, tmp_path):
    home = tmp_path / "my home"
    (home / "data").mkdir(parents=True)
    table = home / "data" / "ludb.csv"
    table.write_text("first\n")
    before = request_of(tree, "~/data", HOME=str(home))
    assert "ludb.csv" in before and request_of(tree, "~/data", HOME=str(home)) == before
    table.write_text("another\n")
    assert request_of(tree, "~/data", HOME=str(home)) != before
    assert "ludb.csv" in request_of(tree, str(home / "data")), "nor is any other folder lost"


def test_distclean_empties_a_work_folder_that_is_a_link(tree, tmp_path):
    shutil.move(tree / "work", tmp_path / "disk")
    (tree / "work").symlink_to(tmp_path / "disk")
    for kept in ("data/ludb", "ludb-quick-s0/blinded/key"):
        (tmp_path / "disk" / kept).mkdir(parents=True)
    subprocess.run(["make", "distclean"], cwd=tree, check=True, capture_output=True)
    assert sorted(path.name for path in (tmp_path / "disk").iterdir()) == ["data", "ludb-quick-s0"]


def test_git_ignores_the_work_folder_and_a_link_in_its_place(tmp_path):
    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    shutil.copy(ROOT / ".gitignore", tmp_path)
    (tmp_path / "work").symlink_to(tmp_path / "elsewhere")
    assert subprocess.run(["git", "check-ignore", "-q", "work"], cwd=tmp_path).returncode == 0
