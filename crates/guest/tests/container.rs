//! A container around a process, as a user of `cenote run` and `cenote exec` meets it. The machine is the one that
//! runs the test, in a mount namespace of the test's own; the wire is a socket pair. Needs root and busybox-static.

mod host;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;

use cenote_guest::container::Container;
use cenote_guest::container::build::{self, Surroundings};
use cenote_guest::container::mounts::Places;
use cenote_guest::place::MachineView;
use cenote_guest::server::Server;
use cenote_guest::step::StepError;
use cenote_protocol::{
    Capabilities, ContainerPlan, DnsPlan, ErofsPlan, Exited, HostEntry, MountPlan, MountSource,
    NestedPlan, OUTER, ProcessSpec, Refusal, ShareTransport, Target, Writable,
};
use host::{Host, on_terminal, shell, with_input};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::thread::{UnshareFlags, unshare_unsafe};

const BUSYBOX: &str = "/bin/busybox";

fn plan() -> ContainerPlan {
    ContainerPlan {
        hostname: "box".into(),
        root: ErofsPlan {
            first: 0,
            devices: 1,
            dax: true,
        },
        writable: Writable::Tmpfs { size_bytes: None },
        mounts: Vec::new(),
        owner: None,
        shm_bytes: 1 << 20,
        hosts: vec![HostEntry {
            address: [10, 0, 2, 2].into(),
            name: "gate".into(),
        }],
        nested: None,
    }
}

fn tmpfs(target: &str, options: &str) -> MountPlan {
    MountPlan {
        target: target.into(),
        source: MountSource::Tmpfs,
        options: options.into(),
    }
}

/// A root with busybox as its only program.
fn make_root(root: &Path) {
    for folder in ["bin", "etc", "tmp", "home/web"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    let busybox = root.join("bin/busybox");
    fs::copy(BUSYBOX, &busybox).expect("busybox-static is needed: apt-get install busybox-static");
    fs::set_permissions(&busybox, fs::Permissions::from_mode(0o755)).unwrap();
    for applet in
        "sh cat echo id ls sleep tty stty hostname readlink grep true mount stat head test kill ps"
            .split(' ')
    {
        symlink("busybox", root.join("bin").join(applet)).unwrap();
    }
    fs::write(
        root.join("etc/passwd"),
        "root:x:0:0::/root:/bin/sh\nweb:x:33:33::/home/web:/bin/sh\n",
    )
    .unwrap();
    fs::write(
        root.join("etc/group"),
        "root:x:0:\nweb:x:33:\nstaff:x:50:web\n",
    )
    .unwrap();
}

/// A container's server; its thread waits for the first process.
fn try_container(plan: ContainerPlan, prepare: fn(&Path)) -> Result<Arc<Server>, StepError> {
    let (container, requests) = Container::new(plan.hostname.clone(), None);
    let server = Arc::new(Server {
        container,
        machine: MachineView::Here,
        shares: Default::default(),
    });
    let (tell, built) = sync_channel(1);
    let serving = server.clone();
    thread::spawn(move || {
        let result = build_here(&plan, prepare);
        let stands = result.is_ok();
        tell.send(result).unwrap();
        if stands && let Ok(request) = requests.recv() {
            serving.serve_main(*request);
        }
    });
    built.recv().unwrap().map(|()| server)
}

/// Puts a root on a tmpfs that only the calling thread sees, and enters it.
fn build_here(plan: &ContainerPlan, prepare: fn(&Path)) -> Result<(), StepError> {
    let folder = tempfile::tempdir().unwrap();
    // SAFETY: descriptors stay shared.
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }.expect("root is needed");
    mount_change(
        "/",
        MountPropagationFlags::PRIVATE | MountPropagationFlags::REC,
    )
    .unwrap();
    mount("tmpfs", folder.path(), "tmpfs", MountFlags::empty(), None).unwrap();
    let (root, names): (PathBuf, PathBuf) =
        (folder.path().join("root"), folder.path().join("names"));
    let outer = folder.path().join("outer");
    fs::create_dir(&root).unwrap();
    fs::create_dir(&outer).unwrap();
    fs::write(outer.join("lent"), "lent\n").unwrap();
    mount("tmpfs", &root, "tmpfs", MountFlags::empty(), None).unwrap();
    make_root(&root);
    prepare(&root);
    let dns = DnsPlan {
        servers: vec![[10, 0, 2, 3].into()],
        ..DnsPlan::default()
    };
    build::enter(
        plan,
        Places {
            root: &root,
            aside: &folder.path().join("share"),
        },
        &names,
        &Surroundings {
            address: Some([10, 0, 2, 15].into()),
            dns,
            outer: plan.nested.as_ref().map(|_| outer),
            owner: None,
        },
    )
    .map(drop)
}

fn container(plan: ContainerPlan) -> Arc<Server> {
    try_container(plan, |_| {}).unwrap()
}

fn inside(script: &str) -> ProcessSpec {
    ProcessSpec {
        capabilities: Capabilities::DEFAULT,
        ..shell(script)
    }
}

fn run(server: &Arc<Server>, target: Target, spec: ProcessSpec) -> host::Outcome {
    Host::connect(server)
        .request(target, spec)
        .unwrap()
        .outcome()
}

/// Starts a first process that lives until its input ends.
fn started(plan: ContainerPlan) -> (Arc<Server>, Host) {
    let server = container(plan);
    let mut main = Host::connect(&server)
        .request(Target::Main, with_input(inside("echo up; cat")))
        .unwrap();
    main.expect("up\n");
    (server, main)
}

#[test]
fn the_first_process_is_number_one_in_a_machine_of_its_own() {
    let script =
        "echo $$; hostname; ls /; cat /etc/hostname; test -e /proc/self/exe && echo proc; exit 5";
    let outcome = run(&container(plan()), Target::Main, inside(script));
    assert_eq!(
        outcome.text(),
        "1\nbox\nbin\ndev\netc\nhome\nproc\nsys\ntmp\nbox\nproc\n"
    );
    assert_eq!(outcome.exited, Exited::Code(5));
}

#[test]
fn names_are_those_of_the_plan() {
    let outcome = run(
        &container(plan()),
        Target::Main,
        inside("cat /etc/hosts /etc/resolv.conf"),
    );
    assert_eq!(
        outcome.text(),
        "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n10.0.2.15\tbox\n10.0.2.2\tgate\n\
         nameserver 10.0.2.3\n"
    );
}

#[test]
fn devices_are_those_of_every_container() {
    let script = "ls /dev; stat -c '%a %t,%T' /dev/null /dev/tty; readlink /dev/ptmx; readlink /dev/fd; echo x > /dev/null; \
                  stat -f -c %b:%S /dev/shm";
    let outcome = run(&container(plan()), Target::Main, inside(script));
    assert_eq!(
        outcome.text(),
        "core\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\ntty\nurandom\nzero\n\
         666 1,3\n666 5,0\npts/ptmx\n/proc/self/fd\n256:4096\n"
    );
}

#[test]
fn containers_that_run_others_see_kvm_tun_and_what_is_lent() {
    let outcome = run(
        &container(ContainerPlan {
            nested: Some(NestedPlan { outer: plan().root }),
            ..plan()
        }),
        Target::Main,
        inside(&format!(
            "stat -c %t,%T,%a /dev/kvm /dev/net/tun; cat {OUTER}/lent"
        )),
    );
    assert_eq!(outcome.text(), "a,e8,666\na,c8,666\nlent\n");
}

#[test]
fn the_kernels_switches_are_out_of_reach() {
    let script = "cat /proc/kcore | head -c 1; ls /sys/firmware; (echo 1 > /proc/sys/kernel/panic) 2>&1; echo end";
    let outcome = run(
        &container(plan()),
        Target::Main,
        ProcessSpec {
            capabilities: Capabilities::ALL,
            ..inside(script)
        },
    );
    assert_eq!(
        outcome.text(),
        "/bin/sh: can't create /proc/sys/kernel/panic: Read-only file system\nend\n"
    );
}

#[test]
fn users_are_those_of_the_containers_own_files() {
    let spec = ProcessSpec {
        user: "web".into(),
        ..inside("id; echo $HOME; grep -E 'Cap(Eff|Bnd)' /proc/self/status")
    };
    let outcome = run(&container(plan()), Target::Main, spec);
    assert_eq!(
        outcome.text(),
        "uid=33(web) gid=33(web) groups=50(staff)\n/home/web\nCapEff:\t0000000000000000\nCapBnd:\t00000000800405fb\n"
    );
}

#[test]
fn others_join_the_first_process() {
    let (server, main) = started(plan());
    let outcome = run(
        &server,
        Target::Container,
        inside("hostname; cat /proc/1/comm; echo $HOSTNAME; echo hi > /tmp/x"),
    );
    assert_eq!(outcome.text(), "box\ncat\nbox\n");
    let outcome = run(
        &server,
        Target::Container,
        on_terminal(inside("tty; cat /tmp/x")),
    );
    assert_eq!(outcome.text(), "/dev/pts/0\r\nhi\r\n");
    main.stdin_all(Vec::new());
    assert_eq!(main.outcome().exited, Exited::Code(0));
}

#[test]
fn the_first_processs_end_is_the_end_of_all() {
    let (server, main) = started(plan());
    let mut other = Host::connect(&server)
        .request(Target::Container, inside("echo up; exec sleep 1000"))
        .unwrap();
    other.expect("up\n");
    main.stdin_all(Vec::new());
    assert_eq!(main.outcome().exited, Exited::Code(0));
    assert_eq!(other.outcome().exited, Exited::Signal(libc::SIGKILL as u8));
}

#[test]
fn outside_the_first_processs_life_nothing_is_joined() {
    let server = container(plan());
    let refusal = |target| {
        Host::connect(&server)
            .request(target, inside("true"))
            .err()
            .unwrap()
            .reason
    };
    assert_eq!(refusal(Target::Container), Refusal::NotRunning);
    assert_eq!(
        run(&server, Target::Main, inside("true")).exited,
        Exited::Code(0)
    );
    assert_eq!(refusal(Target::Main), Refusal::AlreadyStarted);
    // The state changes when the first process's connection has ended, which is what the line above saw.
    assert_eq!(refusal(Target::Container), Refusal::NotRunning);
}

#[test]
fn a_program_that_the_image_lacks_is_not_found_in_the_host() {
    let spec = ProcessSpec {
        args: vec!["/usr/bin/env".into()],
        ..inside("")
    };
    let refused = Host::connect(&container(plan()))
        .request(Target::Main, spec)
        .err()
        .unwrap();
    assert_eq!(
        (refused.reason, refused.message.as_str()),
        (
            Refusal::NotFound,
            "executable file \"/usr/bin/env\" not found"
        )
    );
}

#[test]
fn killing_the_container_ends_its_first_process() {
    let (server, main) = started(plan());
    server.container.kill();
    assert_eq!(main.outcome().exited, Exited::Signal(libc::SIGKILL as u8));
}

#[test]
fn orphans_are_reaped_by_the_reaper_of_init() {
    let script = "orphan=$(sh -c 'sleep 0.05 >&- & echo $!'); while test -e /proc/$orphan; do :; done; echo gone";
    let outcome = run(
        &container(plan()),
        Target::Main,
        ProcessSpec {
            init: true,
            ..inside(script)
        },
    );
    assert_eq!(outcome.text(), "gone\n");
}

#[test]
fn a_read_only_root_still_has_its_own_file_systems() {
    let plan = ContainerPlan {
        writable: Writable::ReadOnly,
        mounts: vec![tmpfs("/scratch/pad", "size=64k,mode=700")],
        ..plan()
    };
    let script = "(echo x > /tmp/x) 2>&1; echo x > /scratch/pad/x && echo x > /dev/shm/x && stat -c %a /scratch/pad; \
                  cat /etc/hostname";
    let outcome = run(&container(plan), Target::Main, inside(script));
    assert_eq!(
        outcome.text(),
        "/bin/sh: can't create /tmp/x: Read-only file system\n700\nbox\n"
    );
}

#[test]
fn links_of_the_image_do_not_lead_out_of_it() {
    let plan = ContainerPlan {
        mounts: vec![tmpfs("/link/deep", "")],
        ..plan()
    };
    let server = try_container(plan, |root| {
        fs::create_dir(root.join("elsewhere")).unwrap();
        symlink("/elsewhere", root.join("link")).unwrap();
        symlink(
            "/run/systemd/resolve/stub-resolv.conf",
            root.join("etc/resolv.conf"),
        )
        .unwrap();
        symlink("../elsewhere/hosts", root.join("etc/hosts")).unwrap();
    })
    .unwrap();
    let script =
        "cat /etc/resolv.conf; grep -c . /elsewhere/hosts; mount | grep -c /elsewhere/deep";
    assert_eq!(
        run(&server, Target::Main, inside(script)).text(),
        "nameserver 10.0.2.3\n4\n1\n"
    );
    assert!(!Path::new("/elsewhere").exists());
}

#[test]
fn what_cannot_be_built_is_named() {
    let refused = |mount| {
        let plan = ContainerPlan {
            mounts: vec![mount],
            ..plan()
        };
        let error = try_container(plan, |_| {}).unwrap_err();
        (error.what, error.on)
    };
    assert_eq!(
        refused(tmpfs("relative", "")),
        ("mount on", "relative".into())
    );
    assert_eq!(
        refused(tmpfs("/tmp/..", "")),
        ("mount on", "/tmp/..".into())
    );
    assert_eq!(
        refused(tmpfs("/x", "colour=red")),
        ("mount a tmpfs on", "/x".into())
    );
    assert_eq!(
        refused(tmpfs("/bin/busybox", "")),
        ("mount a directory on", "/bin/busybox".into())
    );
    let share = |options: &str| MountPlan {
        target: "/src".into(),
        source: MountSource::Share {
            transport: ShareTransport::VirtioFs {
                tag: "nobody-serves-it".into(),
            },
            file: None,
            fill: false,
        },
        options: options.into(),
    };
    assert_eq!(
        refused(share("size=1m")),
        ("mount a share with the options", "size=1m".into())
    );
    assert_eq!(refused(share("")), ("mount the share on", "/src".into()));
}
