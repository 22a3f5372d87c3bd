//! What a volume costs: writes a series of uncompressed slices into a folder, reads it with each number of threads, and
//! prints seconds, bytes of the volume, the estimate, and how far the process grew.
//!
//! ```text
//! volume_cost SLICES SIDE THREADS
//! ```

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use nightread_ct::{CtLimits, PartBytes, estimate, from_parts};
use nightread_dicom::InProcess;
use nightread_domain::body::{Body, Kept};

/// A file that is read where it lies.
#[derive(Debug)]
struct OnDisk(PathBuf, u64);

impl Kept for OnDisk {
    fn bytes(&self) -> u64 {
        self.1
    }

    fn sha256(&self) -> &'static str {
        ""
    }

    fn open(&self) -> Box<dyn Read + Send + '_> {
        match File::open(&self.0) {
            Ok(file) => Box::new(file),
            Err(_) => Box::new(io::empty()),
        }
    }

    fn is_unchanged(&self) -> io::Result<bool> {
        Ok(true)
    }
}

fn element(out: &mut Vec<u8>, tag: (u16, u16), vr: &str, value: &[u8]) {
    out.extend(tag.0.to_le_bytes());
    out.extend(tag.1.to_le_bytes());
    out.extend(vr.as_bytes());
    let padded = value.len().next_multiple_of(2);
    if vr == "OW" {
        out.extend([0, 0]);
        out.extend((padded as u32).to_le_bytes());
    } else {
        out.extend((padded as u16).to_le_bytes());
    }
    out.extend(value);
    out.resize(out.len() + padded - value.len(), b' ');
}

fn slice(k: usize, side: usize) -> Vec<u8> {
    let mut out = vec![0; 128];
    out.extend(b"DICM");
    element(&mut out, (2, 0x10), "UI", b"1.2.840.10008.1.2.1\0");
    element(&mut out, (8, 0x60), "CS", b"CT");
    element(&mut out, (0x20, 0x32), "DS", format!("-250\\-250\\{}", k as f64 * 1.5).as_bytes());
    element(&mut out, (0x20, 0x37), "DS", b"1\\0\\0\\0\\1\\0");
    element(&mut out, (0x28, 0x04), "CS", b"MONOCHROME2");
    for (tag, number) in [(0x10, side), (0x11, side)] {
        element(&mut out, (0x28, tag), "US", &(number as u16).to_le_bytes());
    }
    element(&mut out, (0x28, 0x30), "DS", b"0.9765625\\0.9765625");
    for (tag, number) in [(0x100, 16u16), (0x101, 12), (0x102, 11), (0x103, 0)] {
        element(&mut out, (0x28, tag), "US", &number.to_le_bytes());
    }
    element(&mut out, (0x28, 0x1052), "DS", b"-1024");
    element(&mut out, (0x28, 0x1053), "DS", b"1");
    let words = (0..side * side).flat_map(|n| ((n * 31 + k * 17) as u16 & 0x0FFF).to_le_bytes());
    element(&mut out, (0x7FE0, 0x10), "OW", &words.collect::<Vec<u8>>());
    out
}

/// The greatest size that the process had, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM")).unwrap_or_default();
    let kib: f64 = line.split_whitespace().nth(1).and_then(|text| text.parse().ok()).unwrap_or(0.0);
    kib / 1024.0
}

fn written(folder: &Path, slices: usize, side: usize) -> io::Result<Vec<PartBytes>> {
    let write = |k| {
        let path = folder.join(format!("{k}.dcm"));
        let bytes = slice(k, side);
        File::create(&path)?.write_all(&bytes)?;
        let body = Body::Kept(Arc::new(OnDisk(path, bytes.len() as u64)));
        Ok(PartBytes { name: k.to_string(), body })
    };
    (0..slices).map(write).collect()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let number = |n: usize, default: usize| {
        std::env::args().nth(n).and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let (slices, side, threads) = (number(1, 300), number(2, 512), number(3, 2));
    let folder = tempfile::tempdir()?;
    let parts = written(folder.path(), slices, side)?;
    let limits = CtLimits { threads, ..CtLimits::default() };
    let before = peak();
    let told = estimate(&parts, &limits, &InProcess)?;
    let after_headers = peak();
    let started = Instant::now();
    let volume = from_parts(&parts, &limits, &InProcess)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!(
        "{slices} slices of {side} x {side}, {threads} threads: {:.2} s; volume {:.1} MiB, estimate {:.1} MiB; the process grew \
         from {before:.1} to {after_headers:.1} MiB over headers and to {:.1} MiB over pixels",
        started.elapsed().as_secs_f64(),
        mib(2 * volume.values.len() as u64),
        mib(told.bytes),
        peak(),
    );
    Ok(())
}
