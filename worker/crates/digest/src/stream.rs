//! A message, block by block, and the constants of the standard.

use std::array::from_fn;

use sha2::compress256;
use sha2::digest::generic_array::GenericArray;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Section 5.3.3.
const INITIAL: [u32; 8] =
    [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];

pub(crate) type Block = [u8; BLOCK];

/// A message of which some blocks are digested.
#[derive(Debug)]
pub(crate) struct Stream<'m> {
    pub state: [u32; 8],
    /// Whole blocks that are left.
    pub blocks: &'m [Block],
    /// What is less than a block, at the end.
    rest: &'m [u8],
    /// Of the whole message.
    bytes: u64,
}

impl<'m> Stream<'m> {
    pub fn new(message: &'m [u8]) -> Self {
        let (blocks, rest) = message.as_chunks();
        Self { state: INITIAL, blocks, rest, bytes: message.len() as u64 }
    }

    /// Digests the next block, where there is one.
    pub fn advance(&mut self) {
        if let Some((next, left)) = self.blocks.split_first() {
            compress(&mut self.state, *next);
            self.blocks = left;
        }
    }

    pub fn finish(mut self) -> [u8; 32] {
        while !self.blocks.is_empty() {
            self.advance();
        }
        // Section 5.1.1: a one, zeros, and the length in bits at the end of a block.
        let mut end = [0; 2 * BLOCK];
        end[..self.rest.len()].copy_from_slice(self.rest);
        end[self.rest.len()] = 0x80;
        let blocks = (self.rest.len() + 1 + 8).div_ceil(BLOCK);
        end[blocks * BLOCK - 8..blocks * BLOCK].copy_from_slice(&(self.bytes * 8).to_be_bytes());
        for block in &end.as_chunks::<BLOCK>().0[..blocks] {
            compress(&mut self.state, *block);
        }
        let mut digest = [0; 32];
        for (bytes, word) in digest.as_chunks_mut().0.iter_mut().zip(self.state) {
            *bytes = word.to_be_bytes();
        }
        digest
    }
}

fn compress(state: &mut [u32; 8], block: Block) {
    compress256(state, &[GenericArray::from(block)]);
}

/// Has `compress` digest the next `blocks` blocks of each of up to `N` streams, which have as many. Where there are fewer streams, the
/// first one's blocks are gone over once more, for nothing.
pub(crate) fn advance<const N: usize>(
    streams: &mut [&mut Stream<'_>],
    blocks: usize,
    compress: impl FnOnce(&mut [[u32; 8]; N], [&[Block]; N]),
) {
    debug_assert!((1..=N).contains(&streams.len()));
    let of = |at: usize| if at < streams.len() { at } else { 0 };
    let mut states = from_fn(|at| streams[of(at)].state);
    compress(&mut states, from_fn(|at| &streams[of(at)].blocks[..blocks]));
    for (stream, state) in streams.iter_mut().zip(states) {
        stream.state = state;
        stream.blocks = &stream.blocks[blocks..];
    }
}

/// Where each byte of four words comes from, twice.
pub(crate) const TURNED: [u8; 32] = [
    3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12, 3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13,
    12,
];

/// Section 4.2.2.
pub(crate) const K: [[u32; 16]; 4] = [
    [
        0x428a_2f98,
        0x7137_4491,
        0xb5c0_fbcf,
        0xe9b5_dba5,
        0x3956_c25b,
        0x59f1_11f1,
        0x923f_82a4,
        0xab1c_5ed5,
        0xd807_aa98,
        0x1283_5b01,
        0x2431_85be,
        0x550c_7dc3,
        0x72be_5d74,
        0x80de_b1fe,
        0x9bdc_06a7,
        0xc19b_f174,
    ],
    [
        0xe49b_69c1,
        0xefbe_4786,
        0x0fc1_9dc6,
        0x240c_a1cc,
        0x2de9_2c6f,
        0x4a74_84aa,
        0x5cb0_a9dc,
        0x76f9_88da,
        0x983e_5152,
        0xa831_c66d,
        0xb003_27c8,
        0xbf59_7fc7,
        0xc6e0_0bf3,
        0xd5a7_9147,
        0x06ca_6351,
        0x1429_2967,
    ],
    [
        0x27b7_0a85,
        0x2e1b_2138,
        0x4d2c_6dfc,
        0x5338_0d13,
        0x650a_7354,
        0x766a_0abb,
        0x81c2_c92e,
        0x9272_2c85,
        0xa2bf_e8a1,
        0xa81a_664b,
        0xc24b_8b70,
        0xc76c_51a3,
        0xd192_e819,
        0xd699_0624,
        0xf40e_3585,
        0x106a_a070,
    ],
    [
        0x19a4_c116,
        0x1e37_6c08,
        0x2748_774c,
        0x34b0_bcb5,
        0x391c_0cb3,
        0x4ed8_aa4a,
        0x5b9c_ca4f,
        0x682e_6ff3,
        0x748f_82ee,
        0x78a5_636f,
        0x84c8_7814,
        0x8cc7_0208,
        0x90be_fffa,
        0xa450_6ceb,
        0xbef9_a3f7,
        0xc671_78f2,
    ],
];
