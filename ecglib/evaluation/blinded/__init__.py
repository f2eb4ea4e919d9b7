"""A blinded reading: can physicians tell synthetic ECGs from real ones? The kit, its key, and the analysis."""

from ecglib.evaluation.blinded.analysis import analyse, unblind
from ecglib.evaluation.blinded.forms import Key, read_forms, read_key, write_form
from ecglib.evaluation.blinded.kit import printed_sheet, reading_page, write_kit
from ecglib.evaluation.blinded.leaks import hunt, page_features, pdf_features
from ecglib.evaluation.blinded.plan import draw_plan, new_secret
from ecglib.evaluation.blinded.simulated import SimulatedReader
from ecglib.evaluation.blinded.statistics import (
    agreement,
    confidence_auc,
    criterion,
    d_prime,
    equivalence_p,
    equivalence_power,
    over_readers,
    power,
    share,
)  # fmt: skip

__all__ = [
    "Key", "SimulatedReader", "agreement", "analyse", "confidence_auc", "criterion", "d_prime", "draw_plan",
    "equivalence_p", "equivalence_power", "hunt", "new_secret", "over_readers", "page_features", "pdf_features",
    "power", "printed_sheet", "read_forms", "read_key", "reading_page", "share", "unblind", "write_form", "write_kit",
]  # fmt: skip
