//! The compression function of SHA-256 (FIPS 180-4, section 6.2.2) on eight messages at once, one in each lane of a register.
#![expect(clippy::inline_always, reason = "what is not inlined has none of the processor's instructions")]

use std::array::from_fn;

use fearless_simd::{Level, Simd, dispatch, prelude::*, u8x32, u32x8};

use crate::stream::{self, Block, K, Stream, TURNED};

/// Messages at once.
pub(crate) const LANES: usize = 8;

/// The instructions of this processor, where they are wide enough: AVX2, or AVX-512, which rotates in one instruction.
pub(crate) fn wide() -> Option<Level> {
    let level = Level::new();
    #[cfg(target_arch = "x86_64")]
    if matches!(level, Level::Avx2(_) | Level::Avx512(_)) {
        return Some(level);
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = level;
    None
}

/// Digests the next `blocks` blocks of each of up to eight streams, which have as many.
pub(crate) fn advance(level: Level, streams: &mut [&mut Stream<'_>], blocks: usize) {
    stream::advance(streams, blocks, |states: &mut [_; LANES], next| {
        // Word by word: the same word of all messages is one register.
        let mut words: [[u32; LANES]; 8] = from_fn(|word| states.map(|state| state[word]));
        dispatch!(level, simd => compress_all(simd, &mut words, next));
        *states = from_fn(|lane| words.map(|word| word[lane]));
    });
}

#[inline(always)]
fn compress_all<S: Simd>(simd: S, words: &mut [[u32; LANES]; 8], next: [&[Block]; LANES]) {
    let mut state: [u32x8<S>; 8] = words.map(|word| word.simd_into(simd));
    for block in 0..next[0].len() {
        compress(simd, &mut state, next.map(|blocks| &blocks[block]));
    }
    *words = state.map(Into::into);
}

/// The names are the standard's: `w` the message schedule, `a` to `h` the working variables.
#[inline(always)]
fn compress<S: Simd>(simd: S, state: &mut [u32x8<S>; 8], blocks: [&Block; LANES]) {
    let mut w = schedule(simd, blocks);
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = *state;
    for (round, k) in K.iter().enumerate() {
        for (t, k) in k.iter().enumerate() {
            if round > 0 {
                let (early, late) = (w[(t + 1) % 16], w[(t + 14) % 16]);
                let small_0 = rotated(early, 7) ^ rotated(early, 18) ^ (early >> 3);
                let small_1 = rotated(late, 17) ^ rotated(late, 19) ^ (late >> 10);
                w[t] = (w[t] + small_0) + (w[(t + 9) % 16] + small_1);
            }
            let choice = g ^ (e & (f ^ g));
            let big_1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
            let t1 = (h + big_1) + (choice + (w[t] + u32x8::splat(simd, *k)));
            let majority = (a & (b ^ c)) ^ (b & c);
            let big_0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
            (h, g, f, e) = (g, f, e, d + t1);
            (d, c, b, a) = (c, b, a, t1 + (big_0 + majority));
        }
    }
    for (word, new) in state.iter_mut().zip([a, b, c, d, e, f, g, h]) {
        *word += new;
    }
}

/// The words of the blocks: of each word one register, that of each message in its lane.
#[inline(always)]
fn schedule<S: Simd>(simd: S, blocks: [&Block; LANES]) -> [u32x8<S>; 16] {
    let [a, b, c, d, e, f, g, h] = words::<S, 0>(simd, blocks);
    let [i, j, k, l, m, n, o, p] = words::<S, 8>(simd, blocks);
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// Eight words of each block from `FIRST` on. No closures: one that is not inlined has none of the processor's instructions.
#[inline(always)]
fn words<S: Simd, const FIRST: usize>(simd: S, blocks: [&Block; LANES]) -> [u32x8<S>; 8] {
    let [a, b, c, d, e, f, g, h] = blocks;
    let mut rows = [
        row::<S, FIRST>(simd, a),
        row::<S, FIRST>(simd, b),
        row::<S, FIRST>(simd, c),
        row::<S, FIRST>(simd, d),
        row::<S, FIRST>(simd, e),
        row::<S, FIRST>(simd, f),
        row::<S, FIRST>(simd, g),
        row::<S, FIRST>(simd, h),
    ];
    // Three shuffles of rows four apart make the columns of eight by eight the rows.
    for _ in 0..3 {
        let (a, b) = rows[0].interleave(rows[4]);
        let (c, d) = rows[1].interleave(rows[5]);
        let (e, f) = rows[2].interleave(rows[6]);
        let (g, h) = rows[3].interleave(rows[7]);
        rows = [a, b, c, d, e, f, g, h];
    }
    rows
}

/// Eight words of one block, whose bytes have the greatest first.
#[inline(always)]
fn row<S: Simd, const FIRST: usize>(simd: S, block: &Block) -> u32x8<S> {
    let bytes: u8x32<S> = u8x32::from_slice(simd, &block[FIRST * 4..FIRST * 4 + 32]);
    let turned: u8x32<S> = TURNED.simd_into(simd);
    bytes.swizzle_dyn_within_blocks(turned).bitcast()
}

/// To the right.
#[inline(always)]
fn rotated<S: Simd>(x: u32x8<S>, bits: u32) -> u32x8<S> {
    (x >> bits) | (x << (32 - bits))
}
