use std::sync::Arc;
use std::thread;

use super::*;

#[test]
fn a_full_window_waits_for_the_agent() {
    let window = Arc::new(StdinWindow::default());
    assert_eq!(window.wait(), Some(STDIN_WINDOW));
    window.spend(STDIN_WINDOW);
    let sender = thread::spawn({
        let window = window.clone();
        move || window.wait()
    });
    window.taken(10).unwrap();
    assert_eq!(sender.join().unwrap(), Some(10));
}

#[test]
fn closing_frees_a_waiting_sender() {
    let window = Arc::new(StdinWindow::default());
    window.spend(STDIN_WINDOW);
    let sender = thread::spawn({
        let window = window.clone();
        move || window.wait()
    });
    window.close();
    assert_eq!(sender.join().unwrap(), None);
}

#[test]
fn an_agent_that_takes_what_was_not_sent_is_refused() {
    let window = StdinWindow::default();
    window.spend(3);
    assert_eq!(window.taken(4), Err(TookTooMuch { taken: 4, sent: 3 }));
    window.taken(3).unwrap();
    assert_eq!(window.wait(), Some(STDIN_WINDOW));
}
