use proptest::prelude::*;

use super::*;

#[test]
fn the_window_is_the_peers_buffer_less_what_it_has_not_forwarded() {
    let mut credit = Credit::new(100);
    assert_eq!(credit.window(), 0);
    credit.hear(50, 0).unwrap();
    assert_eq!(credit.window(), 50);
    credit.count_sent(30);
    assert_eq!(credit.window(), 20);
    credit.hear(50, 10).unwrap();
    assert_eq!(credit.window(), 30);
}

#[test]
fn a_peer_that_shrinks_its_buffer_below_what_is_under_way_has_no_window() {
    let mut credit = Credit::new(100);
    credit.hear(50, 0).unwrap();
    credit.count_sent(30);
    credit.hear(10, 0).unwrap();
    assert_eq!(credit.window(), 0);
}

#[test]
fn payload_beyond_the_buffer_is_an_overrun() {
    let mut credit = Credit::new(100);
    credit.receive(100).unwrap();
    assert_eq!(credit.receive(1), Err(Violation::Overrun));
    credit.forward(40);
    credit.receive(40).unwrap();
    assert_eq!(credit.receive(u32::MAX), Err(Violation::Overrun));
}

#[test]
fn forwarding_what_was_never_sent_is_a_lie() {
    let mut credit = Credit::new(100);
    credit.hear(50, 0).unwrap();
    credit.count_sent(30);
    assert_eq!(credit.hear(50, 31), Err(Violation::Forwarded));
    assert_eq!(credit.window(), 20);
    credit.hear(50, 30).unwrap();
}

#[test]
fn an_older_count_changes_nothing() {
    let mut credit = Credit::new(100);
    credit.hear(50, 0).unwrap();
    credit.count_sent(30);
    credit.hear(50, 20).unwrap();
    credit.hear(40, 10).unwrap();
    assert_eq!(credit.window(), 40);
}

#[test]
fn an_update_is_due_when_the_peer_sees_half_of_a_buffer_that_is_freer() {
    let mut credit = Credit::new(100);
    credit.receive(60).unwrap();
    assert!(!credit.update_due(), "nothing to tell yet");
    credit.forward(1);
    assert!(credit.update_due());
    assert_eq!(credit.announce(), (100, 1));
    assert!(!credit.update_due());
    credit.forward(59);
    assert!(credit.update_due());
    credit.announce();
    credit.receive(50).unwrap();
    credit.forward(50);
    assert!(
        !credit.update_due(),
        "half is free as far as the peer knows"
    );
}

/// One step of either side of a connection.
#[derive(Clone, Debug)]
enum Step {
    Send(u32),
    Receive(u32),
    Forward(u32),
    PeerForwards(u32),
    Resize(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        any::<u32>().prop_map(Step::Send),
        any::<u32>().prop_map(Step::Receive),
        any::<u32>().prop_map(Step::Forward),
        any::<u32>().prop_map(Step::PeerForwards),
        any::<u32>().prop_map(Step::Resize),
    ]
}

proptest! {
    /// Against a model that counts in 64 bits: the 32-bit counters wrap and never disagree.
    #[test]
    fn agrees_with_a_model_that_does_not_wrap(
        buf_alloc in 1u32..=1 << 31,
        steps in prop::collection::vec(step(), 1..400),
    ) {
        let mut credit = Credit::new(buf_alloc);
        let (mut received, mut forwarded) = (0u64, 0u64);
        let (mut sent, mut peer_forwarded, mut peer_buf) = (0u64, 0u64, 0u32);
        for step in steps {
            match step {
                Step::Send(len) => {
                    let len = len.min(credit.window()).min(1 << 30);
                    credit.count_sent(len);
                    sent += u64::from(len);
                }
                Step::Receive(len) => {
                    let fits = received - forwarded + u64::from(len) <= u64::from(buf_alloc);
                    prop_assert_eq!(credit.receive(len).is_ok(), fits);
                    received += if fits { u64::from(len) } else { 0 };
                }
                Step::Forward(len) => {
                    let len = u64::from(len).min(received - forwarded);
                    credit.forward(len as u32);
                    forwarded += len;
                }
                Step::PeerForwards(len) => {
                    let len = u64::from(len).min(sent - peer_forwarded).min(1 << 30);
                    peer_forwarded += len;
                    prop_assert_eq!(credit.hear(peer_buf, peer_forwarded as u32), Ok(()));
                }
                Step::Resize(to) => {
                    peer_buf = to % (1 << 30);
                    prop_assert_eq!(credit.hear(peer_buf, peer_forwarded as u32), Ok(()));
                }
            }
            let window = u64::from(peer_buf).saturating_sub(sent - peer_forwarded);
            prop_assert_eq!(u64::from(credit.window()), window);
            prop_assert_eq!(u64::from(credit.held()), received - forwarded);
        }
    }

    /// Whatever a peer claims, the window never exceeds its buffer and no more is held than there is room for.
    #[test]
    fn lies_do_not_widen_the_window(claims in prop::collection::vec((any::<u32>(), any::<u32>()), 1..100)) {
        let mut credit = Credit::new(1000);
        for (buf_alloc, fwd_cnt) in claims {
            let before = credit.window();
            if credit.hear(buf_alloc, fwd_cnt).is_err() {
                prop_assert_eq!(credit.window(), before);
            }
            prop_assert!(credit.window() <= buf_alloc.max(before));
            credit.count_sent(credit.window().min(77));
        }
    }
}
