"""Fixtures: real records where they are at hand, a small hand-made cohort, and a writer of WFDB records to break."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from handmade import header_of, make_cohort, sound_counts

from ecglib.signals import Cohort, read_ludb, save_ptbxl_layout

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real open records; tests that need it are skipped where it is absent."""
    if not (SHARED / "data").is_dir():
        pytest.skip(f"{SHARED / 'data'} is not at hand: real records are read where they stand, and none are committed")
    return SHARED


@pytest.fixture(scope="session")
def ludb_500(shared: Path) -> Cohort:
    """All of LUDB at its own sampling rate, read once a session."""
    return read_ludb(shared / "data" / "ludb", fs=500, strict=True)


@pytest.fixture
def cohort() -> Cohort:
    """A small hand-made cohort of 24 records."""
    return make_cohort()


@pytest.fixture(params=["plain", "with blanks é ü 心"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """An empty folder, once with a plain name and once with blanks and letters beyond ASCII."""
    path = tmp_path / request.param
    path.mkdir()
    return path


@pytest.fixture
def layout(cohort: Cohort, tmp_path: Path) -> Path:
    """The hand-made cohort in PTB-XL's layout."""
    save_ptbxl_layout(cohort, tmp_path / "ptb-xl")
    return tmp_path / "ptb-xl"


@pytest.fixture
def write_record(tmp_path: Path) -> Callable[..., tuple[Path, str]]:
    """Return a function that writes one sound record of 10 s at 100 Hz, `header` edited by the caller."""

    def write(edit: Callable[[str], str] = lambda text: text, counts: np.ndarray | None = None,
              name: str = "rec") -> tuple[Path, str]:  # fmt: skip
        counts = sound_counts() if counts is None else counts
        (tmp_path / f"{name}.dat").write_bytes(counts.T.astype("<i2").tobytes())
        (tmp_path / f"{name}.hea").write_text(edit(header_of(counts, name)), encoding="utf-8")
        return tmp_path, name

    return write
