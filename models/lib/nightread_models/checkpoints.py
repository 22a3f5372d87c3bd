"""Reads the checkpoints that people have: state dicts, dicts around them, and whole pickled modules.

A pickle can run code. State dicts are read with `weights_only=True`, which cannot. A whole pickled
module is read only when the caller says so, and even then by an unpickler that knows tensors and
module shells and nothing else: classes of networks (`torchxrayvision.models.DenseNet`, ...) become
empty modules which carry parameters, so that neither their package nor their code is needed.
"""

import pickle
import re
import types
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "network")
PREFIXES = ("module.", "model.", "net.", "network.")
# Buffers beside the weights that the network here does not have.
IGNORED = re.compile(r"(^|\.)(op_threshs|num_batches_tracked)$")
# torchvision before 0.3 wrote `norm.1` and `conv.2` for today's `norm1` and `conv2`.
DOTTED = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\.")


class CheckpointError(Exception):
    """The checkpoint cannot be read, or is not of the wanted network."""


class _Shell(nn.Module):
    """Stands in for a network class: parameters, buffers and children, no behaviour."""


class _Unpickler(pickle.Unpickler):
    """Builds tensors, containers and module shells; refuses every other global by name."""

    ALLOWED = frozenset(
        {
            ("collections", "OrderedDict"),
            ("builtins", "set"),
            ("__builtin__", "set"),
            ("_codecs", "encode"),
            ("numpy", "dtype"),
            ("numpy", "ndarray"),
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy.core.multiarray", "scalar"),
            ("numpy._core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "scalar"),
            ("torch", "Size"),
            ("torch", "device"),
            ("torch._utils", "_rebuild_parameter"),
            ("torch._utils", "_rebuild_tensor_v2"),
        }
    )
    NETWORKS = ("torch.nn.modules.", "torch.nn.parallel.", "torchvision.models.", "torchxrayvision.")

    def find_class(self, module: str, name: str) -> Any:
        """The global `module.name`, a shell for a network's class, or an UnpicklingError."""
        if module == "torch" and (name.endswith("Storage") or isinstance(getattr(torch, name, None), torch.dtype)):
            return getattr(torch, name)
        if (module, name) in self.ALLOWED:
            return super().find_class(module, name)
        if f"{module}.".startswith(self.NETWORKS) and name[:1] in "_ABCDEFGHIJKLMNOPQRSTUVWXYZ" and "." not in name:
            return type(name, (_Shell,), {"__module__": module})
        raise pickle.UnpicklingError(f"refused global {module}.{name}")


def read_state_dict(path: Path, *, trust_pickle: bool = False) -> dict[str, Tensor]:
    """Parameters by name, prefixes and wrappers removed, FP32 on the CPU.

    Raises CheckpointError when the file holds a pickled module and `trust_pickle` is off, when it
    asks for something that is not a network's part, or when it holds no tensors.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as refused:
        if not trust_pickle:
            raise CheckpointError(
                f"{path}: not a plain state dict; a pickled module can run code when it is read: "
                "pass --trust-pickle for a file whose origin you trust"
            ) from refused
        content = _read_pickled(path)
    if isinstance(content, nn.Module):
        content = content.state_dict()
    for wrapper in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(wrapper), (dict, nn.Module)):
            inner = content[wrapper]
            content = inner.state_dict() if isinstance(inner, nn.Module) else inner
            break
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds {type(content).__name__}, not parameters")
    tensors = {key: value.float() for key, value in content.items() if isinstance(value, Tensor)}
    if not tensors:
        raise CheckpointError(f"{path}: holds no tensors; its keys begin {sorted(map(str, content))[:5]}")
    return {_plain(key): value for key, value in tensors.items()}


def _read_pickled(path: Path) -> Any:
    """The pickled object, its network classes as shells."""
    module = types.ModuleType("nightread_unpickler")
    module.Unpickler = _Unpickler  # type: ignore[attr-defined]
    module.load = lambda file, **options: _Unpickler(file, **options).load()  # type: ignore[attr-defined]
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=module)
    except (pickle.UnpicklingError, AttributeError, TypeError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _plain(key: str) -> str:
    """A parameter's name without the wrappers' prefixes, in today's spelling."""
    stripped = True
    while stripped:
        stripped = False
        for prefix in PREFIXES:
            if key.startswith(prefix):
                key, stripped = key.removeprefix(prefix), True
    return DOTTED.sub(r"\1\2.", key)


def load_into(network: nn.Module, state: dict[str, Tensor]) -> None:
    """Copies `state` into `network`; every parameter must be there with its shape, none left over.

    Raises CheckpointError that lists all differences (the first few of each kind).
    """
    own = network.state_dict()
    wanted = {key for key in own if not IGNORED.search(key)}
    given = {key for key in state if not IGNORED.search(key)}
    problems = []
    if missing := sorted(wanted - given):
        problems.append(f"{len(missing)} missing ({', '.join(missing[:3])})")
    if surplus := sorted(given - wanted):
        problems.append(f"{len(surplus)} unknown ({', '.join(surplus[:3])})")
    for key in sorted(wanted & given):
        if own[key].shape != state[key].shape:
            problems.append(f"{key} is {tuple(state[key].shape)}, wanted {tuple(own[key].shape)}")
    if problems:
        raise CheckpointError("not this network's checkpoint: " + "; ".join(problems[:6]))
    network.load_state_dict({key: state[key] for key in wanted}, strict=False)
