use super::{Flags, Report, Side, number};
use crate::series::Series;

#[test]
fn numbers_keep_three_digits() {
    assert_eq!(
        [0.01234, 1.234, 12.34, 123.4, 12345.6].map(number),
        ["0.012", "1.23", "12.3", "123", "12346"]
    );
}

#[test]
fn the_file_says_what_was_measured_and_what_was_promised() {
    let folder = tempfile::tempdir().unwrap();
    let mut report = Report::new("example", "How long?");
    report.condition("disk", "none");
    report.figure("ours", "s", &Series::new(vec![3.0, 1.0, 2.0]));
    report.aim("short", Side::AtMost, 1.5, 2.0);
    report.aim("long", Side::AtLeast, 1.5, 2.0);
    report
        .publish(&Flags {
            results: folder.path().join("new"),
        })
        .unwrap();
    let text = std::fs::read(folder.path().join("new/example.json")).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(value["conditions"]["disk"], "none");
    assert_eq!(value["figures"][0]["median"], 2.0);
    assert_eq!(
        value["figures"][0]["values"],
        serde_json::json!([3.0, 1.0, 2.0])
    );
    assert_eq!(value["aims"][0]["met"], false);
    assert_eq!(value["aims"][1]["met"], true);
}
