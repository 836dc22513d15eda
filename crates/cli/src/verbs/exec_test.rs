use super::*;
use clap::Parser;

#[derive(Parser)]
struct Probe {
    #[command(flatten)]
    exec: Exec,
}

fn request(args: &[&str]) -> ExecRequest {
    let main = ProcessSpec {
        args: vec!["main".to_owned()],
        env: vec!["A=1".to_owned(), "B=2".to_owned()],
        cwd: "/srv".to_owned(),
        create_cwd: true,
        user: "www".to_owned(),
        capabilities: Capabilities::DEFAULT,
        init: true,
        ..bare()
    };
    let probe = Probe::try_parse_from(std::iter::once(&"exec").chain(args)).unwrap();
    probe.exec.request(&main, &Env::new()).unwrap()
}

#[test]
fn the_container_gives_what_flags_leave_open() {
    let request = request(&["web", "ls", "-l", "--", "-t"]);
    let ProcessSpec {
        args,
        env,
        cwd,
        create_cwd,
        user,
        terminal,
        stdin,
        capabilities,
        init,
        ..
    } = request.process;
    assert_eq!((request.target, request.detach), (Target::Container, false));
    assert_eq!(args, ["ls", "-l", "--", "-t"]);
    assert_eq!(env, ["A=1", "B=2"]);
    assert_eq!(
        (cwd.as_str(), create_cwd, user.as_str()),
        ("/srv", false, "www")
    );
    assert_eq!(
        (terminal, stdin, init, capabilities),
        (None, false, false, Capabilities::DEFAULT)
    );
}

#[test]
fn flags_win() {
    let request = request(&["-it", "-e", "B=3", "-w", "/tmp", "-u", "0:0", "web", "sh"]);
    let ProcessSpec {
        env,
        cwd,
        user,
        terminal,
        stdin,
        ..
    } = request.process;
    assert_eq!(env, ["A=1", "B=3"]);
    assert_eq!((cwd.as_str(), user.as_str()), ("/tmp", "0:0"));
    assert!(terminal.is_some() && stdin);
}

#[test]
fn the_machine_knows_nothing_of_the_container() {
    let request = request(&["--vm", "-d", "web", "dmesg"]);
    assert_eq!((request.target, request.detach), (Target::Vm, true));
    assert_eq!(
        request.process,
        ProcessSpec {
            args: vec!["dmesg".to_owned()],
            ..bare()
        }
    );
}

#[test]
fn a_container_is_needed_and_a_detached_command_has_no_terminal() {
    for args in [
        &[][..],
        &["-d", "-t", "web", "sh"],
        &["-d", "-i", "web", "sh"],
    ] {
        assert!(
            Probe::try_parse_from(std::iter::once(&"exec").chain(args)).is_err(),
            "{args:?}"
        );
    }
}
