//! Times a model folder through the engine, on demand: Nightread's side of `worker/benches/inference.py`.
//!
//!     time_model FOLDER fp32|int8 cpu|openvino BATCH THREADS INPUT
//!
//! `INPUT` holds `BATCH` items as raw little-endian `f32`. One session with `THREADS` threads. First a line of JSON with
//! the logits, row by row; then, for each line read from standard input, the milliseconds from handing all items to the
//! engine until the last answer was there.

use std::io::{self, BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nightread_engine::{
    Engine, EngineOptions, Manifest, ModelKey, Outputs, Precision, Provider, Runtime, Search, VerifiedModel,
};

fn main() -> io::Result<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, precision, provider, batch, threads, input] = words.as_slice() else {
        return Err(io::Error::other("usage: time_model FOLDER fp32|int8 cpu|openvino BATCH THREADS INPUT"));
    };
    let precision: Precision = precision.parse().map_err(io::Error::other)?;
    let provider: Provider = provider.parse().map_err(io::Error::other)?;
    let number = |word: &str| word.parse::<usize>().map_err(io::Error::other);
    let (batch, threads) = (number(batch)?, number(threads)?);
    let (engine, key, items) =
        open(Path::new(folder), precision, provider, batch, threads, Path::new(input))?;

    let answers = infer(&engine, &key, items.clone())?;
    let name =
        engine.manifest(&key).map(|manifest| manifest.output.heads[0].logits.as_str()).unwrap_or_default();
    let logits = answers.iter().map(|answer| answer.arrays.values(name));
    let logits: Vec<_> = logits.collect::<Result<_, _>>().map_err(io::Error::other)?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}", serde_json::json!({ "logits": logits }))?;
    out.flush()?;
    for line in io::stdin().lock().lines() {
        line?;
        // The engine takes its tensors over, as it does in the pipeline: the copy is not its cost.
        let given = items.clone();
        let start = Instant::now();
        let answers = infer(&engine, &key, given)?;
        let milliseconds = start.elapsed().as_secs_f64() * 1e3;
        if let Some(answer) = answers.iter().find(|answer| answer.timing.batch != batch) {
            let ran = answer.timing.batch;
            return Err(io::Error::other(format!("{ran} items ran together, not {batch}")));
        }
        writeln!(out, "{milliseconds}")?;
        out.flush()?;
    }
    Ok(())
}

fn open(
    folder: &Path,
    precision: Precision,
    provider: Provider,
    batch: usize,
    threads: usize,
    input: &Path,
) -> io::Result<(Engine, ModelKey, Vec<Vec<f32>>)> {
    let setting = std::env::var_os("NIGHTREAD_MODELS_RUNTIME").map(PathBuf::from);
    let runtime = Runtime::load(&Search::new(setting, provider)).map_err(io::Error::other)?;
    let manifest = Arc::new(Manifest::load(folder).map_err(io::Error::other)?);
    let model = VerifiedModel::open(&manifest, precision).map_err(io::Error::other)?;
    let key = model.key().clone();
    let bytes = std::fs::read(input)?;
    let values: Vec<f32> = bytes.as_chunks::<4>().0.iter().map(|chunk| f32::from_le_bytes(*chunk)).collect();
    let items: Vec<Vec<f32>> = values.chunks(manifest.input.item_len()).map(<[f32]>::to_vec).collect();
    if items.len() != batch {
        return Err(io::Error::other(format!(
            "{} holds {} items, not {batch}",
            input.display(),
            items.len()
        )));
    }
    let options = EngineOptions {
        intra_threads: threads,
        max_batch_items: batch,
        // Long enough that all items of a measurement run together.
        linger: Duration::from_secs(u64::from(batch > 1)),
        provider,
        ..EngineOptions::for_cores(1)
    };
    let engine = Engine::start(&runtime, vec![model], options).map_err(io::Error::other)?;
    Ok((engine, key, items))
}

fn infer(engine: &Engine, key: &ModelKey, items: Vec<Vec<f32>>) -> io::Result<Vec<Outputs>> {
    let waiting: Vec<_> = items.into_iter().map(|item| engine.infer(key, item)).collect();
    waiting.into_iter().map(|answer| answer.wait().map_err(io::Error::other)).collect()
}
