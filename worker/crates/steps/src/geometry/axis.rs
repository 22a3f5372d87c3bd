//! Separable resampling: each value along an axis is a weighted sum of a run of values.

/// Where one output value comes from: `weights.len()` inputs from `first` on.
#[derive(Clone, Debug)]
pub(super) struct Run<W> {
    pub first: usize,
    pub weights: Vec<W>,
}

/// How a library sums: from what, how a weighted value is added, and how the sum is rounded.
#[derive(Clone, Copy)]
pub(super) struct Sum<A, F, G> {
    pub start: A,
    pub add: F,
    pub end: G,
}

/// Along the rows: `values` are rows of `width`; gives rows of `runs.len()`.
pub(super) fn across<T: Copy, W: Copy, A: Copy, O>(
    values: &[T],
    width: usize,
    runs: &[Run<W>],
    sum: &Sum<A, impl Fn(A, T, W) -> A, impl Fn(A) -> O>,
) -> Vec<O> {
    let mut out = Vec::with_capacity(values.len() / width * runs.len());
    for row in values.chunks_exact(width) {
        for run in runs {
            let taken = &row[run.first..run.first + run.weights.len()];
            let pairs = taken.iter().zip(&run.weights);
            out.push((sum.end)(
                pairs.fold(sum.start, |total, (&value, &weight)| (sum.add)(total, value, weight)),
            ));
        }
    }
    out
}

/// Down the columns: `values` are rows of `width`; gives `runs.len()` rows of `width`.
pub(super) fn down<T: Copy, W: Copy, A: Copy, O>(
    values: &[T],
    width: usize,
    runs: &[Run<W>],
    sum: &Sum<A, impl Fn(A, T, W) -> A, impl Fn(A) -> O>,
) -> Vec<O> {
    let mut out = Vec::with_capacity(width * runs.len());
    let mut totals = vec![sum.start; width];
    for run in runs {
        totals.fill(sum.start);
        for (row, &weight) in values.chunks_exact(width).skip(run.first).zip(&run.weights) {
            for (total, &value) in totals.iter_mut().zip(row) {
                *total = (sum.add)(*total, value, weight);
            }
        }
        out.extend(totals.iter().map(|&total| (sum.end)(total)));
    }
    out
}
