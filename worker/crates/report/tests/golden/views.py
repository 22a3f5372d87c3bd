"""Makes views.nii.gz and maps.nii.gz: what nilearn shows of a map, as the reference of tests/views.rs.

Run with nilearn==0.13.1 (which needs matplotlib). maps.nii.gz holds one map on the 4 mm grid of the models; views.nii.gz holds what nilearn's cut
axes and glass brain axes make of it on the report's template, one view a volume: sagittal, coronal and axial slices
through the peak, then the three projections. Each view lies in the corner of its volume, its first row at index 0.
"""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
from nilearn.image import resample_to_img
from nilearn.plotting.displays import CutAxes, GlassBrainAxes

HERE = Path(__file__).parent
TEMPLATE = HERE.parents[1] / "assets" / "mni152-t1-brain-2mm.nii.gz"


def write(path, data, affine):
    image = nib.Nifti1Image(data.astype(np.float32), affine)
    image.header.set_sform(affine, 4)
    image.header.set_xyzt_units("mm")
    path.write_bytes(gzip.compress(image.to_bytes(), 9, mtime=0))


def a_map():
    """Three blobs of z, one of them negative; not symmetric in any axis; zero outside of them."""
    affine = np.array([[-4.0, 0, 0, 90], [0, 4, 0, -126], [0, 0, 4, -72], [0, 0, 0, 1.0]])
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in (45, 54, 45)], indexing="ij"), axis=-1)
    world = voxels @ affine[:3, :3].T + affine[:3, 3]
    data = np.zeros(voxels.shape[:3])
    for centre, width, height in [((-6, -58, 28), 14, 9.5), ((46, 30, 12), 9, 6.0), ((-30, 20, -20), 11, -7.25)]:
        data += height * np.exp(-((world - centre) ** 2).sum(-1) / (2 * width**2))
    data[np.abs(data) < 0.2] = 0
    return np.round(data, 3), affine


data, affine = a_map()
write(HERE / "maps.nii.gz", data[..., None], affine)
image = nib.load(HERE / "maps.nii.gz").slicer[..., 0]
template = nib.load(TEMPLATE)
on_template = resample_to_img(image, template, interpolation="linear", force_resample=True, copy_header=True)
values = np.asarray(on_template.dataobj, dtype=float)
peak = np.unravel_index(np.abs(values).argmax(), values.shape)
place = template.affine[:3, :3] @ peak + template.affine[:3, 3]

views = []
for direction, coordinate in zip("xyz", place):
    views.append(CutAxes(None, direction, coordinate).transform_to_2d(values, template.affine))
for direction in "xyz":
    views.append(GlassBrainAxes(None, direction, 0, plot_abs=False).transform_to_2d(values, template.affine))
side = max(max(view.shape) for view in views)
out = np.zeros((side, side, 1, len(views)))
for nth, view in enumerate(views):
    # A row of the image is a line of voxels.
    out[: view.shape[1], : view.shape[0], 0, nth] = view.T
    print(nth, view.shape, float(np.abs(view).max()))
write(HERE / "views.nii.gz", out, np.eye(4))
print("peak", peak, place, values[peak], {p.name: p.stat().st_size for p in HERE.glob("*.nii.gz")})
