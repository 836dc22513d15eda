use super::Crash;

#[test]
fn an_interrupt_that_cannot_be_delivered_names_a_remedy_and_unknown_errors_their_number() {
    let message = |suberror| {
        let crash = Crash::Internal {
            cpu: 1,
            rip: 0xfff0,
            suberror,
        };
        crash.to_string()
    };
    assert!(message(3).contains("CPU 1 at 0xfff0 (internal error 3: an interrupt"));
    assert!(message(3).contains("one CPU"));
    assert!(message(4).ends_with("(internal error 4)"));
}
