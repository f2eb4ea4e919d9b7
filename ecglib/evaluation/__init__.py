"""Judging: metrics with n, an interval over patients, and a real-against-real floor. Imports from signals."""

from ecglib.evaluation import clinical, fidelity, rhythm
from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.measure import evaluate, interval
from ecglib.evaluation.measurements import beat_marks, delineate
from ecglib.evaluation.response import CORRUPTIONS, response_card

__all__ = [
    "CORRUPTIONS", "Comparison", "NotComputable", "beat_marks", "clinical", "delineate", "evaluate", "fidelity",
    "interval", "response_card", "rhythm",
]  # fmt: skip
