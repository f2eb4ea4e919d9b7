"""Downloads from a real server on loopback that drops, truncates, lies and dies: complete and right, or resumable."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from physionet import PhysioNet, write_sums

from ecglib.errors import InputError
from ecglib.signals import read_ludb, read_ptbxl
from ecglib.signals.download import download
from ecglib.signals.download.cohorts import choose_subset, read_sums
from ecglib.signals.download.transfer import TRIES
from ecglib.signals.readers.challenge import read_challenge
from ecglib.signals.readers.metadata import read_csv

DAT = "records100/00000/00003_lr.dat"
TABLES = {"LICENSE.txt", "README.md", "RECORDS", "ptbxl_database.csv", "scp_statements.csv"}
LIST = "SHA256SUMS.txt"


@pytest.fixture
def site(layout: Path) -> Iterator[PhysioNet]:
    """The hand-made PTB-XL (24 records of 12 patients), served."""
    with PhysioNet({"ptb-xl/1.0.3": layout}) as server:
        yield server


def fetch(site: PhysioNet, folder: Path, cohort: str = "ptb-xl", **options) -> Path:
    options = {"progress": False, "first_wait": 0.01, **options}
    return download(cohort, folder, base=site.base, **options)


def assert_right(folder: Path, tree: Path, records: int = 24) -> None:
    """Every file of the cohort is there, as it is in `tree`; no part of a file, and nothing else."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert not [name for name in found if name.endswith(".part")]
    assert len([name for name in found if name.endswith(".dat")]) == records
    for name in found - {"download.json", ".lock", "RECORDS.subset"}:
        assert (folder / name).read_bytes() == (tree / name).read_bytes(), name
    assert json.loads((folder / "download.json").read_text())["complete"] is True


def assert_resumable(folder: Path, tree: Path) -> None:
    """What has its final name is right, and the manifest does not say that all is there."""
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and path.suffix != ".part" and name not in ("download.json", ".lock"):
            assert path.read_bytes() == (tree / name).read_bytes(), name
    manifest = folder / "download.json"
    assert not manifest.exists() or json.loads(manifest.read_text())["complete"] is False


def test_all_of_it_each_file_asked_for_once(site: PhysioNet, layout: Path, folder: Path) -> None:
    fetch(site, folder / "x")
    assert_right(folder / "x", layout)
    read = read_ptbxl(folder / "x")
    assert len(read) == 24 and not read.notes["left_out"]
    asked = site.asked()
    assert set(asked.values()) == {1} and set(asked) == TABLES | {LIST} | {n for n in asked if n.startswith("records")}
    assert len(asked) == 48 + 6 and site.connections < 20  # kept open from file to file
    manifest = folder / "x" / "download.json"
    noted = json.dumps({**json.loads(manifest.read_text()), "made": "long ago"}, indent=2) + "\n"
    manifest.write_text(noted)
    fetch(site, folder / "x")
    assert site.asked() == asked and manifest.read_text() == noted  # so that what was made of it stays made


def test_the_manifest(site: PhysioNet, tmp_path: Path) -> None:
    manifest = json.loads((fetch(site, tmp_path / "x") / "download.json").read_text())
    assert manifest["source"] == f"{site.base}/ptb-xl/1.0.3" and manifest["records"] == 24 and manifest["n"] is None
    assert manifest["files"] == 48 + 5 and manifest["bytes"] > 24 * 24_000
    assert manifest["sha256sums"] == hashlib.sha256((tmp_path / "x" / LIST).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("name", "fault"),
    [*((name, fault) for name in (DAT, LIST) for fault in ("drop", "truncate", "500", "stall", "wrong range")),
     (DAT, "wrong byte"), ("ptbxl_database.csv", "wrong byte"), (DAT, "503"), (DAT, "429")],
)  # fmt: skip
def test_a_passing_fault(site: PhysioNet, layout: Path, tmp_path: Path, name: str, fault: str) -> None:
    site.faults[name] = ["drop", fault] if fault == "wrong range" else [fault]
    fetch(site, tmp_path / "x", timeout=0.3)
    assert_right(tmp_path / "x", layout)
    ranges = [wanted for asked, wanted in site.requests if asked == name]
    assert len(ranges) == (3 if fault == "wrong range" else 2)
    if fault in ("drop", "truncate", "stall"):  # goes on where it was cut
        assert ranges[1] == f"bytes={(layout / name).stat().st_size // 2}-"


@pytest.mark.parametrize("fault", ["404", "403", "401", "wrong byte", "moved", "no length"])
def test_a_file_that_cannot_be_had(site: PhysioNet, layout: Path, tmp_path: Path, fault: str) -> None:
    site.faults[DAT], site.forever = [fault], {DAT}
    with pytest.raises(InputError, match=f"1 of 48 files could not be fetched, first {DAT}.*same command") as caught:
        fetch(site, tmp_path / "x")
    assert "\n" not in str(caught.value)
    assert_resumable(tmp_path / "x", layout)
    assert len(list((tmp_path / "x").rglob("*.dat"))) == 23  # the others are there
    site.faults, before = {}, len(site.requests)
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)
    assert [name for name, _ in site.requests[before:]] == [DAT]


@pytest.mark.parametrize("name", [DAT, LIST])
def test_a_server_that_always_fails(site: PhysioNet, layout: Path, tmp_path: Path, name: str) -> None:
    site.faults[name], site.forever = ["500"], {name}
    with pytest.raises(InputError, match=f"{name}: the server answered 500 .*; tried {TRIES} times.*same command"):
        fetch(site, tmp_path / "x")
    assert site.asked()[name] == TRIES
    assert_resumable(tmp_path / "x", layout)
    site.faults = {}
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)


def test_drops_do_not_count_while_the_file_grows(site: PhysioNet, layout: Path, tmp_path: Path) -> None:
    site.faults[DAT], site.forever = ["drop"], {DAT}  # half of what is lacking, each time
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)
    assert site.asked()[DAT] > TRIES


def test_a_server_without_ranges(site: PhysioNet, layout: Path, tmp_path: Path) -> None:
    site.knows_ranges, site.faults[DAT] = False, ["drop"]
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)
    shutil.rmtree(tmp_path / "x")
    site.faults[DAT], site.forever = ["drop"], {DAT}
    with pytest.raises(InputError, match=f"{DAT}: .*tried {TRIES} times"):
        fetch(site, tmp_path / "x")
    assert_resumable(tmp_path / "x", layout)


@pytest.mark.parametrize("left", ["of another file", "whole", "too long", "empty"])
def test_whatever_part_is_left(site: PhysioNet, layout: Path, tmp_path: Path, left: str) -> None:
    whole = (layout / DAT).read_bytes()
    part = tmp_path / "x" / f"{DAT}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes({"of another file": b"?" * 99, "whole": whole, "too long": whole + b"?", "empty": b""}[left])
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)


def test_what_was_spoilt_is_fetched_again(site: PhysioNet, layout: Path, tmp_path: Path) -> None:
    fetch(site, tmp_path / "x")
    (tmp_path / "x" / DAT).write_bytes(b"spoilt")
    (tmp_path / "x" / "RECORDS").unlink()
    site.requests.clear()
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)
    assert site.asked() == {DAT: 1, "RECORDS": 1}


def test_a_dead_server(layout: Path, tmp_path: Path) -> None:
    with PhysioNet({"ptb-xl/1.0.3": layout}) as site:
        pass
    start = time.perf_counter()
    with pytest.raises(InputError, match=r"SHA256SUMS.txt: .*refused; tried 6 times. Is the network up"):
        fetch(site, tmp_path / "x")
    assert time.perf_counter() - start < 5


def test_no_name_of_a_host(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tried 6 times"):
        download("ludb", tmp_path / "x", base="http://a..b", progress=False, first_wait=0.001)


def test_a_server_that_dies_half_way(layout: Path, tmp_path: Path) -> None:
    with PhysioNet({"ptb-xl/1.0.3": layout}) as site:
        site.faults["*"] = [""] * 30 + ["drop"]  # and then only that
        site.knows_ranges = False
        with pytest.raises(InputError, match="tried 6 times"):
            fetch(site, tmp_path / "x")
    assert_resumable(tmp_path / "x", layout)
    there = {path.relative_to(tmp_path / "x").as_posix() for path in (tmp_path / "x").rglob("*.*") if path.is_file()}
    assert len(there) > 20
    with PhysioNet({"ptb-xl/1.0.3": layout}) as mirror:
        fetch(mirror, tmp_path / "x")
        assert_right(tmp_path / "x", layout)
        assert not set(mirror.asked()) & there


def test_a_mirror_that_has_nothing_is_not_asked_for_everything(site: PhysioNet, tmp_path: Path) -> None:
    fetch(site, tmp_path / "x", n=2)
    site.faults["*"] = ["404"]
    with pytest.raises(InputError, match=r"2\d of 48 files could not be fetched"):
        fetch(site, tmp_path / "x")
    assert len(site.requests) < 60


def test_a_page_instead_of_the_list(site: PhysioNet, layout: Path, tmp_path: Path) -> None:
    genuine = (layout / LIST).read_text()
    for text, words in (("<html>log in</html>\n", "expected a SHA-256 and a path"), ("", "does not list ptbxl_data")):
        (layout / LIST).write_text(text)
        with pytest.raises(InputError, match=words):
            fetch(site, tmp_path / "x")
        assert not (tmp_path / "x" / LIST).exists()
    (layout / LIST).write_text(genuine)
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)


def test_a_list_of_unknown_origin_is_not_trusted(site: PhysioNet, layout: Path, tmp_path: Path) -> None:
    fetch(site, tmp_path / "x")
    manifest = tmp_path / "x" / "download.json"
    for noted in (manifest.read_text(), "{}", "[]", "{", '{"project": "ptb-xl/1.0.1"}'):
        manifest.write_text(noted)
        (tmp_path / "x" / LIST).write_text((layout / LIST).read_text().replace("a", "b"))  # of another version, say
        fetch(site, tmp_path / "x")
        assert_right(tmp_path / "x", layout)


@pytest.mark.parametrize("name", ["records100/../../evil.dat", "records100/out/evil.dat"])
def test_paths_that_lead_out(site: PhysioNet, layout: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "x" / "records100").mkdir(parents=True)
    (tmp_path / "x" / "records100" / "out").symlink_to(tmp_path)
    with open(layout / LIST, "a") as sums:
        sums.write(f"{'0' * 64} {name}\n")
    with pytest.raises(InputError, match="leads out of"):
        fetch(site, tmp_path / "x")
    assert not (tmp_path / "evil.dat").exists() and not (tmp_path / "evil.dat.part").exists()


# ---- subsets


def test_a_subset_is_of_whole_patients_and_nothing_more_is_fetched(site: PhysioNet, layout: Path, tmp_path: Path
                                                                   ) -> None:  # fmt: skip
    fetch(site, tmp_path / "x", n=9, seed=1)
    assert_right(tmp_path / "x", layout, records=8)
    assert len(site.requests) == 6 + 16
    part = read_ptbxl(tmp_path / "x")
    assert len(part) == 8 and not part.notes["left_out"] and (part.table["patient_id"].value_counts() == 2).all()
    fetch(site, tmp_path / "x", n=16, seed=1)  # a larger one adds to it
    assert_right(tmp_path / "x", layout, records=16)
    assert len(site.requests) == 6 + 32 and set(site.asked().values()) == {1}
    fetch(site, tmp_path / "x", n=8, seed=1)  # a smaller one fetches nothing, and is what the reader reads
    assert len(site.requests) == 6 + 32 and len(read_ptbxl(tmp_path / "x")) == 8
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)
    assert len(read_ptbxl(tmp_path / "x")) == 24 and not (tmp_path / "x" / "RECORDS.subset").exists()
    with pytest.raises(InputError, match="take n ≥ 2"):
        fetch(site, tmp_path / "x", n=1)


def serve_bytes(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    write_sums(root)
    return root


def test_mimic(tmp_path: Path) -> None:
    """40 patients of two studies each, one in four in atrial fibrillation."""
    studies = [(10_000 + k // 2, 40_000 + k) for k in range(80)]
    path = "files/p{0[0]}/s{0[1]}/{0[1]}"
    report = ["Sinus rhythm", "Sinus bradycardia", "Atrial fibrillation, rapid", "SINUS TACHYCARDIA"]
    tree = serve_bytes(tmp_path / "tree", {
        "record_list.csv": "subject_id,study_id,file_name,ecg_time,path\n"
        + "".join(f"{s[0]},{s[1]},{s[1]},2180-07-23 08:44:00,{path.format(s)}\n" for s in studies),
        "machine_measurements.csv": "subject_id,study_id,report_0,report_1\n"
        + "".join(f'{s[0]},{s[1]},"{report[s[0] % 4]}",Borderline ECG\n' for s in studies),
        "waveform_note_links.csv": "not needed",
        **{path.format(s) + end: f"{s}{end}" for s in studies for end in (".hea", ".dat")},
    })  # fmt: skip
    with PhysioNet({"mimic-iv-ecg/1.0": tree}) as site:
        fetch(site, tmp_path / "x", "mimic-iv-ecg", n=16)
        assert_right(tmp_path / "x", tree, records=16)
        assert "waveform_note_links.csv" not in site.asked() and len(site.requests) == 3 + 32
    patients = [name.split("/")[1] for name in (tmp_path / "x" / "RECORDS.subset").read_text().split()]
    assert len(patients) == 16 and len(set(patients)) == 8
    assert sum(int(patient[1:]) % 4 == 2 for patient in set(patients)) == 2


def test_challenge(tmp_path: Path) -> None:
    """Two sources, one three times as large; a third one that is not fetched."""
    names = [f"training/georgia/g1/E{k:05}" for k in range(30)] + [f"training/ningbo/g2/JS{k:05}" for k in range(10)]
    others = ["training/st_petersburg_incart/g1/I0001.hea", "training/georgia/g1/RECORDS", "papers/a.pdf"]
    tree = serve_bytes(tmp_path / "tree", {name + end: name + end for name in names for end in (".hea", ".mat")}
                       | {name: "not needed" for name in others})  # fmt: skip
    with PhysioNet({"challenge-2021/1.0.3": tree}) as site:
        fetch(site, tmp_path / "x", "challenge-2021", n=12)
        subset = (tmp_path / "x" / "RECORDS.subset").read_text().split()
        assert len(subset) == 12 and sum("ningbo" in name for name in subset) == 3 and set(subset) <= set(names)
        fetch(site, tmp_path / "x", "challenge-2021")
        assert not set(others) & set(site.asked()) and len(site.requests) == 1 + 80


# ---- wrong arguments


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n=0"), ({"n": -1}, "n=-1"), ({"n": True}, "n=True"), ({"n": 2.5}, "n=2.5"),
        ({"workers": 0}, "workers=0"), ({"fs": 250}, "fs=250"), ({"cohort": "ptbxl"}, "did you mean ptb-xl"),
        ({"cohort": "virtual"}, "COHORT='virtual'"),
    ],
)  # fmt: skip
def test_wrong_arguments(site: PhysioNet, tmp_path: Path, options: dict, words: str) -> None:
    with pytest.raises(InputError, match=words):
        fetch(site, tmp_path / "x", **options)
    assert not site.requests and not (tmp_path / "x").exists()


@pytest.mark.parametrize("base", ["ftp://a.org", "file:///etc", "physionet.org", "https://", "http://[", "http://a?b",
                                  "http://me:secret@a.org"])  # fmt: skip
def test_wrong_addresses(tmp_path: Path, base: str) -> None:
    with pytest.raises(InputError, match="expected http:// or https://"):
        download("ludb", tmp_path / "x", base=base, progress=False)


def test_a_mirror_from_the_environment(site: PhysioNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECGLIB_PHYSIONET", site.base + "/")
    download("ptb-xl", tmp_path / "x", n=2, progress=False)
    assert len(site.requests) == 6 + 4


def test_https_goes_through_the_proxy(site: PhysioNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", site.base.removeprefix("http://"))
    monkeypatch.delenv("no_proxy", raising=False)
    with pytest.raises(InputError, match="403"):
        download("ludb", tmp_path / "x", base="https://physionet.invalid", progress=False, first_wait=0.001)
    assert set(site.requests) == {("physionet.invalid:443", "CONNECT")}


# ---- what happens to the process and the disk

CHILD = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs are born deaf to Ctrl-C
from ecglib.errors import InputError
from ecglib.signals.download import download
print("ready", flush=True)
try:
    download("ptb-xl", sys.argv[2], base=sys.argv[1], progress=False, workers=4, first_wait=0.01)
except InputError as error:
    sys.exit(f"error: {error}")
"""


def start(site: PhysioNet, folder: Path) -> subprocess.Popen:
    """Start a download in another process, and wait until ten files were asked for."""
    site.delay = 0.1
    child = subprocess.Popen([sys.executable, "-c", CHILD, site.base, folder], stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, text=True)  # fmt: skip
    while len(site.requests) < 16:
        assert child.poll() is None
        time.sleep(0.01)
    return child


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_killed_and_stopped(site: PhysioNet, layout: Path, tmp_path: Path, how: signal.Signals) -> None:
    child = start(site, tmp_path / "x")
    with pytest.raises(InputError, match="in use by another"):
        fetch(site, tmp_path / "x")
    if how == signal.SIGINT:  # while nothing comes, as well
        site.faults["*"] = ["stall"]
        time.sleep(0.5)
    begun = time.perf_counter()
    child.send_signal(how)
    _, said = child.communicate(timeout=20)
    assert time.perf_counter() - begun < 5
    assert child.returncode == -how and ("KeyboardInterrupt" in said) == (how == signal.SIGINT)
    assert_resumable(tmp_path / "x", layout)
    there = {path.relative_to(tmp_path / "x").as_posix() for path in (tmp_path / "x").rglob("*.*") if path.is_file()}
    before, site.delay, site.faults = len(site.requests), 0.0, {}
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)
    again = {name for name, _ in site.requests[before:]}
    assert len(there) > 8 and not again & there and LIST not in again


def run(site: PhysioNet, folder: Path, *before: str, **how) -> str:
    """Run a download in another process; return its error message."""
    done = subprocess.run([*before, sys.executable, "-c", CHILD, site.base, folder], capture_output=True, text=True,
                          timeout=60, **how)  # fmt: skip
    assert done.returncode == 1 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_a_file_larger_than_allowed(site: PhysioNet, layout: Path, tmp_path: Path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))

    assert "lr.dat.part cannot be written: File too large" in run(site, tmp_path / "x", preexec_fn=limit)
    assert_resumable(tmp_path / "x", layout)
    fetch(site, tmp_path / "x")
    assert_right(tmp_path / "x", layout)


@pytest.mark.parametrize(("size", "words"), [("300k", "files need about 600kB; make room"),
                                             ("660k", "No space left on device; make room")])  # fmt: skip
def test_a_small_disk(site: PhysioNet, layout: Path, tmp_path: Path, size: str, words: str) -> None:
    """A tiny file system in a mount namespace of its own: refused at once, or full on the way."""
    (tmp_path / "disk").mkdir()
    mount = ("unshare", "-rm", "sh", "-c", f'mount -t tmpfs -o size={size} tmpfs "$0" && exec "$@"', tmp_path / "disk")
    if subprocess.run([*mount, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a file system")
    assert words in run(site, tmp_path / "disk", *mount)
    assert (len(site.requests) == 6) == (size == "300k")


def test_a_folder_that_cannot_be_written(site: PhysioNet, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        fetch(site, tmp_path / "file" / "x")
    folder = tmp_path / "read-only"
    folder.mkdir(mode=0o555)
    if os.geteuid() == 0:  # whom modes do not bind
        read_only = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"', folder)
        if subprocess.run([*read_only, "true"], capture_output=True).returncode:
            pytest.skip("as root, with nothing that is read-only")
        assert "cannot be written: Read-only file system" in run(site, folder, *read_only)
    else:
        assert "cannot be written: Permission denied" in run(site, folder)
    assert not site.requests


# ---- the list of sums

paths = st.text(st.characters(exclude_categories=("Cc", "Cs", "Z")), min_size=1, max_size=40)


@given(st.dictionaries(paths.filter(lambda name: not name.startswith("*")), st.binary(max_size=8), max_size=20),
       st.sampled_from([" ", "  ", " *"]), st.sampled_from(["\n", "\r\n"]),
       st.sampled_from(["", "\ufeff"]))  # fmt: skip
def test_sums_are_read_as_written(tmp_path_factory, contents, blank, end, mark) -> None:
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    path = tmp_path_factory.getbasetemp() / "sums"
    path.write_text(mark + "".join(f"{digest}{blank}{name}{end}" for name, digest in sums.items()), "utf-8", newline="")
    assert read_sums(path, lambda name: True) == sums
    assert read_sums(path, lambda name: "a" in name) == {name: sums[name] for name in sums if "a" in name}


@given(st.binary(max_size=200))
def test_anything_else_is_refused(tmp_path_factory, raw: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "raw"
    path.write_bytes(raw)
    if raw.decode("utf-8", "replace").strip("\ufeff \r\n"):
        with pytest.raises(InputError, match=r"line \d+ is .*expected a SHA-256 and a path"):
            read_sums(path, lambda name: True)


def test_two_sums_of_one_file(tmp_path: Path) -> None:
    (tmp_path / "sums").write_text(f"{'0' * 64} x\n{'0' * 64} x\n")
    assert read_sums(tmp_path / "sums", lambda name: True) == {"x": "0" * 64}
    (tmp_path / "sums").write_text(f"{'0' * 64} x\n{'1' * 64} x\n")
    with pytest.raises(InputError, match="line 2: x has two different sums"):
        read_sums(tmp_path / "sums", lambda name: True)
    assert read_sums(tmp_path / "sums", lambda name: name != "x") == {}


# ---- LUDB


@pytest.fixture
def ludb(shared: Path, tmp_path: Path) -> Path:
    """LUDB as PhysioNet has it: the copy at hand has lost carriage returns in two texts, and blanks in the licence."""
    source, tree = shared / "data" / "ludb", tmp_path / "tree"
    tree.mkdir()
    (tree / "data").symlink_to(source / "data")
    for name in ("README", "ANNOTATORS"):
        (tree / name).write_bytes((source / name).read_bytes().replace(b"\n", b"\r\n"))
    for name in ("RECORDS", "ludb.csv"):
        shutil.copy(source / name, tree)
    sums = (source / LIST).read_text().splitlines(keepends=True)
    (tree / LIST).write_text("".join(line for line in sums if "LICENSE.txt" not in line))
    return tree


def test_ludb(ludb: Path, tmp_path: Path) -> None:
    folder = tmp_path / "with blanks é ü 心"
    with PhysioNet({"ludb/1.0.1": ludb}) as site:
        site.faults = {"data/7.dat": ["drop", "500"], "data/9.hea": ["wrong byte"], "ludb.csv": ["truncate"]}
        fetch(site, folder / "x", "ludb", n=40)
        assert_right(folder / "x", ludb, records=40)
        part = read_ludb(folder / "x", strict=True)
        assert len(part) == 40
        fetch(site, folder / "x", "ludb")
        assert_right(folder / "x", ludb, records=200)
        assert len(site.requests) == 2800 + 5 + sum(map(len, (["drop", "500"], ["wrong byte"], ["truncate"])))


def test_strata_of_ludb_are_in_proportion(shared: Path) -> None:
    root = shared / "data" / "ludb"
    parts = [choose_subset("ludb", root, n, 3) for n in (20, 60, 200)]
    assert parts[0] < parts[1] < parts[2] == {f"data/{k}" for k in range(1, 201)}
    table = read_csv(root / "ludb.csv", ("ID", "Hypertrophies")).set_index("ID")
    share = [np.mean([table["Hypertrophies"][name[5:]] != "" for name in part]) for part in parts]
    assert abs(share[1] - share[2]) < 0.05


def test_the_challenge(shared: Path, tmp_path: Path) -> None:
    """Real records of two sources; what was chosen is what the reader reads."""
    for name, source in (("chapman_shaoxing", "chapman_ningbo"), ("ptb-xl", "ptb-xl")):
        shutil.copytree(shared / "data" / "challenge-2021" / source, tmp_path / "tree" / "training" / name / "g1")
    write_sums(tmp_path / "tree")
    with PhysioNet({"challenge-2021/1.0.3": tmp_path / "tree"}) as site:
        fetch(site, tmp_path / "x", "challenge-2021", n=31)
        assert len(site.requests) == 1 + 2 * 31
    read = read_challenge(tmp_path / "x")
    assert len(read) + sum(map(len, read.notes["left_out"].values())) == 31
    subset = (tmp_path / "x" / "RECORDS.subset").read_text().split()
    assert sum("ptb-xl" in name for name in subset) == 11  # of 22 in 62
