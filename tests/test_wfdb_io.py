"""The one WFDB entry against broken files: each ends in one `RecordError` that names file, field and remedy."""

import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import wfdb
from handmade import header_of, sound_counts
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecglib.errors import InputError
from ecglib.signals import LEADS_12
from ecglib.signals.resample import resample
from ecglib.signals.wfdb_header import Header, RecordError, parse_header
from ecglib.signals.wfdb_io import read_record

Write = Callable[..., tuple[Path, str]]


def read(root: Path, name: str = "rec", **keywords: float) -> np.ndarray:
    return read_record(root, name, **{"fs": 100, "seconds": 10.0, **keywords})[0]


def refused(root: Path, name: str = "rec", **keywords: float) -> RecordError:
    with pytest.raises(RecordError) as caught:
        read(root, name, **keywords)
    message = str(caught.value)
    assert caught.value.file in message and caught.value.reason in message and message.count(";") >= 1
    return caught.value


def test_a_sound_record(write_record: Write) -> None:
    x = read(*write_record())
    assert x.shape == (12, 1000) and x.dtype == np.float32
    np.testing.assert_allclose(x * 1000, sound_counts(), atol=1e-3)


HEADERS = {  # reason: edits of a sound header
    "header": [lambda t: "", lambda t: "\n \n", lambda t: "\x00\x01" + t, lambda t: "rec\n", lambda t: "# only words\n",
               lambda t: t.replace("rec 12 100 1000", "rec 12"), lambda t: t.replace("rec 12 100 1000", "rec 12 100"),
               lambda t: t.replace("rec 12", "rec twelve"), lambda t: "#" * 1_100_000 + t],
    "segments": [lambda t: t.replace("rec 12", "rec/2 12", 1)],
    "signal lines": [lambda t: t.replace("rec 12", "rec 11", 1), lambda t: t.replace("rec 12", "rec 13", 1),
                     lambda t: "".join(t.splitlines(True)[:-1])],
    "signal line": [lambda t: t.replace("rec.dat 16 1000.0(0)", "rec.dat 16 nan(0)", 1),
                    lambda t: t.replace("rec.dat 16", "rec.dat sixteen", 1)],
    "format": [lambda t: t.replace("rec.dat 16", "rec.dat 310"), lambda t: t.replace("rec.dat 16", "rec.dat 16x2", 1),
               lambda t: t.replace("rec.dat 16", "rec.dat 16:3", 1),
               lambda t: t.replace("rec.dat 16", "rec.dat 24", 1)],
    "gain": [lambda t: t.replace("1000.0(0)", "0(0)", 1), lambda t: t.replace("1000.0(0)", "-200(0)", 1),
             lambda t: t.replace("1000.0(0)", "1e999(0)", 1),
             lambda t: re.sub(r" 1000.* I\n", "\n", t)],
    "units": [lambda t: t.replace("/mV", "", 1), lambda t: t.replace("/mV", "/mmHg", 1),
              lambda t: t.replace("/mV", "/V")],
    "lead": [lambda t: t.replace(" 0 V6", " 0", 1)],
    "leads": [lambda t: t.replace(" V6", " V5"), lambda t: t.replace(" V6", " V9"),
              lambda t: t.replace(" V6", " MLII")],
    "fs": [lambda t: t.replace("rec 12 100", "rec 12 -100"), lambda t: t.replace("rec 12 100", "rec 12 0"),
           lambda t: t.replace("rec 12 100", "rec 12 500"), lambda t: t.replace("rec 12 100", "rec 12 1e99")],
    "length": [lambda t: t.replace("100 1000", "100 990"), lambda t: t.replace("100 1000", "100 1200"),
               lambda t: t.replace("100 1000", "100 100000000000"), lambda t: t.replace("100 1000", "100 0"),
               lambda t: t.replace("100 1000", "100 -1000")],
    "checksum": [lambda t: t.replace(" 0 aVF", "1 0 aVF")],
    "first sample": [lambda t: t.replace("rec.dat 16 1000.0(0)/mV 16 0 ", "rec.dat 16 1000.0(0)/mV 16 0 1", 1)],
    "amplitude": [lambda t: t.replace("1000.0(0)", "0.001(0)"), lambda t: t.replace("1000.0(0)", "1e-300(0)")],
    "missing file": [lambda t: t.replace("rec.dat", "other.dat")],
    "path": [lambda t: t.replace("rec.dat", "../rec.dat"), lambda t: t.replace("rec.dat", "/etc/passwd"),
             lambda t: t.replace("rec.dat", "https://physionet.org/rec.dat")],
}  # fmt: skip


@pytest.mark.parametrize(("reason", "edit"), [(r, edit) for r, edits in HEADERS.items() for edit in edits])
def test_broken_headers(write_record: Write, reason: str, edit: Callable[[str], str]) -> None:
    assert refused(*write_record(edit)).reason == reason


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00binary", os.urandom(5000)])
def test_binary_headers(write_record: Write, content: bytes) -> None:
    root, name = write_record()
    (root / "rec.hea").write_bytes(content)
    assert refused(root, name).reason == "header"


def test_a_claim_of_1e11_samples_allocates_nothing(write_record: Write) -> None:
    root, name = write_record(lambda text: text.replace("100 1000", "100 100000000000"))
    assert refused(root, name, seconds=1e9).reason == "size"  # even where that length is expected


@pytest.mark.parametrize("size", [0, 100, 23_999, 24_001])
def test_truncated_and_over_long_samples(write_record: Write, size: int) -> None:
    root, name = write_record()
    os.truncate(root / "rec.dat", size)
    assert refused(root, name).reason == "size"


def test_one_wrong_byte(write_record: Write) -> None:
    root, name = write_record()
    raw = bytearray((root / "rec.dat").read_bytes())
    raw[5000] ^= 1
    (root / "rec.dat").write_bytes(bytes(raw))
    assert refused(root, name).reason == "checksum"


@pytest.mark.parametrize("part", [slice(0, 1), slice(None)])
def test_missing_samples(write_record: Write, part: slice) -> None:
    counts = sound_counts()
    counts[4, part] = -32768
    assert refused(*write_record(counts=counts)).reason == "missing samples"


def test_a_flat_lead(write_record: Write) -> None:
    counts = sound_counts()
    counts[[2, 7]] = 31
    error = refused(*write_record(counts=counts))
    assert error.reason == "flat lead" and "III, V2" in str(error)


def test_a_clipped_lead(write_record: Write) -> None:
    counts = sound_counts()
    lead = int(np.argmax(counts.max(axis=1)))
    counts[lead] = np.minimum(counts[lead], counts[lead].max() // 2)
    error = refused(*write_record(counts=counts))
    assert error.reason == "clipped lead" and LEADS_12[lead] in str(error)


def test_leads_that_rest_far_from_zero(write_record: Write) -> None:
    counts = sound_counts()
    counts[8] += 4000
    assert np.median(read(*write_record(counts=counts))[8]) > 3.9  # electrodes drift
    counts[8] += 2000
    assert refused(*write_record(counts=counts)).reason == "offset"


def test_limb_leads_of_different_gains(write_record: Write) -> None:
    error = refused(*write_record(lambda text: text.replace("1000.0(0)", "3000.0(0)", 1)))
    assert error.reason == "Einthoven" and "gains" in str(error)


def test_longer_records_are_cut_only_where_asked(write_record: Write) -> None:
    counts = np.tile(sound_counts(), 2)[:, :1200]
    root, name = write_record(counts=counts)
    assert refused(root, name).reason == "length"
    x, header = read_record(root, name, fs=100, seconds=10.0, crop=True)
    assert x.shape == (12, 1000) and header.n_times == 1200  # the checksum of all 1200 was right
    np.testing.assert_allclose(x * 1000, counts[:, :1000], atol=1e-3)


def test_missing_files(write_record: Write) -> None:
    root, name = write_record()
    assert refused(root, "none").reason == "missing file"
    (root / "rec.dat").unlink()
    assert refused(root, name).reason == "missing file"
    os.mkfifo(root / "rec.dat")  # would wait for ever
    assert refused(root, name).reason == "missing file"


OUT = ["../rec", "/tmp/rec", "https://physionet.org/rec", "a\0", "..\\rec", "link", "loop"]


@pytest.mark.parametrize("name", OUT)
def test_names_that_lead_out(write_record: Write, tmp_path: Path, name: str) -> None:
    write_record()
    root = tmp_path / "root"
    root.mkdir()
    (root / "link.hea").symlink_to(tmp_path / "rec.hea")
    (root / "loop.hea").symlink_to(root / "loop.hea")
    assert refused(root, name).reason == "path"
    assert refused(root, "x" * 5000).reason == "missing file"  # longer than a name can be


def test_a_link_out_of_the_root_in_the_header(write_record: Write, tmp_path: Path) -> None:
    root, _ = write_record(name="secret")
    (root / "in").mkdir()
    (root / "in" / "rec.hea").write_text(header_of(sound_counts()))
    (root / "in" / "rec.dat").symlink_to(root / "secret.dat")
    assert refused(root / "in").reason == "path"


@pytest.mark.parametrize("units", ["uV", "µV", "μV", "UV"])
def test_microvolts_are_converted(write_record: Write, units: str) -> None:
    x = read(*write_record(lambda text: text.replace("1000.0(0)/mV", f"1.0(0)/{units}")))
    np.testing.assert_allclose(x * 1000, sound_counts(), atol=1e-3)


def test_baseline_gain_and_their_override(write_record: Write) -> None:
    root, name = write_record(lambda text: text.replace("1000.0(0)/mV", "200(7)/mv"))
    np.testing.assert_allclose(read(root, name), (sound_counts() - 7) / 200, atol=1e-5)
    np.testing.assert_allclose(read(root, name, gain=1000), sound_counts() / 1000, atol=1e-5)
    root, name = write_record(lambda text: text.replace("1000.0(0)/mV 16 0", "200/mV 16 7"))  # the ADC zero stands in
    np.testing.assert_allclose(read(root, name), (sound_counts() - 7) / 200, atol=1e-5)


def test_leads_in_another_order_and_spelling(write_record: Write) -> None:
    order = [0, 1, 2, 3, 5, 4, *range(6, 12)]  # MIMIC-IV-ECG: aVF before aVL
    counts = sound_counts()[order]
    text = header_of(counts)
    for place, k in enumerate(order):
        text = text.replace(f" 0 {LEADS_12[place]}\n", f" 0 #{LEADS_12[k].upper()}\n")
    x = read(*write_record(lambda _: text.replace("#", ""), counts))
    np.testing.assert_allclose(x * 1000, sound_counts(), atol=1e-3)


@pytest.mark.parametrize("ends", ["\r\n", "\n\n"])
def test_line_ends_and_comments(write_record: Write, ends: str) -> None:
    root, name = write_record(lambda text: ("# before\n" + text + "#Dx: é\n").replace("\n", ends))
    x, header = read_record(root, name, fs=100, seconds=10)
    assert x.shape == (12, 1000) and header.comments == ("before", "Dx: é")


@pytest.mark.parametrize("fmt", ["16", "24", "32", "80", "212"])
def test_other_formats_read_as_wfdb_does(tmp_path: Path, fmt: str) -> None:
    counts = sound_counts() // (20 if fmt == "80" else 2)
    wfdb.wrsamp("rec", fs=100, units=["mV"] * 12, sig_name=list(LEADS_12), d_signal=counts.T, fmt=[fmt] * 12,
                adc_gain=[500.0] * 12, baseline=[0] * 12, write_dir=str(tmp_path))  # fmt: skip
    np.testing.assert_allclose(read(tmp_path), wfdb.rdsamp(str(tmp_path / "rec"))[0].T, atol=1e-5)


def test_paths_with_blanks_and_other_letters(folder: Path) -> None:
    counts = sound_counts()
    (folder / "a b").mkdir()
    (folder / "a b" / "rec.hea").write_text(header_of(counts))
    (folder / "a b" / "rec.dat").write_bytes(counts.T.astype("<i2").tobytes())
    np.testing.assert_allclose(read(folder, "a b/rec") * 1000, counts, atol=1e-3)


def test_the_error_travels_between_processes() -> None:
    error = pickle.loads(pickle.dumps(RecordError("a.hea", "gain", "is 0")))
    assert isinstance(error, InputError) and error.reason == "gain" and str(error).startswith("a.hea: gain: is 0; ")


pieces = st.sampled_from("rec| |12|\n|-|1e5|(|)|/|mV|16|x2|:1|+24|#|V1|\r|é".split("|"))


@given(st.one_of(st.binary(max_size=300), st.lists(pieces, max_size=60).map(lambda parts: "".join(parts).encode())))
@example(("rec 0 100 1000" + "9" * 5000).encode())
@settings(max_examples=600, deadline=None)
def test_any_bytes_give_a_header_or_a_record_error(raw: bytes) -> None:
    try:
        assert isinstance(parse_header(raw), Header)
    except RecordError:
        pass


@given(st.integers(0, len(header_of(sound_counts())) - 1), st.binary(max_size=3), st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_an_edited_header_gives_a_header_or_a_record_error(at: int, put: bytes, cut: int) -> None:
    raw = header_of(sound_counts()).encode()
    try:
        assert isinstance(parse_header(raw[:at] + put + raw[at + cut :]), Header)
    except RecordError:
        pass


@pytest.mark.parametrize("part", ["ptb-xl", "chapman_ningbo"])
def test_real_challenge_records_read_as_wfdb_does(shared: Path, part: str) -> None:
    root, left_out = shared / "data" / "challenge-2021" / part, {}
    for path in sorted(root.glob("*.hea")):
        try:
            x = read(root, path.stem, fs=500)
        except RecordError as error:
            left_out[path.stem] = error.reason
        else:
            np.testing.assert_allclose(x, wfdb.rdsamp(str(path.with_suffix("")))[0].T, atol=1e-5)
    assert len(left_out) == (5 if part == "chapman_ningbo" else 0) and set(left_out.values()) <= {"flat lead"}


def test_resampling_passes_the_ecg_and_stops_what_would_alias() -> None:
    time = np.arange(5000) / 500
    slow, fast = (np.sin(2 * np.pi * f * time).astype(np.float32) + 3 for f in (10, 90))
    kept, stopped = resample(slow, 500, 100), resample(fast, 500, 100)
    assert kept.shape == (1000,) and kept.dtype == np.float32
    middle = slice(50, -50)
    np.testing.assert_allclose(kept[middle], slow[::5][middle], atol=5e-3)
    assert np.abs(stopped - 3)[middle].max() < 0.01
    assert np.abs(kept - 3).max() < 1.1  # an offset makes no edges
    assert resample(slow, 500, 500) is slow
