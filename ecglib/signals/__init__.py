"""What an ECG is: leads, statements, cohorts, readers, virtual patients. Knows nothing of the floors above."""

from ecglib.signals.cohort import TEST_FOLD, TRAIN_FOLDS, VALIDATION_FOLD, Cohort, check_disjoint
from ecglib.signals.export import save_ptbxl_layout
from ecglib.signals.formats import load_npz, load_parquet, save_npz, save_parquet
from ecglib.signals.join import join
from ecglib.signals.leads import LEADS_8, LEADS_12, canonical_lead, einthoven_residual, to_eight_leads, to_twelve_leads
from ecglib.signals.load import SOURCES, load_cohort
from ecglib.signals.readers import read_challenge, read_folder, read_ludb, read_mimic, read_ptbxl
from ecglib.signals.statements import STATEMENTS, in_group, labels_of, superclasses
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
    "join",
    "labels_of",
    "load_cohort",
    "load_npz",
    "load_parquet",
    "read_challenge",
    "read_folder",
    "read_ludb",
    "read_mimic",
    "read_ptbxl",
    "save_npz",
    "save_parquet",
    "save_ptbxl_layout",
    "superclasses",
    "to_eight_leads",
    "to_twelve_leads",
]
