//! Execution providers: what computes the graph.

use std::fmt;
use std::str::FromStr;

/// What computes the graph. A choice, never a silent fallback.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Provider {
    /// ONNX Runtime's own CPU kernels.
    #[default]
    Cpu,
    /// OpenVINO through its execution provider, on the CPU. Needs the library of `onnxruntime-openvino`.
    OpenVino,
}

impl Provider {
    pub const ALL: [Self; 2] = [Self::Cpu, Self::OpenVino];

    /// `cpu` or `openvino`: in settings, in folder names and in results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::OpenVino => "openvino",
        }
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|provider| provider.as_str() == text)
            .ok_or_else(|| format!("execution provider must be cpu or openvino, not {text:?}"))
    }
}
