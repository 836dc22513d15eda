use super::{of_targets, of_update};

#[test]
fn takes_the_main_archive_and_not_security() {
    let targets = "Packages|main|Debian|Debian-Security|http://mirror.example/debian-security/\n\
                   DEP-11|main|Debian|Debian|http://wrong.example/debian/\n\
                   Packages|main|Debian|Debian|http://mirror.example/debian/\n";
    assert_eq!(
        of_targets(targets).as_deref(),
        Some("http://mirror.example/debian/")
    );
}

#[test]
fn another_distribution_is_not_debian() {
    assert_eq!(
        of_targets("Packages|main|Ubuntu|Ubuntu|http://mirror.example/ubuntu/\n"),
        None
    );
}

#[test]
fn without_lists_the_address_has_to_look_like_debian() {
    let update = "'http://mirror.example/debian-security/dists/trixie-security/InRelease' a 0 \n\
                  'http://mirror.example/debian/dists/trixie/InRelease' b 0 \n";
    assert_eq!(
        of_update(update).as_deref(),
        Some("http://mirror.example/debian")
    );
    assert_eq!(
        of_update("'http://mirror.example/ubuntu/dists/noble/InRelease' a 0 \n"),
        None
    );
}
