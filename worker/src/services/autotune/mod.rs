//! Short runs of the real reading, on generated images, to choose how the cores are split.

pub mod images;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use nightread_domain::{BlobRef, Body, FetchedStudy, JobError};
use nightread_engine::{Task, tune};

use crate::app::{self, Composition, Stores};
use crate::compute::models::LoadPolicy;
use crate::compute::split::{Pace, Split, Until, best, candidates, closed_loop};
use crate::compute::verified::Model;
use crate::flow::timing::Timing;
use crate::pipeline::tools::Tools;
use crate::settings::validate::cores;
use crate::settings::{ProviderChoice, Settings};
use images::Image;

/// Time given to one candidate.
const EACH: Duration = Duration::from_millis(800);

/// Candidates so much slower than the best end the search: more threads in a session would be slower still.
const HOPELESS: f64 = 0.8;

/// Components of a scan that go to the engine together.
const COMPONENTS: usize = 8;

/// Side of the generated images, in pixels.
pub const SIDE: u32 = 2000;

/// What all jobs share, with models opened when `load_policy` says and the cores split as the settings say. Where they leave
/// that open, it is measured where that is worth it, and guessed otherwise. Blocks for seconds.
pub fn tools(
    mut composition: Composition,
    settings: &Settings,
    stores: &Stores,
    load_policy: LoadPolicy,
    worth_measuring: impl FnOnce(&Composition) -> bool,
) -> Result<Tools> {
    let split = if worth_measuring(&composition) {
        choose_providers(&mut composition, settings, load_policy)?;
        choose(&composition, settings, stores, load_policy)?
    } else {
        Split::guess(cores(), &settings.engine)
    };
    Ok(composition.tools(settings, stores, split, load_policy)?)
}

/// Where the settings leave it open, puts each model that is going to work on the provider that is fastest here.
///
/// # Errors
/// As [`nightread_engine::trial::fastest_provider`].
pub fn choose_providers(
    composition: &mut Composition,
    settings: &Settings,
    load_policy: LoadPolicy,
) -> Result<(), JobError> {
    if settings.engine.provider != ProviderChoice::Fastest {
        return Ok(());
    }
    let only_images = only_images(composition, load_policy);
    composition.opened.choose_providers(|model| !only_images || reads_images(model))
}

fn reads_images(model: &Model) -> bool {
    model.manifest.task == Task::Radiograph
}

/// Models that are opened at their first study only are not tried out beside one that reads images: they would be opened to be
/// measured alone.
fn only_images(composition: &Composition, load_policy: LoadPolicy) -> bool {
    matches!(load_policy, LoadPolicy::Lazy { .. })
        && composition.opened.models().any(|model| reads_images(model))
}

/// What is read to tune, over and over.
#[derive(Clone, Debug)]
struct Sample {
    model: Arc<Model>,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    Image(Image),
    /// An item of the network's input, as a study of many has them: the components of a scan.
    Items(Vec<f32>),
}

/// One sample for each model that is going to work.
#[derive(Clone, Debug)]
pub struct Samples(Arc<Vec<Sample>>);

impl Samples {
    /// Of the models that are worth it.
    pub fn of(composition: &Composition, load_policy: LoadPolicy) -> Result<Self, JobError> {
        let only_images = only_images(composition, load_policy);
        let sample = |model: &Arc<Model>| {
            let what = if reads_images(model) {
                What::Image(Image::of(model, SIDE, 0)?)
            } else {
                What::Items(tune::sample(&model.manifest))
            };
            Ok(Sample { model: Arc::clone(model), what })
        };
        // Networks of volumes have all the threads there are.
        let by_items = composition.opened.models().filter(|model| model.manifest.window.is_none());
        let models = by_items.filter(|model| !only_images || reads_images(model));
        models.map(sample).collect::<Result<_, _>>().map(|samples| Self(Arc::new(samples)))
    }

    /// Whether there is nothing to measure by.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// More images like those of the samples, one for each seed, for as many models as there are.
    pub fn images(&self, side: u32, seed: u64) -> Result<Vec<Image>, JobError> {
        let images = self.0.iter().filter(|sample| matches!(sample.what, What::Image(_)));
        images.map(|sample| Image::of(&sample.model, side, seed)).collect()
    }

    /// Whether all of it are images, which come as files; tensors do not.
    pub fn are_images(&self) -> bool {
        self.0.iter().all(|sample| matches!(sample.what, What::Image(_)))
    }

    /// Reads the samples in turn with `in_flight` at once: the whole way of a study but storage.
    pub async fn read(&self, tools: Arc<Tools>, in_flight: usize, until: Until) -> Result<Pace, JobError> {
        let samples = Arc::clone(&self.0);
        closed_loop(in_flight, until, move |number| {
            let (samples, tools) = (Arc::clone(&samples), Arc::clone(&tools));
            async move { read(&samples[number % samples.len()], &tools).await }
        })
        .await
    }
}

async fn read(sample: &Sample, tools: &Tools) -> Result<(), JobError> {
    match &sample.what {
        What::Image(Image { media, bytes }) => {
            let timing = &mut Timing::default();
            let blob = BlobRef::new("autotune", "image")?;
            let study = FetchedStudy::of_blob(&blob, Body::Held(bytes.clone()));
            let room = tools.bytes_in_flight.room_for(bytes.len() as u64).await?;
            let models = std::slice::from_ref(&sample.model);
            let mut opened = tools.reader.open(study, *media, models, room, None, timing).await?;
            opened.read(&tools.reader, &sample.model, timing).await?;
        }
        What::Items(tensor) => {
            let engine = tools.reader.models.engine(&sample.model.key).await?;
            let together = (0..COMPONENTS).map(|_| engine.infer(&sample.model.key, tensor.clone()));
            futures::future::try_join_all(together).await?;
        }
    }
    Ok(())
}

/// The split to use: what the settings pin, and of what they leave open the fastest on this machine now, with the models
/// of this worker. Blocks for some seconds.
pub fn choose(
    composition: &Composition,
    settings: &Settings,
    stores: &Stores,
    load_policy: LoadPolicy,
) -> Result<Split> {
    let candidates = candidates(cores(), &settings.engine);
    let guess = candidates[0];
    let fewer = (settings.engine.decode_threads.is_none() && guess.decode_threads > 1)
        .then(|| guess.decode_threads.div_ceil(2));
    if candidates.len() == 1 && fewer.is_none() {
        return Ok(guess);
    }
    let samples = Samples::of(composition, load_policy)?;
    if samples.is_empty() {
        return Ok(guess);
    }
    let runtime = app::runtime::two_threads()?;
    let measure = |split: Split| -> Result<(Split, f64), JobError> {
        let tools = Arc::new(composition.tools(settings, stores, split, load_policy)?);
        // The first study may have to wait for its model.
        let warm = Until::Jobs(samples.0.len() * split.sessions);
        runtime.block_on(samples.read(Arc::clone(&tools), split.sessions, warm))?;
        let pace = runtime.block_on(samples.read(tools, settings.limits.jobs, Until::Elapsed(EACH)))?;
        Ok((split, pace.rate))
    };
    let mut measured: Vec<(Split, f64)> = Vec::new();
    for split in candidates {
        let next = measure(split)?;
        let highest = measured.iter().map(|(_, rate)| *rate).fold(0.0, f64::max);
        measured.push(next);
        if next.1 < HOPELESS * highest {
            break;
        }
    }
    let chosen = best(&measured).unwrap_or(guess);
    if let Some(decode_threads) = fewer {
        measured.push(measure(Split { decode_threads, ..chosen })?);
    }
    let chosen = best(&measured).unwrap_or(guess);
    let rates: Vec<_> = measured.iter().map(|(split, rate)| format!("{split}: {rate:.1}/s")).collect();
    tracing::info!(%chosen, rates = rates.join(", "), "measured how to split the cores");
    Ok(chosen)
}
