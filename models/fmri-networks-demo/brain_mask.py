"""Brain mask of the shipped maps: the template's, as the group ICA took it, on the maps' own grid.

    python models/fmri-networks-demo/brain_mask.py [--templates ../shared/data/fmri/templates]

The centres of the maps' voxels are centres of the template's voxels of 2 mm, so that nothing is interpolated. The maps
were computed in these voxels and are zero outside of them; the script checks both.
"""

import argparse
import gzip
import hashlib
from pathlib import Path

import nibabel
import numpy as np

HERE = Path(__file__).resolve().parent
TEMPLATE = "MNI152NLin6_res-2x2x2_T1w_descr-brainmask.nii.gz"


def main() -> None:
    """Writes mask.nii.gz beside the maps and prints its digest for the manifest."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--templates", type=Path, default=HERE.parents[2] / "shared" / "data" / "fmri" / "templates")
    parser.add_argument("--out", type=Path, default=HERE / "mask.nii.gz")
    arguments = parser.parse_args()
    template = nibabel.load(arguments.templates / TEMPLATE)
    maps = nibabel.load(HERE / "maps.nii.gz")
    shape = maps.shape[:3]
    places = nibabel.affines.apply_affine(
        np.linalg.inv(template.affine) @ maps.affine, np.moveaxis(np.indices(shape), 0, -1)
    )
    voxels = np.rint(places).astype(int)
    if np.abs(places - voxels).max() > 1e-4:
        raise SystemExit("the maps' voxels are not centred on the template's")
    inside = np.asanyarray(template.dataobj)[tuple(np.moveaxis(voxels, -1, 0))] > 0
    if (inside != (np.asanyarray(maps.dataobj) != 0).any(3)).any():
        raise SystemExit("the maps do not fill the template's mask")
    image = nibabel.Nifti1Image(inside.astype(np.uint8), maps.affine)
    image.set_sform(maps.affine, code=4)
    image.set_qform(maps.affine, code=4)
    image.header.set_xyzt_units("mm")
    # Without name and time in the compressed stream: the same bytes every time.
    body = gzip.compress(image.to_bytes(), 9, mtime=0)
    arguments.out.write_bytes(body)
    print(f"{int(inside.sum())} voxels, {len(body)} bytes, sha256 {hashlib.sha256(body).hexdigest()}")


if __name__ == "__main__":
    main()
