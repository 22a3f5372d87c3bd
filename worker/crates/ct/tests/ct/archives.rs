//! Archives of files: the same volume as from the files, and what is wrong with archives.

use std::io::Write;

use flate2::Crc;
use nightread_ct::{CtLimits, CtVolume, estimate, from_parts};
use nightread_dicom::InProcess;

use crate::fixtures::*;

/// An archive's member: a name, what the directory says, and the bytes as they are packed.
#[derive(Clone)]
struct Member {
    name: String,
    flags: u16,
    method: u16,
    crc: u32,
    bytes: u32,
    packed: Vec<u8>,
}

fn member(name: &str, bytes: &[u8], deflate: bool) -> Member {
    let mut crc = Crc::new();
    crc.update(bytes);
    let packed = if deflate {
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    } else {
        bytes.to_vec()
    };
    let method = if deflate { 8 } else { 0 };
    Member { name: name.to_owned(), flags: 0, method, crc: crc.sum(), bytes: bytes.len() as u32, packed }
}

impl Member {
    fn local(&self) -> Vec<u8> {
        let later = self.flags & 8 != 0;
        let mut out = b"PK\x03\x04\x14\0".to_vec();
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0; 4]);
        for word in [self.crc, self.packed.len() as u32, self.bytes] {
            out.extend((if later { 0 } else { word }).to_le_bytes());
        }
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend([0; 2]);
        out.extend(self.name.as_bytes());
        out.extend(&self.packed);
        if later {
            out.extend(b"PK\x07\x08");
            for word in [self.crc, self.packed.len() as u32, self.bytes] {
                out.extend(word.to_le_bytes());
            }
        }
        out
    }

    fn entry(&self, at: u32) -> Vec<u8> {
        let mut out = b"PK\x01\x02\x14\0\x14\0".to_vec();
        out.extend(self.flags.to_le_bytes());
        out.extend(self.method.to_le_bytes());
        out.extend([0; 4]);
        for word in [self.crc, self.packed.len() as u32, self.bytes] {
            out.extend(word.to_le_bytes());
        }
        out.extend((self.name.len() as u16).to_le_bytes());
        out.extend([0; 12]);
        out.extend(at.to_le_bytes());
        out.extend(self.name.as_bytes());
        out
    }
}

fn end(count: u16, size: u32, start: u32) -> Vec<u8> {
    let mut out = b"PK\x05\x06\0\0\0\0".to_vec();
    out.extend(count.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(size.to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0; 2]);
    out
}

/// `said` stands in the directory, `members` before the bytes.
fn zip_of(members: &[Member], said: &[Member]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut directory = Vec::new();
    for (member, said) in members.iter().zip(said) {
        directory.extend(said.entry(out.len() as u32));
        out.extend(member.local());
    }
    let start = out.len() as u32;
    out.extend(&directory);
    out.extend(end(members.len() as u16, directory.len() as u32, start));
    out
}

fn zip(members: &[Member]) -> Vec<u8> {
    zip_of(members, members)
}

fn members(deflate: bool) -> Vec<Member> {
    let name = |k: usize| format!("../../etc/DOE^JOHN/{k}.dcm");
    series(10).iter().enumerate().map(|(k, file)| member(&name(k), &file.bytes(), deflate)).collect()
}

fn tar_member(kind: u8, name: &str, bytes: &[u8]) -> Vec<u8> {
    let mut block = vec![0u8; 512];
    block[..name.len()].copy_from_slice(name.as_bytes());
    block[100..108].copy_from_slice(b"0000644\0");
    block[124..136].copy_from_slice(format!("{:011o}\0", bytes.len()).as_bytes());
    block[156] = kind;
    block[257..263].copy_from_slice(b"ustar\0");
    block[148..156].copy_from_slice(b"        ");
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    block.extend(bytes);
    block.resize(block.len().next_multiple_of(512), 0);
    block
}

fn tar() -> Vec<u8> {
    let mut out = tar_member(b'5', "folder/", &[]);
    out.extend(tar_member(b'L', "././@LongLink", &[b'n'; 700]));
    for (k, file) in series(10).iter().enumerate() {
        out.extend(tar_member(b'x', "pax", b"30 mtime=1700000000.000000000\n"));
        out.extend(tar_member(if k % 2 == 0 { b'0' } else { 0 }, &format!("/abs/{k}"), &file.bytes()));
    }
    out.extend([0; 1024]);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn of(bytes: Vec<u8>) -> CtVolume {
    read_parts(&[part("archive", bytes)]).unwrap()
}

fn code(bytes: Vec<u8>, limits: &CtLimits) -> (&'static str, String) {
    let error = from_parts(&[part("archive", bytes)], limits, &InProcess).unwrap_err();
    (error.code.as_str(), error.text)
}

#[test]
fn archives_give_what_their_files_give() {
    let files = read(&series(10)).unwrap();
    let streamed: Vec<Member> =
        members(true).into_iter().map(|member| Member { flags: 8, ..member }).collect();
    let mut commented = zip(&members(false));
    let at = commented.len() - 2;
    commented[at..].copy_from_slice(&5u16.to_le_bytes());
    commented.extend(b"notes");
    for bytes in [zip(&members(true)), zip(&members(false)), zip(&streamed), commented, tar(), gzip(&tar())] {
        for threads in [1, 3] {
            let parts = [part("archive", bytes.clone())];
            let volume = from_parts(&parts, &CtLimits { threads, ..limits() }, &InProcess).unwrap();
            assert!(volume.values == files.values && volume.affine == files.affine);
            assert_eq!(volume.slices[4].member, Some(4));
            assert!(volume.skipped.is_empty() && volume.warnings.is_empty());
            assert_eq!(estimate(&parts, &limits(), &InProcess).unwrap().voxels, files.values.len() as u64);
        }
    }
}

#[test]
fn other_members_are_left_out_without_their_names() {
    let mut all = members(true);
    all.insert(0, member("DICOMDIR/", &[], false));
    all.insert(3, member("README", b"a text", false));
    all.push(member("inner.zip", &zip(&members(true)), false));
    let volume = of(zip(&all));
    let skipped: Vec<_> = volume.skipped.iter().map(|skip| (skip.member, skip.why)).collect();
    assert_eq!(skipped, [(Some(3), "not_dicom"), (Some(12), "archive_inside")]);
    let mut broken = members(true);
    let cut = slice(4).bytes()[..300].to_vec();
    broken[4] = member("DOE^JOHN", &cut, true);
    let (code, text) = code(zip(&broken), &limits());
    assert_eq!(code, "unreadable");
    assert!(text.starts_with("member 5 of archive") && !text.contains("DOE"), "{text}");
}

#[test]
fn the_directory_is_judged_before_anything_is_inflated() {
    let small = |change: fn(&mut CtLimits)| {
        let mut limits = limits();
        change(&mut limits);
        limits
    };
    let bytes = zip(&members(true));
    for (limits, word) in [
        (small(|limits| limits.max_files = 9), "10 files"),
        (small(|limits| limits.max_inflated_bytes = 5000), "inflates to"),
        (small(|limits| limits.max_file_bytes = 500), "a member"),
    ] {
        let (code, text) = code(bytes.clone(), &limits);
        assert!(code == "too_large" && text.contains(word), "{code}: {text}");
    }
    let mut bomb = members(true);
    bomb.push(member("zeros", &vec![0; 4 << 20], true));
    let (code_, text) = code(zip(&bomb), &limits());
    assert!(code_ == "too_large" && text.contains("times"), "{text}");

    let lying = |change: fn(&mut Member)| {
        let mut said = members(true);
        change(&mut said[2]);
        zip_of(&members(true), &said)
    };
    for (bytes, word) in [
        (lying(|said| said.flags |= 1), "encrypted"),
        (lying(|said| said.method = 12), "method 12"),
        (lying(|said| said.bytes += 1), "own header"),
        (lying(|said| said.crc ^= 1), "own header"),
        (lying(|said| said.name = "other".to_owned()), "own header"),
        (lying(|said| said.packed.push(0)), "own header"),
        (lying(|said| said.packed.resize(1 << 20, 0)), "outside"),
        (bytes[..bytes.len() - 30].to_vec(), "no directory"),
        (bytes[..bytes.len() / 2].to_vec(), "no directory"),
        ([&bytes[..bytes.len() - 22], &end(11, 0, 0)].concat(), "fewer entries"),
        ([&bytes[..bytes.len() - 22], &end(10, 9000, u32::MAX - 1)].concat(), "outside"),
    ] {
        let (code, text) = code(bytes, &limits());
        assert!(code == "archive_invalid" && text.contains(word), "{code}: {text}");
    }
}

#[test]
fn what_is_inflated_is_held_against_the_directory() {
    // Both headers agree, and the bytes are others.
    let with = |change: fn(&mut Member)| {
        let mut all = members(true);
        change(&mut all[2]);
        zip(&all)
    };
    for (bytes, word) in [
        (with(|member| member.crc ^= 1), "checksum"),
        (with(|member| member.bytes -= 1), "another size"),
        (with(|member| member.bytes += 1), "another size"),
        (with(|member| member.packed.extend([0; 9])), "behind its end"),
        (with(|member| member.packed = vec![0xFF; 40]), "not read"),
    ] {
        let (code, text) = code(bytes, &limits());
        assert!(code == "archive_invalid" && text.contains(word), "{code}: {text}");
    }
    // Two entries of one place.
    let one = members(true);
    let mut out = one[0].local();
    let start = out.len() as u32;
    let directory = [one[0].entry(0), one[0].entry(0)].concat();
    out.extend(&directory);
    out.extend(end(2, directory.len() as u32, start));
    assert!(code(out, &limits()).1.contains("overlap"));
}

#[test]
fn tar_streams_are_held_to_limits_as_they_run() {
    for (bytes, word) in [
        (tar()[..5000].to_vec(), "ends"),
        (gzip(&tar())[..600].to_vec(), "damaged"),
        ([tar_member(b'0', "a", &slice(0).bytes()), vec![9; 512]].concat(), "header is damaged"),
    ] {
        let (code, text) = code(bytes, &limits());
        assert!(code == "archive_invalid" && text.contains(word), "{code}: {text}");
    }
    let small = CtLimits { max_inflated_bytes: 8000, ..limits() };
    for bytes in [tar(), gzip(&tar())] {
        assert_eq!(code(bytes, &small).0, "too_large");
    }
    assert_eq!(code(tar(), &CtLimits { max_files: 9, ..limits() }).0, "too_large");
    assert_eq!(code(tar(), &CtLimits { max_file_bytes: 500, ..limits() }).0, "too_large");
    for kind in [b'1', b'2', b'3', b'6', b'S'] {
        let (code, text) = code([tar_member(kind, "a", &[]), tar()].concat(), &limits());
        assert!(code == "archive_invalid" && text.contains("link"), "{code}: {text}");
    }
    // A header that promises 8 GiB allocates nothing.
    let mut huge = tar_member(b'0', "a", &[]);
    huge[124..136].copy_from_slice(b"77777777777\0");
    huge[148..156].copy_from_slice(b"        ");
    let sum: u32 = huge[..512].iter().map(|&byte| u32::from(byte)).sum();
    huge[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    assert_eq!(code(huge, &limits()).0, "too_large");
    let mut packed = gzip(&tar());
    let at = packed.len() - 7;
    packed[at] ^= 0x40;
    assert_eq!(code(packed, &limits()).0, "archive_invalid", "the checksum of the whole stream");
}

/// Every prefix, and every byte changed, of small archives: a refusal or a volume, never a panic.
#[test]
fn mutated_archives_end_in_words() {
    let bytes = zip(&members(true));
    for n in (0..bytes.len()).step_by(7) {
        let mut changed = bytes.clone();
        changed[n] ^= 0x55;
        let _ = read_parts(&[part("changed", changed)]);
        let _ = read_parts(&[part("cut", bytes[..n].to_vec())]);
    }
    let bytes = tar();
    for n in (0..bytes.len()).step_by(61) {
        let mut changed = bytes.clone();
        changed[n] ^= 0x55;
        let _ = read_parts(&[part("changed", changed)]);
        let _ = read_parts(&[part("cut", bytes[..n].to_vec())]);
    }
}
