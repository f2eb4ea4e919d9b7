"""Make's variables, checked by a bare Python before anything is installed."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecglib.errors import InputError
from ecglib.preflight import COHORTS, check, check_python, find_records
from ecglib.signals import load_cohort

WRONG = [
    (("quik", "virtual", "", "0"), "PRESET='quik' is not known: did you mean quick"),
    (("quick", "ludbb", "", "0"), "COHORT='ludbb' is not known: did you mean ludb"),
    (("quick", "ludb", "", "0"), r"DATA is empty.*make book COHORT=ludb DATA=<folder>"),
    (("quick", "ludb", None, "0"), "DATA is empty"),
    (("quick", "ludb", "/no such folder", "0"), "does not exist"),
    (("quick", "ludb", __file__, "0"), "is not a folder"),
    (("quick", "ludb", "a\0b", "0"), "DATA="),
    (("quick", "ludb", "x" * 5000, "0"), "DATA="),
    (("quick", "virtual", "/tmp", "0"), "COHORT=virtual reads no records"),
    (("quick", "virtual", "", "-1"), "SEED='-1'"),
    (("quick", "virtual", "", "1.5"), "SEED='1.5'"),
    (("quick", "virtual", "", ""), "SEED=''"),
    (("quick", "virtual", "", "9" * 10), "SEED="),
    (("quick", "virtual", "", "007"), "without leading zeros"),
    (("", "virtual", "", "0"), "PRESET=''"),
    (("quick", "", "", "0"), "COHORT=''"),
]


@pytest.mark.parametrize(("variables", "words"), WRONG)
def test_wrong_variables(variables: tuple[str, str, str, str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check(*variables)
    assert "\n" not in str(caught.value)


def test_right_variables() -> None:
    assert check("smoke", "virtual", "", "0") is None and check("paper", "virtual", None, 7) is None


def test_python_must_be_new_enough() -> None:
    check_python((3, 11))
    with pytest.raises(InputError, match=r"Python is 3\.10; expected 3\.11"):
        check_python((3, 10))


NEEDED = {"ludb": ["ludb.csv", "data/1.hea"], "ptb-xl": ["ptbxl_database.csv", "records500/00000/00001_hr.hea"]}


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("ludb", "."), ("ludb", "ludb"), ("ludb", "lobachevsky-university-electrocardiography-database-1.0.1"),
        ("ludb", "physionet.org/files/ludb/1.0.1"), ("ptb-xl", "."), ("ptb-xl", "ptb-xl"),
        ("ptb-xl", "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3"),
    ],
)  # fmt: skip
def test_records_are_found(folder: Path, source: str, place: str) -> None:
    for k, name in enumerate(NEEDED[source]):
        with pytest.raises(InputError, match="lacks" if place == "." or k else "lacks|does not exist") as caught:
            find_records(source, folder)
        assert name.split("/")[0] in str(caught.value) and "https://physionet.org" in str(caught.value)
        path = folder / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_records(source, str(folder)) == folder / place


def test_load_cohort_says_how() -> None:
    for source in COHORTS[1:]:
        with pytest.raises(InputError, match=f"make book COHORT={source} DATA=<folder>"):
            load_cohort(source)
    with pytest.raises(InputError, match="source='ptbxl' is not known: did you mean ptb-xl"):
        load_cohort("ptbxl")
    with pytest.raises(InputError, match="n=None"):
        load_cohort("virtual")
    with pytest.raises(InputError, match="reads no records"):
        load_cohort("virtual", root="/tmp", n=3)


def test_it_needs_nothing_but_the_standard_library() -> None:
    code = "import sys\nfrom ecglib.preflight import check\ncheck('quick', 'virtual', '', '0')\nprint(*sys.modules)"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True,
                          cwd=Path(__file__).resolve().parents[1])  # fmt: skip
    assert time.perf_counter() - start < 2
    assert not {"numpy", "pandas", "torch", "wfdb"} & set(done.stdout.split())


def test_an_old_python_reaches_the_line_that_says_so() -> None:
    """What runs before the check must parse, and be defined, on Python 3.8."""
    import ast

    import ecglib

    package = Path(ecglib.__file__).parent
    for name in ("__init__.py", "__main__.py", "errors.py", "preflight.py"):
        tree = ast.parse((package / name).read_text(encoding="utf-8"), feature_version=(3, 8))
        if name != "__init__.py":  # which annotates with names of old
            future = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "__future__"]
            assert future, f"{name}: annotations would be evaluated"
