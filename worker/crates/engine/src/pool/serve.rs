//! One batch: run, answered, and run again member by member when it failed.

use std::sync::atomic::Ordering;
use std::time::Instant;

use nightread_domain::JobError;

use super::shared::{Runner, Shared, Ticket, failed};
use crate::batcher::Batch;
use crate::outputs::{Arrays, Outputs, Timing};
use crate::panics;

/// Runs one batch and answers its members. An `Err` is a panic: the runner must not be used again.
pub(super) fn serve(
    shared: &Shared,
    runner: &mut impl Runner,
    batch: Batch<usize, Ticket>,
) -> Result<(), String> {
    let Batch { key: model, items: members } = batch;
    let size = members.len();
    shared.batches.fetch_add(1, Ordering::Relaxed);
    shared.items.fetch_add(size as u64, Ordering::Relaxed);
    let taken = Instant::now();
    let tensors: Vec<&[f32]> = members.iter().map(|(ticket, _)| ticket.tensor.as_slice()).collect();
    let computed = compute(runner, model, &tensors);
    let run = taken.elapsed();
    match computed {
        Ok(Ok(items)) => {
            for ((ticket, arrived), arrays) in members.into_iter().zip(items) {
                let queued = taken.saturating_duration_since(arrived);
                ticket.answer(Ok(Outputs { arrays, timing: Timing { queued, run, batch: size } }));
            }
            Ok(())
        }
        Ok(Err(error)) => match <[_; 1]>::try_from(members) {
            Ok([(ticket, _)]) => {
                ticket.answer(Err(error));
                Ok(())
            }
            Err(members) => {
                tracing::warn!(items = size, %error, "a batch failed, running its members singly");
                serve_singly(runner, model, members, taken)
            }
        },
        Err(panic) => {
            for (ticket, _) in members {
                ticket.answer(Err(failed(&panic)));
            }
            Err(panic)
        }
    }
}

/// One member may have spoilt the others' run: each runs alone, once, so that only the culprit fails.
fn serve_singly(
    runner: &mut impl Runner,
    model: usize,
    members: Vec<(Ticket, Instant)>,
    taken: Instant,
) -> Result<(), String> {
    let mut members = members.into_iter();
    while let Some((ticket, arrived)) = members.next() {
        if ticket.reply.is_canceled() {
            continue;
        }
        let started = Instant::now();
        let computed = compute(runner, model, &[&ticket.tensor]);
        let queued = taken.saturating_duration_since(arrived);
        let timing = Timing { queued, run: started.elapsed(), batch: 1 };
        match computed {
            Ok(single) => {
                let arrays =
                    single.and_then(|mut items| items.pop().ok_or_else(|| failed("a run gave no output")));
                ticket.answer(arrays.map(|arrays| Outputs { arrays, timing }));
            }
            Err(panic) => {
                ticket.answer(Err(failed(&panic)));
                for (ticket, _) in members {
                    ticket.answer(Err(failed(&panic)));
                }
                return Err(panic);
            }
        }
    }
    Ok(())
}

/// One run: the outer error is a panic, the inner one a failure of the batch, scores that are not finite included.
fn compute(
    runner: &mut impl Runner,
    model: usize,
    tensors: &[&[f32]],
) -> Result<Result<Vec<Arrays>, JobError>, String> {
    panics::contained(|| {
        let items = runner.run(model, tensors)?;
        if items.len() != tensors.len() {
            return Err(failed(&format!("{} outputs for {} items", items.len(), tensors.len())));
        }
        items.iter().try_for_each(Arrays::check_finite)?;
        Ok(items)
    })
}
