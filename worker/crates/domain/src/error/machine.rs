//! Failed reads that are the machine's fault and not the bytes'.

use std::io;

use super::{ErrorCode, JobError, Stage};

impl JobError {
    /// What a failed read says of the machine: `memory_refused` where the buffer could not grow ([`Read::read_to_end`] tells it
    /// as an error), `storage_unavailable` where the system failed to read what is kept on its disk. `None` where the bytes
    /// themselves are at fault. To be asked before a study is called damaged.
    ///
    /// [`Read::read_to_end`]: io::Read::read_to_end
    pub fn of_machine(stage: Stage, error: &io::Error) -> Option<Self> {
        if error.kind() == io::ErrorKind::OutOfMemory {
            let text = "the system gives this worker no memory for the bytes of the study";
            return Some(Self::new(stage, ErrorCode::MemoryRefused, text));
        }
        error.raw_os_error().map(|_| {
            let text = format!("reading what was fetched failed: {error}");
            Self::new(stage, ErrorCode::StorageUnavailable, text)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;
    use crate::error::ErrorClass;

    fn code(error: &io::Error) -> Option<ErrorCode> {
        JobError::of_machine(Stage::Decode, error).map(|error| error.code)
    }

    #[test]
    fn the_system_s_own_errors_blame_the_machine_and_what_decoders_say_does_not() {
        let no_memory = io::Error::from(ErrorKind::OutOfMemory);
        assert_eq!(code(&no_memory), Some(ErrorCode::MemoryRefused));
        let told = JobError::of_machine(Stage::Decode, &no_memory).map(|error| error.class);
        assert_eq!(told, Some(ErrorClass::Fatal));
        for broken_disk in [5, 116] {
            let error = io::Error::from_raw_os_error(broken_disk);
            assert_eq!(code(&error), Some(ErrorCode::StorageUnavailable), "{error}");
        }
        for kind in
            [ErrorKind::UnexpectedEof, ErrorKind::InvalidData, ErrorKind::InvalidInput, ErrorKind::Other]
        {
            assert_eq!(code(&kind.into()), None, "{kind}");
        }
    }

    /// As a reader of the standard library tells of a buffer that cannot grow.
    #[test]
    fn a_buffer_that_cannot_grow_is_told_as_an_error() {
        let refused = Vec::<u8>::new().try_reserve_exact(1 << 60).expect_err("nobody has so much");
        assert_eq!(code(&refused.into()), Some(ErrorCode::MemoryRefused));
    }
}
