use serde_json::json;

use super::{children, find};

#[test]
fn a_field_is_found_wherever_it_is() {
    let details = json!([{"id": "x", "state": {"running": {"monitor": 42}}}]);
    assert_eq!(find(&details, "monitor"), Some(&json!(42)));
    assert_eq!(find(&details, "absent"), None);
}

#[test]
fn children_of_any_thread_are_found() {
    let spawn = || {
        std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap()
    };
    let mut child = std::thread::spawn(spawn).join().unwrap();
    assert!(children(std::process::id()).unwrap().contains(&child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
}
