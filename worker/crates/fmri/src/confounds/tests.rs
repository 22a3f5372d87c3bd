#![allow(clippy::unwrap_used, clippy::panic, clippy::float_cmp)]
use super::*;

const TEXT: &str = "csf\ttrans_x\ttrans_x_derivative1\tframewise_displacement\tcosine00\tcosine01\n\
    1.5\t0.1\tn/a\tn/a\t1\t0.5\n\
    2.5\t0.2\t0.1\t0.3\t2\t0.25\n\
    0.5\t0.9\t0.7\t0.9\t3\t0.125\n\
    1.0\t0.8\t-1e-1\t0.2\t4\t0\n";

fn wanted(columns: &[&str]) -> Wanted {
    Wanted { columns: columns.iter().map(|&c| c.to_owned()).collect(), ..Wanted::default() }
}

fn code<T: std::fmt::Debug>(result: Result<T, JobError>) -> ErrorCode {
    result.unwrap_err().code
}

#[test]
fn columns_are_found_by_name_and_by_pattern() {
    let table = Table::parse(TEXT.as_bytes()).unwrap();
    let found = find(&wanted(&["cos*", "csf", "cosine01"]), Some(&table), 4).unwrap();
    assert_eq!(found.names, ["cosine00", "cosine01", "csf"]);
    assert_eq!(found.nuisance.columns[2], [1.5, 2.5, 0.5, 1.0]);
    assert!(found.nuisance.left_out.is_empty());
    for (pattern, fitting) in
        [("*", 6), ("*trans_x*", 2), ("trans_x", 1), ("t*_*1", 1), ("x*", 0), ("cosine0", 0)]
    {
        assert_eq!(table.matching(pattern).len(), fitting, "{pattern}");
    }
}

#[test]
fn what_is_asked_for_and_absent_is_missing() {
    let table = Table::parse(TEXT.as_bytes()).unwrap();
    assert_eq!(code(find(&wanted(&["csf", "rot_x"]), Some(&table), 4)), ErrorCode::ConfoundsMissing);
    assert_eq!(code(find(&wanted(&["csf"]), None, 4)), ErrorCode::ConfoundsMissing);
    let censoring = Wanted { max_displacement_mm: Some(0.5), ..Wanted::default() };
    let bare = Table::parse(b"csf\n1\n2\n").unwrap();
    assert_eq!(code(find(&censoring, Some(&bare), 2)), ErrorCode::ConfoundsMissing);
    assert_eq!(code(find(&censoring, None, 2)), ErrorCode::ConfoundsMissing);
    // Nothing is asked for: nothing is needed.
    assert_eq!(find(&Wanted::default(), None, 2).unwrap(), Found::default());
}

#[test]
fn volumes_are_dropped_and_censored() {
    let table = Table::parse(TEXT.as_bytes()).unwrap();
    let all = Wanted { drop_volumes: 1, max_displacement_mm: Some(0.5), ..wanted(&["trans_x_derivative1"]) };
    let found = find(&all, Some(&table), 4).unwrap();
    assert_eq!((found.dropped, found.censored), (1, 1));
    assert_eq!(found.nuisance.left_out, [true, false, true, false]);
    // A volume that is dropped already is not censored too.
    let most = Wanted { drop_volumes: 3, ..all.clone() };
    assert_eq!(find(&most, Some(&table), 4).unwrap().censored, 0);
    assert_eq!(code(find(&Wanted { drop_volumes: 9, ..all }, Some(&table), 4)), ErrorCode::TooFewVolumes);
    let alone = Wanted { drop_volumes: 2, ..Wanted::default() };
    assert_eq!(find(&alone, None, 4).unwrap().nuisance.left_out, [true, true, false, false]);
}

#[test]
fn not_available_is_filled_in_the_first_row_alone() {
    let table = Table::parse(TEXT.as_bytes()).unwrap();
    let found = find(&wanted(&["*_derivative1"]), Some(&table), 4).unwrap();
    assert_eq!(found.nuisance.columns[0], [0.1, 0.1, 0.7, -0.1]);
    let later = Table::parse(b"a\tframewise_displacement\n1\tn/a\nn/a\t0.1\n3\t0.2\n").unwrap();
    assert_eq!(code(find(&wanted(&["a"]), Some(&later), 3)), ErrorCode::ConfoundsInvalid);
    // In a volume that is left out it does not matter.
    let dropped = Wanted { drop_volumes: 2, ..wanted(&["a"]) };
    assert_eq!(find(&dropped, Some(&later), 3).unwrap().nuisance.columns[0][2], 3.0);
    let both = Table::parse(b"a\nn/a\nn/a\n3\n").unwrap();
    assert_eq!(code(find(&wanted(&["a"]), Some(&both), 3)), ErrorCode::ConfoundsInvalid);
    let moved = Table::parse(b"framewise_displacement\nn/a\nn/a\n0.1\n").unwrap();
    let censoring = Wanted { max_displacement_mm: Some(0.5), ..Wanted::default() };
    assert_eq!(code(find(&censoring, Some(&moved), 3)), ErrorCode::ConfoundsInvalid);
}

#[test]
fn tables_that_do_not_fit_are_refused() {
    for text in ["", "a\tb\n1\n", "a\n1\t2\n", "a\tb\n1\tx\n", "a\ta\n1\t2\n", "a\n1e999\n"] {
        assert_eq!(code(Table::parse(text.as_bytes())), ErrorCode::ConfoundsInvalid, "{text:?}");
    }
    assert_eq!(code(Table::parse(&[0xff, 0xfe, 0])), ErrorCode::ConfoundsInvalid);
    let table = Table::parse(b"a\r\n1\r\n2\r\n\r\n").unwrap();
    assert_eq!(find(&wanted(&["a"]), Some(&table), 2).unwrap().nuisance.columns[0], [1.0, 2.0]);
    assert_eq!(code(find(&wanted(&["a"]), Some(&table), 3)), ErrorCode::ConfoundsInvalid);
}

#[test]
fn sidecars_are_named_as_bids_names_them() {
    let (json, tables) =
        sidecars("sub-01_task-rest_run-2_space-MNI152NLin6Asym_res-2_desc-preproc_bold.nii.gz");
    assert_eq!(json.unwrap(), "sub-01_task-rest_run-2_space-MNI152NLin6Asym_res-2_desc-preproc_bold.json");
    assert_eq!(tables[0], "sub-01_task-rest_run-2_desc-confounds_timeseries.tsv");
    assert!(tables.contains(&"sub-01_task-rest_run-2_desc-confounds_regressors.tsv".to_owned()));
    assert!(tables.contains(
        &"sub-01_task-rest_run-2_space-MNI152NLin6Asym_res-2_desc-confounds_timeseries.tsv".to_owned()
    ));
    assert_eq!(sidecars("sub-01_bold.nii").1[0], "sub-01_desc-confounds_timeseries.tsv");
    assert_eq!(sidecars("scan.nii.gz"), (Some("scan.json".to_owned()), Vec::new()));
    assert_eq!(sidecars("image.png"), (None, Vec::new()));
}
