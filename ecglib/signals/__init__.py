"""What an ECG is: leads, statements, cohorts, readers, virtual patients. Knows nothing of the floors above."""

from ecglib.signals.cohort import TEST_FOLD, TRAIN_FOLDS, VALIDATION_FOLD, Cohort, check_disjoint
from ecglib.signals.export import save_ptbxl_layout
from ecglib.signals.leads import LEADS_8, LEADS_12, canonical_lead, einthoven_residual, to_eight_leads, to_twelve_leads
from ecglib.signals.load import SOURCES, load_cohort
from ecglib.signals.readers import read_ludb, read_ptbxl
from ecglib.signals.statements import STATEMENTS, in_group, superclasses
from ecglib.signals.table import assign_folds

__all__ = [
    "LEADS_8",
    "LEADS_12",
    "SOURCES",
    "STATEMENTS",
    "TEST_FOLD",
    "TRAIN_FOLDS",
    "VALIDATION_FOLD",
    "Cohort",
    "assign_folds",
    "canonical_lead",
    "check_disjoint",
    "einthoven_residual",
    "in_group",
    "load_cohort",
    "read_ludb",
    "read_ptbxl",
    "save_ptbxl_layout",
    "superclasses",
    "to_eight_leads",
    "to_twelve_leads",
]
