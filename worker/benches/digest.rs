//! SHA-256 of 1, 2, 4, 7 and 8 images of about 6.6 MB: `cargo bench -p nightread-digest`. Gigabytes a second of one core, medians of 15.
#![allow(clippy::print_stdout, missing_docs)]

use std::hint::black_box;
use std::time::Instant;

use nightread_digest::Together;

fn main() {
    let messages: Vec<Vec<u8>> = (0..8_usize)
        .map(|index| (0..6_600_000 - index * 40_000).map(|at| (at * 31 + index) as u8).collect())
        .collect();
    for together in [Together::here()].into_iter().chain(Together::all_here()) {
        let rates = [1, 2, 4, 7, 8].map(|count| {
            let some: Vec<&[u8]> = messages[..count].iter().map(Vec::as_slice).collect();
            let bytes: usize = some.iter().map(|message| message.len()).sum();
            let mut seconds: Vec<f64> = (0..15)
                .map(|_| {
                    let began = Instant::now();
                    black_box(together.digest(black_box(&some)));
                    began.elapsed().as_secs_f64()
                })
                .collect();
            seconds.sort_by(f64::total_cmp);
            format!("{count}: {:.2}", bytes as f64 / seconds[7] / 1e9)
        });
        println!("{}   {together:?}", rates.join("   "));
    }
}
