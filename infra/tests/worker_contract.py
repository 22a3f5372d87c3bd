"""What the worker says of itself: `worker/contract.json`. The worker writes it, and a test of the worker's holds it current."""

import json


def contract_of(root):
    return json.loads((root / "worker/contract.json").read_text())


def setting(contract, section, name):
    return next((s for s in contract["settings"] if (s["section"], s["name"]) == (section, name)), None)


def default_of(contract, section, name):
    found = setting(contract, section, name)
    return found and found["default"]


def variables(contract):
    """Every environment variable that the worker reads."""
    options = (option for command in contract["commands"].values() for option in command["options"].values())
    return {s["variable"] for s in contract["settings"]} | set(contract["variables"]) | {o["variable"] for o in options if o["variable"]}


def command_problems(contract, words):
    """What the worker would not take of a command line that is given as words without the program's name."""
    known = next((named for n in (2, 1) if (named := " ".join(words[:n])) in contract["commands"]), None)
    if known is None:
        return [f"there is no command {' '.join(words[:1])}"]
    options = {w.split("=")[0] for w in words if w.startswith("--")}
    return [f"{known} takes no {option}" for option in sorted(options - set(contract["commands"][known]["options"]))]
