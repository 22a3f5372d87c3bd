//! `nightread bench` on the real binary, model and library.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use serde_json::Value;

fn bench(arguments: &[&str], environment: &[(&str, &str)]) -> Value {
    let mut command = support::nightread();
    command.args(["bench", "--format", "json", "--model", "cxr-pneumonia-demo"]).args(arguments);
    let output = command.envs(environment.iter().copied()).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no JSON on stdout; stderr: {stderr}"))
}

#[test]
fn the_grid_holds_what_settings_leave_open_and_the_choice_of_auto() {
    let pinned = [("NIGHTREAD_ENGINE_INTRA_THREADS", "1"), ("NIGHTREAD_ENGINE_DECODE_THREADS", "1")];
    let report = bench(&["--seconds", "0.01", "--rounds", "1"], &pinned);
    let rows = report["grid"].as_array().unwrap();
    assert!(!rows.is_empty());
    for row in rows {
        assert_eq!((row["intra_threads"].as_u64(), row["decode_threads"].as_u64()), (Some(1), Some(1)));
        assert!(
            row["per_second"].as_f64().unwrap() > 0.0 && row["p95_ms"].as_f64() >= row["p50_ms"].as_f64()
        );
        let overhead = row["overhead"].as_f64().unwrap();
        assert!(overhead > 0.0 && overhead < 1.0, "{row}");
    }
    let same = |row: &&Value| row["sessions"] == report["auto"]["sessions"];
    let chosen = rows.iter().find(same).expect("auto takes one of the rows");
    assert!(report["auto"]["of_best"].as_f64().unwrap() <= 1.0 && chosen["cpu_use"].as_f64().unwrap() > 0.0);
    assert_eq!(report["model"]["execution_provider"], "cpu");
    assert!(!report["machine"]["processor"].as_str().unwrap().is_empty());
}

#[test]
fn a_bulk_run_reads_what_it_is_given_at_the_fastest_precision() {
    let Some(samples) = support::samples() else {
        return support::missing("a_bulk_run_reads_what_it_is_given_at_the_fastest_precision");
    };
    let image = samples.join("RG1_UNCR.dcm");
    let pinned = [
        ("NIGHTREAD_ENGINE_SESSIONS", "1"),
        ("NIGHTREAD_ENGINE_INTRA_THREADS", "1"),
        ("NIGHTREAD_ENGINE_DECODE_THREADS", "1"),
    ];
    let report = bench(&["--bulk", "5", "--precision", "auto", image.to_str().unwrap()], &pinned);
    let bulk = &report["bulk"];
    assert_eq!((bulk["count"].as_u64(), bulk["sessions"].as_u64()), (Some(5), Some(1)));
    assert!(bulk["memory_mib"].as_array().unwrap().len() > 1 && bulk["peak_memory_mib"].as_u64() > Some(10));
    assert!(["fp32", "int8"].contains(&report["model"]["precision"].as_str().unwrap()));
    assert!(report.get("grid").is_none() && report.get("auto").is_none());
}

#[test]
fn a_fleet_is_simulated_from_a_report() {
    let pinned = [
        ("NIGHTREAD_ENGINE_SESSIONS", "1"),
        ("NIGHTREAD_ENGINE_INTRA_THREADS", "1"),
        ("NIGHTREAD_ENGINE_DECODE_THREADS", "1"),
    ];
    let folder = tempfile::TempDir::new().unwrap();
    let reports = [
        bench(&["--seconds", "0.2", "--rounds", "1"], &pinned),
        bench(&["--bulk", "4", "--precision", "int8"], &pinned),
    ];
    for (report, rate) in reports.iter().zip(["/grid/0/per_second", "/bulk/per_second"]) {
        let file = folder.path().join("bench.json");
        std::fs::write(&file, report.to_string()).unwrap();
        let mut command = support::nightread();
        command.args(["simulate", "--bulk", "1000", "--workers", "1", "--hours", "1", "--format", "json"]);
        let output = command.arg("--bench").arg(&file).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        let told = told.pointer("/rows/0/means/last_result_seconds").and_then(Value::as_f64).unwrap();
        let rate = report.pointer(rate).and_then(Value::as_f64).unwrap();
        // One worker that never idles takes as long as the bench says, but for its first and last jobs.
        assert!((told * rate / 1000.0 - 1.0).abs() < 0.05, "1000 jobs at {rate} a second took {told} s");
    }
}

#[test]
fn what_cannot_be_measured_is_said() {
    let refused = |arguments: &[&str]| {
        let output = support::nightread().arg("bench").args(arguments).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (code, words) = refused(&["--bulk", "0"]);
    assert_eq!(code, Some(2), "{words}");
    let (code, words) = refused(&["--precision", "fp8"]);
    assert!(code == Some(2) && words.contains("precision"), "{words}");
    let (code, words) = refused(&["--model", "no-such-model", "--bulk", "1"]);
    assert!(code == Some(1) && words.contains("no-such-model"), "{words}");
    let manifest = support::models().join("cxr-pneumonia-demo/manifest.toml");
    let given = ["--model", "cxr-pneumonia-demo", "--bulk", "2", manifest.to_str().unwrap()];
    let (code, words) = refused(&given);
    assert!(
        code == Some(1) && words.contains("manifest.toml was not read: ") && words.contains("not_an_image"),
        "{words}"
    );
}
