"""MONAI bundles of SegResNet and UNet: `configs/inference.json`, `configs/metadata.json`, `models/model.pt`.

A bundle's configuration may hold expressions ("$..."), which are code. None is evaluated here: names of other entries
("@name", "%name") are resolved, everything that decides a label must be a plain value, and what is not is refused.
"""

import json
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from monai.networks.nets import SegResNet, UNet
from torch import nn

NETWORKS = {"SegResNet": SegResNet, "UNet": UNet}
# Steps that change no value that the network sees, or no label.
WITHOUT_EFFECT = {"LoadImaged", "EnsureChannelFirstd", "EnsureTyped", "CastToTyped", "ToTensord", "SaveImaged"}


class BundleError(Exception):
    """The bundle cannot be read, or does what the worker does not."""


@dataclass(frozen=True)
class Bundle:
    """What a bundle does to a CT, as the worker can do it."""

    name: str
    network: nn.Module
    labels: list[str]
    spacing: tuple[float, float, float]
    clip: tuple[float, float]
    range: tuple[float, float]
    patch: tuple[int, int, int]
    overlap: float
    weights: str
    resample: str
    # Whether the way back interpolates probabilities after a softmax instead of logits.
    of_chances: bool


class _Configuration:
    """The entries of inference.json with references resolved."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def plain(self, value: Any, at: str, depth: int = 0) -> Any:
        """The value with references replaced; raises BundleError for an expression."""
        if depth > 8:
            raise BundleError(f"{at}: references that go round")
        if isinstance(value, str) and value[:1] in "@%":
            return self.plain(self._entry(value[1:]), at, depth + 1)
        if isinstance(value, str) and value.startswith("$"):
            if number := re.fullmatch(r"\$\s*([-+]?[0-9.eE+-]+)", value):
                return float(number[1])
            raise BundleError(f"{at}: {value!r} is an expression; write its value into inference.json")
        if isinstance(value, dict):
            return {key: self.plain(inner, f"{at}.{key}", depth) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.plain(inner, at, depth) for inner in value]
        return value

    def of(self, step: dict[str, Any], key: str, default: Any = None) -> Any:
        """One argument of a transform."""
        return self.plain(step.get(key, default), f"{_short(step.get('_target_'))}.{key}")

    def _entry(self, path: str) -> Any:
        """The entry that a reference names: `a`, `a#b`, `a::b`."""
        value: Any = self.content
        for part in re.split(r"#|::", path):
            try:
                value = value[int(part)] if isinstance(value, list) else value[part]
            except (KeyError, IndexError, ValueError, TypeError) as error:
                raise BundleError(f"inference.json: no entry {path!r}") from error
        return value

    def table(self, name: str) -> dict[str, Any]:
        """A component's own entry, its values not resolved yet."""
        value = self.content.get(name)
        if isinstance(value, str) and value[:1] in "@%":
            value = self._entry(value[1:])
        if not isinstance(value, dict) or "_target_" not in value:
            raise BundleError(f"inference.json: no component {name!r}")
        return value

    def steps(self, name: str) -> list[dict[str, Any]]:
        """The transforms of a Compose; steps that are switched off are left out."""
        listed = self.table(name).get("transforms", [])
        if isinstance(listed, str) and listed[:1] in "@%":
            listed = self._entry(listed[1:])
        if not isinstance(listed, list):
            raise BundleError(f"inference.json: {name} is not a list of transforms: {listed!r}")
        return [step for step in listed if step.get("_disabled_") not in (True, "true", "True")]


def _short(target: Any) -> str:
    """The class's own name."""
    return str(target).rsplit(".", 1)[-1]


def _json(path: Path) -> dict[str, Any]:
    """An object from a JSON file."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: {error}") from error
    if not isinstance(content, dict):
        raise BundleError(f"{path}: not an object")
    return content


def _network(configuration: _Configuration) -> nn.Module:
    """The untrained network; one input channel, three dimensions."""
    table = configuration.table("network_def")
    name = _short(table["_target_"])
    if name not in NETWORKS:
        raise BundleError(f"network {table['_target_']}; known are {', '.join(NETWORKS)}")
    arguments = {key: configuration.plain(value, f"network_def.{key}") for key, value in table.items() if key[0] != "_"}
    if arguments.get("spatial_dims", 3) != 3 or arguments.get("in_channels", 1) != 1:
        raise BundleError("the worker gives one channel in three dimensions")
    try:
        return NETWORKS[name](**arguments)
    except (TypeError, ValueError) as error:
        raise BundleError(f"network_def: {error}") from error


def _load(network: nn.Module, path: Path) -> None:
    """Weights into the network, every one and none left over. The file is read without running code from it."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, OSError, RuntimeError, EOFError) as error:
        raise BundleError(f"{path}: {str(error).splitlines()[0]}") from error
    for wrapper in ("model", "state_dict", "network"):
        if isinstance(content, dict) and isinstance(content.get(wrapper), dict):
            content = content[wrapper]
    try:
        network.load_state_dict(content)
    except (RuntimeError, TypeError) as error:
        raise BundleError(f"{path}: weights are not of network_def: {error}") from error


@dataclass
class _Prepared:
    """What the preprocessing says, as far as it has been read."""

    oriented: bool = False
    spacing: list[float] | None = None
    clip: tuple[float, float] | None = None
    range: tuple[float, float] | None = None


def _preprocessing(configuration: _Configuration) -> _Prepared:
    """Orientation, spacing and intensities, in MONAI's order; anything else is refused."""
    found = _Prepared()
    for raw in configuration.steps("preprocessing"):
        name = _short(raw.get("_target_"))
        if name in WITHOUT_EFFECT:
            continue
        if name == "Orientationd":
            if configuration.of(raw, "axcodes") != "RAS":
                raise BundleError(f"Orientationd {configuration.of(raw, 'axcodes')}; the worker has RAS")
            found.oriented = True
        elif name == "Spacingd":
            if not found.oriented:
                raise BundleError("Spacingd before Orientationd; the worker orients first")
            if (mode := configuration.of(raw, "mode", "bilinear")) not in ("bilinear", ["bilinear"]):
                raise BundleError(f"Spacingd mode {mode}; the worker has bilinear")
            found.spacing = [float(side) for side in configuration.of(raw, "pixdim")]
        elif name == "ScaleIntensityRanged":
            if not configuration.of(raw, "clip", False):
                raise BundleError("ScaleIntensityRanged without clip")
            found.clip = (float(configuration.of(raw, "a_min")), float(configuration.of(raw, "a_max")))
            found.range = (float(configuration.of(raw, "b_min")), float(configuration.of(raw, "b_max")))
        else:
            raise BundleError(f"preprocessing {name}; the worker has Orientationd, Spacingd and ScaleIntensityRanged")
    return found


def _way_back(configuration: _Configuration) -> tuple[str, bool]:
    """`labels` or `logits`, and whether a softmax comes before the interpolation."""
    softmax = decided = False
    for raw in configuration.steps("postprocessing"):
        name = _short(raw.get("_target_"))
        if name == "Activationsd":
            softmax = bool(configuration.of(raw, "softmax", False))
            if configuration.of(raw, "sigmoid", False):
                raise BundleError("Activationsd sigmoid: labels that overlap")
        elif name == "AsDiscreted":
            decided = True
        elif name == "Invertd":
            nearest = bool(configuration.of(raw, "nearest_interp", True))
            if decided and not nearest:
                raise BundleError("Invertd interpolates labels")
            if nearest and not decided:
                raise BundleError("Invertd takes the nearest logits before they are decided")
            return ("labels", False) if decided else ("logits", softmax)
        elif name not in WITHOUT_EFFECT:
            raise BundleError(f"postprocessing {name}; the worker has argmax and the way back")
    raise BundleError("postprocessing has no Invertd: its labels are not on the CT's grid")


def read(folder: Path) -> Bundle:
    """Reads and judges a bundle, and loads its weights. Raises BundleError."""
    configuration = _Configuration(_json(folder / "configs" / "inference.json"))
    described = _json(folder / "configs" / "metadata.json")
    prepared = _preprocessing(configuration)
    if prepared.spacing is None or len(prepared.spacing) != 3 or min(prepared.spacing) <= 0:
        raise BundleError("no Spacingd with three sides over 0")
    if prepared.clip is None or prepared.range is None:
        raise BundleError("no ScaleIntensityRanged")
    inferer = configuration.table("inferer")
    if _short(inferer["_target_"]) != "SlidingWindowInferer":
        raise BundleError(f"inferer {inferer['_target_']}; the worker has SlidingWindowInferer")
    settings = {key: configuration.plain(value, f"inferer.{key}") for key, value in inferer.items() if key[0] != "_"}
    for key, wanted in (("padding_mode", "constant"), ("cval", 0.0), ("sigma_scale", 0.125)):
        if settings.get(key, wanted) != wanted:
            raise BundleError(f"inferer {key} {settings[key]}; the worker has {wanted}")
    if (mode := settings.get("mode", "constant")) not in ("constant", "gaussian"):
        raise BundleError(f"inferer mode {mode}")
    resample, of_chances = _way_back(configuration)
    network = _network(configuration)
    _load(network, folder / "models" / "model.pt")
    channels = described.get("network_data_format", {}).get("outputs", {}).get("pred", {}).get("channel_def", {})
    names = [str(channels[key]) for key in sorted(channels, key=int)]
    sides = [int(side) for side in settings["roi_size"]]
    with torch.inference_mode():
        outputs = network.eval()(torch.zeros(1, 1, *sides)).shape[1]
    if outputs != len(names):
        raise BundleError(f"metadata.json names {len(names)} channels, the network has {outputs}")
    return Bundle(
        name=str(described.get("name", folder.name)),
        network=network,
        labels=names,
        spacing=(prepared.spacing[0], prepared.spacing[1], prepared.spacing[2]),
        clip=prepared.clip,
        range=prepared.range,
        patch=(sides[0], sides[1], sides[2]),
        overlap=float(settings.get("overlap", 0.25)),
        weights=str(mode),
        resample=resample,
        of_chances=of_chances,
    )
