"""Readers: a folder of records as PhysioNet has it → `Cohort`."""

from ecglib.signals.readers.ludb import read_ludb
from ecglib.signals.readers.ptbxl import read_ptbxl

__all__ = ["read_ludb", "read_ptbxl"]
