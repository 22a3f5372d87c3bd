//! The processor, as libraries that choose kernels by it see it.

/// Vendor, family, model and stepping, and the sets of instructions; one line. `None` where that cannot be told.
#[cfg(target_arch = "x86_64")]
#[expect(clippy::unnecessary_wraps, reason = "other processors may not tell")]
pub(super) fn description() -> Option<String> {
    use raw_cpuid::cpuid;

    // The instruction itself, as ONNX Runtime asks: /proc/cpuinfo does not know what a hypervisor or a test hides from one
    // process. The words of leaf 1 that name the core and its load are left out.
    let (vendor, version, extended) = (cpuid!(0), cpuid!(1), cpuid!(0x8000_0001));
    let (features, more) = (cpuid!(7, 0), cpuid!(7, 1));
    // What the system lets programs use of them, which no leaf tells.
    let usable = [
        is_x86_feature_detected!("avx"),
        is_x86_feature_detected!("avx2"),
        is_x86_feature_detected!("fma"),
        is_x86_feature_detected!("avx512f"),
        is_x86_feature_detected!("avx512vnni"),
    ];
    let words = [
        vendor.ebx,
        vendor.edx,
        vendor.ecx,
        version.eax,
        version.ecx,
        version.edx,
        features.ebx,
        features.ecx,
        features.edx,
        more.eax,
        more.edx,
        extended.ecx,
        extended.edx,
    ];
    let words: Vec<String> = words.iter().map(|word| format!("{word:08x}")).collect();
    let usable: String = usable.iter().map(|usable| if *usable { '1' } else { '0' }).collect();
    Some(format!("x86_64 {} {usable}", words.join(" ")))
}

/// What the kernel says of the first processor, less its speed.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn description() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").ok()?;
    let first = text.split("\n\n").next()?;
    let told: Vec<&str> =
        first.lines().filter(|line| ["CPU ", "Features"].iter().any(|name| line.starts_with(name))).collect();
    (!told.is_empty()).then(|| format!("{} {}", std::env::consts::ARCH, told.join("; ").replace('\t', "")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_one_line_and_stays_the_same() {
        let told = description().unwrap();
        assert!(!told.contains('\n'), "{told}");
        // On whichever core the next one runs.
        for _ in 0..64 {
            let again = std::thread::spawn(description).join().unwrap();
            assert_eq!(again.as_deref(), Some(told.as_str()));
        }
    }
}
