use cenote_virtio::device::DeviceState;
use cenote_virtio::mmio::{QueueState, TransportState};
use cenote_virtio::pmem::PmemState;
use kvm_bindings::{kvm_irqchip, kvm_msr_entry, kvm_regs, kvm_xsave};

use super::VmState;
use crate::arch::{PlatformState, VcpuState};

fn vcpu() -> VcpuState {
    VcpuState {
        registers: kvm_regs {
            rip: 0x100_0000,
            ..Default::default()
        },
        system_registers: Default::default(),
        xsave: kvm_xsave {
            region: [7; 1024],
            ..Default::default()
        },
        extended_control: Default::default(),
        debug_registers: Default::default(),
        local_apic: Default::default(),
        msrs: vec![kvm_msr_entry {
            index: 0x10,
            data: 5,
            ..Default::default()
        }],
        events: Default::default(),
        run_state: Default::default(),
        tsc_khz: 2_000_000,
        nested: None,
    }
}

#[test]
fn a_machine_survives_being_written_and_read() {
    let chip = |chip_id| kvm_irqchip {
        chip_id,
        ..Default::default()
    };
    let state = VmState {
        platform: PlatformState {
            irqchips: [chip(0), chip(1), chip(2)],
            clock: Default::default(),
        },
        vcpus: vec![vcpu(), vcpu()],
        devices: vec![TransportState {
            device: DeviceState::Pmem(PmemState {
                start: 1 << 32,
                size: 2 << 20,
            }),
            status: 15,
            interrupt_status: 1,
            config_generation: 0,
            features: 1 << 32,
            device_features_sel: 1,
            driver_features_sel: 1,
            queue_sel: 0,
            queues: vec![QueueState::default()],
        }],
    };
    let bytes = postcard::to_stdvec(&state).unwrap();
    let read: VmState = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(read.vcpus[1].registers.rip, 0x100_0000);
    assert_eq!(read.vcpus[1].xsave.region[1023], 7);
    assert_eq!(read.devices, state.devices);
    assert_eq!(postcard::to_stdvec(&read).unwrap(), bytes);
}
