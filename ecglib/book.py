"""From notebooks to a book: execute one notebook with papermill, render the executed ones with Jupyter Book."""

import ast
import datetime
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

from ecglib.errors import InputError, choose
from ecglib.runs import atomic_file, atomic_folder, inside, versions, write_text
from ecglib.study import ROOT, Study, work_folder

BOOK = ROOT / "book"
MATHJAX = BOOK / "_static" / "mathjax"
MATHJAX_PARTS = ("tex-mml-chtml.js", "output/chtml/fonts/woff-v2")


def execute(notebook: Path, output: Path, parameters: dict[str, str]) -> None:
    """Execute a notebook with papermill; `output` appears only if every cell ran.

    Parameters
    ----------
    notebook : path
        With one cell tagged ``parameters``.
    output : path
        Where the executed notebook goes. After a failure the notebook with its error is beside it, as
        ``<name>.failed.ipynb``.
    parameters : dict of str to str
        Values as JSON scalars, or plain text for text.

    Raises
    ------
    InputError
        If a parameter is unknown to the notebook, of another type than its default, or a path that leads out of
        ``work/``; or if a cell fails: the message is the cell's error; or the kernel
        dies.
    """
    try:
        import papermill
        from nbclient.exceptions import DeadKernelError
        from nbformat.reader import NotJSONError
    except ImportError as error:
        raise InputError(f"{error.name} is not installed; run `make setup`") from None
    if not notebook.is_file():
        raise InputError(f"notebook={notebook} does not exist")
    try:
        known = papermill.inspect_notebook(str(notebook))
    except NotJSONError:
        raise InputError(f"notebook={notebook} is no notebook; expected a file of Jupyter's, .ipynb") from None
    values = checked_parameters(known, parameters, notebook.name)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    logging.getLogger("papermill").setLevel(logging.WARNING)
    _quiet_kernels()
    failed = output.with_suffix(".failed.ipynb")
    started = time.monotonic()
    print(f"{notebook.stem}: executing", flush=True)
    with atomic_file(output) as temporary:
        try:
            papermill.execute_notebook(str(notebook), str(temporary), parameters=values, cwd=str(ROOT),
                                       progress_bar=False, kernel_name="python3", stderr_file=sys.stderr)  # fmt: skip
        except papermill.PapermillExecutionError as error:
            shutil.copy(temporary, failed)
            raise InputError(f"{notebook.name}: cell {error.exec_count} failed: {error.ename}: {error.evalue} "
                             f"(the notebook with its error: {failed})") from None  # fmt: skip
        except DeadKernelError:
            shutil.copy(temporary, failed)
            raise InputError(f"{notebook.name}: the kernel died, most often for want of memory; take a smaller preset "
                             f"(the notebook as far as it came: {failed})") from None  # fmt: skip
        seconds = time.monotonic() - started
        defaults = all(ast.literal_eval(known[key]["default"]) == value for key, value in values.items())
        _tidy(temporary, output, hide=defaults, last=made_by(values, seconds))
    failed.unlink(missing_ok=True)
    print(f"{notebook.stem}: done in {seconds:.0f} s", flush=True)


def _quiet_kernels() -> None:
    """Give kernels a profile of the project's own: no start-up files of the user's, no notes about TCP or their end."""
    folder = work_folder() / "ipython"
    settings = "c = get_config()\nc.IPKernelApp.log_level = 50\n"
    write_text(folder / "profile_default" / "ipython_kernel_config.py", settings)
    os.environ["IPYTHONDIR"] = str(folder)


def checked_parameters(known: dict[str, dict[str, Any]], given: dict[str, str], name: str) -> dict[str, Any]:
    """Return the values to inject, each of the type of the notebook's default.

    Parameters
    ----------
    known : dict
        What ``papermill.inspect_notebook`` found.
    given : dict of str to str
    name : str
        The notebook's name, for messages.

    Raises
    ------
    InputError
    """
    values: dict[str, Any] = {}
    for key, text in given.items():
        choose(f"parameter of {name}", key, known)
        default = ast.literal_eval(known[key]["default"])
        values[key] = _like(key, text, default)
        if isinstance(default, str) and any(mark in text for mark in ("/", "\\", "..", "\0")):
            inside(work_folder(), text, f"parameter {key}")
    return values


def _like(key: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    try:
        value = json.loads(text)
    except ValueError:
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        raise InputError(f"parameter {key}={text!r} is of type {type(value).__name__}; "
                         f"expected {type(default).__name__}, as in {key} = {default!r}")  # fmt: skip
    return value


def made_by(parameters: dict[str, Any], seconds: float) -> str:
    """Return the last lines of an executed chapter: when, how long, with which parameters and versions."""
    given = ", ".join(f"{name} {value}" for name, value in parameters.items())
    found = ", ".join(f"{name} {value}" for name, value in versions().items())
    return (f"---\n\n*Executed on {datetime.date.today()} in {seconds:.0f} s on {os.cpu_count()} processor cores"
            f"{' with ' + given if given else ''}. Versions: {found}.*")  # fmt: skip


def _tidy(path: Path, output: Path, *, hide: bool, last: str) -> None:
    """Forget the temporary name; hide parameters that only repeat the defaults; add the last lines."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    tree["metadata"].setdefault("papermill", {})["output_path"] = output.name
    for cell in tree["cells"]:
        tags = cell["metadata"].get("tags", [])
        if hide and "injected-parameters" in tags:
            tags.append("remove-cell")
    tree["cells"].append({"cell_type": "markdown", "id": "made-by", "metadata": {}, "source": last})
    path.write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def render(study: Study) -> Path:
    """Render the study's chapters and the book's prose to HTML, warnings being errors.

    Returns
    -------
    Path
        ``book/_build/html/index.html``.

    Raises
    ------
    InputError
        If a chapter was not executed, Jupyter Book is not installed, or it finds something to warn of.
    """
    _copy_chapters(study)
    config = study.folder / "_config.yml"
    write_text(config, (BOOK / "_config.yml").read_text(encoding="utf-8") + _mathjax_setting())
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()", "build", str(BOOK), "-W", "-q",
               "--keep-going", "--config", str(config), "--toc", str(BOOK / "_toc.yml")]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    log = done.stdout + done.stderr
    write_text(study.folder / "render.log", log)
    if done.returncode:
        missing = "No module named 'jupyter_book'" in log
        remedy = "it is not installed: run `make setup`" if missing else f"see {study.folder / 'render.log'}"
        warnings = [line for line in log.splitlines() if "WARNING" in line or "ERROR" in line or "rror:" in line]
        raise InputError("\n  ".join([f"jupyter-book failed; {remedy}", *warnings[:10]]))
    html = BOOK / "_build" / "html"
    for page in html.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        if (once := each_script_once(text)) != text:
            write_text(page, once)
    _build_page(study, html / "play")
    return (html / "index.html").relative_to(ROOT)


def each_script_once(page: str) -> str:
    """Return an HTML page whose head has each script once; Jupyter Book 1 names some twice, which then fail."""
    seen = set()

    def first(found: re.Match[str]) -> str:
        source = re.search(r'\bsrc="([^"]*)"', found[1])
        key = source[1] if source else found[0]
        again = key in seen
        seen.add(key)
        return "" if again else found[0]

    head, end, body = page.partition("</head>")
    if not end:
        return page
    return re.sub(r"<script\b([^>]*)>.*?</script>", first, head, flags=re.DOTALL) + end + body


def _copy_chapters(study: Study) -> None:
    """Bring the study's executed notebooks to ``book/chapters``; a file that is the same there is left alone."""
    target = BOOK / "chapters"
    wanted = [path.name for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]
    chapters = {name: study.folder / "chapters" / name for name in wanted}
    if absent := [name for name, path in chapters.items() if not path.exists()]:
        raise InputError(f"{study.folder / 'chapters'} lacks {', '.join(absent)}; run `{study.command}`")
    target.mkdir(exist_ok=True)
    for old in target.glob("*.ipynb"):
        if old.name not in chapters:
            old.unlink()
    for name, path in chapters.items():
        page = path.read_bytes().replace(b"](../book/_static/", b"](../_static/")  # from book/, not from notebooks/
        if not (target / name).exists() or (target / name).read_bytes() != page:
            (target / name).write_bytes(page)


def _build_page(study: Study, target: Path) -> None:
    """Put the scripts of the page "Play" where only this page loads them: from _static, every page would."""
    from ecglib.web import build_page  # torch: needed for nothing else here

    build_page(study, target)


def _mathjax_setting() -> str:
    if not (MATHJAX / MATHJAX_PARTS[0]).exists():
        return ""
    return f"\n    mathjax_path: mathjax/{MATHJAX_PARTS[0]}\n"


def vendor_mathjax() -> None:
    """Bring MathJax from npm to ``book/_static`` so that equations show offline; without npm, say so and go on."""
    if (MATHJAX / MATHJAX_PARTS[0]).exists():
        return
    cache = work_folder() / "npm"
    cache.mkdir(parents=True, exist_ok=True)
    try:
        command = ["npm", "pack", "mathjax@3", "--loglevel=error", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
        done = subprocess.run(command, cwd=cache, capture_output=True, text=True, timeout=180)
        if done.returncode or not done.stdout.strip():
            raise OSError((done.stderr.strip().splitlines() or ["npm pack gave no archive"])[0])
        with tarfile.open(cache / done.stdout.split()[-1]) as tar, atomic_folder(MATHJAX) as folder:
            _unpack_parts(tar, folder)
    except (OSError, tarfile.TarError, subprocess.TimeoutExpired) as error:
        print(f"MathJax not bundled ({error}): equations in the book need the internet (the CDN)", file=sys.stderr)
    finally:
        shutil.rmtree(cache, ignore_errors=True)


def _unpack_parts(tar: tarfile.TarFile, folder: Path) -> None:
    """Write the files named by `MATHJAX_PARTS`, or lying in a folder named there, and nothing else of the archive."""
    for member in tar:
        name = member.name.removeprefix("package/es5/")
        file = tar.extractfile(member) if {name, name.rpartition("/")[0]} & set(MATHJAX_PARTS) else None
        if file:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(file.read())
    if not (folder / MATHJAX_PARTS[0]).exists():
        raise OSError(f"npm's archive lacks {MATHJAX_PARTS[0]}")
