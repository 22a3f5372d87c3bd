//! What can be typed after `nightread dicom`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::common::{Common, Format};

#[derive(Args, Debug)]
pub struct DicomArgs {
    #[command(subcommand)]
    pub command: DicomCommand,
}

#[derive(Debug, Subcommand)]
pub enum DicomCommand {
    /// Write the DICOM objects of one result into a folder, without a network
    Write(WriteArgs),
    /// Send the DICOM objects of one result to the archive of the settings
    Send(SendArgs),
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  nightread dicom write results/cxr-pneumonia-demo/1.0.1-fp32/local/data/chest.dcm.json --source /data/chest.dcm --out objects
  nightread dicom write result.json --source chest.dcm --out objects --format json
  nightread dicom write results/ct-organs-demo/1.0.0-fp32/local/data/ct/1.2.3.json --source /data/ct --out objects

Written are a structured report (TID 1500) and secondary captures. Of a radiograph the report has the positive findings, their \
certainty and the model, the captures are the stored heatmaps, or a page of text where there are none. Of a CT series the report has \
each organ with its volume and attenuation, the captures are a page with these and the stored preview, and the label map becomes a \
segmentation. They belong to the patient and the study of the source, whose name and numbers are in them: mind where they go. The same \
result and source give the same files, byte for byte.

The source must be what was read, by its SHA-256: a DICOM file, a zip or tar archive of slices, or the folder that the slices lie in, \
under the names that they had. Codes of labels come from the model's manifest.

Exit status: 0 written, 1 nothing was, 2 wrong use.")]
pub struct WriteArgs {
    /// The result document
    #[arg(value_name = "RESULT")]
    pub result: PathBuf,
    /// What it was read from: a DICOM file, an archive, or the folder of a series
    #[arg(long, value_name = "SOURCE")]
    pub source: PathBuf,
    /// Where the objects go
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  NIGHTREAD_DELIVER_ARCHIVE=https://pacs.example/dicom-web nightread dicom send result.json --source chest.dcm
  NIGHTREAD_DELIVER_ARCHIVE=dicom://ARCHIVE@pacs.example:104 nightread dicom send result.json --source chest.dcm

Sent are the objects that `nightread dicom write` writes, by STOW-RS or by C-STORE in one association. Each object is judged by \
what the archive says of it. The same result again is the same objects under the same UIDs, so that an archive has each once.

Exit status: 0 the archive has every object, 1 it has not, 2 wrong use.")]
pub struct SendArgs {
    /// The result document
    #[arg(value_name = "RESULT")]
    pub result: PathBuf,
    /// What it was read from: a DICOM file, an archive, or the folder of a series
    #[arg(long, value_name = "SOURCE")]
    pub source: PathBuf,
    #[command(flatten)]
    pub common: Common,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}
