use super::{new_enough, newest};

#[test]
fn the_newest_release_is_chosen_by_number() {
    let packages = [
        "linux-binary-7.3.4+deb13-cloud-amd64",
        "linux-binary-7.10.1+deb13-cloud-amd64",
        "linux-binary-7.9.12+deb13-cloud-amd64",
        "unrelated",
    ];
    let newest = newest(packages.map(str::to_owned).to_vec());
    assert_eq!(newest.as_deref(), Some("7.10.1+deb13-cloud-amd64"));
}

#[test]
fn an_old_release_is_not_taken() {
    assert_eq!(
        newest(vec!["linux-binary-7.2.12+deb13-cloud-amd64".to_owned()]),
        None
    );
    assert_eq!(newest(Vec::new()), None);
    assert!(new_enough("7.3.0+deb13-cloud-amd64") && new_enough("8.0+deb14-cloud-amd64"));
    assert!(!new_enough("6.12.107+deb13-cloud-amd64"));
}
