use super::*;

#[test]
fn two_networks() {
    assert_eq!("default".parse(), Ok(Network::Default));
    assert_eq!("none".parse(), Ok(Network::None));
}

#[test]
fn the_others_are_refused_by_name() {
    for text in ["host", "container:web", "ns:/run/netns/x"] {
        assert_eq!(
            text.parse::<Network>(),
            Err(BadNetwork::Shared(text.to_owned()))
        );
    }
    for text in ["", "bridge", "default:x", "mynet"] {
        assert_eq!(
            text.parse::<Network>(),
            Err(BadNetwork::Named(text.to_owned()))
        );
    }
}
