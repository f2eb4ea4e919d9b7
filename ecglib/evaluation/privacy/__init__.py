"""Privacy."""
from ecglib.evaluation.privacy.membership import distance_attack, mir
from ecglib.evaluation.privacy.white_box import white_box
