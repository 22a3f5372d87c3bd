//! Scheduling, cancellation and failure with a runner that is told what to do. Real sessions: `tests/engine.rs`.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use futures::executor::block_on;
use ndarray::ArrayD;
use nightread_domain::{ErrorCode, Stage};

use super::*;
use crate::outputs::{Arrays, Outputs};

const LIMITS: Limits = Limits { items: 8, bytes: usize::MAX, linger: Duration::ZERO };

/// Echoes each item's values; the first value orders something else.
const PANIC: f32 = -1.0;
const FAIL: f32 = -2.0;
const NAN: f32 = -3.0;
const TOO_FEW: f32 = -4.0;
/// Tells the test that it runs, and waits for the word to go on.
const HOLD: f32 = -5.0;

/// The name of its one output.
const ECHO: &str = "echo";

fn echoed(outputs: &Outputs) -> &[f32] {
    outputs.arrays.values(ECHO).unwrap()
}

/// Whether one of the first values orders this.
fn has_order(firsts: &[f32], order: f32) -> bool {
    firsts.iter().any(|first| first.to_bits() == order.to_bits())
}

struct Echo {
    /// For every run: the model and the first values of its items.
    ran: Sender<(usize, Vec<f32>)>,
    go: Arc<Mutex<Receiver<()>>>,
}

impl Runner for Echo {
    fn run(&mut self, model: usize, items: &[&[f32]]) -> Result<Vec<Arrays>, JobError> {
        let firsts: Vec<f32> = items.iter().map(|item| item[0]).collect();
        self.ran.send((model, firsts.clone())).unwrap();
        if has_order(&firsts, HOLD) {
            self.go.lock().unwrap().recv().unwrap();
        }
        if has_order(&firsts, FAIL) {
            return Err(JobError::new(Stage::Infer, ErrorCode::InferenceFailed, "told to fail"));
        }
        assert!(!has_order(&firsts, PANIC), "told to");
        let outputs = items.iter().map(|item| {
            let values = if item[0].to_bits() == NAN.to_bits() { vec![f32::NAN] } else { item.to_vec() };
            let mut arrays = Arrays::default();
            arrays.push(&ECHO.into(), ArrayD::from_shape_vec(vec![values.len()], values).unwrap());
            arrays
        });
        let mut outputs: Vec<_> = outputs.collect();
        if has_order(&firsts, TOO_FEW) {
            outputs.pop();
        }
        Ok(outputs)
    }
}

/// A pool of echoes, what they ran, and the word to go on.
struct Bench {
    pool: Pool,
    ran: Receiver<(usize, Vec<f32>)>,
    go: Sender<()>,
}

fn bench(threads: usize) -> Bench {
    let (ran_in, ran) = channel();
    let (go, held) = channel();
    let held = Arc::new(Mutex::new(held));
    let echoes = (0..threads).map(|_| Echo { ran: ran_in.clone(), go: Arc::clone(&held) }).collect();
    Bench { pool: Pool::start(echoes, LIMITS, |_| Ok(())).unwrap(), ran, go }
}

impl Bench {
    fn waiting(&self) -> usize {
        self.pool.shared.lock().batcher.len()
    }

    /// Occupies the only thread; what is queued before `go` runs together afterwards.
    fn hold(&self) -> Inference {
        let held = self.pool.infer(9, vec![HOLD]);
        assert_eq!(self.ran.recv().unwrap().0, 9);
        held
    }
}

fn code(answer: Inference) -> ErrorCode {
    block_on(answer).unwrap_err().code
}

#[test]
fn what_queues_behind_a_run_becomes_one_batch() {
    let bench = bench(1);
    let held = bench.hold();
    let answers: Vec<_> = (0..5).map(|value| bench.pool.infer(0, vec![value as f32])).collect();
    let other = bench.pool.infer(1, vec![7.0]);
    assert_eq!(bench.waiting(), 6);
    bench.go.send(()).unwrap();
    assert_eq!(block_on(held).unwrap().timing.batch, 1);
    for (value, answer) in answers.into_iter().enumerate() {
        let outputs = block_on(answer).unwrap();
        assert_eq!((echoed(&outputs), outputs.timing.batch), (&[value as f32][..], 5));
    }
    assert_eq!(block_on(other).unwrap().timing.batch, 1, "models do not mix");
    assert_eq!(bench.ran.recv().unwrap(), (0, vec![0.0, 1.0, 2.0, 3.0, 4.0]));
    assert_eq!(bench.ran.recv().unwrap(), (1, vec![7.0]));
    assert_eq!((bench.pool.stats(), bench.waiting()), (Stats { batches: 3, items: 7 }, 0));
}

#[test]
fn dropping_an_answer_takes_the_item_out_of_the_queue() {
    let bench = bench(1);
    let held = bench.hold();
    let kept = bench.pool.infer(0, vec![1.0]);
    drop(bench.pool.infer(0, vec![2.0]));
    let also_kept = bench.pool.infer(0, vec![3.0]);
    bench.go.send(()).unwrap();
    assert!(block_on(held).is_ok() && block_on(kept).is_ok() && block_on(also_kept).is_ok());
    assert_eq!(bench.ran.recv().unwrap(), (0, vec![1.0, 3.0]));
    assert_eq!(bench.pool.stats().items, 3);
}

#[test]
fn an_answer_dropped_while_it_runs_harms_nobody() {
    let bench = bench(1);
    drop(bench.hold());
    let next = bench.pool.infer(0, vec![1.0]);
    bench.go.send(()).unwrap();
    assert_eq!(echoed(&block_on(next).unwrap()), [1.0]);
    assert_eq!(bench.pool.health(), Health::Ready);
}

#[test]
fn the_members_of_a_failed_batch_run_singly_once() {
    for (order, expected) in [(FAIL, ErrorCode::InferenceFailed), (NAN, ErrorCode::ScoresNotFinite)] {
        let bench = bench(1);
        let held = bench.hold();
        let before = bench.pool.infer(0, vec![1.0]);
        let culprit = bench.pool.infer(0, vec![order]);
        let after = bench.pool.infer(0, vec![2.0]);
        bench.go.send(()).unwrap();
        assert!(block_on(held).is_ok());
        assert_eq!(echoed(&block_on(before).unwrap()), [1.0]);
        assert_eq!(code(culprit), expected);
        let after = block_on(after).unwrap();
        assert_eq!((echoed(&after), after.timing.batch), (&[2.0][..], 1));
        let runs: Vec<_> = bench.ran.try_iter().map(|(_, firsts)| firsts).collect();
        assert_eq!(runs, [vec![1.0, order, 2.0], vec![1.0], vec![order], vec![2.0]]);
        assert_eq!(bench.pool.health(), Health::Ready);
    }
}

#[test]
fn a_lone_failure_is_not_run_again() {
    let bench = bench(1);
    assert_eq!(code(bench.pool.infer(0, vec![FAIL])), ErrorCode::InferenceFailed);
    assert_eq!(bench.ran.try_iter().count(), 1);
}

#[test]
fn a_run_with_too_few_outputs_fails_rather_than_mixing_answers_up() {
    let bench = bench(1);
    assert_eq!(code(bench.pool.infer(0, vec![TOO_FEW])), ErrorCode::EngineFailed);
}

#[test]
fn a_panic_fails_its_batch_and_everything_after_it() {
    let bench = bench(1);
    let held = bench.hold();
    let member = bench.pool.infer(0, vec![1.0]);
    let culprit = bench.pool.infer(0, vec![PANIC]);
    let waiting = bench.pool.infer(1, vec![2.0]);
    bench.go.send(()).unwrap();
    assert!(block_on(held).is_ok());
    for answer in [member, culprit, waiting] {
        let error = block_on(answer).unwrap_err();
        assert_eq!(error.code, ErrorCode::EngineFailed);
        assert!(error.is_fatal() && error.message.contains("told to"), "{error}");
    }
    assert!(matches!(bench.pool.health(), Health::Failed(reason) if reason.contains("told to")));
    assert_eq!(code(bench.pool.infer(0, vec![1.0])), ErrorCode::EngineFailed, "no new work");
    bench.pool.close(Close::Drain);
    assert!(matches!(bench.pool.health(), Health::Failed(_)), "closing hides no failure");
}

#[test]
fn a_panic_in_a_rerun_is_contained_as_well() {
    let bench = bench(1);
    let held = bench.hold();
    let orders = [1.0, FAIL, PANIC, 2.0];
    let [before, failing, panicking, after] = orders.map(|order| bench.pool.infer(0, vec![order]));
    bench.go.send(()).unwrap();
    assert!(block_on(held).is_ok() && block_on(before).is_ok());
    assert_eq!(code(failing), ErrorCode::InferenceFailed);
    assert_eq!(code(panicking), ErrorCode::EngineFailed);
    assert_eq!(code(after), ErrorCode::EngineFailed, "the session is not used again");
}

#[test]
fn one_panic_stops_the_other_threads_too() {
    let bench = bench(2);
    let held = bench.hold();
    assert_eq!(code(bench.pool.infer(0, vec![PANIC])), ErrorCode::EngineFailed);
    bench.go.send(()).unwrap();
    assert!(block_on(held).is_ok(), "what ran beside it is finished");
}

#[test]
fn draining_finishes_what_waits_and_takes_nothing_new() {
    let bench = bench(1);
    let held = bench.hold();
    let waiting: Vec<_> = (0..20).map(|value| bench.pool.infer(value % 3, vec![value as f32])).collect();
    bench.pool.close(Close::Drain);
    assert_eq!(bench.pool.health(), Health::Draining);
    assert_eq!(code(bench.pool.infer(0, vec![1.0])), ErrorCode::EngineClosed);
    bench.go.send(()).unwrap();
    drop(bench.pool);
    assert!(block_on(held).is_ok());
    for (value, answer) in waiting.into_iter().enumerate() {
        assert_eq!(echoed(&block_on(answer).unwrap()), [value as f32]);
    }
}

#[test]
fn closing_answers_what_waits_and_finishes_what_runs() {
    let bench = bench(1);
    let held = bench.hold();
    let waiting = bench.pool.infer(0, vec![1.0]);
    bench.pool.close(Close::Drain);
    bench.pool.close(Close::Fail);
    let error = block_on(waiting).unwrap_err();
    assert_eq!((error.code, error.is_transient()), (ErrorCode::EngineClosed, true));
    bench.go.send(()).unwrap();
    assert!(block_on(held).is_ok());
    assert_eq!(bench.pool.health(), Health::Closed);
    assert_eq!(code(bench.pool.infer(0, vec![1.0])), ErrorCode::EngineClosed);
}

#[test]
fn dropping_an_open_pool_answers_everybody() {
    let bench = bench(2);
    let answers: Vec<_> = (0..200).map(|value| bench.pool.infer(0, vec![value as f32])).collect();
    drop(bench.pool);
    for answer in answers {
        assert!(matches!(block_on(answer), Ok(_) | Err(JobError { code: ErrorCode::EngineClosed, .. })));
    }
}

/// The error of a start with this warm-up.
fn start_fails(warm_up: fn(&mut Echo) -> Result<(), JobError>) -> JobError {
    let (ran, _) = channel();
    let go = Arc::new(Mutex::new(channel().1));
    let echoes: Vec<_> = (0..3).map(|_| Echo { ran: ran.clone(), go: Arc::clone(&go) }).collect();
    let error = Pool::start(echoes, LIMITS, warm_up).unwrap_err();
    assert_eq!(Arc::strong_count(&go), 1, "every thread has ended and dropped its runner");
    error
}

#[test]
fn the_first_error_of_a_warm_up_is_told_and_no_thread_is_left() {
    let refused = start_fails(|_| Err(JobError::new(Stage::Start, ErrorCode::ModelMismatch, "not this one")));
    assert_eq!(refused.code, ErrorCode::ModelMismatch);
    let panicked = start_fails(|_| panic!("no warmth"));
    assert_eq!(panicked.code, ErrorCode::EngineFailed);
    assert!(panicked.message.contains("no warmth"));
}

#[test]
fn many_callers_on_many_threads_get_their_own_answers() {
    let bench = bench(4);
    thread::scope(|scope| {
        for caller in 0..8 {
            let pool = &bench.pool;
            scope.spawn(move || {
                for round in 0..200 {
                    let value = (caller * 1000 + round) as f32;
                    let answer = pool.infer(caller % 3, vec![value, value]);
                    if round % 7 == 3 {
                        drop(answer);
                    } else {
                        assert_eq!(echoed(&answer.wait().unwrap()), [value, value]);
                    }
                }
            });
        }
    });
    bench.pool.close(Close::Drain);
    let shared = Arc::clone(&bench.pool.shared);
    drop(bench.pool);
    let state = shared.lock();
    assert!(state.batcher.is_empty());
    let items = shared.items.load(Ordering::Relaxed);
    assert_eq!(items + state.batcher.cancelled(), 1600, "every item ran or was cancelled");
}
