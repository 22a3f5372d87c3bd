//! Sample types of NIfTI data and their conversion to `f64`.

use nightread_domain::{ErrorCode, JobError, Stage};

/// Byte order of the header and of the data behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Endian {
    Little,
    Big,
}

/// The integer and floating-point sample types of NIfTI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datatype {
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
    F32,
    F64,
}

impl Datatype {
    /// The type of a header's `datatype` code; complex, RGB, bit and extended floating types are refused by name.
    pub fn from_code(code: i16) -> Result<Self, JobError> {
        let refused = match code {
            2 => return Ok(Self::U8),
            4 => return Ok(Self::I16),
            8 => return Ok(Self::I32),
            16 => return Ok(Self::F32),
            64 => return Ok(Self::F64),
            256 => return Ok(Self::I8),
            512 => return Ok(Self::U16),
            768 => return Ok(Self::U32),
            1024 => return Ok(Self::I64),
            1280 => return Ok(Self::U64),
            1 => "single bits",
            32 | 1792 | 2048 => "complex numbers",
            128 | 2304 => "RGB colours",
            1536 => "128-bit floating point",
            _ => "of an unknown kind",
        };
        Err(JobError::new(
            Stage::Decode,
            ErrorCode::UnsupportedDatatype,
            format!("voxels are {refused} (datatype {code}); integer and floating-point voxels are read"),
        ))
    }

    /// The header code of this type.
    pub const fn code(self) -> i16 {
        match self {
            Self::U8 => 2,
            Self::I16 => 4,
            Self::I32 => 8,
            Self::F32 => 16,
            Self::F64 => 64,
            Self::I8 => 256,
            Self::U16 => 512,
            Self::U32 => 768,
            Self::I64 => 1024,
            Self::U64 => 1280,
        }
    }

    /// Size of one sample, in bytes.
    pub const fn bytes(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::U16 | Self::I16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::U64 | Self::I64 | Self::F64 => 8,
        }
    }

    /// A sentence's end about the width of this type.
    pub(super) fn words(self) -> String {
        format!("voxels of datatype {} take {}, and were read so", self.code(), 8 * self.bytes())
    }

    /// Whether a sample can be NaN or infinite.
    pub const fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F64)
    }
}

/// A sample that can be read out of little- or big-endian bytes.
pub(super) trait Sample {
    fn read(bytes: &[u8], index: usize, endian: Endian) -> f64;
}

macro_rules! samples {
    ($($type:ty),*) => {$(
        impl Sample for $type {
            #[inline]
            #[allow(clippy::cast_lossless)] // One macro body serves u8 and u64.
            fn read(bytes: &[u8], index: usize, endian: Endian) -> f64 {
                const N: usize = size_of::<$type>();
                let mut raw = [0; N];
                raw.copy_from_slice(&bytes[index * N..][..N]);
                (match endian {
                    Endian::Little => <$type>::from_le_bytes(raw),
                    Endian::Big => <$type>::from_be_bytes(raw),
                }) as f64
            }
        }
    )*};
}
samples!(u8, i8, u16, i16, u32, i32, u64, i64, f32, f64);

/// Calls a generic function with the Rust type of a datatype.
macro_rules! with_sample {
    ($datatype:expr, $function:ident ( $($argument:expr),* )) => {
        match $datatype {
            Datatype::U8 => $function::<u8>($($argument),*),
            Datatype::I8 => $function::<i8>($($argument),*),
            Datatype::U16 => $function::<u16>($($argument),*),
            Datatype::I16 => $function::<i16>($($argument),*),
            Datatype::U32 => $function::<u32>($($argument),*),
            Datatype::I32 => $function::<i32>($($argument),*),
            Datatype::U64 => $function::<u64>($($argument),*),
            Datatype::I64 => $function::<i64>($($argument),*),
            Datatype::F32 => $function::<f32>($($argument),*),
            Datatype::F64 => $function::<f64>($($argument),*),
        }
    };
}
pub(super) use with_sample;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const ALL: [Datatype; 10] = [
        Datatype::U8,
        Datatype::I8,
        Datatype::U16,
        Datatype::I16,
        Datatype::U32,
        Datatype::I32,
        Datatype::U64,
        Datatype::I64,
        Datatype::F32,
        Datatype::F64,
    ];

    #[test]
    fn codes_are_read_back() {
        for datatype in ALL {
            assert_eq!(Datatype::from_code(datatype.code()).unwrap(), datatype);
        }
    }

    #[test]
    fn colours_and_complex_numbers_are_refused_by_name() {
        let error = Datatype::from_code(128).unwrap_err();
        assert_eq!(error.code, ErrorCode::UnsupportedDatatype);
        assert!(error.message.contains("RGB"));
        assert!(Datatype::from_code(32).unwrap_err().message.contains("complex"));
        assert!(Datatype::from_code(-7).is_err());
    }

    #[test]
    fn samples_follow_their_byte_order() {
        assert!((i16::read(&[0xff, 0xfe, 0, 0], 0, Endian::Big) - -2.0).abs() < f64::EPSILON);
        assert!((u16::read(&[0, 0, 0x01, 0x02], 1, Endian::Little) - 513.0).abs() < f64::EPSILON);
        assert!((f32::read(&1.5f32.to_be_bytes(), 0, Endian::Big) - 1.5).abs() < f64::EPSILON);
    }
}
