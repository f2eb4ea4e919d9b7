"""``.npz`` and Parquet: back unchanged, marked synthetic, readable without us; pickles and damaged files refused."""

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import hypothesis
import numpy as np
import pandas as pd
import pytest
from handmade import make_cohort
from hypothesis import strategies as st

from ecglib.errors import InputError
from ecglib.signals import LEADS_8, Cohort, to_eight_leads
from ecglib.signals.formats import load_npz, load_parquet, save_npz, save_parquet

pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is optional: pip install -e '.[parquet]'")
FORMATS = {"npz": (save_npz, load_npz, "set.npz"), "parquet": (save_parquet, load_parquet, "set")}


@pytest.fixture
def rich() -> Cohort:
    """The hand-made cohort with columns of all kinds: text, text with gaps, times, mixed, all unknown, …"""
    cohort = make_cohort()
    table = cohort.table.assign(
        report=["=1+1", "two\nlines", '<b>"so"</b>', "ends in NUL\0"] * 6, heart_axis=["LAD", np.nan] * 12,
        extra_beats=["", "1ES"] * 12, paced=False, axes=["", "RAD", np.nan] * 8,
        recording_date=pd.to_datetime("1984-11-09 09:17:34") + pd.to_timedelta(np.arange(24), "D"),
        mixed=[True, np.nan, 3, {"a": [1.5]}] * 6, pacemaker=np.nan, beats=np.arange(24), **{"größe, cm": 1.5},
    )  # fmt: skip
    table["recording_date"] = table["recording_date"].astype("datetime64[ns]")
    waves = cohort.waves.assign(kind=["N", "V", "p"] * 80, note=["?", np.nan] * 120)
    waves.loc[::3, "r"] = np.nan
    return replace(cohort, table=table, waves=waves, notes={"left_out": {"size": ["3"]}, "epsilon": None})


@pytest.fixture(params=FORMATS)
def form(request: pytest.FixtureRequest) -> tuple[Callable[..., None], Callable[..., Cohort], str]:
    return FORMATS[request.param]


def assert_same(read: Cohort, cohort: Cohort) -> None:
    np.testing.assert_allclose(read.x[:], cohort.x[:], atol=0.5e-3)
    assert (read.fs, read.leads, read.source, read.notes) == (cohort.fs, cohort.leads, cohort.source, cohort.notes)
    pd.testing.assert_frame_equal(read.table, cohort.table)
    assert (read.waves is None) == (cohort.waves is None)
    if cohort.waves is not None:
        pd.testing.assert_frame_equal(read.waves, cohort.waves.reset_index(drop=True))


def test_read_back_unchanged(rich: Cohort, folder: Path, form: tuple) -> None:
    save, load, name = form
    eight = replace(rich, x=to_eight_leads(rich.x), leads=LEADS_8, waves=None).select([5, 2, 9])
    for k, cohort in enumerate((rich, eight, make_cohort(70, fs=500))):
        save(cohort, folder / f"{k}{name}")
        assert_same(load(folder / f"{k}{name}"), cohort)


def test_a_memory_mapped_cohort_gives_the_same_bits(rich: Cohort, tmp_path: Path, form: tuple) -> None:
    save, load, name = form
    rich.save(tmp_path / "c")
    mapped = Cohort.load(tmp_path / "c").select([3, 1, 20])
    save(mapped, tmp_path / name)
    assert (load(tmp_path / name).x[:] == mapped.x[:]).all()


@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(cells=st.lists(st.none() | st.text(max_size=8), min_size=3, max_size=3),
                  column=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=8))  # fmt: skip
def test_any_text_comes_back(cells: list[str | None], column: str) -> None:
    cohort = make_cohort().select([0, 1, 2])
    values = pd.Series([np.nan if text is None else text for text in cells], dtype=object)
    cohort = replace(cohort, table=cohort.table.assign(**{f"{column}?": values}))
    with tempfile.TemporaryDirectory() as folder:
        for save, load, name in FORMATS.values():
            save(cohort, Path(folder) / name)
            assert_same(load(Path(folder) / name), cohort)


def test_npz_without_us(rich: Cohort, tmp_path: Path) -> None:
    save_npz(rich, tmp_path / "x.npz")
    with np.load(tmp_path / "x.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert not any(array.dtype.hasobject for array in arrays.values())
    assert arrays["x"].dtype == np.int16 and arrays["unit"] == "uV" and arrays["fs"] == 100
    np.testing.assert_allclose(arrays["x"] * 1e-3, rich.x, atol=0.5e-3)
    table = pd.DataFrame(arrays["table"])
    assert [json.loads(codes) for codes in table["scp_codes"]] == rich.table["scp_codes"].tolist()
    assert arrays["synthetic"] and table["synthetic"].all() and "of no person" in str(arrays["about"])
    assert "of no person" in str(arrays["licence"]) and table["heart_axis"].tolist() == ["LAD", ""] * 12


def test_parquet_without_us(rich: Cohort, tmp_path: Path) -> None:
    save_parquet(rich, tmp_path / "x")
    assert {path.name for path in (tmp_path / "x").iterdir()} == {
        "table.parquet", "signals.parquet", "waves.parquet", "LICENSE.txt", "manifest.json"}  # fmt: skip
    signals = pd.read_parquet(tmp_path / "x/signals.parquet", columns=["ecg_id", "V3"])
    assert signals["ecg_id"].tolist() == rich.table["ecg_id"].tolist() and signals["V3"][0].dtype == np.int16
    np.testing.assert_allclose(np.stack(signals["V3"]) * 1e-3, rich.x[:, 8], atol=0.5e-3)
    table = pd.read_parquet(tmp_path / "x/table.parquet")
    assert json.loads(table["scp_codes"][0]) == {"NORM": 100.0, "SR": 0.0} and table["synthetic"].all()
    for name in ("table", "signals", "waves"):
        metadata = pq.read_schema(tmp_path / f"x/{name}.parquet").metadata
        known = {key: json.loads(value) for key, value in metadata.items()}
        assert known[b"fs"] == 100 and known[b"unit"] == "uV" and known[b"leads"] == list(rich.leads)
        assert known[b"synthetic"] is True and "of no person" in known[b"about"]


def test_row_groups_are_small(tmp_path: Path) -> None:
    save_parquet(make_cohort(130), tmp_path / "x")
    assert pq.ParquetFile(tmp_path / "x/signals.parquet").num_row_groups == 3


def test_the_same_bytes_each_time(rich: Cohort, tmp_path: Path) -> None:
    for name in ("a.npz", "b.npz"):
        save_npz(rich, tmp_path / name)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_synthetic_records_never_come_back_as_real(cohort: Cohort, tmp_path: Path, form: tuple) -> None:
    save, load, name = form
    mine = replace(cohort, source="my hospital")
    with pytest.raises(InputError, match="does not tell whether"):
        save(mine, tmp_path / name)
    save(mine, tmp_path / name, synthetic=True)
    assert load(tmp_path / name).source == "synthetic (my hospital)"
    save(replace(cohort, source="ludb"), tmp_path / name)
    assert load(tmp_path / name).source == "ludb" and "synthetic" not in load(tmp_path / name).table


def test_what_cannot_be_stored_is_refused(cohort: Cohort, tmp_path: Path, form: tuple) -> None:
    save, _, name = form
    table = cohort.table
    for given, words in (
        (replace(cohort, x=cohort.x * 100), "x reaches"),
        (replace(cohort, table=table.assign(odd=[object()] * 24)), "column odd cannot be stored; make it numbers"),
        (replace(cohort, table=table.assign(**{"a\nb": 1})), "names of printable text"),
        (replace(cohort, table=table.rename(columns={"height": 3})), "names of printable text"),
    ):
        with pytest.raises(InputError, match=words):
            save(given, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_save_changes_nothing(cohort: Cohort, tmp_path: Path, form: tuple,
                                             monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    save, load, name = form
    save(cohort, tmp_path / name)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ecglib.signals.formats.in_microvolts", full)
    with pytest.raises(OSError, match="No space"):
        save(cohort.select([0]), tmp_path / name)
    assert len(load(tmp_path / name)) == 24 and [path.name for path in tmp_path.iterdir()] == [name]


def test_a_folder_of_something_else_is_kept(cohort: Cohort, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="holds something other than"):
        save_parquet(cohort, tmp_path)
    with pytest.raises(InputError, match=r"ends with \.npz"):
        save_npz(cohort, tmp_path / "x.zip")


def repacked(path: Path, **members: np.ndarray) -> Path:
    """The file with some of its arrays replaced."""
    with np.load(path) as file:
        arrays = {**file, **members}
    np.savez(path.with_name("bad.npz"), **arrays)
    return path.with_name("bad.npz")


def test_bad_npz_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    good = tmp_path / "good.npz"
    save_npz(cohort, good)
    whole = good.read_bytes()
    x = np.load(good)["x"]
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (b"", whole[:100], whole[:-30], whole[: len(whole) // 2], bytes(flipped), b"no zip", b"\x80\x04N."):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(InputError, match="is damaged"):
            load_npz(tmp_path / "bad.npz")
    np.save(tmp_path / "bad.npy", x)
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive, archive.open("x.npy", "w") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<i2", "fortran_order": False, "shape": (10**15, 12, 10)})
    for path in (tmp_path / "bad.npy", tmp_path / "none.npz", tmp_path, tmp_path / "huge.npz"):
        with pytest.raises(InputError, match="is damaged"):
            load_npz(path)
    for members, words in (
        ({"unit": np.array("mV")}, "int16 in 'mV'; expected int16 in 'uV'"),
        ({"x": x * 1e-3}, "signals are float64"),
        ({"x": x[:3]}, "table has 24 rows for 3 records"),
        ({"x": x[:, :3]}, "leads="),
        ({"notes": np.array([{}], dtype=object)}, "allow_pickle=False"),
        ({"kinds": np.array("{")}, "is damaged"),
    ):
        with pytest.raises(InputError, match=words):
            load_npz(repacked(good, **members))


def test_a_pickle_is_not_run(tmp_path: Path) -> None:
    code = b"cos\nsystem\n(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR."
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(69) + b"\n"
    with zipfile.ZipFile(tmp_path / "evil.npz", "w") as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + code)
    with pytest.raises(InputError, match="allow_pickle=False"):
        load_npz(tmp_path / "evil.npz")
    assert not (tmp_path / "ran").exists()


def test_bad_parquet_is_refused(cohort: Cohort, tmp_path: Path) -> None:
    save_parquet(cohort, tmp_path / "x")
    signals = tmp_path / "x/signals.parquet"
    whole = signals.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 1
    for content in (b"", whole[:100], whole[:-30], bytes(flipped), b"PAR1"):
        signals.write_bytes(content)
        with pytest.raises(InputError, match="is damaged"):
            load_parquet(tmp_path / "x")
    table = pq.read_table(tmp_path / "x/table.parquet")
    pq.write_table(table, signals)  # a Parquet file, but not of signals
    with pytest.raises(InputError, match="is damaged"):
        load_parquet(tmp_path / "x")
    signals.write_bytes(whole)
    pq.write_table(table.slice(3), tmp_path / "x/table.parquet")
    with pytest.raises(InputError, match="is damaged"):
        load_parquet(tmp_path / "x")
    pq.write_table(table.take([*range(1, len(cohort)), 0]), tmp_path / "x/table.parquet")
    with pytest.raises(InputError, match="do not name the same records in the same order"):
        load_parquet(tmp_path / "x")
    (tmp_path / "x/manifest.json").unlink()
    with pytest.raises(InputError, match="did not finish"):
        load_parquet(tmp_path / "x")


def test_without_pyarrow_one_line_says_what_to_do(tmp_path: Path) -> None:
    code = ("import sys; sys.modules['pyarrow'] = None; sys.path.insert(0, 'tests'); from handmade import make_cohort;"
            "from ecglib.signals.formats import save_npz, save_parquet;"
            f"folder = {str(tmp_path)!r}; cohort = make_cohort();"
            "save_npz(cohort, folder + '/x.npz'); save_parquet(cohort, folder)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          cwd=Path(__file__).resolve().parent.parent)  # fmt: skip
    assert done.returncode == 1 and (tmp_path / "x.npz").exists()
    assert done.stderr.splitlines()[-1].endswith("pip install -c constraints.txt -e '.[parquet]'")
