use std::process::Command;

use super::of;

#[test]
fn processor_time_of_grandchildren_counts() {
    let mut busy = Command::new("sh");
    busy.args([
        "-c",
        "(i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done); echo done",
    ]);
    let (cost, output) = of(&mut busy).unwrap();
    assert_eq!(output.stdout, b"done\n");
    assert!(cost.cpu > 0.0, "a loop takes processor time");
    assert!(cost.wall > 0.0);
}

#[test]
fn a_failure_says_what_the_command_said() {
    let error = of(Command::new("sh").args(["-c", "echo no disk >&2; exit 3"])).unwrap_err();
    assert!(
        error.to_string().ends_with("(exit status: 3): no disk"),
        "{error}"
    );
}
