"""Makes mni152-t1-brain-2mm.nii.gz: the brain of nilearn's MNI152 T1 template, on 2 mm voxels and in 64 greys.

Run with nilearn==0.13.1. The template is the ICBM 152 non-linear symmetric 2009a average that the package carries; NOTICE.txt
beside this file has its terms.
"""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.datasets import load_mni152_brain_mask, load_mni152_template
from scipy.ndimage import binary_dilation

GREYS = 64
MARGIN = 3  # voxels that are kept around the brain: maps may reach past it

template = load_mni152_template(resolution=2)
mask = load_mni152_brain_mask(resolution=2).get_fdata() > 0
inside = binary_dilation(mask)
data = template.get_fdata()
top = np.percentile(data[mask], 99.8)
greys = np.clip(np.round(data / top * (GREYS - 1)), 1, GREYS - 1).astype(np.uint8)
greys[~inside] = 0

low = [max(0, int(axis.min()) - MARGIN) for axis in np.nonzero(inside)]
high = [min(n, int(axis.max()) + 1 + MARGIN) for n, axis in zip(greys.shape, np.nonzero(inside))]
box = tuple(slice(a, b) for a, b in zip(low, high))
affine = template.affine.copy()
affine[:3, 3] = template.affine[:3, :3] @ low + template.affine[:3, 3]

image = nib.Nifti1Image(greys[box], affine)
image.header.set_sform(affine, 4)
image.header.set_qform(affine, 4)
image.header["descrip"] = b"ICBM 152 2009a nonlinear symmetric T1, brain, 64 greys"
image.header.set_xyzt_units("mm")
path = Path(__file__).with_name("mni152-t1-brain-2mm.nii.gz")
path.write_bytes(gzip.compress(image.to_bytes(), 9, mtime=0))
print(path, image.shape, affine.tolist(), path.stat().st_size, "bytes")
