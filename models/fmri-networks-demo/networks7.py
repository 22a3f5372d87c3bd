"""The classes of this model: the seven networks of Yeo et al. 2011, and everything that is none of them."""

LABELS = (
    "VISUAL",
    "SOMATOMOTOR",
    "DORSAL-ATTENTION",
    "VENTRAL-ATTENTION",
    "LIMBIC",
    "FRONTOPARIETAL",
    "DEFAULT",
    "NOISE",
)
NOISE = LABELS.index("NOISE")
