"""The generator in the book's page: exported to ONNX, run by the reader's browser. Imports signals and diffusion."""

from ecglib.web.build import build_page
from ecglib.web.graph import Evaluation, export_onnx
from ecglib.web.noise import CounterNoise, PageGenerator

__all__ = ["CounterNoise", "Evaluation", "PageGenerator", "build_page", "export_onnx"]
