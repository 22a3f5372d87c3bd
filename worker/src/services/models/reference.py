"""Holds arrays that Nightread prepared against those of a script: python reference.py SCRIPT ARRAYS.npz.

Prints one JSON object a line for each image: how its array differs, and what the script predicts of it.
"""

import importlib.util
import json
import os
import sys

import numpy as np


def loaded(path):
    """The script, as a module. Its own folder comes first where it imports."""
    sys.path.insert(0, os.path.dirname(os.path.abspath(path)))
    spec = importlib.util.spec_from_file_location("reference", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compared(ours, theirs):
    theirs = np.asarray(theirs, dtype=np.float32)
    if theirs.ndim == ours.ndim + 1 and theirs.shape[0] == 1:
        theirs = theirs[0]
    if theirs.shape != ours.shape:
        return {"shape": list(theirs.shape)}
    apart = np.abs(ours.astype(np.float64) - theirs)
    where = int(np.argmax(np.where(np.isnan(apart), np.inf, apart)))
    worst = float(apart.flat[where])
    return {"difference": finite(worst), "at": [int(i) for i in np.unravel_index(where, ours.shape)]}


def finite(value):
    """JSON has no other numbers."""
    value = float(value)
    return value if np.isfinite(value) else None


def predicted(answer):
    if isinstance(answer, dict):
        return {str(name): finite(value) for name, value in answer.items()}
    return [finite(value) for value in np.asarray(answer, dtype=np.float64).ravel()]


def main():
    script, arrays = sys.argv[1:]
    # What the script prints must not mix with the answer.
    answer, sys.stdout = sys.stdout, sys.stderr
    module = loaded(script)
    if not hasattr(module, "prepare"):
        sys.exit(f"{script} has no function prepare(path)")
    with np.load(arrays) as prepared:
        for path in prepared.files:
            line = {"path": path}
            try:
                line.update(compared(prepared[path], module.prepare(path)))
                if hasattr(module, "predict"):
                    line["probabilities"] = predicted(module.predict(path))
            except Exception as error:  # the script is somebody's own
                line["error"] = f"{type(error).__name__}: {error}"
            print(json.dumps(line), file=answer, flush=True)


main()
