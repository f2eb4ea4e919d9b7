"""Source shown in chapters: whole but for the docstring."""

import ast

import pytest

from ecglib.diffusion import q_sample
from ecglib.source import source_of


def test_docstring_is_left_out_and_the_rest_is_the_function():
    text = source_of(q_sample)
    assert text.startswith("def q_sample(") and '"""' not in text and "return" in text
    whole = {}
    exec(compile(ast.parse(text), "shown", "exec"), {**q_sample.__globals__}, whole)
    assert whole["q_sample"].__code__.co_code == q_sample.__code__.co_code


def test_indented_function_without_docstring():
    def inner(x):
        return x + 1  # kept

    assert source_of(inner) == "def inner(x):\n    return x + 1  # kept"


def test_no_source():
    with pytest.raises(TypeError):
        source_of(len)
