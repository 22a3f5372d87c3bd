//! `nightread announce`: one announcement for each of many blobs, confirmed, in bounded memory.

mod checkpoint;
mod done;
mod filter;
mod item;
mod merge;
mod pace;
mod progress;
mod publisher;
mod shift;
mod source;
mod summary;
mod work;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nightread_domain::announcement::SETS;
use nightread_domain::ports::Listing;
use nightread_domain::routing::Routing;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use self::checkpoint::Checkpoint;
use self::done::Done;
use self::filter::Filter;
use self::pace::Pace;
use self::progress::Progress;
pub(crate) use self::publisher::PublishEnd;
use self::publisher::{AnnouncementPublisher, Keep, Ledger};
use self::shift::Shift;
use self::source::{BlobSource, Place};
use self::summary::Summary;
use self::work::{PreparedBatch, Selector, Template};
use crate::adapters::amqp::Parking;
use crate::adapters::storage::azure::{Account, AzureOptions, AzureStore};
use crate::adapters::storage::folder::FolderStore;
use crate::app;
use crate::app::WrongUse;
use crate::app::stop_on_signals;
use crate::cli::announce::AnnounceArgs;
use crate::compute::routes::{routing, rule_for};
use crate::services::simulate::outlook::{Night, until};
use crate::settings::{AzureAccess, Problems, Settings, StorageSettings};

/// What only this command needs, and what its flags do not allow together.
pub(crate) fn require(args: &AnnounceArgs, settings: &Settings, problems: &mut Problems) {
    if settings.broker.is_none() && !args.dry_run {
        problems.add("[broker] url is missing (NIGHTREAD_BROKER_URL); --dry-run needs none");
    }
    if args.bring_back {
        return;
    }
    let lists_only = args.names || !args.inventory.is_empty();
    if settings.storage.is_none() && (!lists_only || args.skip_done) {
        problems.add("[storage] is incomplete: kind folder needs folder, kind azure needs a way in");
    }
    for place in &args.places {
        let container = Place::parse(place).container;
        let holds_sets = args.sets && container == settings.results_container;
        if !holds_sets && !settings.source_containers.contains(&container) {
            let inputs = settings.source_containers.join(", ");
            problems
                .add(format!("{container} is not among [sources] containers ({inputs}): no worker reads it"));
        }
    }
    let needs_facts = args.min_bytes.is_some() || args.max_bytes.is_some() || args.modified_since.is_some();
    if args.names && needs_facts {
        problems.add("--names: a list of names knows no sizes and times; leave those conditions out, or list the container");
    }
    if args.from_event_grid_dead_letter.is_some() && (args.min_bytes.is_some() || args.max_bytes.is_some()) {
        problems
            .add("--from-event-grid-dead-letter: sizes are not known; leave --min-bytes and --max-bytes out");
    }
}

/// Announces what `args` name, until all is announced or a signal stops it.
///
/// # Errors
/// When names cannot be had, or the broker takes none for too long. A checkpoint stands.
pub(crate) async fn run(args: &AnnounceArgs, settings: &Settings) -> Result<Summary> {
    let night = args.finish_by.map(|hour| nights_work(args, hour)).transpose()?;
    let storage = settings.storage.as_ref().map(|storage| open(args, settings, storage)).transpose()?;
    let source = source(args, settings, storage.as_ref())?;
    let is_a_list = source.is_a_list();
    let mut done = None;
    if args.skip_done {
        let storage = storage.context("storage was required above")?;
        let mut checks = skip(args, settings, storage)?;
        checks.sets = args.sets;
        checks.merging = !args.sets && source.is_in_order() && checks.storage.keeps_metadata();
        checks.prefixes = source.prefixes();
        done = Some(checks);
    }
    let fingerprint = fingerprint(args, settings);
    let kept = match &args.checkpoint {
        Some(path) => Checkpoint::read(path, &fingerprint)?,
        None => None,
    };
    let resumed = kept.is_some();
    let (position, counts, left_over) = match kept {
        Some(kept) => {
            progress::goes_on_after(kept.counts.announced);
            (kept.position.clone(), kept.counts, kept.open()?)
        }
        None => Default::default(),
    };
    let ledger = Ledger::new(position.clone(), counts, left_over.clone());
    let mut containers = settings.source_containers.clone();
    containers.extend(args.sets.then(|| settings.results_container.clone()));
    let filter = Selector { filter: Filter::new(args)?, containers, done };
    let mut prepared = filter.start(left_over, source.start(position));
    let asked = CancellationToken::new();
    stop_on_signals([asked.clone()])?;
    let stop = asked.child_token();
    if let Some((left, _)) = night {
        stop_after(left, stop.clone());
    }
    let verb = if args.dry_run { "would be announced" } else { "announced" };
    let mut progress = Progress::new(counts.announced, verb);
    let mut summary = Summary {
        counts,
        before: counts.announced,
        elapsed: Duration::ZERO,
        pauses: 0,
        resumed,
        brought_back: 0,
        parked: 0,
        ended: PublishEnd::Finished,
        dry_run: args.dry_run,
        is_a_list,
        outlook: None,
    };
    let night = night.and_then(|(_, night)| night);
    if args.dry_run {
        let (ended, ledger) = count(&mut prepared, ledger, &stop, &mut progress).await?;
        (summary.ended, summary.counts, summary.elapsed) = (ended, ledger.counts, progress.elapsed());
        summary.look_ahead(night.as_ref());
    } else {
        let broker = settings.broker.as_ref().context("a broker was required above")?;
        let options = app::rabbit(broker, &settings.limits)?;
        let shift = Shift::new(args, options.clone(), asked, stop.clone());
        summary.brought_back = shift.begin().await?;
        let keep = args.checkpoint.clone().map(|path| Keep { path, fingerprint });
        let pace = Pace::new(args.rate, args.max_backlog);
        let template = template(args);
        let mut publisher = AnnouncementPublisher::new(options, template, pace, keep, stop, progress, ledger);
        publisher.patience = Duration::from_secs(args.broker_patience);
        let ended = publisher.run(&mut prepared).await?;
        summary.counts = publisher.ledger.counts;
        (summary.elapsed, summary.pauses) = (publisher.progress.elapsed(), publisher.progress.pauses);
        summary.look_ahead(night.as_ref());
        if let Some(outlook) = &summary.outlook {
            progress::says(&outlook.as_text());
        }
        (summary.ended, summary.parked) = shift.end(ended).await?;
    }
    if let (PublishEnd::Finished, Some(path)) = (summary.ended, &args.checkpoint) {
        checkpoint::remove(path)?;
    }
    Ok(summary)
}

/// Brings back what is parked, and announces nothing: how many messages.
///
/// # Errors
/// What the broker says; what was not brought back is parked still.
pub(crate) async fn bring_back(settings: &Settings) -> Result<u64> {
    let broker = settings.broker.as_ref().context("a broker was required above")?;
    Ok(Parking::new(app::rabbit(broker, &settings.limits)?).bring_back().await?)
}

fn template(args: &AnnounceArgs) -> Template {
    Template {
        lane: args.lane().into(),
        sets: args.sets,
        model: args.model.clone(),
        force: args.force,
        correlation_id: args.correlation_id.as_deref().map(Arc::from),
    }
}

/// How long there is until the hour at which all is to be done, and what is to be known of the fleet until then.
fn nights_work(args: &AnnounceArgs, hour: Duration) -> Result<(Duration, Option<Night>)> {
    let now = OffsetDateTime::now_utc();
    let left = until(now, hour);
    let read = |path: &PathBuf| Night::read(path, &args.shape, args.lane().into(), now, left);
    let night = args.bench.as_ref().map(read).transpose().map_err(WrongUse)?;
    Ok((left, night))
}

fn stop_after(left: Duration, stop: CancellationToken) {
    tokio::spawn(async move {
        tokio::time::sleep(left).await;
        tracing::info!("the hour has come; no more is announced");
        stop.cancel();
    });
}

/// A dry run: everything but the broker.
async fn count(
    prepared: &mut mpsc::Receiver<Result<PreparedBatch>>,
    mut ledger: Ledger,
    stop: &CancellationToken,
    progress: &mut Progress,
) -> Result<(PublishEnd, Ledger)> {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let ended = loop {
        tokio::select! {
            next = prepared.recv() => match next {
                Some(next) => {
                    ledger.take(next?);
                    ledger.confirm_all();
                }
                None => break PublishEnd::Finished,
            },
            _ = ticks.tick() => progress.show(&ledger.counts, 0),
            () = stop.cancelled() => break PublishEnd::Stopped,
        }
    };
    progress.close();
    Ok((ended, ledger))
}

fn open(args: &AnnounceArgs, settings: &Settings, storage: &StorageSettings) -> Result<Arc<dyn Listing>> {
    Ok(match storage {
        StorageSettings::Folder(root) => {
            let places = args.places.iter().map(|place| Place::parse(place).container);
            let ours = settings.source_containers.iter().chain([&settings.results_container]).cloned();
            Arc::new(FolderStore::new(places.chain(ours).map(|name| {
                let folder = root.join(&name);
                (name, folder)
            })))
        }
        StorageSettings::Azure(access) => {
            Arc::new(AzureStore::new(app::account(access)?, AzureOptions::default())?)
        }
    })
}

fn source(
    args: &AnnounceArgs,
    settings: &Settings,
    storage: Option<&Arc<dyn Listing>>,
) -> Result<BlobSource> {
    if args.names {
        return Ok(BlobSource::Names);
    }
    if !args.inventory.is_empty() {
        return Ok(BlobSource::Inventory(args.inventory.clone()));
    }
    if let Some(place) = &args.from_event_grid_dead_letter {
        return dead_letters(place, settings, storage);
    }
    let sets = [format!("{}/{SETS}", settings.results_container)];
    let places = match args.places.as_slice() {
        [] if args.sets => &sets[..],
        [] => &settings.source_containers,
        places => places,
    };
    let places = places.iter().map(|place| Place::parse(place)).collect();
    let storage = storage.context("storage was required above")?;
    Ok(BlobSource::Listing(Arc::clone(storage), places))
}

/// In the settings' account by name; in another by its URL, with the identity of the settings.
fn dead_letters(place: &str, settings: &Settings, storage: Option<&Arc<dyn Listing>>) -> Result<BlobSource> {
    let allowed = app::allowed(settings)?;
    let Some((account, path)) = split_url(place) else {
        return match storage {
            Some(store) if matches!(settings.storage, Some(StorageSettings::Azure(_))) => {
                Ok(BlobSource::DeadLetters(Arc::clone(store), Place::parse(place), allowed))
            }
            _ => bail!("--from-event-grid-dead-letter needs [storage] kind azure"),
        };
    };
    if path.contains(['?', '#']) {
        bail!(
            "--from-event-grid-dead-letter: a URL without a query: a signature would show in the process list"
        );
    }
    let client_id = match &settings.storage {
        Some(StorageSettings::Azure(AzureAccess::Identity { client_id, .. })) => client_id.as_deref(),
        _ => None,
    };
    let store = AzureStore::new(Account::identity(account, client_id)?, AzureOptions::default())?;
    Ok(BlobSource::DeadLetters(Arc::new(store), Place::parse(path), allowed))
}

/// `https://ACCOUNT.blob.core.windows.net` and `CONTAINER[/PREFIX]`.
fn split_url(text: &str) -> Option<(&str, &str)> {
    let host = text.find("://")? + 3;
    let slash = text[host..].find('/').map_or(text.len(), |at| host + at);
    Some((&text[..slash], text[slash..].trim_start_matches('/')))
}

/// What `--skip-done` compares with: one model by name, or what the workers' routes say.
fn skip(args: &AnnounceArgs, settings: &Settings, storage: Arc<dyn Listing>) -> Result<Done> {
    let catalogue = app::described(settings, args.model.as_deref())?;
    let precision = app::precision(settings)?;
    let routing = match &args.model {
        Some(name) => Routing { rules: vec![rule_for(catalogue.get(name)?)] },
        None => {
            routing(&settings.routing, &catalogue, precision).map_err(|problem| anyhow::anyhow!(problem))?
        }
    };
    let mut versions = BTreeMap::new();
    for model in routing.models() {
        let manifest = catalogue.get(model)?;
        versions.insert(model.clone(), format!("{}-{precision}", manifest.version));
    }
    if versions.is_empty() {
        bail!("--skip-done: no model offers {precision} weights, and none is named: see `nightread models`");
    }
    let mut done = Done::new(storage, settings.results_container.clone(), routing, versions);
    done.retry_failed = args.retry_failed;
    Ok(done)
}

/// What a checkpoint belongs to. The pace may change between two runs; what is announced may not.
fn fingerprint(args: &AnnounceArgs, settings: &Settings) -> String {
    let inventory: Vec<_> = args.inventory.iter().map(PathBuf::as_path).collect();
    let account = app::allowed(settings).map(|allowed| format!("{allowed:?}")).unwrap_or_default();
    let asked = format!(
        "{account}\n{:?}\n{}\n{inventory:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{:?}\n{} {} {}\n{:?}\n{:?}",
        args.places,
        args.names,
        args.from_event_grid_dead_letter,
        args.matching,
        args.suffix,
        args.task,
        args.min_bytes,
        args.max_bytes,
        args.model,
        args.skip_done,
        args.retry_failed,
        args.force,
        args.lane(),
        args.correlation_id,
    );
    let asked = if args.sets { format!("{asked}\nsets") } else { asked };
    hex::encode(&Sha256::digest(asked)[..16])
}
