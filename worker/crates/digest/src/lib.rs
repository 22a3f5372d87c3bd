//! SHA-256 (FIPS 180-4) of several messages side by side, of any lengths.
//!
//! One message is a chain: each block waits for the one before. SHA-NI therefore waits for itself half of the time, and a processor
//! without it computes with a few words where its registers hold eight. Blocks of other messages fill that. `sha2` does one message
//! after the other.

#[cfg(target_arch = "x86_64")]
mod interleaved;
mod lanes;
mod stream;

use std::ops::RangeInclusive;

use fearless_simd::Level;
#[cfg(target_arch = "x86_64")]
use fearless_simd::x86::Avx512;
use sha2::{Digest, Sha256};

use crate::stream::Stream;

/// How this processor digests several messages at once.
#[derive(Clone, Copy, Debug)]
pub enum Together {
    /// Four by four with SHA-NI, rounds of each in turn.
    #[cfg(target_arch = "x86_64")]
    Interleaved(Avx512),
    /// Two by two with SHA-NI, a block of one and a block of the other in turn: the processor begins the second while the first
    /// waits for itself.
    Pairs,
    /// Eight at once, each in a lane of its own.
    Lanes(Level),
    /// One after the other.
    Alone,
}

impl Together {
    pub fn here() -> Self {
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("sha") {
            return Level::new().as_avx512().map_or(Self::Pairs, Self::Interleaved);
        }
        lanes::wide().map_or(Self::Alone, Self::Lanes)
    }

    /// All ways that this processor knows, for tests and benches.
    #[doc(hidden)]
    pub fn all_here() -> Vec<Self> {
        let mut all = vec![Self::Alone, Self::Pairs, Self::Lanes(Level::baseline())];
        all.extend(lanes::wide().map(Self::Lanes));
        #[cfg(target_arch = "x86_64")]
        {
            all.extend(Level::new().as_avx2().map(|avx2| Self::Lanes(Level::Avx2(avx2))));
            all.extend(Level::new().as_avx512().map(Self::Interleaved));
        }
        all
    }

    /// As many messages as are worth waiting for.
    pub const fn width(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Interleaved(_) => interleaved::STREAMS,
            Self::Pairs => 2,
            Self::Lanes(_) => lanes::LANES,
            Self::Alone => 1,
        }
    }

    /// The SHA-256 of each message.
    pub fn digest(self, messages: &[&[u8]]) -> Vec<[u8; 32]> {
        if messages.len() < 2 {
            return messages.iter().map(|message| Sha256::digest(message).into()).collect();
        }
        let mut streams: Vec<_> = messages.iter().map(|message| Stream::new(message)).collect();
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Interleaved(avx512) => {
                side_by_side(&mut streams, 3..=interleaved::STREAMS, |streams, blocks| {
                    interleaved::advance(avx512, streams, blocks);
                });
                pairs(&mut streams);
            }
            Self::Pairs => pairs(&mut streams),
            Self::Lanes(level) => side_by_side(&mut streams, 2..=lanes::LANES, |streams, blocks| {
                lanes::advance(level, streams, blocks);
            }),
            Self::Alone => {}
        }
        streams.into_iter().map(Stream::finish).collect()
    }
}

fn pairs(streams: &mut [Stream<'_>]) {
    side_by_side(streams, 2..=2, |pair, blocks| {
        for _ in 0..blocks {
            for stream in pair.iter_mut() {
                stream.advance();
            }
        }
    });
}

/// Has `advance` digest so many blocks of each of `width` streams at a time, the longest first, until fewer are left than it is worth.
fn side_by_side<'m>(
    streams: &mut [Stream<'m>],
    width: RangeInclusive<usize>,
    mut advance: impl FnMut(&mut [&mut Stream<'m>], usize),
) {
    let mut waiting: Vec<_> = streams.iter_mut().filter(|stream| !stream.blocks.is_empty()).collect();
    waiting.sort_by_key(|stream| stream.blocks.len());
    let mut taken = Vec::with_capacity(*width.end());
    loop {
        while taken.len() < *width.end()
            && let Some(longest) = waiting.pop()
        {
            taken.push(longest);
        }
        if taken.len() < *width.start() {
            return;
        }
        let blocks = taken.iter().map(|stream| stream.blocks.len()).min().unwrap_or(0);
        advance(&mut taken, blocks);
        taken.retain(|stream| !stream.blocks.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_standard() {
        // FIPS 180-2, appendix B, and the empty message.
        let many = vec![b'a'; 1_000_000];
        let messages: [&[u8]; 4] =
            [b"abc", b"", b"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", &many];
        let right = [
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1",
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0",
        ];
        for together in Together::all_here() {
            let digests: Vec<_> = together.digest(&messages).iter().map(hex::encode).collect();
            assert_eq!(digests, right, "{together:?}");
        }
        assert!((1..=8).contains(&Together::here().width()));
        #[cfg(target_arch = "x86_64")]
        if std::arch::is_x86_feature_detected!("avx2") {
            assert!(Together::all_here().len() > 4, "eight lanes are tried where there are any");
        }
    }

    proptest! {
        #[test]
        fn every_message_has_its_own_digest(
            lengths in proptest::collection::vec(prop_oneof![0_usize..200, 0_usize..20_000], 0..20),
            seed in any::<u8>(),
        ) {
            let message = |(index, length): (usize, &usize)| -> Vec<u8> {
                (0..*length).map(|at| (at * 31 + index * 7) as u8 ^ seed).collect()
            };
            let messages: Vec<_> = lengths.iter().enumerate().map(message).collect();
            let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
            let right: Vec<[u8; 32]> = messages.iter().map(|message| Sha256::digest(message).into()).collect();
            for together in Together::all_here() {
                prop_assert_eq!(&together.digest(&messages), &right, "{:?}", together);
            }
        }
    }
}
