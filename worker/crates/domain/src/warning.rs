//! Doubts that do not stop a reading but must travel with it.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! warning_codes {
    ($($variant:ident = $text:literal, $meaning:literal, $mend:literal;)*) => {
        /// The closed set of doubts. `as_str` stands in result documents, so a code never changes its text.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum WarningCode { $($variant,)* }

        impl WarningCode {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// What is in doubt, in one sentence for the reference.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// What whoever meets it can do.
            pub const fn mend(self) -> &'static str {
                match self { $(Self::$variant => $mend,)* }
            }
        }
    };
}

warning_codes! {
    // Radiographs.
    OutsideTrainingSize = "outside_training_size",
        "The image is smaller or larger than those the model was trained on.",
        "Announce originals; weigh the scores with care.";
    OutsideTrainingAge = "outside_training_age",
        "The person's age is outside the range the model was trained on.",
        "Use a model for that age.";
    UnverifiedModality = "unverified_modality",
        "The header names no modality; a radiograph was assumed.",
        "Send files with a complete header.";
    UnverifiedBodyPart = "unverified_body_part",
        "The header names no body part; a chest was assumed.",
        "Send files with a complete header.";
    UnverifiedView = "unverified_view",
        "Neither header nor format tells the view; a frontal one was assumed.",
        "Send DICOM files with a view position.";
    ViewPa = "view_pa",
        "The view is PA; the model was trained on other views.",
        "Use a model that was trained on PA views.";
    ViewAp = "view_ap",
        "The view is AP; the model was trained on other views.",
        "Use a model that was trained on AP views.";
    MissingEndMarker = "missing_eoi",
        "The compressed image is whole, but its end marker is missing (EOI of a JPEG, EOC of JPEG 2000, IEND of a PNG).",
        "Look at what wrote or carried the file: it may cut others shorter.";
    CodestreamNarrower = "codestream_narrower",
        "The compressed image has fewer bits than the header says; its own were taken as the range.",
        "Correct BitsStored in the header.";
    PartOfRange = "part_of_range",
        "A 16-bit PNG or TIFF uses less than half of its range, so the image is dark, or a negative nearly white.",
        "Set `png16_max` to the greatest value that the images can hold.";
    ForProcessing = "for_processing",
        "The header calls the image raw (FOR PROCESSING); it was read as if it were made for people.",
        "Announce the image for presentation.";
    NegativeRescaleSlope = "negative_rescale_slope",
        "RescaleSlope is negative: the image is shown as the negative of its samples, which were read as they are.",
        "Compare with the displayed image; announce it with rising samples.";
    FallingModalityLut = "falling_modality_lut",
        "The modality LUT falls: the image is shown as the negative of its samples, which were read as they are.",
        "Compare with the displayed image; announce it with rising samples.";
    FallingVoiLut = "falling_voi_lut",
        "The VOI LUT falls: the image is shown as the negative of its samples, which were read as they are.",
        "Compare with the displayed image; announce it with rising samples.";
    PresentationLutInverse = "presentation_lut_inverse",
        "PresentationLUTShape is INVERSE: the image is shown as the negative of its samples, which were read as they are.",
        "Compare with the displayed image; announce it with rising samples.";
    PaddingNotBlack = "padding_not_black",
        "The padding around the image is not black in what the model sees.",
        "Announce the image without padding.";
    ImageTurned = "image_turned",
        "PatientOrientation is other than L\\F: the image is turned or mirrored, and was read as it lies.",
        "Announce the image upright, with the patient's left on its right.";
    LowContrast = "low_contrast",
        "What the model sees is nearly one grey, or its values use a small part of their range.",
        "Look at the image; of a PNG or TIFF of fewer bits than 16 set `png16_max`.";
    HighBitShifted = "high_bit_shifted",
        "The stored bits lie above the lowest bit of their words; they were moved down, as HighBit says.",
        "Compare with the displayed image.";
    HighBitContradicted = "high_bit_contradicted",
        "HighBit says another place than the samples have; they were read where they lie.",
        "Mend the header's HighBit.";
    OverlayRemoved = "overlay_removed",
        "An overlay lay in unused bits of the samples and was taken away.",
        "None, unless the overlay is the finding.";
    ExcessPixelData = "excess_pixel_data",
        "The pixel data is longer than its image, by less than a row; the rest was left out.",
        "Check Rows, Columns and what wrote the file.";
    TransferSyntaxContradicted = "transfer_syntax_contradicted",
        "The elements are not written as the transfer syntax says; they were read as they are.",
        "Mend what writes the file's meta group.";
    HeaderRepaired = "header_repaired",
        "The header breaks the rules of its encoding and was read around the fault.",
        "Mend what writes the file.";
    MissingDelimiter = "missing_delimiter",
        "The compressed pixel data has no end mark; its frame was whole.",
        "Check that the file was copied to its end.";
    // Scans.
    Simulated = "simulated",
        "The scan was simulated and shows nobody's brain.",
        "None: it is for trying things.";
    ReadAsComponentMaps = "read_as_component_maps",
        "The file was taken for component maps of an earlier dual regression.",
        "Rename it, if it is a scan.";
    NonFiniteVoxels = "non_finite_voxels",
        "Some voxels held NaN or infinity; they were left out of a scan, and are zero in component maps.",
        "Look at the preprocessing.";
    TrailingBytes = "trailing_bytes",
        "The file goes on after its last volume; the rest was ignored.",
        "Check that the file is whole and its header right.";
    ComponentsLeftOut = "components_left_out",
        "Some components could not be solved for.",
        "Look at the flags of the components.";
    NoOrientation = "no_orientation",
        "A file has neither qform nor sform code: voxels were taken one for one, and which side is left was assumed.",
        "Write sform or qform with its code.";
    NotTemplateSpace = "not_template_space",
        "The header puts the scan in scanner, aligned or Talairach space, and it was resampled as it lies.",
        "Register the scan to the template of the model's maps first.";
    QformDisagrees = "qform_disagrees",
        "The header's qform and sform contradict each other; the sform was taken.",
        "Look at left and right in a viewer, and write both forms alike.";
    LowOverlap = "low_overlap",
        "The scan's tissue and the maps' mask overlap less than in registered scans.",
        "Look at the registration to the maps' template.";
    BitpixIgnored = "bitpix_ignored",
        "The header's bits of a voxel contradict its type of voxel; the type was followed.",
        "Write the header anew with a tool that knows NIfTI.";
    ImplausibleTr = "implausible_tr",
        "The header says a repetition time that no scanner has, or a fourth axis in other units than time.",
        "Correct pixdim[4] and its unit, or send the sidecar.";
    ConfoundsNotRead = "confounds_not_read",
        "The table of confounds beside the scan cannot be read, or is of another scan; nothing was asked of it, so only motion is not told.",
        "Mend or remove the table.";
    MaskNotBinary = "mask_not_binary",
        "A mask has more than two values; half of its greatest was the border.",
        "Threshold the mask yourself, if another border is meant.";
    MaskShrunk = "mask_shrunk",
        "One scan of a group analysis takes a large part of the mask away from all.",
        "Leave that scan out, or look at its field of view and preprocessing.";
    PartialCoverage = "partial_coverage",
        "A part of the brain mask has no signal: outside of the scan, constant, or not finite.",
        "Check the field of view, the registration and the preprocessing.";
    ComponentsNotCovered = "components_not_covered",
        "Some components lie largely where the scan has no signal; they have no z and no label.",
        "Look at the flags of the components and at the field of view.";
    ReducedRank = "reduced_rank",
        "The volumes hold fewer independent directions than volumes; t has fewer degrees of freedom.",
        "None for filtered, interpolated or censored scans; else look at the preprocessing.";
    FewDegreesOfFreedom = "few_degrees_of_freedom",
        "Too few degrees of freedom are left for statistics; there is no z.",
        "Take longer scans, wider filters, fewer confounds or a model with fewer maps.";
    TrainedOnSimulated = "trained_on_simulated",
        "The model has seen simulated scans only; what it says about a person's brain is not validated.",
        "Use it for trying things; bring a model that was trained on real scans.";
    // CT volumes.
    GantryTilt = "gantry_tilt",
        "The slices are sheared, as a tilted gantry makes them; they were sampled where they lie.",
        "None; weigh measurements across slices with care.";
    UnevenSlices = "uneven_slices",
        "Steps between slices differ; they were made even by linear interpolation.",
        "Send a series of even steps where there is one.";
    ThickSlices = "thick_slices",
        "Slices are more than 6 mm apart.",
        "Send a thinner reconstruction where there is one.";
    DuplicateSlices = "duplicate_slices",
        "Slices were there twice, with the same pixels; one of each was taken.",
        "Look at what sent them.";
    SeveralVolumes = "several_volumes",
        "The series holds several volumes; one was taken.",
        "Send each volume by itself.";
    NotHounsfield = "not_hounsfield",
        "No value is below zero: these may not be Hounsfield units.",
        "Export the volume with its rescale intercept.";
    InstanceNumberHoles = "instance_number_holes",
        "Instance numbers are missing: slices at an end of the series may be too.",
        "Compare with the scanner or the archive.";
    SlicesInterpolated = "slices_interpolated",
        "Missing slices were made from their neighbours.",
        "Send the whole series.";
    ValuesLowered = "values_lowered",
        "Values above 32,767 HU were lowered to it.",
        "Look at the rescale slope.";
    NotNumbers = "not_numbers",
        "Values that are not numbers were taken for air.",
        "Write the volume again from its source.";
    FilesSkipped = "files_skipped",
        "Files or images that are no part of the volume were left out.",
        "Send the slices of the volume alone.";
    LateralityImplausible = "laterality_implausible",
        "An organ of the left lies to the right of its counterpart: the volume or the model may be mirrored.",
        "Look at the preview, and at the orientation in the header.";
    SegmentAtBorder = "segment_at_border",
        "Segments reach the border of the volume: their volumes are those of what is in it.",
        "None where only a part of the body was scanned.";
    DemonstrationModel = "demonstration_model",
        "The model shows that the chain works; its volumes are not for use.",
        "Bring a model that was trained on many patients.";
}

impl fmt::Display for WarningCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A stable code with a plain sentence; both are written into the result document. The code is text here, because a
/// document that is read back may come from a newer worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    pub code: String,
    pub message: String,
}

impl Warning {
    pub fn new(code: WarningCode, message: impl Into<String>) -> Self {
        Self { code: code.as_str().to_owned(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn codes_are_distinct_and_explained() {
        let texts: BTreeSet<_> = WarningCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(texts.len(), WarningCode::ALL.len());
        for code in WarningCode::ALL {
            assert!(code.meaning().ends_with('.') && code.mend().ends_with('.'), "{code} is explained");
        }
    }
}
