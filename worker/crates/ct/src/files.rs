//! The files of a study, wherever they lie: parts of their own, or members of one archive. They are handed on one after the
//! other, so that an archive is never in memory inflated as a whole.

use std::io::{BufReader, Read};

use bytes::Bytes;
use flate2::bufread::MultiGzDecoder;

use crate::error::{CtCode, CtError};
use crate::limits::CtLimits;
use crate::sniff::{HEAD, Kind, sniff};
use crate::tar;
use crate::volume::PartBytes;
use crate::zip;

/// Where a file came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    pub part: usize,
    pub member: Option<usize>,
}

impl FileId {
    /// What messages call it. A member's own name is not told: archives carry names of patients.
    pub fn name(self, parts: &[PartBytes]) -> String {
        let part = parts.get(self.part).map_or("", |part| &part.name);
        match self.member {
            Some(member) => format!("member {} of {part}", member + 1),
            None => part.to_owned(),
        }
    }
}

/// What a study is.
#[derive(Debug)]
pub enum Study<'a> {
    Nifti(&'a PartBytes),
    Files(Files<'a>),
}

#[derive(Debug)]
pub struct Files<'a> {
    pub parts: &'a [PartBytes],
    packing: Packing,
    limits: CtLimits,
}

#[derive(Debug)]
enum Packing {
    None,
    Zip(Vec<zip::Entry>),
    Tar { compressed: bool },
}

impl<'a> Study<'a> {
    /// Finds out what the parts are.
    ///
    /// # Errors
    /// `no_dicom` for what is nothing that is read, `too_large`, `archive_invalid`; `unreadable` where reading fails.
    pub fn open(parts: &'a [PartBytes], limits: &CtLimits) -> Result<Self, CtError> {
        if parts.len() > limits.max_files {
            return Err(zip::too_many(parts.len(), limits));
        }
        let packing = match parts {
            [] => return Err(CtError::new(CtCode::NoDicom, "the study has no files")),
            [part] => match sniff(&head(part)?) {
                Kind::Nifti => return Ok(Self::Nifti(part)),
                Kind::Dicom => Packing::None,
                Kind::Zip => Packing::Zip(zip::directory(&part.body, limits)?),
                Kind::Tar => Packing::Tar { compressed: false },
                Kind::TarGz => Packing::Tar { compressed: true },
                Kind::Unknown => {
                    let text = format!("{} is neither DICOM, NIfTI, nor a zip or tar archive", part.name);
                    return Err(CtError::new(CtCode::NoDicom, text));
                }
            },
            _ => Packing::None,
        };
        Ok(Self::Files(Files { parts, packing, limits: *limits }))
    }
}

fn head(part: &PartBytes) -> Result<Bytes, CtError> {
    part.body.head(HEAD).map_err(|error| cannot_read(&part.name, &error))
}

pub fn cannot_read(name: &str, error: &std::io::Error) -> CtError {
    use nightread_domain::error::{ErrorCode, JobError, Stage};
    if let Some(cause) = JobError::of_machine(Stage::Decode, error) {
        return CtError::of_file(name, cause);
    }
    let message = format!("reading failed: {error}");
    CtError::of_file(name, JobError::new(Stage::Decode, ErrorCode::StorageUnavailable, message))
}

impl Files<'_> {
    /// Hands on every file that `wants` asks for, in the order in which they lie. Folders are no files.
    ///
    /// # Errors
    /// Those of the archive, and of `take`.
    pub fn each(
        &self,
        wants: &dyn Fn(FileId) -> bool,
        take: &mut dyn FnMut(FileId, Bytes) -> Result<(), CtError>,
    ) -> Result<(), CtError> {
        match &self.packing {
            Packing::None => self.each_part(wants, take),
            Packing::Zip(entries) => {
                let mut members = zip::Members::new(&self.parts[0].body);
                for (n, entry) in entries.iter().enumerate() {
                    let id = FileId { part: 0, member: Some(n) };
                    if !entry.is_folder && wants(id) {
                        take(id, members.read(entry)?.into())?;
                    }
                }
                Ok(())
            }
            Packing::Tar { compressed } => {
                let plain = BufReader::with_capacity(256 << 10, self.parts[0].body.open());
                if *compressed {
                    self.each_of_tar(MultiGzDecoder::new(plain), wants, take)
                } else {
                    self.each_of_tar(plain, wants, take)
                }
            }
        }
    }

    fn each_part(
        &self,
        wants: &dyn Fn(FileId) -> bool,
        take: &mut dyn FnMut(FileId, Bytes) -> Result<(), CtError>,
    ) -> Result<(), CtError> {
        for (n, part) in self.parts.iter().enumerate() {
            let id = FileId { part: n, member: None };
            if wants(id) {
                if part.body.len() > self.limits.max_file_bytes {
                    let (bytes, most) = (part.body.len(), self.limits.max_file_bytes);
                    let text = format!("{} takes {bytes} bytes; {most} are read", part.name);
                    return Err(CtError::new(CtCode::TooLarge, text));
                }
                let bytes =
                    part.body.clone().into_bytes().map_err(|error| cannot_read(&part.name, &error))?;
                take(id, bytes)?;
            }
        }
        Ok(())
    }

    fn each_of_tar(
        &self,
        reader: impl Read,
        wants: &dyn Fn(FileId) -> bool,
        take: &mut dyn FnMut(FileId, Bytes) -> Result<(), CtError>,
    ) -> Result<(), CtError> {
        let limits = &self.limits;
        let mut members = tar::Members::new(reader);
        let (mut sum, mut count, mut headers) = (0u64, 0usize, 0usize);
        while let Some(member) = members.step()? {
            sum = sum.saturating_add(member.bytes).saturating_add(512);
            headers += 1;
            let notes_too = 4 * limits.max_files;
            if sum > limits.max_inflated_bytes
                || headers > notes_too
                || member.is_note && member.bytes > 1 << 20
            {
                let text = format!(
                    "the tar archive is larger than {} bytes, or has too many members",
                    limits.max_inflated_bytes
                );
                return Err(CtError::new(CtCode::TooLarge, text));
            }
            if !member.is_file {
                continue;
            }
            if member.bytes > limits.max_file_bytes {
                let text = format!(
                    "a member of the tar archive takes {} bytes; {} are read",
                    member.bytes, limits.max_file_bytes
                );
                return Err(CtError::new(CtCode::TooLarge, text));
            }
            let id = FileId { part: 0, member: Some(count) };
            count += 1;
            if count > limits.max_files {
                return Err(zip::too_many(count, limits));
            }
            if wants(id) {
                take(id, members.read(member.bytes)?.into())?;
            }
        }
        members.finish(64 << 20)
    }
}
