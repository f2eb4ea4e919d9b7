r"""What else the released records tell about a patient whose ECG somebody holds: attributes, and identity.

An ECG shows sex, age and disease to some degree whoever it is from. So an attack counts only by what it finds *more*
of patients who were trained on than of patients who were not: the same attack on those is its control.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from ecglib.evaluation.comparison import Comparison, NotComputable
from ecglib.evaluation.privacy.neighbours import one_each
from ecglib.evaluation.privacy.scores import LEAST_PATIENTS
from ecglib.evaluation.privacy.spaces import BEATS, Space, bound, evenly, nearest, note_lost
from ecglib.signals.statements import superclasses

AGE_YEARS = 5.0
SECRETS = ("sex", "age", "superclasses")


def attribute_inference(c: Comparison, *, space: Space = BEATS) -> dict[str, float]:
    r"""Attribute inference: what the nearest synthetic record is labelled with, guessed of a patient (gain 0 best).

    .. math:: \text{gain} = P(\text{guess right} \mid \text{member}) - P(\text{guess right} \mid \text{other})

    Parameters
    ----------
    c : Comparison
        ``train`` are members, ``real`` patients that the generator never saw: the control attack. One record a patient.
    space : Space

    Returns
    -------
    dict
        The gain for ``sex``, ``age`` (within 5 years) and ``superclasses`` (the whole set), and of each the ``control``
        attack's success. Patients of unknown sex or age are left out of it.

    Raises
    ------
    NotComputable
        If a side has fewer than eight patients with a typical beat, or no attribute is known on both sides.

    Notes
    -----
    Source: the control attack is that of Giomi et al., A unified framework for quantifying privacy risk in synthetic
    data (Anonymeter), 2023; here the gain is a plain difference. Equation: attribute-gain.
    """
    note_lost(c, space)
    terms = c.once(bound(_right, space))
    values: dict[str, float] = {}
    for k, secret in enumerate(SECRETS):
        members, others = (terms[role][np.isfinite(terms[role][:, k]), k] for role in ("train", "real"))
        if min(len(members), len(others)) < (LEAST_PATIENTS if c.whole else 1):
            continue
        key = f"{secret} {space.name}"
        values |= {key: float(members.mean() - others.mean()), f"control {key}": float(others.mean())}
        c.note(n={name: min(len(members), len(others)) for name in (key, f"control {key}")})
    if not values:
        raise NotComputable(f"it needs an attribute that is known of at least {LEAST_PATIENTS} patients on each side")
    return values


def linkage(c: Comparison, *, space: Space = BEATS) -> dict[str, float]:
    """Re-identification: is the patient whose conditions a record was asked with the nearest of all patients? (gap 0)

    A synthetic record that was asked for with a patient's conditions resembles that patient somewhat, trained on or
    not. So half of the requests should come from members and half from others; the gap is what training adds.

    Parameters
    ----------
    c : Comparison
        ``synthetic.table["source_ecg_id"]`` names the record in ``train`` or in ``real`` whose conditions were asked.
        The gallery of each side is one record of each of equally many patients, those that were asked for among them.
    space : Space

    Returns
    -------
    dict
        ``gap``, rank-1 share of members less others'; ``rank1 train``, ``rank1 real``; and ``rank1 twice``: how often
        a real patient's second record finds that patient's first one in the same gallery, which shows that a heart is
        recognised at all (absent where fewer than eight patients have two records).

    Raises
    ------
    NotComputable
        If fewer than eight synthetic records have their source on either side.

    Notes
    -----
    Source: an ECG identifies its owner, Biel et al., ECG analysis: a new approach in human identification, 2001. The
    gap is this project's. Equation: linkage-gap.
    """
    note_lost(c, space)
    terms = c.once(bound(_linked, space))
    linked = terms["synthetic"]
    rates = {}
    for k, role in enumerate(("train", "real")):
        found = linked[np.isfinite(linked[:, k]), k]
        if len(found) < (LEAST_PATIENTS if c.whole else 1):
            raise NotComputable(f"it needs at least {LEAST_PATIENTS} synthetic records that were asked for with the "
                                f"conditions of {role}, and there are {len(found)}")  # fmt: skip
        rates[role] = float(found.mean())
        c.note(n={f"rank1 {role} {space.name}": len(found)})
    values = {f"gap {space.name}": rates["train"] - rates["real"]}
    values |= {f"rank1 {role} {space.name}": rate for role, rate in rates.items()}
    twice = np.concatenate([terms[role][np.isfinite(terms[role])] for role in ("train", "real")])
    if len(twice) >= (LEAST_PATIENTS if c.whole else 1):
        values[f"rank1 twice {space.name}"] = float(twice.mean())
        c.note(n={f"rank1 twice {space.name}": len(twice)})
    return values


attribute_inference.interval = linkage.interval = "subsample"  # type: ignore[attr-defined]


def _right(c: Comparison, space: Space) -> dict[str, np.ndarray]:
    """Return of one record a patient whether each of `SECRETS` is guessed right: 1, 0, or NaN if it is unknown."""
    released, result, places = c.table("synthetic"), {}, c.terms("synthetic", space.of)
    if (n := int(np.isfinite(places).all(axis=1).sum())) < (LEAST_PATIENTS if c.whole else 1):
        raise NotComputable(f"{n} synthetic records have a place in the space {space.name}; {LEAST_PATIENTS} needed")
    told = [superclasses(codes) for codes in released["scp_codes"]]
    for role in ("train", "real"):
        x, table = c.terms(role, space.of), c.table(role)
        rows = one_each(c, role, np.isfinite(x).all(axis=1))
        near = nearest(x[rows], places)[1][:, 0]
        guess, truth = released.iloc[near], table.iloc[rows]
        sex, age = (np.abs(guess[name].to_numpy(float) - truth[name].to_numpy(float)) for name in ("sex", "age"))
        same = [told[k] == superclasses(codes) for k, codes in zip(near, truth["scp_codes"], strict=True)]
        right = [np.where(np.isnan(sex), np.nan, sex == 0), np.where(np.isnan(age), np.nan, age <= AGE_YEARS),
                 np.array(same, np.float64)]  # fmt: skip
        result[role] = np.full((len(x), len(SECRETS)), np.nan)
        result[role][rows] = np.stack(right, axis=1)
    return result


def _linked(c: Comparison, space: Space) -> dict[str, np.ndarray]:
    """Return of each synthetic record whether its source's patient is nearest, (n, 2): in train, in real; else NaN.

    Of a patient's second record: whether the first one is nearest; NaN of all other records.
    """
    if "source_ecg_id" not in c.table("synthetic"):
        raise NotComputable("synthetic.table has no column source_ecg_id, which says whose conditions were asked for")
    source, s = c.table("synthetic")["source_ecg_id"], c.terms("synthetic", space.of)
    places = {role: c.terms(role, space.of) for role in ("train", "real")}
    galleries = {role: one_each(c, role, np.isfinite(x).all(axis=1)) for role, x in places.items()}
    n = min(map(len, galleries.values()))
    result: dict[str, np.ndarray] = {"synthetic": np.full((len(s), 2), np.nan)}
    for k, role in enumerate(("train", "real")):
        table, x = c.table(role), places[role]
        patient = source.map(pd.Series(table["patient_id"].to_numpy(), table["ecg_id"]))  # of the source; NaN: not here
        of_gallery = table["patient_id"].to_numpy()[galleries[role]]
        asked = np.isin(of_gallery, patient.dropna().unique())
        wanted, others = np.flatnonzero(asked), np.flatnonzero(~asked)
        wanted = wanted[evenly(len(wanted), min(n, len(wanted)))]
        kept = np.sort(np.concatenate([wanted, others[: n - len(wanted)]]))
        gallery, names = galleries[role][kept], of_gallery[kept]
        probes = np.flatnonzero(patient.isin(names).to_numpy() & np.isfinite(s).all(axis=1))
        result["synthetic"][probes, k] = names[nearest(s[probes], x[gallery])[1][:, 0]] == patient.to_numpy()[probes]
        second = np.setdiff1d(np.flatnonzero(np.isin(table["patient_id"], names) & np.isfinite(x).all(axis=1)), gallery)
        result[role] = np.full(len(x), np.nan)
        if len(second):
            found = names[nearest(x[second], x[gallery])[1][:, 0]]
            result[role][second] = found == table["patient_id"].to_numpy()[second]
    return result
