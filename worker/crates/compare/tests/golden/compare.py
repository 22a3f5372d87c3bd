"""A comparison of two sets of results by scikit-learn, NumPy and pandas, made without the formulas of the crate.

    python compare.py plant
        writes findings.csv, components.csv, segments.csv, truth.csv and expected.json beside itself
    python compare.py hold A B --found FOUND.json [--truth CSV --group COLUMN]
        holds what `nightread results compare A B --format json` said of two folders

The draws of the bootstrap are made again from the description of `Bootstrap::draw`, so that intervals are equal and
not only alike. Versions: requirements.txt.
"""

import argparse
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import brier_score_loss, cohen_kappa_score, confusion_matrix, recall_score, roc_auc_score

from planted import planted_components, planted_findings, planted_segments, single

HERE = Path(__file__).resolve().parent
MASK = (1 << 64) - 1
DRAWS, SEED = 300, 7
QUANTILES = {
    "least": 0.0, "p1": 0.01, "p5": 0.05, "p25": 0.25, "median": 0.5,
    "p75": 0.75, "p95": 0.95, "p99": 0.99, "greatest": 1.0,
}  # fmt: skip


class Xoshiro256PlusPlus:
    """Blackman and Vigna's generator, its state filled by SplitMix64."""

    def __init__(self, seed: int) -> None:
        self.state = []
        for _ in range(4):
            seed = (seed + 0x9E3779B97F4A7C15) & MASK
            z = ((seed ^ (seed >> 30)) * 0xBF58476D1CE4E5B9) & MASK
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
            self.state.append(z ^ (z >> 31))

    def __call__(self) -> int:
        """The next 64 bits."""
        s = self.state
        rotate = lambda x, k: ((x << k) | (x >> (64 - k))) & MASK  # noqa: E731
        result = (rotate((s[0] + s[3]) & MASK, 23) + s[0]) & MASK
        t = (s[1] << 17) & MASK
        s[2] ^= s[0]
        s[3] ^= s[1]
        s[1] ^= s[2]
        s[0] ^= s[3]
        s[2] ^= t
        s[3] = rotate(s[3], 45)
        return result


def draws(groups: int, count: int, seed: int) -> Iterator[np.ndarray]:
    """How often each group is taken, draw by draw."""
    of_all = Xoshiro256PlusPlus(seed)
    for one in [of_all() for _ in range(count)]:
        generator = Xoshiro256PlusPlus(one)
        yield np.bincount([(generator() * groups) >> 64 for _ in range(groups)], minlength=groups)


def number(value: Any) -> float | None:
    """None for what is undefined."""
    return None if value is None or not math.isfinite(value) else float(value)


def differences(values: np.ndarray) -> dict[str, Any]:
    """Of B - A."""
    if len(values) == 0:
        names = ["mean", "sd", "limits_of_agreement", "mean_absolute", "greatest_absolute", *QUANTILES]
        return {"pairs": 0} | dict.fromkeys(names)
    mean, sd = values.mean(), values.std(ddof=1) if len(values) > 1 else None
    return {
        "pairs": len(values),
        "mean": float(mean),
        "sd": number(sd),
        "limits_of_agreement": None if sd is None else [mean - 1.96 * sd, mean + 1.96 * sd],
        "mean_absolute": float(np.abs(values).mean()),
        "greatest_absolute": float(np.abs(values).max()),
    } | {name: float(np.quantile(values, share)) for name, share in QUANTILES.items()}


def kappa(a: pd.Series, b: pd.Series) -> float | None:
    """Undefined where both say one and the same thing throughout."""
    if len(a) == 0 or (a.nunique() == 1 and b.nunique() == 1 and a.iloc[0] == b.iloc[0]):
        return None
    return number(cohen_kappa_score(a, b))


def label_figures(label: str, both: pd.DataFrame, only: dict[str, int]) -> dict[str, Any]:
    """One label over the studies in which both sides have it."""
    a, b = both.positive_a.astype(bool), both.positive_b.astype(bool)
    (neither, became_positive), (became_negative, in_both) = confusion_matrix(a, b, labels=[False, True]).tolist()
    return {
        "label": label,
        "compared": len(both),
        "only_in_a": only["a"],
        "only_in_b": only["b"],
        "positive_in_both": in_both,
        "negative_in_both": neither,
        "became_positive": became_positive,
        "became_negative": became_negative,
        "flips": int((a != b).sum()),
        "agreement": number((a == b).mean()),
        "kappa": kappa(a, b),
        "probability": differences((both.probability_b - both.probability_a).to_numpy()),
        "logit": differences((both.logit_b - both.logit_a).to_numpy()),
    }


def findings_figures(table: pd.DataFrame) -> list[dict[str, Any]]:
    """All labels; `table` has a row a study and label, with NaN where a side has it not."""
    found = []
    for label, rows in table.groupby("label", sort=True):
        has_a, has_b = rows.probability_a.notna(), rows.probability_b.notna()
        only = {"a": int((has_a & ~has_b).sum()), "b": int((has_b & ~has_a).sum())}
        found.append(label_figures(str(label), rows[has_a & has_b], only))
    return found


def components_figures(table: pd.DataFrame) -> dict[str, Any]:
    """All components; a withheld label is empty."""
    places = [[f"{axis}_{side}" for axis in "xyz"] for side in "ab"]
    by_index = []
    for index, rows in table.groupby("index", sort=True):
        same = rows.label_a == rows.label_b
        correlation = (rows.correlation_b - rows.correlation_a).dropna()
        peaks = rows.dropna(subset=places[0] + places[1])
        distance = np.linalg.norm(peaks[places[1]].to_numpy() - peaks[places[0]].to_numpy(), axis=1)
        by_index.append({
            "index": int(index),
            "compared": len(rows),
            "only_in_a": 0,
            "only_in_b": 0,
            "matched": int(same.sum()),
            "changed": int((~same).sum()),
            "withheld_in_a": int((rows.label_a == "").sum()),
            "withheld_in_b": int((rows.label_b == "").sum()),
            "agreement": number(same.mean()),
            "kappa": kappa(rows.label_a, rows.label_b),
            "probability": differences((rows.probability_b - rows.probability_a).to_numpy()),
            "group_correlation": differences(correlation.to_numpy()),
            "peak_distance_mm": differences(distance),
        })  # fmt: skip
    same = table.label_a == table.label_b
    return {
        "compared": len(table),
        "matched": int(same.sum()),
        "changed": int((~same).sum()),
        "agreement": number(same.mean()),
        "kappa": kappa(table.label_a, table.label_b),
        "by_index": by_index,
    }


def measures(truth: np.ndarray, score: np.ndarray, positive: np.ndarray, weight: np.ndarray) -> dict[str, float]:
    """Weighted; NaN where a class is not there."""
    ones, zeros = weight[truth].sum(), weight[~truth].sum()
    both = ones > 0 and zeros > 0
    bins = np.minimum((score * 10).astype(int), 9)
    found = {
        "auc": roc_auc_score(truth, score, sample_weight=weight) if both else math.nan,
        "sensitivity": recall_score(truth, positive, pos_label=True, sample_weight=weight) if ones else math.nan,
        "specificity": recall_score(truth, positive, pos_label=False, sample_weight=weight) if zeros else math.nan,
        "brier": math.nan,
    }  # fmt: skip
    if ones + zeros:
        found["brier"] = brier_score_loss(truth, score, sample_weight=weight, labels=[False, True])
    for one in range(10):
        inside = bins == one
        found[f"bin{one}"] = (
            float(np.average(truth[inside], weights=weight[inside])) if weight[inside].sum() else math.nan
        )
    return found


def interval(value: float, drawn: list[float]) -> dict[str, Any]:
    """Percentiles of what is defined, where no more than 5 % is not, and where it is not the same in every draw."""
    defined = np.array([one for one in drawn if not math.isnan(one)])
    undefined = len(drawn) - len(defined)
    sound = not math.isnan(value) and undefined <= 0.05 * len(drawn) and np.ptp(defined) > 0
    low, high = np.quantile(defined, [0.025, 0.975]) if sound else (None, None)
    return {"value": number(value), "low": number(low), "high": number(high), "undefined_draws": undefined}


def judged_label(label: str, rows: pd.DataFrame, weights: list[np.ndarray]) -> dict[str, Any]:
    """One label; `group` of `rows` are places in the weights."""
    truth, group = rows.truth.to_numpy() > 0.5, rows.group.to_numpy()
    sides = {}
    for side in "ab":
        score, positive = rows[f"probability_{side}"].to_numpy(), rows[f"positive_{side}"].to_numpy() > 0.5
        of: Callable[[np.ndarray], dict[str, float]] = lambda weight, s=score, p=positive: measures(truth, s, p, weight)  # noqa: E731
        sides[side] = (of(np.ones(len(rows))), [of(weight[group].astype(float)) for weight in weights], score)
    result: dict[str, Any] = {
        "label": label, "images": len(rows), "true_images": int(truth.sum()), "groups": int(rows.group.nunique()),
    }  # fmt: skip
    (value_a, drawn_a, _), (value_b, drawn_b, _) = sides["a"], sides["b"]
    for name in ["auc", "sensitivity", "specificity", "brier"]:
        result[name] = {
            "a": interval(value_a[name], [one[name] for one in drawn_a]),
            "b": interval(value_b[name], [one[name] for one in drawn_b]),
            "difference": interval(
                value_b[name] - value_a[name], [b[name] - a[name] for a, b in zip(drawn_a, drawn_b, strict=True)]
            ),
        }
    result["reliability"] = {side: reliability(truth, *sides[side]) for side in "ab"}
    return result


def reliability(
    truth: np.ndarray, value: dict[str, float], drawn: list[dict[str, float]], score: np.ndarray
) -> list[dict[str, Any]]:
    """Ten bins of equal width."""
    bins = np.minimum((score * 10).astype(int), 9)
    return [
        {
            "images": int((bins == one).sum()),
            "true_images": int(truth[bins == one].sum()),
            "mean_probability": number(score[bins == one].mean()) if (bins == one).any() else None,
            "observed": interval(value[f"bin{one}"], [draw[f"bin{one}"] for draw in drawn]),
        }
        for one in range(10)
    ]


def judgement(table: pd.DataFrame, truth: pd.DataFrame, group: str | None, count: int, seed: int) -> dict[str, Any]:
    """Both sides against the truth, over the studies that it names and both have read."""
    truth = truth.set_index("study")
    studies = set(table.study)
    known = truth[truth.index.isin(studies)]
    names = known[group].astype(str) if group else pd.Series(known.index, index=known.index)
    places = {name: place for place, name in enumerate(sorted(set(names)))}
    weights = list(draws(len(places), count, seed))
    both = table.dropna(subset=["probability_a", "probability_b"])
    columns = [column for column in truth.columns if column != group]
    labels = sorted(set(both.label) & set(columns))
    judged = []
    for label in labels:
        rows = both[both.label == label].copy()
        rows["truth"] = rows.study.map(known[label])
        rows = rows.dropna(subset=["truth"])
        rows["group"] = rows.study.map(names).map(places).astype(int)
        judged.append(judged_label(label, rows, weights))
    return {
        "studies": len(known),
        "groups": len(places),
        "studies_without_truth": len(studies) - len(known),
        "truth_without_study": len(truth) - len(known),
        "labels_without_truth": sorted(set(both.label) - set(columns)),
        "columns_without_label": [column for column in columns if column not in labels],
        "labels": judged,
    }


def segments_figures(table: pd.DataFrame) -> dict[str, Any]:
    """All segments; `table` has a row a volume and label: NaN where a side has it not, 0 mL where it was not found."""
    by_label = []
    for label, rows in table.groupby("label", sort=True):
        has_a, has_b = rows.volume_a.notna(), rows.volume_b.notna()
        both = rows[has_a & has_b]
        a, b = both.volume_a > 0, both.volume_b > 0
        (neither, appeared), (vanished, in_both) = confusion_matrix(a, b, labels=[False, True]).tolist()
        found = both[a & b]
        change = found.volume_b - found.volume_a
        by_label.append({
            "label": str(label),
            "compared": len(both),
            "only_in_a": int((has_a & ~has_b).sum()),
            "only_in_b": int((has_b & ~has_a).sum()),
            "found_in_both": in_both,
            "found_in_neither": neither,
            "appeared": appeared,
            "vanished": vanished,
            "flips": appeared + vanished,
            "agreement": number((a == b).mean()),
            "kappa": kappa(a, b),
            "volume_ml": differences(change.to_numpy()),
            "volume_percent": differences((200 * change / (found.volume_a + found.volume_b)).to_numpy()),
            "mean_hu": differences((found.mean_b - found.mean_a).to_numpy()),
        })  # fmt: skip
    both = table.dropna(subset=["volume_a", "volume_b"])
    a, b = both.volume_a > 0, both.volume_b > 0
    flips = both[a != b]
    order = (flips.volume_b - flips.volume_a).abs().sort_values(ascending=False, kind="stable").index
    named = flips.loc[order, ["study", "label", "volume_a", "volume_b"]]
    return {
        "compared": len(both),
        "matched": int((a == b).sum()),
        "flips": len(flips),
        "agreement": number((a == b).mean()),
        "kappa": kappa(a, b),
        "by_label": by_label,
        "named_flips": [
            {"study": study, "label": label, "volume_ml_a": one, "volume_ml_b": other, "found_in": "A" if one else "B"}
            for study, label, one, other in named.itertuples(index=False)
        ],
    }


def plant() -> None:
    """Writes the golden case."""
    generator = np.random.default_rng(20)
    findings, truth = planted_findings(generator)
    components = planted_components(generator)
    segments = planted_segments(np.random.default_rng(21))
    findings.to_csv(HERE / "findings.csv", index=False, float_format="%.9g")
    components.to_csv(HERE / "components.csv", index=False)
    segments.to_csv(HERE / "segments.csv", index=False)
    truth.to_csv(HERE / "truth.csv", index=False)
    labels, scans, volumes = findings_figures(findings), components_figures(components), segments_figures(segments)
    others = components.study.nunique() + segments.study.nunique()
    expected = {
        "compared": findings.study.nunique() + others,
        "decisions": sum(label["compared"] for label in labels) + scans["compared"] + volumes["compared"],
        "flips": sum(label["flips"] for label in labels) + scans["changed"] + volumes["flips"],
        "labels": labels,
        "components": scans,
        "segments": volumes,
        # Scans and volumes are studies that the truth does not name.
        "judgement": judgement(findings, truth, "patient", DRAWS, SEED),
    }
    expected["judgement"]["studies_without_truth"] += others
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")


def documents(folder: Path) -> dict[str, dict[str, Any]]:
    """The documents of a results folder that are ok, by study."""
    found = {}
    for path in sorted(folder.rglob("*.json")):
        document = json.loads(path.read_text())
        if document.get("status") == "ok":
            found[document["study"]["name"]] = document
    return found


def joined(a: dict[str, Any], b: dict[str, Any]) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Findings, components and segments of the studies that both have."""
    findings, components, segments = [], [], []
    for study in sorted(set(a) & set(b)):
        sides = {"a": a[study], "b": b[study]}
        of = {side: {one["label"]: one for one in document.get("findings", [])} for side, document in sides.items()}
        for label in sorted(set(of["a"]) | set(of["b"])):
            row: dict[str, Any] = {"study": study, "label": label}
            for side, by_label in of.items():
                one = by_label.get(label, {})
                row |= {f"{key}_{side}": float(one.get(key, math.nan)) for key in ["logit", "probability", "positive"]}
            findings.append(row)
        maps = {side: {one["index"]: one for one in document.get("components", [])} for side, document in sides.items()}
        for index in sorted(set(maps["a"]) & set(maps["b"])):
            row = {"study": study, "index": index}
            for side, by_index in maps.items():
                one = by_index[index]
                place = one["map"] or {}
                row[f"label_{side}"] = one["label"] or ""
                row[f"probability_{side}"] = one["probability"]
                row[f"correlation_{side}"] = place.get("group_correlation", math.nan)
                peak = place.get("peak_mni_mm", [math.nan] * 3)
                row |= {f"{axis}_{side}": one for axis, one in zip("xyz", peak, strict=True)}
            components.append(row)
        organs = {side: {one["label"]: one for one in document.get("segments", [])} for side, document in sides.items()}
        for label in sorted(set(organs["a"]) | set(organs["b"])):
            row = {"study": study, "label": label}
            for side, by_label in organs.items():
                one = by_label.get(label, {})
                row[f"volume_{side}"], mean = one.get("volume_ml", math.nan), one.get("mean_hu")
                row[f"mean_{side}"] = math.nan if mean is None else mean
            segments.append(row)
    tables = pd.DataFrame(findings), pd.DataFrame(components), pd.DataFrame(segments)
    for table in tables:
        for column in table.columns:
            if column.startswith(("logit", "probability")):
                table[column] = single(table[column])
    return tables


def apart(expected: Any, found: Any, path: str) -> Iterator[str]:
    """Where `found` is not what was expected, to 1e-9; what only `found` has is not looked at."""
    if isinstance(expected, dict) and isinstance(found, dict):
        for key, value in expected.items():
            yield from apart(value, found.get(key, "nothing"), f"{path}.{key}")
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for place, (one, other) in enumerate(zip(expected, found, strict=True)):
            yield from apart(one, other, f"{path}[{place}]")
    elif isinstance(expected, float | int) and isinstance(found, float | int):
        if abs(expected - found) > 1e-9:
            yield f"{path}: {expected} by this script, {found} found"
    elif expected != found:
        yield f"{path}: {expected} by this script, {found} found"


def hold(args: argparse.Namespace) -> int:
    """Holds what was said of two folders against this script."""
    found = json.loads(args.found.read_text())
    findings, components, segments = joined(documents(args.a), documents(args.b))
    expected: dict[str, Any] = {}
    if len(findings):
        expected["labels"] = findings_figures(findings)
    if len(components):
        expected["components"] = components_figures(components)
    if len(segments):
        expected["segments"] = segments_figures(segments)
        # A command names only the first of them.
        del expected["segments"]["named_flips"]
    if args.truth:
        bootstrap = found["judgement"]["bootstrap"]
        truth = pd.read_csv(args.truth, dtype={"study": str} | ({args.group: str} if args.group else {}))
        judged = judgement(findings, truth, args.group, bootstrap["draws"], bootstrap["seed"])
        expected["judgement"] = {"labels": judged["labels"], "groups": judged["groups"], "studies": judged["studies"]}
    problems = list(apart(expected, found, ""))
    print("\n".join(problems) or f"equal to 1e-9: {sum(1 for _ in leaves(expected))} figures")
    return 1 if problems else 0


def leaves(value: Any) -> Iterator[Any]:
    """Every figure."""
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from leaves(inner)
    else:
        yield value


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("plant")
    holding = commands.add_parser("hold")
    holding.add_argument("a", type=Path)
    holding.add_argument("b", type=Path)
    holding.add_argument("--found", type=Path, required=True)
    holding.add_argument("--truth", type=Path)
    holding.add_argument("--group")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.command == "hold":
        return hold(args)
    plant()
    return 0


if __name__ == "__main__":
    sys.exit(main())
