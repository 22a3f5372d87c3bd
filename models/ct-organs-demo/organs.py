"""The demonstration's labels, and the structures of TotalSegmentator's `total` task that each is made of."""

import numpy as np
from numpy.typing import NDArray

# Order of the outputs; 0 is background.
LABELS: dict[str, tuple[int, ...]] = {
    "liver": (5,),
    "spleen": (1,),
    "kidney_right": (2,),
    "kidney_left": (3,),
    "stomach": (6,),
    "gallbladder": (4,),
    "pancreas": (7,),
    "aorta": (52,),
    "inferior_vena_cava": (63,),
    "lungs": (10, 11, 12, 13, 14),
    # Skull, vertebrae, limbs' bones, ribs, sternum; not the cartilages.
    "bones": (*range(25, 51), *range(69, 79), *range(91, 117)),
    # Small bowel, duodenum, colon.
    "bowel": (18, 19, 20),
}
OUTPUTS = len(LABELS) + 1


def table() -> NDArray[np.uint8]:
    """TotalSegmentator's number (0 to 255) -> the label's index."""
    indices = np.zeros(256, np.uint8)
    for index, structures in enumerate(LABELS.values(), start=1):
        indices[list(structures)] = index
    return indices
