//! The compression function of SHA-256 (FIPS 180-4, section 6.2.2) on four messages at once with SHA-NI.
//!
//! An instruction for two rounds waits for the one before, which takes four cycles, while the processor could begin another in each
//! second cycle. Rounds of four messages in turn leave it no time to wait. AVX-512 is asked for because `fearless_simd` has SHA-NI with it
//! alone, and because four messages need more than sixteen registers.
#![expect(
    clippy::needless_range_loop,
    reason = "loops over numbers are unrolled, and iterators are calls without the instructions"
)]

use std::arch::x86_64::{
    __m128i, _mm_add_epi32, _mm_alignr_epi8, _mm_set_epi32, _mm_setzero_si128, _mm_sha256msg1_epu32,
    _mm_sha256msg2_epu32, _mm_sha256rnds2_epu32, _mm_shuffle_epi8, _mm_shuffle_epi32,
};

use fearless_simd::x86::Avx512;
use fearless_simd::{prelude::*, u8x16, u32x4};

use crate::stream::{self, Block, K, Stream, TURNED};

/// Messages at once.
pub(crate) const STREAMS: usize = 4;

/// Digests the next `blocks` blocks of each of up to four streams, which have as many.
pub(crate) fn advance(avx512: Avx512, streams: &mut [&mut Stream<'_>], blocks: usize) {
    stream::advance(streams, blocks, |states, next| compress(avx512, states, next));
}

fearless_simd::kernel!(
    /// The state is held as the instructions have it: a, b, e, f, and c, d, g, h, the first in the highest word. `w` holds the last
    /// sixteen words of the message schedule, four in a register.
    fn compress(avx512: Avx512, states: &mut [[u32; 8]; STREAMS], next: [&[Block]; STREAMS]) {
        let turned: u8x16<Avx512> = u8x16::from_slice(avx512, &TURNED[..16]);
        let turned: __m128i = turned.into();
        let mut abef = [_mm_setzero_si128(); STREAMS];
        let mut cdgh = [_mm_setzero_si128(); STREAMS];
        for s in 0..STREAMS {
            let [a, b, c, d, e, f, g, h] = states[s].map(u32::cast_signed);
            abef[s] = _mm_set_epi32(a, b, e, f);
            cdgh[s] = _mm_set_epi32(c, d, g, h);
        }
        for block in 0..next[0].len() {
            let (abef_before, cdgh_before) = (abef, cdgh);
            let mut w = [[_mm_setzero_si128(); STREAMS]; 4];
            for q in 0..16 {
                let k: u32x4<Avx512> = u32x4::from_slice(avx512, &K[q / 4][4 * (q % 4)..][..4]);
                let k: __m128i = k.into();
                for s in 0..STREAMS {
                    let words = if q < 4 {
                        let bytes: u8x16<Avx512> = u8x16::from_slice(avx512, &next[s][block][16 * q..][..16]);
                        _mm_shuffle_epi8(bytes.into(), turned)
                    } else {
                        let (oldest, older) = (w[q % 4][s], w[(q + 1) % 4][s]);
                        let (old, new) = (w[(q + 2) % 4][s], w[(q + 3) % 4][s]);
                        let sum = _mm_add_epi32(
                            _mm_sha256msg1_epu32(oldest, older),
                            _mm_alignr_epi8::<4>(new, old),
                        );
                        _mm_sha256msg2_epu32(sum, new)
                    };
                    w[q % 4][s] = words;
                    let kw = _mm_add_epi32(words, k);
                    cdgh[s] = _mm_sha256rnds2_epu32(cdgh[s], abef[s], kw);
                    abef[s] = _mm_sha256rnds2_epu32(abef[s], cdgh[s], _mm_shuffle_epi32::<0x0E>(kw));
                }
            }
            for s in 0..STREAMS {
                abef[s] = _mm_add_epi32(abef[s], abef_before[s]);
                cdgh[s] = _mm_add_epi32(cdgh[s], cdgh_before[s]);
            }
        }
        for s in 0..STREAMS {
            let (low, high): (u32x4<Avx512>, u32x4<Avx512>) =
                (abef[s].simd_into(avx512), cdgh[s].simd_into(avx512));
            let ([f, e, b, a], [h, g, d, c]): ([u32; 4], [u32; 4]) = (low.into(), high.into());
            states[s] = [a, b, c, d, e, f, g, h];
        }
    }
);
