//! The closed sets that a list of steps is made of. Serialised they are part of what a result depends on, so a name that is
//! written here stays.

use serde::Serialize;

/// A closed set of words, as manifests write them.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
        pub enum $name { $($(#[$each])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            pub const ALL: &'static [(&'static str, Self)] = &[$(($text, Self::$variant),)*];

            /// As in manifests.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

words! {
    /// The function of a DICOM window (PS3.3 C.11.2.1.2 and C.11.2.1.3).
    WindowFunction {
        /// DICOM's own: a window of width `w` has `w - 1` steps.
        Linear = "linear",
        /// From `centre - width / 2` to `centre + width / 2`.
        LinearExact = "linear-exact",
        Sigmoid = "sigmoid",
    }
}

words! {
    /// How floats become bytes.
    Rounding {
        /// `astype(uint8)`: cut off.
        Numpy = "numpy",
        /// `convertScaleAbs`: to the nearest, halves to the even one.
        Opencv = "opencv",
        /// `img_as_ubyte`: the same.
        Skimage = "skimage",
        /// `convert_image_dtype`: times 255.999, cut off.
        Torchvision = "torchvision",
        /// `convert("L")` of an image in mode F: cut off.
        Pillow = "pillow",
    }
}

words! {
    /// Where the middle lies when it lies between two pixels.
    CropRule {
        /// `side // 2 - crop // 2`.
        Torchxrayvision = "torchxrayvision",
        /// The same.
        Monai = "monai",
        /// `round((side - crop) / 2)`, halves to the even one.
        Torchvision = "torchvision",
    }
}

words! {
    /// Whose resize.
    Resizer {
        /// `skimage.transform.resize` of floats, with its own antialiasing.
        Skimage = "skimage",
        /// `Image.resize` in mode L of bytes, in mode F of floats.
        PillowBilinear = "pillow-bilinear",
        PillowBicubic = "pillow-bicubic",
        PillowLanczos = "pillow-lanczos",
        /// `transforms.Resize` of a tensor, bilinear with `antialias=True`.
        TorchvisionAntialias = "torchvision-antialias",
        /// `cv2.resize` with `INTER_LINEAR`.
        OpencvLinear = "opencv-linear",
        /// `cv2.resize` with `INTER_AREA`.
        OpencvArea = "opencv-area",
        /// `monai.transforms.Resize` in its default mode, `area`.
        Monai = "monai",
    }
}

words! {
    /// What lies outside of the image for `skimage`.
    Edge {
        /// The default of `resize`: the image mirrored about its outermost pixels.
        Reflect = "reflect",
        /// Zeros, as TorchXRayVision asks for.
        Constant = "constant",
    }
}

words! {
    /// How the other side is rounded where one side is named.
    SideRounding {
        /// torchvision's: `int(size * other / this)`.
        Down = "down",
        /// MONAI's: to the nearest, halves to the even one.
        Nearest = "nearest",
    }
}

words! {
    Layout {
        /// (channels, height, width) an item.
        Nchw = "NCHW",
        /// (height, width, channels) an item.
        Nhwc = "NHWC",
    }
}

/// The sides that a resize gives, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "side", rename_all = "kebab-case")]
pub enum Sides {
    Exact {
        height: usize,
        width: usize,
    },
    /// The shorter side becomes this; the other in proportion.
    Short {
        size: usize,
        rounding: SideRounding,
    },
    /// The longer side becomes this; the other in proportion.
    Long {
        size: usize,
        rounding: SideRounding,
    },
}

/// Which window.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "source", rename_all = "kebab-case")]
pub enum Window {
    /// The first of the image's header. An image without one is refused.
    Header,
    /// In the values as they stand before the step.
    Given { centre: f64, width: f64, function: WindowFunction },
}

/// Contrast-limited adaptive histogram equalisation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "library", rename_all = "kebab-case")]
pub enum Clahe {
    /// `cv2.createCLAHE(clip_limit, tiles)` of bytes; tiles across and down.
    Opencv { clip_limit: f64, tiles: [usize; 2] },
    /// `skimage.exposure.equalize_adapthist` of floats, to [0, 1]; without a kernel (height, width) an eighth of each side.
    Skimage {
        clip_limit: f64,
        bins: usize,
        #[serde(skip_serializing_if = "Option::is_none")]
        kernel: Option<[usize; 2]>,
    },
}

/// The last step: the values of each channel, and the order of the axes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Channels {
    /// 1 or 3; three are the same image three times.
    pub count: usize,
    /// Taken away from each channel, and what it is divided by then; as many as there are channels, or none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mean: Vec<f64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub std: Vec<f64>,
    pub layout: Layout,
}

/// One step. All arithmetic on floats is in float32, one rounding an operation, as in NumPy and PyTorch.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Step {
    /// `(x - from[0]) / (from[1] - from[0]) * (to[1] - to[0]) + to[0]`; without `from` of what can be stored: 0 to the
    /// greatest stored value, or 0 to 255 of bytes.
    Range {
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<[f64; 2]>,
        to: [f64; 2],
        /// Whether values outside of `to` become its ends.
        clip: bool,
    },
    Window {
        #[serde(flatten)]
        window: Window,
        to: [f64; 2],
    },
    /// The least value of the image becomes `to[0]`, the greatest `to[1]`.
    #[serde(rename = "minmax")]
    MinMax {
        to: [f64; 2],
    },
    /// The same with percentiles, in percent, interpolated linearly.
    Percentile {
        lower: f64,
        upper: f64,
        to: [f64; 2],
        clip: bool,
    },
    /// `(x - mean) / std` of the image itself, `std` of all pixels (no degree of freedom less).
    #[serde(rename = "zscore")]
    ZScore {},
    Clahe(Clahe),
    /// The least value that there can be becomes the greatest, and the other way round.
    Invert {},
    #[serde(rename = "to-uint8")]
    ToUint8 {
        library: Rounding,
    },
    /// The middle of the image, of these sides (height, width), or the square of the shorter side.
    CropCentre {
        library: CropRule,
        #[serde(skip_serializing_if = "Option::is_none")]
        size: Option<[usize; 2]>,
    },
    /// Bands of one value on both of the shorter sides; the first has `difference / 2` pixels, rounded down.
    PadSquare {
        value: f64,
    },
    Resize {
        library: Resizer,
        #[serde(flatten)]
        sides: Sides,
        /// Of `skimage` alone.
        #[serde(skip_serializing_if = "Option::is_none")]
        edge: Option<Edge>,
    },
    Channels(Channels),
}

impl Step {
    pub const NAMES: &'static [&'static str] = &[
        "range",
        "window",
        "minmax",
        "percentile",
        "zscore",
        "clahe",
        "invert",
        "to-uint8",
        "crop-centre",
        "pad-square",
        "resize",
        "channels",
    ];

    /// As in manifests.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Range { .. } => "range",
            Self::Window { .. } => "window",
            Self::MinMax { .. } => "minmax",
            Self::Percentile { .. } => "percentile",
            Self::ZScore {} => "zscore",
            Self::Clahe(_) => "clahe",
            Self::Invert {} => "invert",
            Self::ToUint8 { .. } => "to-uint8",
            Self::CropCentre { .. } => "crop-centre",
            Self::PadSquare { .. } => "pad-square",
            Self::Resize { .. } => "resize",
            Self::Channels(_) => "channels",
        }
    }
}
