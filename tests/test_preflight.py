"""Make's variables, checked by a bare Python before anything is installed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ecglib.errors import InputError
from ecglib.preflight import COHORTS, check, check_download, check_machine, check_python, fetched, find_records
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


@pytest.fixture(autouse=True)
def no_data_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty work folder, whatever `make data` has put into the real one."""
    monkeypatch.setenv("ECGLIB_WORK", str(tmp_path / "work"))


@pytest.mark.parametrize(("variables", "words"), WRONG)
def test_wrong_variables(variables: tuple[str, str, str, str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check(*variables)
    assert "\n" not in str(caught.value)


def test_right_variables() -> None:
    assert check("smoke", "virtual", "", "0") is None and check("paper", "virtual", None, 7) is None


def test_python_must_be_one_that_torch_is_built_for() -> None:
    check_python((3, 11))
    check_python((3, 14))
    for minor in (10, 15):
        with pytest.raises(InputError, match=rf"Python is 3\.{minor}; expected 3\.11 to 3\.14.*PYTHON=python3\.13"):
            check_python((3, minor))


def test_a_mac_must_have_apple_silicon() -> None:
    check_machine("darwin", "arm64")
    check_machine("linux", "x86_64")
    with pytest.raises(InputError, match=r"Intel.*expected Linux, WSL, or macOS 14") as caught:
        check_machine("darwin", "x86_64")
    assert "\n" not in str(caught.value)


def test_the_check_looks_at_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(InputError, match="Intel"):
        check("smoke", "virtual", "", "0")
    with pytest.raises(InputError, match="Intel"):
        check_download("ludb", "", "0")


NEEDED = {
    "ludb": ["ludb.csv", "data/1.hea"],
    "ptb-xl": ["ptbxl_database.csv", "records500/00000/00001_hr.hea"],
    "mimic-iv-ecg": ["record_list.csv", "machine_measurements.csv",
                     "files/p1000/p10000032/s40689238/40689238.hea"],
    "challenge-2021": ["training/georgia/g1/E00001.hea"],
    "folder": ["records.csv"],
}  # fmt: skip


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("ludb", "."), ("ludb", "ludb"), ("ludb", "lobachevsky-university-electrocardiography-database-1.0.1"),
        ("ludb", "physionet.org/files/ludb/1.0.1"), ("ptb-xl", "."), ("ptb-xl", "ptb-xl"),
        ("ptb-xl", "ptb-xl-a-large-publicly-available-electrocardiography-dataset-1.0.3"),
        ("mimic-iv-ecg", "."), ("mimic-iv-ecg", "mimic-iv-ecg-diagnostic-electrocardiogram-matched-subset-1.0"),
        ("challenge-2021", "."), ("challenge-2021", "physionet.org/files/challenge-2021/1.0.3"), ("folder", "."),
    ],
)  # fmt: skip
def test_records_are_found(folder: Path, source: str, place: str) -> None:
    for k, name in enumerate(NEEDED[source]):
        with pytest.raises(InputError, match="lacks" if place == "." or k else "lacks|does not exist") as caught:
            find_records(source, folder)
        assert name.split("/")[-1].split(".")[-1] in str(caught.value)
        assert (f"make data COHORT={source}" in str(caught.value)) == (source != "folder")
        path = folder / place / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_records(source, str(folder)) == folder / place


@pytest.mark.parametrize("source", ["ludb", "ptb-xl"])
def test_what_make_data_fetched_needs_no_data(source: str) -> None:
    with pytest.raises(InputError, match=f"DATA is empty, but COHORT={source}.*make data COHORT={source}"):
        find_records(source, None)
    for name in NEEDED[source]:
        path = fetched(source) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert find_records(source, "") == find_records(source, None) == fetched(source)


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


def test_a_python_without_the_packages_names_the_one_to_use(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-m", "ecglib", "train"], capture_output=True, text=True,
                          cwd=Path(__file__).resolve().parents[1], env=environment)  # fmt: skip
    assert done.returncode == 2
    assert done.stderr == ("error: torch is not installed here; run `make setup`, then `.venv/bin/python -m ecglib "
                           "train …`\n")  # fmt: skip


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


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        (("virtual", "", "0"), "COHORT=virtual needs no data; name a cohort: make data COHORT=ludb"),
        (("folder", "", "0"), "COHORT=folder is not fetched: run `make book COHORT=folder DATA=<folder>`"),
        (("ludb", "0", "0"), "N='0'"),
        (("ludb", "-1", "0"), "N='-1'"), (("ludb", "ten", "0"), "N='ten'"), (("ludb", "1e3", "0"), "N='1e3'"),
        (("ludb", "", "x"), "SEED='x'"), (("lubd", "", "0"), "did you mean ludb"),
    ],
)  # fmt: skip
def test_wrong_variables_of_make_data(variables: tuple[str, str, str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check_download(*variables)
    assert "\n" not in str(caught.value)


def test_variables_of_make_data() -> None:
    assert check_download("ludb", "", "0") == (None, 0) and check_download("ptb-xl", "500", 3) == (500, 3)


@pytest.mark.parametrize("noted", ['{"complete": false}', "{", "[]", '{"complete": "yes"}'])
def test_a_download_that_was_not_finished(tmp_path: Path, noted: str) -> None:
    for name in NEEDED["ludb"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "download.json").write_text(noted)
    with pytest.raises(InputError, match=r"not complete: run `make data COHORT=ludb` once more"):
        find_records("ludb", tmp_path)
    (tmp_path / "download.json").write_text('{"complete": true}')
    assert find_records("ludb", tmp_path) == tmp_path
