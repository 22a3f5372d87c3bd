"""Labels of a CT by the peer's own code on the CPU, with its time and memory: what the worker is held against.

    python models/export/reference_labels.py nnunet FOLDER CT.nii.gz LABELS.nii.gz
    python models/export/reference_labels.py totalsegmentator FOLDER CT.nii.gz LABELS.nii.gz
    python models/export/reference_labels.py monai BUNDLE CT.nii.gz LABELS.nii.gz

Needs models/requirements-peers.txt. FOLDER and BUNDLE are what `segmentation.py` takes. nnU-Net predicts without
mirroring; `--single` has it add logits in single precision instead of half. TotalSegmentator runs its own
`nnUNet_predict_image` as for `total --fast`. Of a bundle, its own preprocessing, inferer and postprocessing are run:
unlike the export this executes what its configuration says.

Prints one line of JSON: seconds and processor seconds from reading the CT to labels on the disk, and the peak of
memory (resident, MiB) with what it was before the CT was read. TotalSegmentator takes all processors; the others
`--threads`.
"""

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "lib"))

import nibabel
import numpy as np
import torch

TASK = 297


def prepare_nnunet(options: argparse.Namespace) -> Callable[[], None]:
    """nnU-Net's predictor, its folder loaded."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ.setdefault(name, tempfile.gettempdir())
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=False,
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(str(options.folder), (options.fold,))
    # It adds the ending of its data set itself.
    stem = str(options.out).removesuffix(predictor.dataset_json["file_ending"])

    def run() -> None:
        predictor.predict_from_files_sequential([[str(options.ct)]], [stem], False, True)

    return run


def prepare_totalsegmentator(options: argparse.Namespace) -> Callable[[], None]:
    """TotalSegmentator's own path of `total --fast`, from a results folder that holds this one network."""
    checkpoint = torch.load(
        options.folder / f"fold_{options.fold}" / "checkpoint_final.pth", map_location="cpu", weights_only=False
    )
    trainer = checkpoint["trainer_name"]
    results = Path(tempfile.mkdtemp(prefix="nightread-reference-"))
    holder = results / f"Dataset{TASK}_TotalSegmentator_total_3mm"
    holder.mkdir()
    (holder / f"{trainer}__nnUNetPlans__3d_fullres").symlink_to(options.folder.resolve())
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        os.environ[name] = str(results)
    from totalsegmentator.nnunet import nnUNet_predict_image

    def run() -> None:
        nnUNet_predict_image(
            options.ct,
            options.out,
            TASK,
            model="3d_fullres",
            folds=[int(options.fold) if options.fold != "all" else "all"],
            trainer=trainer,
            tta=False,
            multilabel_image=True,
            resample=3.0,
            task_name="total",
            nr_threads_resampling=1,
            nr_threads_saving=1,
            quiet=True,
            device="cpu",
        )

    return run


def prepare_monai(options: argparse.Namespace) -> Callable[[], None]:
    """A bundle's own transforms and inferer, but for its writer."""
    from monai.bundle import ConfigParser

    parser = ConfigParser()
    parser.read_config(str(options.folder / "configs" / "inference.json"))
    parser.read_meta(str(options.folder / "configs" / "metadata.json"))
    steps = parser["postprocessing"]["transforms"]
    parser["postprocessing"]["transforms"] = [step for step in steps if "SaveImage" not in step["_target_"]]
    network = parser.get_parsed_content("network_def")
    network.load_state_dict(torch.load(options.folder / "models" / "model.pt", map_location="cpu", weights_only=True))
    network.eval()
    parts = ("preprocessing", "inferer", "postprocessing")
    before, inferer, after = (parser.get_parsed_content(name) for name in parts)

    def run() -> None:
        data: dict[str, Any] = before({"image": str(options.ct)})
        with torch.inference_mode():
            data["pred"] = inferer(inputs=data["image"][None], network=network)[0]
        labels = after(data)["pred"]
        source = nibabel.load(options.ct)
        array = np.asarray(labels[0]).astype(np.uint8)
        if array.shape != source.shape:
            raise ValueError(f"the bundle gave {array.shape} voxels for {source.shape}")
        nibabel.save(nibabel.Nifti1Image(array, source.affine), options.out)

    return run


def add_in_single() -> None:
    """nnU-Net's predictor names the precision of its sums as `torch.half`: the weights' is a default taken before."""
    from nnunetv2.inference import sliding_window_prediction

    assert sliding_window_prediction.compute_gaussian.__wrapped__.__defaults__[2] == torch.float16
    torch.half = torch.float32


PREPARE = {"nnunet": prepare_nnunet, "totalsegmentator": prepare_totalsegmentator, "monai": prepare_monai}


def resident_mib(field: str) -> float:
    """VmRSS (now) or VmHWM (peak) of this process."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024
    raise ValueError(field)


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=tuple(PREPARE))
    parser.add_argument("folder", type=Path)
    parser.add_argument("ct", type=Path, help="a 3-D NIfTI")
    parser.add_argument("out", type=Path, help="where the label map goes, .nii.gz")
    parser.add_argument("--fold", default="0", help="(nnU-Net) which fold")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--single", action="store_true", help="(nnU-Net, TotalSegmentator) sums in single precision")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    run = PREPARE[options.kind](options)
    if options.single:
        add_in_single()
    idle, began = resident_mib("VmRSS"), time.monotonic()
    spent = time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])
    run()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    figures = {
        "kind": options.kind,
        "seconds": round(time.monotonic() - began, 2),
        "processor_s": round(time.process_time() + sum(children[:2]) - spent, 2),
        "peak_mib": round(resident_mib("VmHWM")),
        "peak_of_children_mib": round(children.ru_maxrss / 1024),
        "idle_mib": round(idle),
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
