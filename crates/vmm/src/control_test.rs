use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use super::{Control, Seat, install_handler};
use crate::exit::{Crash, Exit};

/// A vCPU without a guest: "in the guest" it spins until `immediate_exit` is set, as KVM_RUN returns then.
fn vcpu(control: &Arc<Control>, entries: &Arc<AtomicUsize>) -> JoinHandle<()> {
    install_handler().unwrap();
    let (control, entries) = (Arc::clone(control), Arc::clone(entries));
    thread::spawn(move || {
        let immediate_exit = AtomicU8::new(0);
        let seat = Seat::take(&control, immediate_exit.as_ptr());
        while seat.may_run() {
            entries.fetch_add(1, Ordering::SeqCst);
            while immediate_exit.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            immediate_exit.store(0, Ordering::Relaxed);
        }
    })
}

fn machine(cpus: usize) -> (Arc<Control>, Arc<AtomicUsize>, Vec<JoinHandle<()>>) {
    let control = Arc::new(Control::new());
    let entries = Arc::default();
    let threads = (0..cpus).map(|_| vcpu(&control, &entries)).collect();
    control.seated(cpus);
    (control, entries, threads)
}

fn join(threads: Vec<JoinHandle<()>>) {
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
}

#[test]
fn a_new_machine_waits_and_its_first_end_is_the_one_that_counts() {
    let (control, entries, threads) = machine(3);
    assert_eq!(entries.load(Ordering::SeqCst), 0);
    control.end(Exit::PowerOff);
    control.end(Exit::Stopped);
    assert_eq!(control.wait(), Exit::PowerOff);
    join(threads);
    assert_eq!(entries.load(Ordering::SeqCst), 0);
}

#[test]
fn no_call_is_lost_however_often_the_machine_is_paused() {
    let (control, entries, threads) = machine(2);
    for _ in 0..2000 {
        control.resume();
        assert!(control.pause());
        // Nobody runs now.
        let before = entries.load(Ordering::SeqCst);
        assert_eq!(entries.load(Ordering::SeqCst), before);
    }
    control.resume();
    control.end(Exit::Stopped);
    assert_eq!(control.wait(), Exit::Stopped);
    join(threads);
    assert!(entries.load(Ordering::SeqCst) <= 2 * 2001);
}

#[test]
fn a_machine_that_has_ended_is_neither_paused_nor_resumed() {
    let (control, _, threads) = machine(1);
    control.end(Exit::Stopped);
    assert!(!control.pause());
    control.resume();
    assert_eq!(control.wait(), Exit::Stopped);
    join(threads);
}

#[test]
fn several_threads_wait_for_one_end() {
    let (control, _, threads) = machine(1);
    control.resume();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let control = Arc::clone(&control);
            thread::spawn(move || control.wait())
        })
        .collect();
    control.end(Exit::Reset);
    for thread in waiting {
        assert_eq!(thread.join().unwrap(), Exit::Reset);
    }
    join(threads);
}

#[test]
fn a_thread_that_panics_ends_the_machine() {
    let (control, _, threads) = machine(1);
    let dying = Arc::clone(&control);
    let panicked = thread::spawn(move || {
        let immediate_exit = AtomicU8::new(0);
        let _seat = Seat::take(&dying, immediate_exit.as_ptr());
        panic!("as a defect would");
    });
    assert!(panicked.join().is_err());
    assert_eq!(control.wait(), Exit::Crashed(Crash::Defect));
    join(threads);
}
