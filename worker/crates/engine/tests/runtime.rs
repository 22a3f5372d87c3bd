//! Loading the library: what is not one, and that there is only one. In a process of its own, because loading is for good.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;

use nightread_domain::ErrorCode;
use nightread_engine::{Provider, Runtime, Search};

/// One test, because the steps depend on what the process has loaded.
#[test]
fn a_bad_library_is_refused_and_a_good_one_still_loads() {
    let folder = tempfile::tempdir().unwrap();
    let junk = folder.path().join("libonnxruntime.so.1.99.0");
    fs::write(&junk, b"not a library").unwrap();
    let named = |path| Runtime::load(&Search::new(Some(path), Provider::Cpu));

    let missing = named(folder.path().join("nowhere")).unwrap_err();
    assert_eq!(missing.code, ErrorCode::RuntimeMissing);
    assert!(missing.is_fatal() && missing.message.contains("make runtime"), "{missing}");

    let refused = named(junk).unwrap_err();
    assert_eq!(refused.code, ErrorCode::RuntimeMismatch);
    assert!(refused.message.contains("libonnxruntime.so.1.99.0"), "{refused}");

    let Some(runtime) = common::runtime(Provider::Cpu, "a_bad_library_is_refused_and_a_good_one_still_loads")
    else {
        return;
    };
    let version = runtime.version().expect("the library tells its version");
    let minor: u32 = version.split('.').nth(1).unwrap().parse().unwrap();
    assert!(version.starts_with("1.") && minor >= 24, "{version}");
    assert!(runtime.providers().contains(&Provider::Cpu));
    assert_eq!(named(runtime.library().to_owned()).unwrap().library(), runtime.library(), "the same, again");

    let copy = folder.path().join("libonnxruntime.so.1.24.0");
    fs::write(&copy, b"another").unwrap();
    let second = named(copy).unwrap_err();
    assert_eq!(second.code, ErrorCode::RuntimeMismatch);
    assert!(second.message.contains("is loaded already"), "{second}");

    if !runtime.providers().contains(&Provider::OpenVino) {
        let lacking = runtime.require(Provider::OpenVino).unwrap_err();
        assert_eq!(lacking.code, ErrorCode::RuntimeMismatch);
        assert!(lacking.message.contains("openvino"), "{lacking}");
    }
}
