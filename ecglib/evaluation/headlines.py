"""What ablations and results are reported by: few metrics, each for a claim of the papers or a known weakness."""

from ecglib.evaluation import clinical, fidelity, rhythm
from ecglib.evaluation.privacy import mir, nnaa

METRICS = (
    fidelity.ilce,  # inter-lead correlation: the paper's first claim, in three forms
    fidelity.ilce_distributional,
    fidelity.ilce_paired,
    fidelity.log_spectral_distance,
    fidelity.template_snr,  # signal-to-noise: the claim of demographic conditioning, in the useful form …
    fidelity.paired_measures,  # … and in the paper's
    fidelity.two_sample,
    rhythm.rr_coherence,
    clinical.interval_shifts,
    clinical.kept_promises,
    clinical.age_and_sex,  # personalisation
    clinical.implausibility,
    mir,  # privacy, by the two metrics that the paper names
    nnaa,
)
