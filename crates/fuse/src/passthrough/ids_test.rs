use super::*;

fn ids() -> Ids {
    let map = |host, client, count| {
        IdMap(vec![Range {
            host,
            client,
            count,
        }])
    };
    Ids::Mapped {
        users: map(1000, 0, 10),
        groups: map(u32::MAX - 1, 5, 10),
    }
}

#[test]
fn ids_within_a_range_correspond() {
    assert_eq!(ids().client_user(1000), 0);
    assert_eq!(ids().client_user(1009), 9);
    assert_eq!(ids().host_user(9), Ok(1009));
}

#[test]
fn ids_outside_have_no_name() {
    assert_eq!(ids().client_user(999), 65_534);
    assert_eq!(ids().client_user(1010), 65_534);
    assert_eq!(ids().host_user(10), Err(Errno::PERM));
    assert_eq!(ids().host_user(u32::MAX), Err(Errno::PERM));
}

#[test]
fn ranges_that_run_over_end_at_the_last_id() {
    assert_eq!(ids().host_group(6), Ok(u32::MAX));
    assert_eq!(ids().host_group(7), Err(Errno::PERM));
}

#[test]
fn without_a_map_everything_is_itself() {
    assert_eq!(Ids::Same.client_user(7), 7);
    assert_eq!(Ids::Same.host_group(7), Ok(7));
}

#[test]
fn all_files_are_one_users() {
    let owner = Owner::of(1000, 100);
    let ids = Ids::Owner(owner.clone());
    assert_eq!((ids.client_user(1000), ids.client_group(100)), (0, 0));
    owner.becomes(5, 6);
    owner.becomes(7, 8);
    let ids = Ids::Owner(owner);
    assert_eq!((ids.client_user(1000), ids.client_group(100)), (5, 6));
    assert_eq!(
        (ids.client_user(0), ids.client_group(1000)),
        (65_534, 65_534)
    );
    assert_eq!((ids.host_user(5), ids.host_group(6)), (Ok(1000), Ok(100)));
    assert_eq!(ids.host_user(0), Err(Errno::PERM));
}
