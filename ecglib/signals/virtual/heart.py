r"""The moving heart vector and its twelve-lead shadow.

Each beat is a sum of K Gaussian components, each a short push of the heart vector in one direction,

.. math:: v(t) = \sum_b \sum_{k=1}^{K} m_k \, g\!\left(\frac{t - c_{bk}}{s_{bk}}\right), \quad g(u) = e^{-u^2/2},

with m_k in mV, x to the left, y to the foot, z to the back. A lead field D projects it on the eight independent
leads, and a small residue R that no dipole explains is added in the chest leads:

.. math:: x(t) = (D M + R) \, G(t), \qquad M = (m_1 … m_K), \quad G_k(t) = \sum_b g\bigl((t - c_{bk})/s_{bk}\bigr).

With R = 0 the leads would be of rank 3. M is the pattern of the beat (narrow, a block, from the ventricle), varied from
patient to patient, turned to the patient's axis, plus what the statements change.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

from ecglib.signals.leads import to_twelve_leads
from ecglib.signals.virtual.changes import (
    COMPONENTS,
    EARLY,
    INDEX,
    NOTCHES,
    PATTERNS,
    QRS,
    SOURCES,
    ST_T,
    P,
    added,
    demands,
    factor,
    limits,
)
from ecglib.signals.virtual.coefficients import VALUE, folded
from ecglib.signals.virtual.patients import ANATOMY, Patient, stream
from ecglib.signals.virtual.torso import (
    ATRIA,
    RESIDUE,
    axis_of,
    lead_field,
    own_lead_field,
    rotation,
    turn_between,
    with_axis,
)

K = len(COMPONENTS)
U = np.linspace(0, 1, 101)  # along a wave
BREATH = rotation(VALUE["breathing_turn_deg"], 2) @ rotation(VALUE["breathing_turn_deg"], 1)
BLOCKS = ("CLBBB", "CRBBB", "WPW", "ILBBB", "IRBBB")  # the first of a record's statements sets the pattern


@dataclass(frozen=True)
class Shape:
    """One kind of beat in one patient.

    Parameters
    ----------
    amplitudes : float64 (8, K)
        What each component gives in the leads I, aVF, V1–V6, in mV: D M + R.
    breathing : float64 (8, K)
        What is added at the height of a breath, in mV.
    centre, width : float64 (K,)
        Place and width of each component, in shares of its wave's length.
    p_peak, r, t_peak : float
        Where the root mean square over the leads is largest, in shares of P, of QRS, and of J point to T end: the
        moments called P peak, R and T peak.
    qrs_ms : float
        How long QRS lasts in beats from a ventricle; NaN: as in the record's intervals.
    """

    amplitudes: np.ndarray
    breathing: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    p_peak: float
    r: float
    t_peak: float
    qrs_ms: float = np.nan

    @property
    def axis(self) -> float:
        """Frontal QRS axis in degrees, from the net areas of QRS in I and aVF."""
        return float(axis_of(self.amplitudes[:2, QRS] @ self.width[QRS]))


@dataclass(frozen=True)
class Anatomy:
    """A patient's build: standard normal numbers, the same in every record, whatever the statements.

    size, place, width (K,), push (3, K), residue (8, K): of the components; electrodes (3, 8); body (7,): torso gain,
    axis, tilt, swing, gain of P, of T, severity; focus (3,): where ectopic beats come from; side (0 to 1).
    """

    size: np.ndarray
    place: np.ndarray
    width: np.ndarray
    push: np.ndarray
    residue: np.ndarray
    electrodes: np.ndarray
    body: np.ndarray
    focus: np.ndarray
    side: float


def draw_anatomy(seed: int, patient: Patient) -> Anatomy:
    """Draw a patient's build from the stream of (seed, patient)."""
    rng = stream(seed, patient.patient_id, ANATOMY)
    z = rng.standard_normal((3 + 3 + 8, K))
    return Anatomy(z[0].clip(-2, 2), z[1].clip(-2, 2), z[2].clip(-2, 2), z[3:6], z[6:],
                   rng.standard_normal((3, 8)), rng.standard_normal(7).clip(-2.2, 2.2), rng.standard_normal(3),
                   rng.random())  # fmt: skip


def conducted(anatomy: Anatomy, patient: Patient, codes: Collection[str], age: float) -> Shape:
    """Return the shape of beats that come from above: pattern, variation, axis, changes, gain, residue, voltage limits.

    Parameters
    ----------
    anatomy : Anatomy
    patient : Patient
    codes : collection of str
        The record's statements.
    age : float
        In years.
    """
    block = next((name for name in BLOCKS if name in codes), "narrow")
    if block == "WPW":
        block = "WPW left" if anatomy.side < 0.5 else "WPW right"
    field = own_lead_field(*anatomy.electrodes)
    centre, width, vectors = _varied(PATTERNS[block], anatomy)
    vectors = _turned(vectors, width, field, anatomy, patient, age)
    change = added(codes) * np.exp(VALUE["severity_sd"] * anatomy.body[6])
    if block == "CLBBB":
        change *= VALUE["change_in_lbbb"]  # a blocked left bundle hides scars and thick walls
    vectors = (vectors * factor(codes) + change) * _gain(anatomy, patient, age)
    vectors = _within_axis(vectors, width, field, codes)
    amplitudes = _within_voltage(_saturated(_leads(vectors, anatomy, field), centre, width), centre, width, codes)
    return _shape(amplitudes, vectors, field, centre, width)


def ectopic(name: str, anatomy: Anatomy, patient: Patient, age: float) -> Shape:
    """Return the shape of beats of the pattern `name`, turned to this patient's focus: no statement changes them."""
    centre, width, vectors = _varied(PATTERNS[name], anatomy)
    spread = VALUE["wire_sd_deg" if name == "paced" else "focus_sd_deg"]
    turn = rotation(spread * anatomy.focus[0], 2) @ rotation(spread * anatomy.focus[1], 1)
    vectors = (turn @ vectors) * _gain(anatomy, patient, age)
    field = own_lead_field(*anatomy.electrodes)
    shape = _shape(_saturated(_leads(vectors, anatomy, field), centre, width), vectors, field, centre, width)
    usual = VALUE["paced_qrs_ms" if name == "paced" else "pvc_qrs_ms"]
    return replace(shape, qrs_ms=usual + VALUE["wide_qrs_sd_ms"] * anatomy.focus[2])


def atrial_ectopic(shape: Shape, anatomy: Anatomy, patient: Patient, age: float) -> Shape:
    """Return `shape` with another P wave: the same ventricles, excited from another corner of the atria."""
    other = ectopic("atrial ectopic", anatomy, patient, age)
    mixed = {name: getattr(shape, name).copy() for name in ("amplitudes", "breathing", "centre", "width")}
    for name, values in mixed.items():
        values[..., P] = getattr(other, name)[..., P]
    return replace(shape, **mixed, p_peak=other.p_peak)


def draw_shapes(seed: int, patient: Patient, codes: Collection[str], age: float, kinds: Collection[str]
                ) -> tuple[list[Shape], dict[str, int]]:  # fmt: skip
    """Return the shapes that a record's kinds of beats need, and each kind's place among them."""
    anatomy = draw_anatomy(seed, patient)
    shapes, place = [conducted(anatomy, patient, codes, age)], dict.fromkeys(kinds, 0)
    from_ventricle = "PVC left" if anatomy.side < 0.4 else "PVC right"
    others = {"V": from_ventricle, "paced": "paced"}
    if anatomy.focus[2] < 0:  # half of the escape rhythms come from below the bundle branches
        others["escape"] = from_ventricle
    for kind, name in others.items():
        if kind in kinds:
            place[kind] = len(shapes)
            shapes.append(ectopic(name, anatomy, patient, age))
    if "A" in kinds:
        place["A"] = len(shapes)
        shapes.append(atrial_ectopic(shapes[0], anatomy, patient, age))
    return shapes, place


def quivering(seed: int, patient: Patient, rhythm: str) -> np.ndarray:
    """Return (8, 2), mV: what the two sources of fibrillating (AFIB) or fluttering (AFLT) atria give in the leads."""
    anatomy = draw_anatomy(seed, patient)
    sources = np.stack([SOURCES[rhythm, "f1"], SOURCES[rhythm, "f2"]], axis=1)
    size = np.exp(VALUE["p_gain_sd"] * anatomy.body[4])
    return size * ATRIA * (lead_field() @ rotation(12 * anatomy.focus[2], 2) @ sources)


def _varied(pattern: np.ndarray, anatomy: Anatomy) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centre (K,), width (K,) and vectors (3, K) of a pattern as this patient has it, notches included."""
    centre = pattern[:, 0] + VALUE["place_sd"] * anatomy.place
    width = pattern[:, 1] * np.exp(VALUE["width_sd"] * anatomy.width)
    centre[NOTCHES] = 0.5 + 0.17 * anatomy.place[NOTCHES]
    vectors, spread = pattern[:, 2:].T, np.full(K, VALUE["shape_sd"])
    spread[P] *= VALUE["p_shape"]
    length = np.linalg.norm(vectors, axis=0)
    vectors = vectors * np.exp(spread * anatomy.size) + 0.7 * spread * length * anatomy.push
    vectors[:, NOTCHES] = VALUE["notch_mv"] * anatomy.push[:, NOTCHES]
    return centre, width, vectors


def _turned(vectors: np.ndarray, width: np.ndarray, field: np.ndarray, anatomy: Anatomy, patient: Patient, age: float
            ) -> np.ndarray:  # fmt: skip
    """Turn the heart to the patient's frontal axis, and a little in the other planes; late QRS, P and T turn less."""
    wanted = VALUE["axis_deg"] + VALUE["axis_female"] * patient.sex + VALUE["axis_age"] * (age - 50)
    wanted = folded(wanted + VALUE["axis_sd_deg"] * anatomy.body[1], -35, 88)
    tilt, swing = VALUE["turn_sd_deg"] * anatomy.body[2:4]
    early = rotation(tilt, 0) @ rotation(swing, 1) @ vectors[:, EARLY]
    net = early @ width[EARLY]
    frontal = (turn_between(net, with_axis(net, wanted, field)) + 180) % 360 - 180
    share = VALUE["t_follows_axis"]
    atria = rotation(VALUE["p_follows_axis"] * frontal, 2) @ vectors[:, P]
    turned = rotation(share * frontal, 2) @ rotation(share * tilt, 0) @ rotation(share * swing, 1) @ vectors
    turned[:, EARLY], turned[:, P] = rotation(frontal, 2) @ early, atria
    return turned


def _within_axis(vectors: np.ndarray, width: np.ndarray, field: np.ndarray, codes: Collection[str]) -> np.ndarray:
    """Turn QRS so that its axis lies where the statements want it; most already do.

    A little is pushed on R where a turn alone does not suffice, because the frontal leads see front and back too.
    """
    net = vectors[:, QRS] @ width[QRS]
    is_now = float(axis_of(field[:2] @ net))
    _, least, most = limits(codes, "axis")
    wanted = folded(is_now, least + 1, most - 1)
    if wanted != is_now:
        aim = with_axis(net, wanted, field)
        vectors[:, QRS] = rotation(turn_between(net, aim), 2) @ vectors[:, QRS]
        vectors[:, INDEX["R"]] += (aim - vectors[:, QRS] @ width[QRS]) / width[INDEX["R"]]
    return vectors


def _gain(anatomy: Anatomy, patient: Patient, age: float) -> np.ndarray:
    """Return what each component is multiplied by: torso, sex and age; P and T vary on their own too."""
    body, years = anatomy.body, age - 50
    torso = VALUE["gain_sd"] * min(body[0], 1.6) + VALUE["gain_female"] * patient.sex + VALUE["gain_age"] * years
    log = np.full(K, torso)
    log[P] += VALUE["p_gain_sd"] * body[4]
    log[ST_T] += VALUE["t_age"] * years + VALUE["t_gain_sd"] * body[5]
    log[[INDEX["L"], INDEX["S"]]] += VALUE["young_chest"] * max(45 - age, 0)
    return np.exp(log)


def _leads(vectors: np.ndarray, anatomy: Anatomy, field: np.ndarray) -> np.ndarray:
    """Return D M + R (8, K), mV. R is what chest leads see beyond the dipole; neighbours V1–V6 see much the same."""
    raw = anatomy.residue.copy()
    raw[:, ST_T] = raw[:, ST_T.start, None]  # one wave, one residue
    raw[:, P] *= VALUE["p_shape"]
    raw[:, INDEX["K"]] *= VALUE["late_residue"]
    smooth = RESIDUE * ((raw[:-2] + 3 * raw[1:-1] + raw[2:]) / np.sqrt(11)).clip(-2, 2)
    amplitudes = field @ vectors
    amplitudes[2:] += VALUE["residue_sd"] * np.linalg.norm(vectors, axis=0) * smooth
    amplitudes[:, P] *= ATRIA
    return amplitudes


def _saturated(amplitudes: np.ndarray, centre: np.ndarray, width: np.ndarray) -> np.ndarray:
    peak = np.abs(wave(amplitudes, centre, width, QRS)).max()
    return amplitudes * (VALUE["saturation_mv"] / peak * np.tanh(peak / VALUE["saturation_mv"]))


def _within_voltage(amplitudes: np.ndarray, centre: np.ndarray, width: np.ndarray, codes: Collection[str]
                    ) -> np.ndarray:  # fmt: skip
    """Scale QRS so that limb leads are neither too low nor, with LVOLT, too high, and that LVH has its voltage."""
    qrs = to_twelve_leads(wave(amplitudes, centre, width, QRS))
    limb = float(np.ptp(qrs[:6], axis=1).max())
    scale = folded(limb, *limits(codes, "limb")[1:]) / limb
    if demands(codes, "sokolow") and not demands(codes, "limb") and "CLBBB" not in codes:
        sokolow = scale * float(qrs[10:].max() - qrs[6].min())
        scale *= min(folded(sokolow, *limits(codes, "sokolow")[1:]) / sokolow, 1.7)
    if scale != 1:
        amplitudes = amplitudes.copy()
        amplitudes[:, QRS] *= scale
        amplitudes[:, ST_T] *= np.sqrt(scale)
    return amplitudes


def _shape(amplitudes: np.ndarray, vectors: np.ndarray, field: np.ndarray, centre: np.ndarray, width: np.ndarray
           ) -> Shape:  # fmt: skip
    breathing = VALUE["breathing_gain"] * amplitudes + field @ (BREATH - np.eye(3)) @ vectors
    peaks = (_largest(wave(amplitudes, centre, width, waves)) for waves in (P, QRS, ST_T))
    return Shape(amplitudes, breathing, centre, width, *peaks)


def wave(amplitudes: np.ndarray, centre: np.ndarray, width: np.ndarray, waves: slice) -> np.ndarray:
    """Return one wave (8, 101) from its on (0) to its off (1), in mV."""
    return amplitudes[:, waves] @ np.exp(-0.5 * ((U - centre[waves, None]) / width[waves, None]) ** 2)


def _largest(x: np.ndarray) -> float:
    """Return where (0 to 1) the root mean square over the leads is largest."""
    return float(np.argmax(np.sum(x**2, axis=0)) / (x.shape[1] - 1))
