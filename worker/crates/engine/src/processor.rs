//! The processor, as far as a precision depends on it.

use std::collections::BTreeSet;

use nightread_domain::{ErrorCode, JobError, Stage};

use crate::manifest::Precision;
use crate::provider::Provider;

/// What bf16 needs: tiles, and products of bfloat16 in them. AVX-512 alone can compute bfloat16 too, and sums up in another
/// order: what was measured with AMX says nothing of it.
const OF_BF16: [&str; 2] = ["amx_tile", "amx_bf16"];

/// A processor, by its own name, and the sets of instructions that programs may use on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processor {
    pub name: String,
    /// As Linux names them, for example `avx512_bf16`.
    pub instructions: BTreeSet<String>,
}

impl Processor {
    /// That of this machine, as the kernel tells of the first one: it leaves out what it does not let programs use.
    pub fn here() -> Self {
        let mut found = Self::told_by(&std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default());
        // The kernel does not know what is hidden from one process.
        if OF_BF16.iter().all(|name| found.has(name)) && !cpuid_has_amx_bf16() {
            found.instructions.retain(|name| !OF_BF16.contains(&name.as_str()));
        }
        found
    }

    fn told_by(cpuinfo: &str) -> Self {
        let [name, flags] = ["model name", "flags"].map(|field| {
            let line = cpuinfo.lines().find(|line| line.starts_with(field))?;
            line.split_once(':').map(|(_, value)| value.trim())
        });
        Self {
            name: name.filter(|name| !name.is_empty()).unwrap_or(std::env::consts::ARCH).to_owned(),
            instructions: flags.unwrap_or_default().split_whitespace().map(str::to_owned).collect(),
        }
    }

    pub fn has(&self, instructions: &str) -> bool {
        self.instructions.contains(instructions)
    }

    /// Errors: `processor_unfit` with the name of the processor and what it lacks.
    pub fn require_bf16(&self) -> Result<(), JobError> {
        let lacking: Vec<_> = OF_BF16.into_iter().filter(|name| !self.has(name)).collect();
        if lacking.is_empty() {
            return Ok(());
        }
        let words = format!(
            "bf16 needs a processor with AMX, and {} lacks {}: run on one that has it, or in fp32 or int8",
            self.name,
            lacking.join(" and ")
        );
        Err(JobError::new(Stage::Start, ErrorCode::ProcessorUnfit, words))
    }
}

impl Precision {
    /// Whether `provider` computes it on this machine.
    ///
    /// Errors: `settings_invalid` for bf16 on another provider than OpenVINO; `processor_unfit`.
    pub fn require(self, provider: Provider) -> Result<(), JobError> {
        self.require_provider(provider)?;
        match self {
            Self::Fp32 | Self::Int8 => Ok(()),
            Self::Bf16 => Processor::here().require_bf16(),
        }
    }

    pub(crate) fn require_provider(self, provider: Provider) -> Result<(), JobError> {
        match (self, provider) {
            (Self::Fp32 | Self::Int8, _) | (Self::Bf16, Provider::OpenVino) => Ok(()),
            (Self::Bf16, Provider::Cpu) => {
                let words = "bf16 is computed by OpenVINO alone: set [models] provider = \"openvino\" \
                             (NIGHTREAD_MODELS_PROVIDER)";
                Err(JobError::new(Stage::Start, ErrorCode::SettingsInvalid, words))
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn cpuid_has_amx_bf16() -> bool {
    let features = raw_cpuid::CpuId::new().get_extended_feature_info();
    features.is_some_and(|features| features.has_amx_tile() && features.has_amx_bf16())
}

#[cfg(not(target_arch = "x86_64"))]
fn cpuid_has_amx_bf16() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const XEON: &str = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz\n\
                        flags\t\t: fpu avx512f avx512_bf16 amx_bf16 avx512_fp16 amx_tile amx_int8\n\nprocessor\t: 1\n";

    #[test]
    fn bf16_is_refused_by_name_without_amx() {
        let with = Processor::told_by(XEON);
        assert_eq!(with.name, "Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz");
        with.require_bf16().unwrap();
        let without = Processor::told_by(&XEON.replace("amx_bf16", "").replace("Xeon", "Eon"));
        let error = without.require_bf16().unwrap_err();
        assert_eq!(error.code, ErrorCode::ProcessorUnfit);
        assert!(
            error.message.contains("Intel(R) Eon(R) Platinum 8481C")
                && error.message.contains("lacks amx_bf16:")
        );
        let none = Processor::told_by("");
        assert_eq!(none.name, std::env::consts::ARCH);
        assert!(none.require_bf16().unwrap_err().message.contains("lacks amx_tile and amx_bf16"));
    }

    #[test]
    fn bf16_is_openvinos_alone() {
        let error = Precision::Bf16.require(Provider::Cpu).unwrap_err();
        assert_eq!(error.code, ErrorCode::SettingsInvalid);
        assert!(error.message.contains("provider = \"openvino\""), "{error}");
        assert!([Precision::Fp32, Precision::Int8].iter().all(|one| one.require(Provider::Cpu).is_ok()));
        let here = Precision::Bf16.require(Provider::OpenVino).map_err(|error| error.code);
        assert_eq!(here, Processor::here().require_bf16().map_err(|error| error.code));
    }
}
