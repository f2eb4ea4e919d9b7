"""From one cohort to another: what may be compared, and what stands in for the generator where it is to be judged.

A generator that learnt from one hospital is asked for the patients of another. How far its records are from theirs has
two parts: how far the hospitals are apart, and what the generator adds. So three distances belong together: the
generator at home, the hospitals' real records, and the generator abroad; each beside its floor at equal n.
"""

from collections import Counter
from dataclasses import replace

import numpy as np

from ecglib.errors import InputError
from ecglib.evaluation.floor import first_half, match
from ecglib.signals.cohort import Cohort


def shared_statements(source: Cohort, target: Cohort, least: int = 8) -> tuple[str, ...]:
    """Return the statements that both cohorts know, in alphabetical order.

    Parameters
    ----------
    source, target : Cohort
    least : int
        Records that must carry a statement in `source`: what a generator has seen less often it cannot be blamed for.
        In `target` one is enough.
    """
    counts = [Counter(name for codes in cohort.table["scp_codes"] for name in codes) for cohort in (source, target)]
    return tuple(sorted(name for name, count in counts[0].items() if count >= least and counts[1][name]))


def described_by(cohort: Cohort, statements: tuple[str, ...]) -> Cohort:
    """Return the records that carry one of `statements`, described by these alone.

    What else a real record shows stays in its signals: nobody is asked for it, and it counts as distance between the
    cohorts.

    Raises
    ------
    InputError
        If there is no such record.
    """
    known = [{name: value for name, value in codes.items() if name in statements}
             for codes in cohort.table["scp_codes"]]  # fmt: skip
    kept = np.array([bool(codes) for codes in known])
    if not kept.any():
        raise InputError(f"none of the {len(cohort)} records of {cohort.source!r} carries one of the {len(statements)} "
                         "statements given; expected cohorts with statements in common")  # fmt: skip
    return replace(cohort, table=cohort.table.assign(scp_codes=known)).select(kept)


def halves(cohort: Cohort, seed: int = 0) -> tuple[Cohort, Cohort]:
    """Divide a cohort at random into two of (nearly) equal size that share no patient.

    Parameters
    ----------
    cohort : Cohort
        Of two patients at least.
    seed : int

    Returns
    -------
    judged, floor : Cohort
        The second is what the first one's floor is made of: other real patients of the same cohort, at equal n.

    Raises
    ------
    InputError
        If there is one patient only.
    """
    patients = cohort.table["patient_id"]
    if patients.nunique() < 2:
        raise InputError(f"cohort has {patients.nunique()} patient; two halves need two")
    first = first_half(patients.to_numpy(), np.random.default_rng(seed))
    return cohort.select(first), cohort.select(~first)


def stand_in(wanted: Cohort, offered: Cohort, seed: int = 0) -> Cohort:
    """Return for each record of `wanted` the one of `offered` with the most similar statements, sex and age.

    Parameters
    ----------
    wanted, offered : Cohort
    seed : int
        Of ties.

    Returns
    -------
    Cohort
        As many records as `wanted`, or all of `offered`; each is used once. ``source_ecg_id`` names the record that it
        stands in for.
    """
    found = match(wanted.table, offered.table, np.random.default_rng(seed))
    chosen = offered.select(found[found >= 0])
    partner = wanted.table["ecg_id"].to_numpy()[found >= 0]
    return replace(chosen, table=chosen.table.assign(source_ecg_id=partner))
