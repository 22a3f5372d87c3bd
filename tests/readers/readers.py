"""Holds tables against a plain loop over the documents they were made of, value for value.

readers.py DOCUMENTS LONG.parquet LONG.csv LONG.jsonl DATASET WIDE.parquet

pandas (by pyarrow), polars and DuckDB read Parquet; pandas CSV and JSON lines. R reads CSV in readers.R.
"""

import json
import math
import sys
from datetime import datetime
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import polars as pl

MAPS = {"input": "input", "regression": "regression"}
SINGLE = {"probability", "logit", "threshold"}
TIMES = ("study_last_modified", "read_at")


def documents(folder):
    """Path below the folder, and document, of each; without what lies beside them."""
    for path in sorted(Path(folder).rglob("*.json")):
        document = json.loads(path.read_bytes())
        if isinstance(document, dict) and str(document.get("schema", "")).startswith("nightread.result."):
            yield path.relative_to(folder).as_posix(), document


def of_document(path, document):
    """What a document says once. Lists are JSON text: here they are what they say."""
    study, model, error = document["study"], document["model"], document.get("error") or {}
    row = {f"study_{key}": value for key, value in study.items()}
    row |= {f"model_{key}": value for key, value in model.items()}
    row |= {f"error_{key}": error.get(key) for key in ("code", "stage", "message")}
    row |= {key: document[key] for key in ("task", "status", "schema", "notice", "read_at", "warnings", "artefacts")}
    codes = [warning["code"] for warning in document["warnings"]]
    row |= {"warning_count": len(codes), "warning_codes": " ".join(codes) or None}
    row |= {"worker_version": document["worker"]["version"], "document_path": path}
    for name in MAPS:
        facts = dict(document.get(name) or {})
        grid = facts.pop("grid_voxels", None)
        if grid:
            row |= {f"input_grid_{axis}_voxels": grid[at] for at, axis in enumerate("xyz")}
        overlap = facts.pop("overlap", None)
        if overlap:
            row |= {f"regression_overlap_{key}": value for key, value in overlap.items()}
        row |= {f"{name}_{key}": value for key, value in facts.items()}
    row |= {f"timing_{stage}_ms": value for stage, value in document["timing_ms"].items()}
    return row


def items(document):
    """What each finding or component says."""
    for finding in document.get("findings") or []:
        heatmaps = [file["path"] for file in document["artefacts"] if file.get("of") == finding["label"]]
        yield finding | {"heatmap_path": heatmaps[0] if heatmaps else None}
    for component in document.get("components") or []:
        place = component["map"] or {}
        peak = place.get("peak_mni_mm") or [None] * 3
        row = {"label": component["label"], "probability": component["probability"]}
        row |= {f"component_{key}": component[key] for key in ("index", "family", "top", "flags")}
        row |= {f"component_peak_{axis}_mm": peak[at] for at, axis in enumerate("xyz")}
        row["component_peak_z_score"] = place.get("peak_z")
        row |= {f"component_{key}": place.get(key) for key in ("group_correlation", "peak_at_chance")}
        yield row


def long_rows(folder):
    for path, document in documents(folder):
        head = of_document(path, document)
        for item in list(items(document)) or [{}]:
            yield head | item


def same(name, found, expected):
    """Whether a cell is what the document says. Undefined is null, never 0."""
    if found is None or (isinstance(found, float) and math.isnan(found)) or found is pd.NaT:
        return expected is None
    if expected is None:
        return False
    if isinstance(expected, (list, dict)):
        return (json.loads(found) if isinstance(found, str) else found) == expected
    if name in TIMES:
        if isinstance(found, str):
            found = datetime.fromisoformat(found)
        return pd.Timestamp(found).tz_convert("UTC") == pd.Timestamp(expected).tz_convert("UTC").floor("us")
    if name.split("_")[0] in SINGLE or name.endswith("_probability"):
        return np.float32(found) == np.float32(expected)
    if isinstance(expected, bool):
        return str(found).lower() == str(expected).lower()
    if isinstance(expected, (int, float)):
        return float(found) == float(expected)
    return str(found) == expected


def hold(reader, table, expected, columns):
    """table: rows as dictionaries. In no order: sorted by where a row comes from."""
    def key(row):
        index = row.get("component_index")
        index = -1 if index is None or (isinstance(index, float) and math.isnan(index)) else int(index)
        label = row.get("label")
        return (row["document_path"], index, label if isinstance(label, str) else "")

    table = sorted(table, key=key)
    assert len(table) == len(expected), f"{reader}: {len(table)} rows, {len(expected)} expected"
    values = 0
    for found, said in zip(table, sorted(expected, key=key)):
        assert set(found) == set(columns), f"{reader}: {set(found) ^ set(columns)}"
        unknown = [name for name in said if name not in found and said[name] is not None]
        assert not unknown, f"{reader}: no column for {unknown}"
        for name, value in found.items():
            if name in ("document_etag", "input_other", "regression_other", "timing_other_ms"):
                continue
            assert same(name, value, said.get(name)), (
                f"{reader}: {said['document_path']}: {name} is {value!r}, and the document says {said.get(name)!r}"
            )
            values += 1
    print(f"{reader}: {len(table)} rows, {values} values")


def wide_rows(folder):
    for path, document in documents(folder):
        row = of_document(path, document)
        for item in items(document):
            if "component_index" in item:
                index = item["component_index"]
                for name, value in item.items():
                    if name != "component_index":
                        row[f"component_{index}_{name.removeprefix('component_')}"] = value
            else:
                row |= {f"{name}_{item['label']}": value for name, value in item.items() if name != "label"}
        yield row


def main(folder, parquet, csv, jsonl, dataset, wide):
    expected = list(long_rows(folder))
    assert expected, "there are documents"
    frame = pd.read_parquet(parquet)
    columns = list(frame.columns)
    assert str(frame.dtypes["probability"]) == "float32"
    assert str(frame.dtypes["read_at"]) == "datetime64[us, UTC]"

    def dictionaries(frame):
        return frame.astype(object).where(frame.notna(), None).to_dict("records")

    hold("pandas", dictionaries(frame), expected, columns)
    hold("pandas, data set", dictionaries(pd.read_parquet(dataset)), expected, columns)
    hold("polars", pl.read_parquet(parquet).to_dicts(), expected, columns)
    hold("polars, data set", pl.read_parquet(dataset).to_dicts(), expected, columns)
    duck = duckdb.connect()
    duck.execute("set timezone = 'UTC'")
    for name, place in (("DuckDB", parquet), ("DuckDB, data set", f"{dataset}/*.parquet")):
        result = duck.execute("select * from read_parquet(?)", [str(place)])
        names = [column[0] for column in result.description]
        hold(name, [dict(zip(names, row)) for row in result.fetchall()], expected, columns)
    text = pd.read_csv(csv, dtype=str, keep_default_na=False, na_values=[""])
    hold("pandas, CSV", dictionaries(text), [empty_as_null(row) for row in expected], columns)
    with open(jsonl, encoding="utf-8") as lines:
        hold("json, JSON lines", [json.loads(line) for line in lines], expected, columns)
    frame = pd.read_parquet(wide)
    hold("pandas, wide", dictionaries(frame), list(wide_rows(folder)), list(frame.columns))


def empty_as_null(row):
    """CSV knows no difference."""
    return {name: None if value == "" else value for name, value in row.items()}


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
