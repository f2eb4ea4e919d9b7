"""Every number of the virtual patients, each with its source; what has none is marked as an assumption."""

from typing import NamedTuple

import numpy as np
import pandas as pd

MASON = "Mason et al., J Electrocardiol 40:228, 2007: about the middle of the 2–98 % range of adults"
PTBXL = "PTB-XL's table (Wagner et al., Sci Data 7:154, 2020), adults in 3,496 of its rows"
BANDS = "within the band of Task Force ESC/NASPE, Circulation 93:1043, 1996; the value: assumption"
SIGN = "assumption (the direction is textbook knowledge, the size is not taken from a paper)"
GUESS = "assumption"


class Coefficient(NamedTuple):
    """A number, its unit, and where it comes from."""

    value: float
    unit: str
    source: str


COEFFICIENTS: dict[str, Coefficient] = {
    # how often: of all patients, or of the patients named
    "share_afib": Coefficient(0.12, "of patients", "PTB-XL has about 7 %; enriched by assumption"),
    "share_crbbb": Coefficient(0.08, "of patients", "PTB-XL has about 2.5 %; enriched by assumption"),
    "share_clbbb": Coefficient(0.08, "of patients", "PTB-XL has about 2.5 %; enriched by assumption"),
    "share_1avb": Coefficient(0.09, "of patients without AFIB", "PTB-XL has about 3.7 %; enriched by assumption"),
    "share_imi": Coefficient(0.13, "of patients without CLBBB", "PTB-XL has about 12 %"),
    "share_lvh": Coefficient(0.12, "of patients without CLBBB", "PTB-XL has about 10 %"),
    "share_sbrad": Coefficient(0.085, "of records without AFIB", "PTB-XL has about 3 %; enriched by assumption"),
    "share_stach": Coefficient(0.085, "of records without AFIB", "PTB-XL has about 4 %; enriched by assumption"),
    "share_two_records": Coefficient(0.11, "of patients", GUESS),
    "share_three_records": Coefficient(0.04, "of patients", GUESS),
    # rate and its variability
    "hr_sinus": Coefficient(71.0, "1/min", MASON + " (48–98)"),
    "hr_sinus_sd": Coefficient(10.0, "1/min", MASON + " (48–98): its width"),
    "hr_female": Coefficient(3.0, "1/min", SIGN),
    "hr_sbrad": Coefficient(52.0, "1/min", "below 60 by definition; the value: " + GUESS),
    "hr_stach": Coefficient(114.0, "1/min", "above 100 by definition; the value: " + GUESS),
    "hr_afib": Coefficient(88.0, "1/min", GUESS),
    "rr_cv_at_25": Coefficient(0.055, "1", GUESS),
    "rr_cv_years": Coefficient(55.0, "years to fall by 1/e", SIGN),
    "rr_cv_afib": Coefficient(0.24, "1", GUESS + " (irregular is above 0.1)"),
    "respiration": Coefficient(0.25, "Hz", BANDS + " (HF 0.15–0.4 Hz)"),
    "low_frequency": Coefficient(0.095, "Hz", BANDS + " (LF 0.04–0.15 Hz)"),
    "f_wave_low": Coefficient(5.0, "Hz", "f waves lie at 4–9 Hz; the value: " + GUESS),
    "f_wave_high": Coefficient(8.0, "Hz", "f waves lie at 4–9 Hz; the value: " + GUESS),
    # intervals
    "p_ms": Coefficient(106.0, "ms", GUESS),
    "pr_ms": Coefficient(158.0, "ms", MASON + " (113–212), less its right skew"),
    "pr_sd_ms": Coefficient(20.0, "ms", MASON + " (113–212): its width, less the part of age and rate"),
    "pr_age": Coefficient(0.3, "ms/year from 50", SIGN),
    "pr_rate": Coefficient(-0.3, "ms per 1/min from 70", SIGN),
    "pr_1avb_ms": Coefficient(238.0, "ms", "above 200 by definition; the value: " + GUESS),
    "qrs_ms": Coefficient(91.0, "ms", MASON + " (69–109), men"),
    "qrs_sd_ms": Coefficient(7.5, "ms", MASON + " (69–109): its width, less the part of sex"),
    "qrs_female": Coefficient(-6.0, "ms", SIGN),
    "qrs_lvh": Coefficient(9.0, "ms", SIGN),
    "qrs_crbbb_ms": Coefficient(143.0, "ms", "≥ 120: Surawicz et al., J Am Coll Cardiol 53:976, 2009; value: " + GUESS),
    "qrs_clbbb_ms": Coefficient(150.0, "ms", "≥ 120: Surawicz et al., J Am Coll Cardiol 53:976, 2009; value: " + GUESS),
    "qtc_ms": Coefficient(397.0, "ms, Fridericia", MASON + " (QTcF 359–445), less half the sexes' difference"),
    "qtc_sd_ms": Coefficient(15.0, "ms, Fridericia", MASON + " (QTcF 359–445): its width, less sex and age"),
    "qtc_female": Coefficient(11.0, "ms, Fridericia", SIGN),
    "qtc_age": Coefficient(0.15, "ms/year from 50", SIGN),
    "qt_per_wide_qrs": Coefficient(0.6, "ms per ms of QRS beyond 100", SIGN),
    "qt_memory": Coefficient(0.2, "weight of the last RR in QT's rate", SIGN),
    # anatomy
    "axis_deg": Coefficient(48.0, "degrees at age 50", GUESS + "; Mason et al. 2007 have −40 to 91 as 2–98 %"),
    "axis_sd_deg": Coefficient(24.0, "degrees", GUESS),
    "axis_age": Coefficient(-0.6, "degrees/year", SIGN),
    "turn_sd_deg": Coefficient(10.0, "degrees, horizontal and sagittal", GUESS),
    "t_follows_axis": Coefficient(0.4, "share of the turn that P and T share", GUESS),
    "gain_sd": Coefficient(0.2, "log units", GUESS),
    "gain_female": Coefficient(-0.10, "log units", SIGN),
    "gain_lvh": Coefficient(0.10, "log units", SIGN),
    "t_age": Coefficient(-0.004, "log units/year from 50, ST and T beyond the gain", SIGN),
    "gain_age": Coefficient(-0.004, "log units/year from 50", SIGN),
    "shape_sd": Coefficient(0.15, "of a component's length", GUESS),
    "residue_sd": Coefficient(0.27, "of a component's length, chest leads", GUESS + ", set beside LUDB"),
    "saturation_mv": Coefficient(5.0, "mV, the peak lead's size nears it as tanh", GUESS),
    "breathing_gain": Coefficient(0.04, "of the amplitude", SIGN),
    "beat_gain_sd": Coefficient(0.02, "of the amplitude", GUESS),
    # body
    "height_male": Coefficient(174.0, "cm", PTBXL),
    "height_female": Coefficient(162.0, "cm", PTBXL),
    "height_sd": Coefficient(7.0, "cm", PTBXL + ", women (men's spread has outliers)"),
    "weight_male": Coefficient(77.6, "kg", PTBXL),
    "weight_female": Coefficient(63.9, "kg", PTBXL),
    "weight_sd": Coefficient(14.0, "kg", PTBXL),
    "height_weight_r": Coefficient(0.36, "1", PTBXL),
    # noise of devices, as seen in one lead
    "wander_uv": Coefficient(35.0, "µV, median over records", GUESS),
    "muscle_uv": Coefficient(10.0, "µV at 10–150 Hz, median over records", GUESS),
    "mains_uv": Coefficient(1.5, "µV, median over records", GUESS),
    "level_sd": Coefficient(0.5, "log units, between records", GUESS),
}

VALUE: dict[str, float] = {name: item.value for name, item in COEFFICIENTS.items()}

# statement: mean age, its standard deviation (years), share of women; from 3,496 rows of PTB-XL (Wagner et al. 2020)
WHO: dict[str, tuple[float, float, float]] = {
    "NORM": (49.8, 17.9, 0.55),
    "AFIB": (70.8, 12.4, 0.44),
    "1AVB": (71.4, 11.6, 0.39),
    "CLBBB": (68.9, 12.9, 0.47),
    "CRBBB": (73.6, 10.8, 0.32),
    "IMI": (69.4, 12.4, 0.37),
    "LVH": (68.3, 13.0, 0.41),
}


def coefficient_table() -> pd.DataFrame:
    """Return the coefficients as a table: name, value, unit, source."""
    return pd.DataFrame([(name, *item) for name, item in COEFFICIENTS.items()],
                        columns=["name", "value", "unit", "source"])  # fmt: skip


def truncated(rng: np.random.Generator, mean: float, sd: float, low: float, high: float) -> float:
    """Draw from a normal distribution cut to [low, high] (redrawn up to 64 times, then clipped)."""
    draws = rng.normal(mean, sd, 64)
    inside = draws[(draws >= low) & (draws <= high)]
    return float(inside[0]) if len(inside) else float(np.clip(draws[0], low, high))
