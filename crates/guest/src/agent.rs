//! The agent's main thread: reaches the host, carries out its plan, and waits for the end.

use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use cenote_protocol::{
    BootPlan, BootTimes, CONTROL_PORT, EXEC_PORT, Failed, FrameError, FrameReader, HOST_CID,
    HandshakeError, Hello, Kind, Owner, OwnerTaken, Ready, Shutdown, Side, Stopped, handshake,
    write_message,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::changes::Shares;
use crate::connection::Connection;
use crate::container::build::{self, Surroundings};
use crate::container::mounts::Places;
use crate::container::{Container, MainRequest};
use crate::image::{self, RootPaths};
use crate::machine::{self, boot_time_ns};
use crate::modules::{self, Modules};
use crate::place::MachineView;
use crate::server::Server;
use crate::step::{Step, StepError};
use crate::{init, log, network, user, vsock};

/// Where the agent keeps its mounts and files.
const BASE: &str = "/run/cenote";

/// How long the host may take to end the machine after the last message, before it powers off by itself.
const FAREWELL: Duration = Duration::from_secs(10);

/// Why the agent gave up.
#[derive(Debug, thiserror::Error)]
enum AgentError {
    #[error("{0}")]
    Step(#[from] StepError),
    #[error("{0}")]
    Handshake(#[from] HandshakeError),
    #[error("the control connection failed: {0}")]
    Control(#[from] FrameError),
}

/// Runs the machine to its end. Never returns: the machine powers off, or [`init`] does it when this process ends.
pub fn run() -> ! {
    if let Err(error) = try_run() {
        log::line(error);
        process::exit(1);
    }
    init::power_off()
}

fn try_run() -> Result<(), AgentError> {
    let mut times = BootTimes {
        started: boot_time_ns(),
        ..BootTimes::default()
    };
    machine::raise_limits()?;
    let modules = Modules::of_initramfs();
    modules::load(&modules.first);
    times.modules = boot_time_ns();

    // Listening comes first: the host may connect as soon as it has heard of us.
    let listener = vsock::listen(EXEC_PORT).step("listen on the vsock port", EXEC_PORT)?;
    let control = vsock::connect(HOST_CID, CONTROL_PORT)
        .step("connect to the host's vsock port", CONTROL_PORT)?;
    let mut control = Connection::new(control);
    handshake(&mut control, Side::Guest)?;
    let kernel = rustix::system::uname()
        .release()
        .to_string_lossy()
        .into_owned();
    let version = env!("CARGO_PKG_VERSION");
    log::line(format_args!("agent {version} on Linux {kernel}"));
    write_message(&mut control, &Hello { kernel })?;
    times.connected = boot_time_ns();

    modules::load(&modules.rest);
    let mut host = FrameReader::new(control.clone());
    let plan: BootPlan = host.next_message()?;
    times.planned = boot_time_ns();

    let paths = RootPaths::under(Path::new(BASE));
    let tell_owner = |owner| -> Result<(), AgentError> {
        write_message(&mut control, &owner)?;
        host.next_message::<OwnerTaken>()?;
        Ok(())
    };
    match carry_out(plan, &paths, &mut times, tell_owner) {
        Ok(server) => {
            let accepting = server.clone();
            thread::spawn(move || accepting.listen(&listener));
            log::line("the container is ready");
            times.ready = boot_time_ns();
            write_message(&mut control, &Ready { times })?;
            wait_for_shutdown(&mut host);
            server.container.kill();
            image::unmount_root(&paths);
            farewell(&mut control, &mut host, |control| {
                write_message(control, &Stopped {})
            });
        }
        Err(AgentError::Step(error)) => {
            log::line(&error);
            let failed = Failed::from(error);
            farewell(&mut control, &mut host, |control| {
                write_message(control, &failed)
            });
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// What the container's thread has to say while it builds.
enum Progress {
    /// The root stands, and shares may be mounted when the host knows this.
    Owner(Owner),
    /// It is done; the root stood at this time.
    Built(Result<u64, StepError>),
}

/// Builds machine and container, side by side, and leaves the container's thread waiting for its first process.
fn carry_out(
    plan: BootPlan,
    paths: &RootPaths,
    times: &mut BootTimes,
    mut tell_owner: impl FnMut(Owner) -> Result<(), AgentError>,
) -> Result<Arc<Server>, AgentError> {
    let (container, requests) = Container::new(
        plan.container.hostname.clone(),
        machine::make_control_group(),
    );
    let machine = MachineView::over_image(paths.clone(), &Path::new(BASE).join("machine"));
    let server = Arc::new(Server {
        container,
        machine,
        shares: Default::default(),
    });

    let (tell, progress) = sync_channel(1);
    let (host_knows, known) = sync_channel(1);
    let builder = {
        let (server, paths, plan) = (server.clone(), paths.clone(), plan.clone());
        move || {
            // A receiver that is gone has given up because the machine could not be built; what waits for its answer
            // ends then as well.
            let tell_owner = |owner| {
                let _ = tell.send(Progress::Owner(owner));
                let _ = known.recv();
            };
            let result = build_container(&plan, &paths, &server.shares, tell_owner);
            let stands = result.is_ok();
            let _ = tell.send(Progress::Built(result));
            if stands {
                attend_container(&server, &requests);
            }
        }
    };
    thread::Builder::new()
        .name("container".into())
        .spawn(builder)
        .step("start a thread for", "the container")?;

    machine::set_clock(plan.wall_clock_ns)?;
    network::configure(plan.network.as_ref())?;
    machine::apply_sysctls(&plan.sysctls)?;
    loop {
        match progress.recv() {
            Ok(Progress::Owner(owner)) => {
                tell_owner(owner)?;
                // The thread waits for it.
                let _ = host_knows.send(());
            }
            Ok(Progress::Built(root_at)) => {
                times.root = root_at?;
                return Ok(server);
            }
            // A thread that panics ends the agent, so this thread is not there to see it.
            Err(_) => {
                return Ok(Err(rustix::io::Errno::CANCELED).step("build", "the container")?);
            }
        }
    }
}

/// In the container's thread: mounts the root, then moves into the container. Returns when the root was mounted.
fn build_container(
    plan: &BootPlan,
    paths: &RootPaths,
    shares: &Shares,
    tell_owner: impl Fn(Owner),
) -> Result<u64, StepError> {
    image::mount_root(&plan.container, paths)?;
    let root_at = boot_time_ns();
    let owner = plan.container.owner.as_ref().map(|owner| {
        let owner = owner_in(owner, &paths.merged);
        tell_owner(owner);
        owner
    });
    let around = Surroundings {
        address: plan.network.as_ref().map(|network| network.address),
        dns: plan
            .network
            .as_ref()
            .map(|network| network.dns.clone())
            .unwrap_or_default(),
        outer: plan.container.nested.is_some().then(|| paths.outer.clone()),
        owner,
    };
    let mounted = build::enter(
        &plan.container,
        Places {
            root: &paths.merged,
            aside: &Path::new(BASE).join("share"),
        },
        &Path::new(BASE).join("names"),
        &around,
    )?;
    shares.get_or_init(|| mounted);
    Ok(root_at)
}

/// The numbers of the user who will own shared files. One that is not there is refused when its process is requested.
fn owner_in(name: &str, root: &Path) -> Owner {
    match user::resolve(name, root) {
        Ok(found) => Owner {
            uid: found.uid,
            gid: found.gid,
        },
        Err(_) => Owner { uid: 0, gid: 0 },
    }
}

fn attend_container(server: &Server, requests: &Receiver<Box<MainRequest>>) {
    if let Ok(request) = requests.recv() {
        server.serve_main(*request);
    }
}

/// Waits until the host says that it is enough, or is gone.
fn wait_for_shutdown(host: &mut FrameReader<Connection>) {
    match host.next_frame() {
        Ok(Some(frame)) if frame.kind == Kind::Shutdown => {
            if let Err(error) = frame.message::<Shutdown>() {
                log::line(error);
            }
        }
        Ok(Some(frame)) => log::line(format_args!(
            "the host sent {:?} out of turn: shutting down",
            frame.kind
        )),
        Ok(None) => log::line("the host closed the control connection: shutting down"),
        Err(error) => log::line(format_args!(
            "the control connection failed: {error}: shutting down"
        )),
    }
}

/// Sends the last message, and waits until the host has seen it: powering off at once could lose it.
fn farewell(
    control: &mut Connection,
    host: &mut FrameReader<Connection>,
    last: impl FnOnce(&mut Connection) -> Result<(), FrameError>,
) {
    if let Err(error) = last(control) {
        return log::line(format_args!("cannot tell the host: {error}"));
    }
    let limit = Timespec {
        tv_sec: FAREWELL.as_secs() as i64,
        tv_nsec: 0,
    };
    if let Ok(1) = poll(&mut [PollFd::new(&*control, PollFlags::IN)], Some(&limit)) {
        // The host's answer is the end of the connection; nothing else is expected.
        let _ = host.next_frame();
    }
}
