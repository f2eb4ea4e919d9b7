"""Make the book's page "Play": the generator of a study and a runtime that executes it, as scripts that need no server.

A folder ``play`` beside the book's pages gets this page's own scripts, ``runtime.js`` (ONNX Runtime Web, bundled from
npm) and ``generator.js`` (the networks, and what the page must know of them). Where a part cannot be made,
``generator.js`` says so in words, and the book is rendered all the same.
"""

import base64
import gzip
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ecglib.diffusion import Generator
from ecglib.diffusion.model import WEIGHTS
from ecglib.diffusion.rhythm import TARGET as RHYTHM_TARGET
from ecglib.errors import InputError
from ecglib.runs import read_manifest, sha256_of, work_folder, write_text
from ecglib.signals import Cohort
from ecglib.study import Study
from ecglib.web.describe import describe
from ecglib.web.graph import Evaluation, export_onnx

PAGE = Path(__file__).parent / "page"
RUNTIME, BUNDLER = "onnxruntime-web@1.30.0", "esbuild@0.28.2"  # of npm; fetched once, when the book is made
LIMIT = 12_000_000  # bytes of the whole page


def build_page(study: Study, target: Path) -> str:
    """Write the scripts of the page for the generator of a study.

    Parameters
    ----------
    study : Study
    target : Path
        ``play`` below the book's pages.

    Returns
    -------
    str
        '' if the page can draw; else why it cannot, as the page says it too.
    """
    target.mkdir(parents=True, exist_ok=True)
    for path in (*PAGE.glob("*.js"), *PAGE.glob("*.css")):
        shutil.copy(path, target)
    try:
        shutil.copy(bundled_runtime(), target)
        _write_generator(study, target)
    except InputError as error:
        why = f"This page cannot draw here: {error}."
        write_text(target / "generator.js", f"globalThis.Ecglib ??= {{}};\nEcglib.missing = {json.dumps(why)};\n")
        print(f"the page Play says: {why}", file=sys.stderr)
        return why
    return ""


def bundled_runtime() -> Path:
    """Return ``runtime.js``: ONNX Runtime Web as one classic script, its WebAssembly in it as text.

    A page opened from a disk may neither fetch a file nor import a module. It is fetched from npm once, and kept in
    ``work/``.

    Raises
    ------
    InputError
        If npm is absent or did not deliver.
    """
    path = work_folder() / "web" / "runtime.js"
    first_line = f"// {RUNTIME} (Microsoft, MIT licence), bundled by {BUNDLER}\n"
    if _starts(path, first_line):
        return path
    with _scratch() as folder:
        (folder / "package.json").write_text('{"private": true}')
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--fetch-retries=1",
                 "--fetch-retry-mintimeout=1000"]  # fmt: skip
        _npm(["npm", "install", *quiet, RUNTIME, BUNDLER], folder)
        dist = folder / "node_modules" / "onnxruntime-web" / "dist"
        _npm([str(folder / "node_modules/.bin/esbuild"), str(dist / "ort.wasm.bundle.min.mjs"), "--bundle", "--minify",
              "--format=iife", "--global-name=ort", "--log-level=error", "--outfile=ort.js"], folder)  # fmt: skip
        wasm = pack((dist / "ort-wasm-simd-threaded.wasm").read_bytes())
        script = (folder / "ort.js").read_text(encoding="utf-8")
    write_text(path, f'{first_line}{script}\nglobalThis.Ecglib ??= {{}};\nEcglib.wasm = "{wasm}";\n')
    return path


def _npm(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = "npm is not installed" if isinstance(error, FileNotFoundError) else "npm did not answer"
        raise InputError(f"{reason}, which brings the runtime {RUNTIME}; install npm, and run `make book` again with "
                         "a network") from None  # fmt: skip
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "it does not say why").splitlines()[0]
        raise InputError(f"npm could not bring the runtime {RUNTIME} ({said}); run `make book` again with a network")


@contextmanager
def _scratch() -> Iterator[Path]:
    place = work_folder() / "web"
    place.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place) as folder:
        yield Path(folder)


def _write_generator(study: Study, target: Path) -> None:
    """Write ``generator.js``, unless it is there already, made of the same weights by the same code."""
    try:
        run = study.finished_run()
    except InputError:
        raise InputError(f"the generator of this study is not trained yet; run `{study.command}`") from None
    code = " ".join(sha256_of(path)[:16] for path in sorted(Path(__file__).parent.glob("*.py")))
    first_line = f"// {study.folder.name} {sha256_of(run / WEIGHTS)} {code}\n"
    path = target / "generator.js"
    if not _starts(path, first_line):
        others = sum(file.stat().st_size for file in target.iterdir() if file != path)
        script = generator_script(run, study.open_cohort(), study.preset, LIMIT - others - len(first_line))
        write_text(path, first_line + script)


def _starts(path: Path, first_line: str) -> bool:
    if not path.exists():
        return False
    with open(path, encoding="utf-8") as file:
        return file.readline() == first_line


def generator_script(run: Path, cohort: Cohort, preset: str, room: int) -> str:
    """Return the text of ``generator.js``.

    Parameters
    ----------
    run : Path
        A finished run.
    cohort : Cohort
        What it was trained on.
    preset : str
    room : int
        Bytes at most: weights are stored in float32 where that fits, else in float16.

    Raises
    ------
    InputError
        If it does not fit, or onnx is not installed.
    """
    generator, manifest = Generator.load(run), read_manifest(run, "run")
    weights = sum(parameter.numel() for parameter in generator.network.blocks.parameters())
    if 2 * weights > room:  # two bytes each at the least: no graph is made of what cannot fit
        raise InputError(f"the blocks of preset {preset} have {weights / 1e6:.1f} million weights, and there is room "
                         f"for {room / 1e6:.1f} MB of them")  # fmt: skip
    for half in (False, True):
        # rounding the small rhythm network moves beats, by up to 0.13 mV where they are steep: it stays whole
        models = {name: pack(onnx_bytes(part, half and name == "signal"))
                  for name, part in evaluations(generator).items()}  # fmt: skip
        about = describe(generator, preset, manifest, cohort, half)
        text = f"globalThis.Ecglib ??= {{}};\nEcglib.parts = {json.dumps({'about': about, 'models': models})};\n"
        if len(text) <= room:
            return text
    raise InputError(f"the networks take {len(text) / 1e6:.1f} MB, and there is room for {room / 1e6:.1f} MB of them")


def evaluations(generator: Generator) -> dict[str, Evaluation]:
    """Return the networks that the page runs: ``signal``, and ``rhythm`` where the beats are drawn first."""
    network, rhythm = generator.network, generator.network.rhythm
    parts = {"signal": Evaluation(network, generator.schedule, generator.config.diffusion.target,
                                  generator.signals.n_times)}  # fmt: skip
    if rhythm is not None:
        parts["rhythm"] = Evaluation(rhythm.network, rhythm.schedule, RHYTHM_TARGET, rhythm.length)
    return parts


def onnx_bytes(evaluation: Evaluation, half: bool = False) -> bytes:
    """Return an evaluation as the bytes of an ONNX file."""
    with _scratch() as folder:
        export_onnx(evaluation, folder / "graph.onnx", half=half)
        return (folder / "graph.onnx").read_bytes()


def pack(data: bytes) -> str:
    """Return base64 of gzip, the same text for the same bytes; `Ecglib.unpack` undoes it."""
    return base64.b64encode(gzip.compress(data, 9, mtime=0)).decode("ascii")
