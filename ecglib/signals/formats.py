"""Cohort → one ``.npz`` file, or a folder of Parquet tables; and back, unchanged.

Signals are int16 microvolts in both, a thousandth of a millivolt: half the size of float32, and nothing that the
prepared form of a cohort keeps is lost.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ecglib import __version__
from ecglib.errors import InputError
from ecglib.runs import atomic_file, atomic_folder, check_replaceable, read_manifest, write_manifest
from ecglib.signals.cohort import Cohort
from ecglib.signals.data_card import SYNTHETIC, licence, says_synthetic
from ecglib.signals.export import ROWS_AT_ONCE, is_synthetic
from ecglib.signals.microvolts import Microvolts, in_microvolts

UNIT = "uV"
NO_COHORT = "is no cohort that ecglib wrote, or is damaged; write or fetch it again"
PARQUET = "parquet-cohort"  # kind of the manifest
LARGEST_HEADER = 1 << 20  # characters; NumPy's own limit allows some 400 columns
_UNPLAIN = re.compile("[\0\ud800-\udfff]")  # NumPy cuts a NUL off a text's end, Arrow refuses half characters


def save_npz(cohort: Cohort, path: Path | str, *, synthetic: bool | None = None) -> None:
    """Write a cohort as one ``.npz`` file, which NumPy alone can read, without pickle.

    Parameters
    ----------
    cohort : Cohort
        If its signals are memory-mapped, few records are in memory at a time.
    path : path
        Name of the file, with ``.npz``; an interrupted save changes nothing.
    synthetic : bool, optional
        Whether the records are synthetic, as for `save_ptbxl_layout`.

    Raises
    ------
    InputError
        If the name ends otherwise, a value exceeds ±32.767 mV or a column cannot be stored, or `is_synthetic` refuses.

    Notes
    -----
    Arrays: ``x`` int16 (n_records, n_leads, n_times) in µV, ``unit`` "uV", ``fs``, ``leads``, ``synthetic`` and
    ``about``, ``source``, ``notes`` (JSON), ``licence``; ``table`` and, if there are any, ``waves``, which
    ``pandas.DataFrame`` takes as they are. ``scp_codes`` is JSON text; unknown text is ''. Not compressed.
    """
    if Path(path).suffix != ".npz":
        raise InputError(f"path={str(path)!r}; expected a name that ends with .npz")
    about, frames = _describe(cohort, synthetic)
    arrays = {name: np.asarray(value) for name, value in about.items()}
    for name, frame in frames.items():
        texts = {column: frame[column].to_numpy(str).dtype for column in frame if frame[column].dtype == object}
        arrays[name] = frame.to_records(index=False, column_dtypes=texts).view(np.ndarray)
    with atomic_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        with archive.open(zipfile.ZipInfo("x.npy"), "w", force_zip64=True) as file:
            header = {"descr": "<i2", "fortran_order": False, "shape": cohort.x.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for start in range(0, len(cohort), ROWS_AT_ONCE):
                file.write(in_microvolts(cohort.x, slice(start, start + ROWS_AT_ONCE)).tobytes())
        for name, array in arrays.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, version=(3, 0), allow_pickle=False)


def load_npz(path: Path | str) -> Cohort:
    """Read a cohort that `save_npz` wrote; all of it is then in memory, signals as int16.

    Raises
    ------
    InputError
        If the file is absent, cut off, damaged, holds pickled objects, or is something else.
    """
    with _refusing(f"{path} {NO_COHORT}"):
        with np.load(path, allow_pickle=False, max_header_size=LARGEST_HEADER) as file:
            arrays = dict(file)
        frames = {name: pd.DataFrame(arrays.pop(name)) for name in ("table", "waves") if name in arrays}
        return _rebuild(arrays.pop("x"), {name: array.tolist() for name, array in arrays.items()}, frames)


def save_parquet(cohort: Cohort, folder: Path | str, *, synthetic: bool | None = None) -> None:
    """Write a cohort as Parquet: ``table.parquet``, ``signals.parquet`` and, if there are any, ``waves.parquet``.

    Parameters
    ----------
    cohort : Cohort
        If its signals are memory-mapped, few records are in memory at a time.
    folder : path
        Absent, empty, or an earlier one, which is replaced as a whole; an interrupted save changes nothing.
    synthetic : bool, optional
        Whether the records are synthetic, as for `save_ptbxl_layout`.

    Raises
    ------
    InputError
        If pyarrow is not installed, a value exceeds ±32.767 mV or a column cannot be stored, `is_synthetic` refuses, or
        `folder` holds something else.

    Notes
    -----
    ``signals.parquet`` has a row a record: ``ecg_id`` and a column a lead, a list of int16 in µV. ``fs``, ``leads``,
    ``unit``, ``synthetic``, ``about``, … are in each file's metadata, as JSON. ``scp_codes`` is JSON text; unknown text
    is ''.
    """
    pa, pq = _arrow()
    about, frames = _describe(cohort, synthetic)
    metadata = {name: json.dumps(value) for name, value in about.items()}
    check_replaceable(folder, PARQUET)
    with atomic_folder(folder) as temporary:
        for name, frame in frames.items():
            table = pa.Table.from_pandas(frame, preserve_index=False)
            table = table.replace_schema_metadata({**table.schema.metadata, **metadata})
            pq.write_table(table, temporary / f"{name}.parquet", write_page_checksum=True)
        n_times = cohort.x.shape[2]
        fields = [("ecg_id", pa.int64()), *((lead, pa.list_(pa.int16(), n_times)) for lead in cohort.leads)]
        schema = pa.schema(fields, metadata)
        with pq.ParquetWriter(temporary / "signals.parquet", schema, compression="zstd", use_dictionary=False,
                              write_page_checksum=True) as writer:  # fmt: skip
            for start in range(0, len(cohort), ROWS_AT_ONCE):
                rows = slice(start, start + ROWS_AT_ONCE)
                leads = in_microvolts(cohort.x, rows).swapaxes(0, 1)
                columns = [pa.FixedSizeListArray.from_arrays(lead.ravel(), n_times) for lead in leads]
                ids = pa.array(cohort.table["ecg_id"].to_numpy()[rows])
                writer.write_table(pa.Table.from_arrays([ids, *columns], schema=schema))
        (temporary / "LICENSE.txt").write_text(about["licence"], encoding="utf-8")
        write_manifest(temporary, PARQUET, n_records=len(cohort), source=about["source"], synthetic=about["synthetic"])


def load_parquet(folder: Path | str) -> Cohort:
    """Read a cohort that `save_parquet` wrote; all of it is then in memory, signals as int16.

    Raises
    ------
    InputError
        If pyarrow is not installed, or the folder was not written whole, is damaged, or is something else.
    """
    _, pq = _arrow()
    folder = Path(folder)
    read_manifest(folder, PARQUET, make="save_parquet")
    with _refusing(f"{folder} {NO_COHORT}"):
        frames = {name: pq.read_table(folder / f"{name}.parquet", page_checksum_verification=True).to_pandas()
                  for name in ("table", "waves") if (folder / f"{name}.parquet").exists()}  # fmt: skip
        signals = folder / "signals.parquet"
        schema = pq.read_schema(signals)
        about = {name.decode(): json.loads(text) for name, text in schema.metadata.items()}
        n_times = schema.field(about["leads"][0]).type.list_size
        counts = np.empty((len(frames["table"]), len(about["leads"]), n_times), np.int16)
        for k, lead in enumerate(about["leads"]):  # one at a time, to hold the signals in memory once
            column = pq.read_table(signals, columns=[lead], page_checksum_verification=True)[lead]
            counts[:, k] = column.combine_chunks().flatten().to_numpy().reshape(-1, n_times)
        of = pq.read_table(signals, columns=["ecg_id"], page_checksum_verification=True)["ecg_id"].to_numpy()
        if not np.array_equal(of, frames["table"]["ecg_id"]):
            raise InputError(f"{folder}: signals.parquet and table.parquet do not name the same records in the same "
                             "order; write or fetch both again")  # fmt: skip
        return _rebuild(counts, about, frames)


def _arrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise InputError("Parquet needs pyarrow, which is not installed; run: "
                         "pip install -c constraints.txt -e '.[parquet]'") from None  # fmt: skip
    return pyarrow, pyarrow.parquet


@contextmanager
def _refusing(message: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # whatever strange content makes of zipfile, NumPy, pandas, Arrow or json
        raise InputError(f"{message} ({type(error).__name__}: {error})") from None


def _describe(cohort: Cohort, said: bool | None) -> tuple[dict[str, Any], dict[str, pd.DataFrame]]:
    """Return what is to be known of a cohort beside its signals: JSON values, and plain tables."""
    synthetic, source = is_synthetic(cohort, said), cohort.source
    if synthetic and not says_synthetic(source):
        source = f"synthetic ({source})"  # never to come back as real
    frames = {"table": cohort.table.assign(synthetic=synthetic)}
    if cohort.waves is not None:
        frames["waves"] = cohort.waves
    kinds = {name: _make_plain(frames, name) for name in list(frames)}
    about = {"fs": int(cohort.fs), "leads": list(cohort.leads), "unit": UNIT, "synthetic": synthetic,
             "about": SYNTHETIC if synthetic else "Real ECGs.", "source": source, "notes": json.dumps(cohort.notes),
             "licence": licence(source, synthetic), "ecglib": __version__, "columns": list(cohort.table.columns),
             "kinds": json.dumps(kinds)}  # fmt: skip
    return about, frames


def _make_plain(frames: dict[str, pd.DataFrame], which: str) -> dict[str, str]:
    """Put a table of numbers, truth values, times and text in place; return what is needed to undo it, by column.

    Text stays text, with '' where it is unknown ("gaps"); any other object, such as ``scp_codes``, becomes "json".
    """
    frame, kinds = frames[which].copy(), dict[str, str]()
    if not all(isinstance(name, str) and name and name.isprintable() for name in frame) or not frame.columns.is_unique:
        raise InputError(f"columns {list(frame)}; expected names of printable text, each once")
    for name, column in frame.items():
        if column.to_numpy().dtype.kind != "O":
            continue
        values = column.astype(object).where(column.notna(), None)
        known = values.dropna()
        gaps = len(known) < len(values)
        if all(isinstance(v, str) and not _UNPLAIN.search(v) for v in known) and not (gaps and (known == "").any()):
            frame[name] = values.fillna("").astype(object)
            kinds |= {name: "gaps"} if gaps else {}
            continue
        with _refusing(f"column {name} cannot be stored; make it numbers or text"):
            frame[name] = [json.dumps(value) for value in values]
        kinds[name] = "json"
    frames[which] = frame
    return kinds


def _rebuild(counts: np.ndarray, about: dict[str, Any], frames: dict[str, pd.DataFrame]) -> Cohort:
    if about["unit"] != UNIT or counts.dtype != np.int16:
        raise InputError(f"signals are {counts.dtype} in {about['unit']!r}; expected int16 in {UNIT!r}")
    for which, kinds in json.loads(about["kinds"]).items():
        for name, kind in kinds.items():
            values = [json.loads(text) if kind == "json" else text or None for text in frames[which][name]]
            frames[which][name] = pd.Series([np.nan if value is None else value for value in values], dtype=object)
    return Cohort(Microvolts(counts), about["fs"], tuple(about["leads"]), frames["table"][about["columns"]],
                  frames.get("waves"), about["source"], json.loads(about["notes"]))  # fmt: skip
