use super::*;

#[test]
fn kvm_in_all_its_states() {
    assert_eq!(kvm(&Probe::Usable).verdict, Verdict::Good);
    let group = Probe::NoPermission {
        remedy: "join the group".to_owned(),
    };
    let states = [
        Probe::Missing,
        group,
        Probe::Unusable {
            why: "stopped".to_owned(),
        },
    ];
    for (state, word) in states
        .iter()
        .zip(["kvm_intel", "join the group", "nested virtualization"])
    {
        let finding = kvm(state);
        assert_eq!(finding.verdict, Verdict::Fair);
        assert!(finding.remedy.unwrap().contains(word));
    }
}

#[test]
fn an_empty_data_folder_lacks_kernel_and_names_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let finding = kernel(&cenote_kernel::Store::new(folder.path()));
    assert_eq!(finding.verdict, Verdict::Bad);
    assert!(finding.remedy.unwrap().contains("cenote kernel install"));
}

#[test]
fn another_processor_is_refused() {
    assert_eq!(processor("x86_64").verdict, Verdict::Good);
    assert_eq!(processor("aarch64").verdict, Verdict::Bad);
}

#[test]
fn a_missing_tun_is_no_matter() {
    assert_eq!(tun(Path::new("/nonexistent/tun")).verdict, Verdict::Good);
}

#[test]
fn user_namespaces_by_each_switch() {
    let sys = tempfile::tempdir().unwrap();
    std::fs::create_dir(sys.path().join("kernel")).unwrap();
    let switch = sys
        .path()
        .join("kernel/apparmor_restrict_unprivileged_userns");
    assert_eq!(namespaces(sys.path(), false).verdict, Verdict::Good);
    std::fs::write(&switch, "1\n").unwrap();
    let finding = namespaces(sys.path(), false);
    assert_eq!(finding.verdict, Verdict::Fair);
    assert!(
        finding
            .remedy
            .unwrap()
            .contains("kernel.apparmor_restrict_unprivileged_userns=0")
    );
    assert_eq!(namespaces(sys.path(), true).verdict, Verdict::Good);
}

#[test]
fn a_folder_that_is_not_there_is_bad() {
    assert_eq!(space(Path::new("/nonexistent")).verdict, Verdict::Bad);
}

#[test]
fn qemu_is_needed_only_where_kvm_does_not_work() {
    let folder = tempfile::tempdir().unwrap();
    let tools = Tools::new(folder.path());
    assert_eq!(qemu(&tools, &Probe::Usable).verdict, Verdict::Good);
    if tools.find(Kind::Qemu).is_err() {
        assert_eq!(qemu(&tools, &Probe::Missing).verdict, Verdict::Bad);
    }
}
