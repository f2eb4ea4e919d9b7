r"""The moving heart vector and its twelve-lead shadow.

Each beat is a sum of K Gaussian components, each a short push of the heart vector in one direction,

.. math:: v(t) = \sum_b \sum_{k=1}^{K} m_k \, g\!\left(\frac{t - c_{bk}}{s_{bk}}\right), \quad g(u) = e^{-u^2/2},

with m_k in mV, x to the left, y to the foot, z to the back. A lead field D projects it on the eight independent
leads, and a small residue R that no dipole explains is added in the chest leads:

.. math:: x(t) = (D M + R) \, G(t), \qquad M = (m_1 … m_K), \quad G_k(t) = \sum_b g\bigl((t - c_{bk})/s_{bk}\bigr).

With R = 0 the leads would be of rank 3.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ecglib.signals.virtual.coefficients import VALUE
from ecglib.signals.virtual.patients import ANATOMY, Patient, stream

# x, y, z (mV in a lead per mV of Frank's X, Y, Z). Source: Dower, J Electrocardiol 1:101, 1968, with the coefficients
# that are quoted since Edenbrandt & Pahlm, J Electrocardiol 21:361, 1988 (read in public code that quotes them).
DOWER = {
    "I": (0.632, -0.235, 0.059),
    "II": (0.235, 1.066, -0.132),
    "V1": (-0.515, 0.157, -0.917),
    "V2": (0.044, 0.164, -1.387),
    "V3": (0.882, 0.098, -1.277),
    "V4": (1.213, 0.127, -0.601),
    "V5": (1.125, 0.127, -0.086),
    "V6": (0.831, 0.076, 0.230),
}

COMPONENTS = ("P1", "P2", "Q", "R", "L", "S", "K", "ST", "T1", "T2")
P, QRS, ST_T = slice(0, 2), slice(2, 7), slice(7, 10)
EARLY = slice(2, 6)  # Q, R, L, S: what turns with the frontal axis

# Centre and width (one standard deviation) in shares of the wave's length (P; QRS; J point to T end), then x, y, z
# in mV. All are assumptions, drawn by hand after textbook loops (right then left atrium; septum, apex, lateral wall,
# base, late activation K; ST, and T in two components, because its rise is slower than its fall) and then set beside
# the mean loop and the amplitudes of LUDB's 37 normal records: LUDB is no independent judge of the narrow pattern.
_ATRIA = {"P1": (0.36, 0.18, 0.032, 0.078, -0.044), "P2": (0.64, 0.18, 0.066, 0.052, 0.034)}
PATTERNS: dict[str, dict[str, tuple[float, ...]]] = {
    "narrow": {
        **_ATRIA,
        "Q": (0.21, 0.075, -0.12, -0.06, -0.30),
        "R": (0.43, 0.088, 1.12, 0.82, 0.12),
        "L": (0.57, 0.080, 0.30, 0.48, 0.98),
        "S": (0.76, 0.075, -0.20, -0.04, 0.36),
        "K": (0.90, 0.060, 0.00, 0.00, 0.00),
        "ST": (0.22, 0.130, 0.03, 0.01, -0.07),
        "T1": (0.54, 0.140, 0.12, 0.04, -0.13),
        "T2": (0.75, 0.118, 0.31, 0.18, -0.15),
    },
    "CRBBB": {
        **_ATRIA,
        "Q": (0.13, 0.048, -0.12, -0.06, -0.28),
        "R": (0.28, 0.060, 0.95, 0.72, 0.00),
        "L": (0.40, 0.060, 0.30, 0.30, 0.42),
        "S": (0.53, 0.060, -0.18, 0.00, 0.05),
        "K": (0.73, 0.105, -0.50, 0.06, -0.62),
        "ST": (0.22, 0.130, 0.02, 0.00, 0.05),
        "T1": (0.58, 0.140, 0.14, 0.06, 0.04),
        "T2": (0.77, 0.115, 0.31, 0.14, 0.14),
    },
    "CLBBB": {
        **_ATRIA,
        "Q": (0.17, 0.065, 0.15, 0.18, -0.10),
        "R": (0.32, 0.085, 0.76, 0.36, 0.50),
        "L": (0.51, 0.105, 0.64, 0.22, 0.90),
        "S": (0.69, 0.085, 0.64, 0.08, 0.62),
        "K": (0.86, 0.055, 0.10, 0.00, 0.15),
        "ST": (0.18, 0.140, -0.09, -0.02, -0.13),
        "T1": (0.55, 0.150, -0.14, -0.05, -0.20),
        "T2": (0.76, 0.120, -0.26, -0.04, -0.30),
    },
}
# What a statement adds to the pattern, in mV (assumptions). LVH: more and later force to the left and back, strain.
# IMI: the inferior wall gives none of its early downward force, and repolarises away from the scar.
CHANGES: dict[str, dict[str, tuple[float, float, float]]] = {
    "LVH": {
        "R": (0.65, 0.08, 0.20),
        "L": (0.65, -0.05, 0.95),
        "ST": (-0.12, -0.03, -0.03),
        "T1": (-0.20, -0.07, -0.02),
        "T2": (-0.52, -0.20, -0.08),
    },
    "IMI": {
        "Q": (0.05, -0.46, 0.02),
        "R": (0.00, -0.26, 0.00),
        "ST": (0.00, 0.02, 0.00),
        "T1": (0.00, -0.11, 0.03),
        "T2": (0.02, -0.33, 0.04),
    },
}


@dataclass(frozen=True)
class Heart:
    """One patient's ventricles, atria and torso.

    Parameters
    ----------
    amplitudes : float64 (8, K)
        What each component gives in the leads I, aVF, V1–V6, in mV: D M + R.
    centre, width : float64 (K,)
        Place and width of each component, in shares of its wave's length.
    axis : float
        Frontal QRS axis in degrees, from the net areas of QRS in I and aVF.
    p_peak, r, t_peak : float
        Where the root mean square over the leads is largest, in shares of P, of QRS, and of J point to T end: the
        moments called P peak, R and T peak.
    f_waves : float64 (8, 2)
        What two fibrillating atrial sources give in the leads, in mV.
    """

    amplitudes: np.ndarray
    centre: np.ndarray
    width: np.ndarray
    axis: float
    p_peak: float
    r: float
    t_peak: float
    f_waves: np.ndarray


@lru_cache(maxsize=1)
def lead_field() -> np.ndarray:
    """Return Dower's (8, 3) lead field of the leads I, aVF, V1–V6, with aVF = II − I/2."""
    i, ii, *chest = (np.array(row) for row in DOWER.values())
    return np.stack([i, ii - i / 2, *chest])


def rotation(degrees: float, axis: int) -> np.ndarray:
    """Return the (3, 3) rotation about one of the axes x (0), y (1), z (2); about z, positive turns left to foot."""
    a, (i, j) = np.radians(degrees), [k for k in range(3) if k != axis]
    turn = np.eye(3)
    turn[i, i] = turn[j, j] = np.cos(a)
    turn[i, j], turn[j, i] = -np.sin(a), np.sin(a)
    return turn


def frontal_axis(amplitudes: np.ndarray, width: np.ndarray) -> float:
    """Return the frontal QRS axis in degrees (−180 to 180, 0 left, 90 foot) of (8, K) amplitudes.

    Source: net area of QRS in I and aVF; aVF is longer by 2/√3 because an augmented lead is shorter than a limb lead.
    """
    return float(_degrees(amplitudes[:2, QRS] @ width[QRS]))


def _degrees(areas: np.ndarray) -> np.ndarray:
    return np.degrees(np.arctan2(2 / np.sqrt(3) * areas[1], areas[0]))


def draw_heart(seed: int, patient: Patient) -> Heart:
    """Draw a patient's heart from the stream of (seed, patient): pattern, changes, turn, gain, shape and residue."""
    rng = stream(seed, patient.patient_id, ANATOMY)
    pattern = next((name for name in ("CRBBB", "CLBBB") if name in patient.diagnoses), "narrow")
    table = np.array([PATTERNS[pattern][name] for name in COMPONENTS])
    centre, width, vectors = table[:, 0], table[:, 1], table[:, 2:].T.copy()  # vectors: (3, K)
    if "LVH" in patient.diagnoses:
        vectors += _change("LVH")
    length = np.linalg.norm(vectors, axis=0)
    vectors *= np.exp(VALUE["shape_sd"] * np.clip(rng.standard_normal(len(COMPONENTS)), -2, 2))
    vectors += 0.7 * VALUE["shape_sd"] * length * rng.standard_normal(vectors.shape)
    vectors = _turn(rng, vectors, width, patient)
    if "IMI" in patient.diagnoses:
        vectors += _change("IMI") * np.exp(0.2 * rng.standard_normal())
    vectors *= _gain(rng, patient)
    amplitudes = lead_field() @ vectors
    amplitudes[2:] += _residue(rng, np.linalg.norm(vectors, axis=0))
    peak = largest(amplitudes, centre, width, QRS)[1]
    amplitudes *= VALUE["saturation_mv"] / peak * np.tanh(peak / VALUE["saturation_mv"])
    size = np.exp(0.25 * rng.standard_normal())
    sources = np.array([[-0.025, 0.025, -0.055], [0.012, 0.035, 0.0]]).T  # assumption: seen best in V1, then inferiorly
    near = np.array([1, 1, 1.3, 0.8, 0.6, 0.5, 0.5, 0.5])[:, None]  # assumption: V1 lies over the right atrium
    fibrillation = size * near * (lead_field() @ rotation(15 * rng.standard_normal(), 2) @ sources)
    p_peak, r, t_peak = (largest(amplitudes, centre, width, waves)[0] for waves in (P, QRS, ST_T))
    axis = frontal_axis(amplitudes, width)
    return Heart(amplitudes, centre, width, axis, p_peak, r, t_peak, fibrillation)


def _change(statement: str) -> np.ndarray:
    return np.array([CHANGES[statement].get(name, (0.0, 0.0, 0.0)) for name in COMPONENTS]).T


def _turn(rng: np.random.Generator, vectors: np.ndarray, width: np.ndarray, patient: Patient) -> np.ndarray:
    """Turn the heart to the patient's frontal axis, and a little in the other planes; late QRS, P and T turn less."""
    wanted = VALUE["axis_deg"] + VALUE["axis_age"] * (patient.age - 50) + VALUE["axis_sd_deg"] * rng.standard_normal()
    if "IMI" in patient.diagnoses:
        wanted = max(wanted, 30.0)  # the scar itself takes the axis up
    wanted = float(np.clip(wanted, -25, 60 if "CLBBB" in patient.diagnoses else 88))
    tilt, swing = VALUE["turn_sd_deg"] * np.clip(rng.standard_normal(2), -2, 2)
    early = rotation(tilt, 0) @ rotation(swing, 1) @ vectors[:, EARLY]
    frontal = _turn_to(early @ width[EARLY], wanted)
    share = VALUE["t_follows_axis"]
    turned = rotation(share * frontal, 2) @ rotation(share * tilt, 0) @ rotation(share * swing, 1) @ vectors
    turned[:, EARLY] = rotation(frontal, 2) @ early
    return turned


def _turn_to(net: np.ndarray, wanted: float) -> float:
    """Return the turn about z, to a degree, that brings the net vector (3,) to the frontal axis `wanted`."""
    turns = np.arange(-150, 151)
    a = np.radians(turns)
    x, y, z = net
    turned = np.stack([x * np.cos(a) - y * np.sin(a), x * np.sin(a) + y * np.cos(a), np.full(len(a), z)])
    return float(turns[np.argmin(np.abs(_degrees(lead_field()[:2] @ turned) - wanted))])


def _gain(rng: np.random.Generator, patient: Patient) -> np.ndarray:
    """Return what each component is multiplied by: torso, sex and age; P and T vary on their own too."""
    torso = VALUE["gain_sd"] * np.clip(rng.standard_normal(), -2, 1.4)
    log = np.full(len(COMPONENTS), torso + VALUE["gain_female"] * patient.sex)
    log += VALUE["gain_age"] * (patient.age - 50) + VALUE["gain_lvh"] * ("LVH" in patient.diagnoses)
    log[P] += 0.2 * rng.standard_normal()
    log[ST_T] += VALUE["t_age"] * (patient.age - 50) + 0.25 * np.clip(rng.standard_normal(), -2, 2)
    return np.exp(log)


def _residue(rng: np.random.Generator, length: np.ndarray) -> np.ndarray:
    """Return R (6, K), mV: what the chest leads see beyond the dipole; neighbours V1–V6 see much the same."""
    raw = rng.standard_normal((8, len(COMPONENTS)))
    raw[:, ST_T] = raw[:, ST_T.start, None]  # one wave, one residue
    smooth = (raw[:-2] + 3 * raw[1:-1] + raw[2:]) / np.sqrt(11)
    return VALUE["residue_sd"] * length * smooth


def largest(amplitudes: np.ndarray, centre: np.ndarray, width: np.ndarray, waves: slice) -> tuple[float, float]:
    """Return where (0–1) in the waves the root mean square over the leads is largest, and the peak lead's mV."""
    u = np.linspace(0, 1, 151)
    g = np.exp(-0.5 * ((u - centre[waves, None]) / width[waves, None]) ** 2)
    x = amplitudes[:, waves] @ g  # (8, 151)
    return float(u[np.argmax(np.sum(x**2, axis=0))]), float(np.abs(x).max())
