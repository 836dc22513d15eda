//! The agent's main thread: reaches the host, carries out its plan, and waits for the end.

use std::path::Path;
use std::process;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread;
use std::time::Duration;

use cenote_protocol::{
    BootPlan, BootTimes, CONTROL_PORT, EXEC_PORT, Failed, FrameError, FrameReader, HOST_CID,
    HandshakeError, Hello, Kind, Ready, Shutdown, Side, Stopped, handshake, write_message,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::connection::Connection;
use crate::container::build::{self, Surroundings};
use crate::container::{Container, MainRequest};
use crate::image::{self, RootPaths};
use crate::machine::{self, boot_time_ns};
use crate::modules::{self, Modules};
use crate::place::MachineView;
use crate::server::Server;
use crate::step::{Step, StepError};
use crate::{init, log, network, vsock};

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
    let mut control = vsock::connect(HOST_CID, CONTROL_PORT)
        .step("connect to the host's vsock port", CONTROL_PORT)?;
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
    match carry_out(plan, &paths, &mut times) {
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
        Err(error) => {
            log::line(&error);
            let failed = Failed::from(error);
            farewell(&mut control, &mut host, |control| {
                write_message(control, &failed)
            });
        }
    }
    Ok(())
}

/// Builds machine and container, side by side, and leaves the container's thread waiting for its first process.
fn carry_out(
    plan: BootPlan,
    paths: &RootPaths,
    times: &mut BootTimes,
) -> Result<Arc<Server>, StepError> {
    let (container, requests) = Container::new(
        plan.container.hostname.clone(),
        machine::make_control_group(),
    );
    let machine = MachineView::over_image(paths.clone(), &Path::new(BASE).join("machine"));
    let server = Arc::new(Server { container, machine });

    let (tell, built) = sync_channel(1);
    let builder = {
        let (server, paths, plan) = (server.clone(), paths.clone(), plan.clone());
        move || {
            let result = build_container(&plan, &paths);
            let stands = result.is_ok();
            // The receiver waits below, or has given up because the machine could not be built.
            let _ = tell.send(result);
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
    match built.recv() {
        Ok(Ok(root_at)) => times.root = root_at,
        Ok(Err(error)) => return Err(error),
        // A thread that panics ends the agent, so this thread is not there to see it.
        Err(_) => return Err(rustix::io::Errno::CANCELED).step("build", "the container"),
    }
    Ok(server)
}

/// In the container's thread: mounts the root, then moves into the container. Returns when the root was mounted.
fn build_container(plan: &BootPlan, paths: &RootPaths) -> Result<u64, StepError> {
    image::mount_root(&plan.container, paths)?;
    let root_at = boot_time_ns();
    let around = Surroundings {
        address: plan.network.as_ref().map(|network| network.address),
        dns: plan
            .network
            .as_ref()
            .map(|network| network.dns.clone())
            .unwrap_or_default(),
        outer: plan.container.nested.is_some().then(|| paths.outer.clone()),
    };
    build::enter(
        &plan.container,
        &paths.merged,
        &Path::new(BASE).join("names"),
        &around,
    )?;
    Ok(root_at)
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
