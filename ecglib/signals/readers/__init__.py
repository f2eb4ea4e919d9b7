"""Readers: a folder of records as PhysioNet has it → `Cohort`."""

from ecglib.signals.readers.challenge import read_challenge
from ecglib.signals.readers.folder import read_folder
from ecglib.signals.readers.ludb import read_ludb
from ecglib.signals.readers.mimic import read_mimic
from ecglib.signals.readers.ptbxl import read_ptbxl

__all__ = ["read_challenge", "read_folder", "read_ludb", "read_mimic", "read_ptbxl"]
