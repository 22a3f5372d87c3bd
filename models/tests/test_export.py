"""Full architectures with seeded random weights: checkpoint in any of its forms -> served model folder."""

import copy
import pickle
import sys
import types
from pathlib import Path

import nibabel
import numpy as np
import onnx
import pytest
import torch
from conftest import MODELS, seeded_network
from torch import nn

import export
from nightread_models import checkpoints, group_maps, manifest, onnx_export
from nightread_models.networks import parameter_count

PARAMETERS = {"padchest-26": 6_974_234, "xrv-padchest-18": 6_966_034, "fmri-jhu-58": 23_626_874}


@pytest.fixture(scope="module")
def networks() -> dict[str, nn.Module]:
    """One network for each template."""
    return {model: seeded_network(model) for model in PARAMETERS}


@pytest.mark.parametrize("model", PARAMETERS)
def test_parameter_counts(model: str, networks: dict[str, nn.Module]) -> None:
    """The published networks' sizes."""
    assert parameter_count(networks[model]) == PARAMETERS[model]


@pytest.mark.parametrize("model", PARAMETERS)
def test_cam_explains_the_logit(model: str, networks: dict[str, nn.Module]) -> None:
    """Mean of the map plus the bias is the logit."""
    network = networks[model]
    shape = [int(side) for side in manifest.read(MODELS / model)["input"]["item_shape"]]
    with torch.inference_mode():
        logits, cam = network(torch.rand(2, *shape))
    bias = (network.fc if hasattr(network, "fc") else network.classifier).bias
    torch.testing.assert_close(cam.mean((2, 3)) + bias, logits)


def pickled_as(network: nn.Module, package: str, path: Path, **options: object) -> None:
    """Saves the whole module as if its own classes were `<package>`'s, as the published files are."""
    fake = types.ModuleType(package)

    def renamed(module: nn.Module) -> nn.Module:
        twin = module
        if not type(module).__module__.startswith("torch."):
            name = type(module).__name__
            if not hasattr(fake, name):
                setattr(fake, name, type(name, (nn.Module,), {"__module__": package}))
            twin = getattr(fake, name)()
            twin.__dict__.update(module.__dict__)
        # Fresh dict: the caller's network keeps its own children.
        twin._modules = type(module._modules)((key, renamed(child)) for key, child in module._modules.items())
        return twin

    parents = [package.rsplit(".", end)[0] for end in range(1, package.count(".") + 1)]
    try:
        sys.modules.update({name: types.ModuleType(name) for name in parents} | {package: fake})
        torch.save(renamed(copy.deepcopy(network)), path, **options)
    finally:
        for name in (*parents, package):
            sys.modules.pop(name)


def write_maps(path: Path) -> None:
    """Random group maps on the 4 mm grid."""
    values = np.random.default_rng(0).standard_normal((45, 54, 45, 100), dtype=np.float32)
    affine = np.diag([4.0, 4.0, 4.0, 1.0])
    affine[:3, 3] = (-90.0, -126.0, -72.0)
    nibabel.save(nibabel.Nifti1Image(values, affine), path)


def served(folder: Path, network: nn.Module) -> None:
    """The folder passes for a model: digest, no template marks, dynamic batch, same numbers as PyTorch."""
    description = manifest.read(folder)
    weights = folder / str(description["weights"]["fp32"]["file"])
    assert "bring_your_own" not in description
    assert description["weights"]["fp32"]["sha256"] == manifest.sha256(weights)
    assert (folder / "README.md").is_file()
    graph = onnx.load(weights).graph
    assert [output.name for output in graph.output] == ["logits", "cam"]
    assert graph.input[0].type.tensor_type.shape.dim[0].dim_param
    shape = tuple(int(side) for side in description["input"]["item_shape"])
    low, high = (float(end) for end in description["input"]["value_range"])
    assert onnx_export.check_parity(network, weights, shape, (low, high), batches=(1, 3, 5), seed=9) <= 1e-4
    # Paths of the exporting machine have no place in a published file.
    assert str(MODELS).encode() not in weights.read_bytes()


def test_state_dict_of_padchest(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    """A state dict saved from DataParallel, in a wrapper, with a buffer that only some versions have."""
    state = {f"module.{key}": value for key, value in networks["padchest-26"].state_dict().items()}
    state["module.op_threshs"] = torch.zeros(26)
    torch.save({"state_dict": state, "epoch": 20}, tmp_path / "weights.pt")
    folder, worst = export.export_folder(MODELS / "padchest-26", tmp_path / "weights.pt", tmp_path / "out")
    assert worst <= 1e-4
    served(folder, networks["padchest-26"])


def test_whole_module_of_torchxrayvision(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    """A pickled module needs the flag, and then neither its package nor its class."""
    network = networks["xrv-padchest-18"]
    pickled_as(network, "torchxrayvision.models", tmp_path / "whole.pt")
    with pytest.raises(checkpoints.CheckpointError, match="--trust-pickle"):
        export.export_folder(MODELS / "xrv-padchest-18", tmp_path / "whole.pt", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    folder, _ = export.export_folder(
        MODELS / "xrv-padchest-18", tmp_path / "whole.pt", tmp_path / "out", trust_pickle=True
    )
    served(folder, network)


def test_checkpoint_of_the_fmri_network(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    """The dict with key "model", and the group maps."""
    torch.save({"model": networks["fmri-jhu-58"].state_dict(), "epoch": 3}, tmp_path / "model_final25D.pth")
    write_maps(tmp_path / "melodic_IC.nii.gz")
    template, checkpoint = MODELS / "fmri-jhu-58", tmp_path / "model_final25D.pth"
    with pytest.raises(ValueError, match="--maps"):
        export.export_folder(template, checkpoint, tmp_path / "out")
    folder, _ = export.export_folder(template, checkpoint, tmp_path / "out", maps=tmp_path / "melodic_IC.nii.gz")
    served(folder, networks["fmri-jhu-58"])
    maps = manifest.read(folder)["maps"]
    assert maps["sha256"] == manifest.sha256(folder / str(maps["file"]))
    assert maps["affine"][0] == [4.0, 0.0, 0.0, -90.0]
    assert "mask" not in maps
    brain = np.zeros((45, 54, 45), np.uint8)
    brain[5:40, 5:50, 5:40] = 1
    affine = nibabel.load(tmp_path / "melodic_IC.nii.gz").affine
    nibabel.save(nibabel.Nifti1Image(brain, affine), tmp_path / "mask.nii.gz")
    checked = group_maps.read(tmp_path / "melodic_IC.nii.gz", maps)
    group_maps.install(checked, folder, group_maps.read_mask(tmp_path / "mask.nii.gz", checked))
    maps = manifest.read(folder)["maps"]
    assert maps["mask_sha256"] == manifest.sha256(folder / str(maps["mask"]))
    for wrong in (np.ones_like(brain), np.zeros_like(brain), brain[1:]):
        nibabel.save(nibabel.Nifti1Image(wrong, affine), tmp_path / "wrong.nii.gz")
        with pytest.raises(ValueError, match="mask"):
            group_maps.read_mask(tmp_path / "wrong.nii.gz", checked)


def test_old_file_format_and_old_names(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    """PyTorch's format before 1.6 and torchvision's spelling before 0.3 load to the same parameters."""
    network = networks["xrv-padchest-18"]
    pickled_as(network, "torchxrayvision.models", tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    state = checkpoints.read_state_dict(tmp_path / "old.pt", trust_pickle=True)
    old = {key.replace("norm1.", "norm.1.").replace("conv2.", "conv.2."): value for key, value in state.items()}
    torch.save(old, tmp_path / "dotted.pt")
    again = checkpoints.read_state_dict(tmp_path / "dotted.pt")
    assert again.keys() == network.state_dict().keys()
    assert all(
        torch.equal(again[key], value) for key, value in network.state_dict().items() if value.is_floating_point()
    )


class Bomb:
    """Unpickles into a call."""

    def __reduce__(self) -> tuple:
        return (print, ("code ran",))


def test_code_in_a_pickle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Even with the flag, a pickle cannot call what is not a network's part."""
    torch.save({"model": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(checkpoints.CheckpointError, match=r"refused global \w+\.print"):
        checkpoints.read_state_dict(tmp_path / "bomb.pt", trust_pickle=True)
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps(Bomb()))
    for trust in (False, True):
        with pytest.raises(checkpoints.CheckpointError):
            checkpoints.read_state_dict(tmp_path / "plain.pkl", trust_pickle=trust)
    assert "code ran" not in capsys.readouterr().out


def test_wrong_checkpoints_are_named(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    """Other outputs, other networks, and files that are no checkpoints."""
    state = networks["padchest-26"].state_dict()
    with pytest.raises(checkpoints.CheckpointError, match=r"classifier.bias is \(26,\), wanted \(18,\)"):
        checkpoints.load_into(networks["xrv-padchest-18"], state)
    with pytest.raises(checkpoints.CheckpointError, match="missing"):
        checkpoints.load_into(networks["fmri-jhu-58"], state)
    (tmp_path / "text.pt").write_text("not a checkpoint")
    with pytest.raises(checkpoints.CheckpointError):
        checkpoints.read_state_dict(tmp_path / "text.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    with pytest.raises(checkpoints.CheckpointError, match="no tensors"):
        checkpoints.read_state_dict(tmp_path / "empty.pt")


def test_parity_check_can_fail(networks: dict[str, nn.Module], tmp_path: Path) -> None:
    """A network that is not the exported one is noticed."""
    network = seeded_network("fmri-jhu-58")
    onnx_export.export(network, (3, 45, 45), tmp_path / "model.onnx")
    with torch.no_grad():
        network.fc.bias[7] += 0.01
    with pytest.raises(onnx_export.ParityError, match="logits"):
        onnx_export.check_parity(network, tmp_path / "model.onnx", (3, 45, 45), (0.0, 1.0))
