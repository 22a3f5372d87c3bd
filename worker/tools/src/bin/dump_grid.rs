//! Reads volumes from standard input and answers each with the model's grid. `parity/parity.py` compares them with the
//! peers'.
//!
//! A volume is a line of JSON (`shape`, `affine`, `recipe` with the fields of a manifest), then its values as raw
//! little-endian `i16`, axis 0 fastest. The answer is a line of JSON, then the grid as raw little-endian `f32`. Times are
//! wall-clock; `idle_kb` and `peak_kb` are the process's resident memory before the first volume and at its most.

#[path = "../../../crates/segmentation/tests/common/mod.rs"]
mod common;

use std::error::Error;
use std::io::{self, BufRead, Read, Write};
use std::time::Instant;

use nightread_segmentation::grid::{model_shape, prepare};
use nightread_segmentation::{Back, Grid};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let (mut input, mut out) = (io::stdin().lock(), io::stdout().lock());
    let mut line = String::new();
    while input.read_line(&mut line)? > 0 {
        let head: Value = serde_json::from_str(&line)?;
        line.clear();
        let shape: [usize; 3] = serde_json::from_value(head["shape"].clone())?;
        let values = values(&mut input, shape.iter().product())?;
        let source = Grid { shape, affine: serde_json::from_value(head["affine"].clone())?, values };
        answer(&source, &head["recipe"], &mut out)?;
    }
    Ok(())
}

/// Reads values a piece at a time, so that they are held once.
fn values(input: &mut impl Read, count: usize) -> io::Result<Vec<i16>> {
    let mut values = Vec::with_capacity(count);
    let mut piece = vec![0; 1 << 16];
    while values.len() < count {
        let bytes = piece.len().min((count - values.len()) * 2);
        input.read_exact(&mut piece[..bytes])?;
        values.extend(piece[..bytes].chunks_exact(2).map(|pair| i16::from_le_bytes([pair[0], pair[1]])));
    }
    Ok(values)
}

fn answer(
    source: &Grid<i16>,
    recipe: &Value,
    out: &mut impl Write,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let recipe = common::recipe(recipe)?;
    let needs = model_shape(source.shape, source.affine, &recipe)?;
    let idle_kb = resident("VmRSS:");
    let start = Instant::now();
    let prepared = prepare(source, &recipe, u64::MAX)?;
    let head = json!({
        "shape": prepared.grid.shape, "affine": prepared.grid.affine, "back": back(&prepared.back),
        "inside": prepared.inside.iter().map(|range| [range.start, range.end]).collect::<Vec<_>>(),
        "seconds": start.elapsed().as_secs_f64(), "idle_kb": idle_kb, "peak_kb": resident("VmHWM:"),
        "needs": { "shape": needs.shape, "grid_bytes": needs.grid_bytes, "peak_bytes": needs.peak_bytes },
    });
    writeln!(out, "{head}")?;
    for value in &prepared.grid.values {
        out.write_all(&value.to_le_bytes())?;
    }
    Ok(out.flush()?)
}

fn back(back: &Back) -> Value {
    match back {
        Back::Separable(maps) => maps
            .iter()
            .map(|map| json!({"source_axis": map.source_axis, "coordinates": map.coordinates, "nearest": map.nearest}))
            .collect(),
        Back::Affine(rows) => json!(rows),
    }
}

/// Kilobytes from this process's status; 0 where there is no `/proc`.
fn resident(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let value = status.lines().find_map(|line| line.strip_prefix(field));
    value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}
