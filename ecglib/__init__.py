"""ecglib: a reproducible companion to MIDT-ECG, conditional diffusion models of the 12-lead ECG.

Three floors, each of which imports only from those below it:

- :mod:`ecglib.signals`     what an ECG is: leads, cohorts, readers, virtual patients
- :mod:`ecglib.diffusion`   the generator: process, network, mel loss, conditions, training, sampling
- :mod:`ecglib.evaluation`  judging: metrics with n, interval and a real-against-real floor
"""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Cohort", "Config", "__version__"]


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `python3 -m ecglib check` answers before anything is installed.
    if name == "Config":
        from ecglib.config import Config

        return Config
    if name == "Cohort":
        from ecglib.signals.cohort import Cohort

        return Cohort
    raise AttributeError(f"module 'ecglib' has no attribute {name!r}")
