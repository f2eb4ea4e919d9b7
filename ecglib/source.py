"""A function's own lines, for chapters to show: what is printed there is what runs."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable
from typing import Any


def source_of(function: Callable[..., Any]) -> str:
    """Return the source of a function without its docstring, not indented.

    Parameters
    ----------
    function : function or class

    Raises
    ------
    TypeError
        If it has no Python source.
    """
    text = textwrap.dedent(inspect.getsource(function))
    node: Any = ast.parse(text).body[0]
    lines = text.splitlines()
    if ast.get_docstring(node) is not None and len(node.body) > 1:
        first = node.body[0]
        del lines[first.lineno - 1 : first.end_lineno]
    return "\n".join(lines)
