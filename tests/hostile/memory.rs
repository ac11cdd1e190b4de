//! The memory and the open files of another process, from `/proc`.

use std::fs;

/// Resident memory in bytes.
pub(crate) fn resident(process: u32) -> u64 {
    kilobytes(process, "VmRSS:")
}

/// The highest resident memory so far, in bytes.
pub(crate) fn peak(process: u32) -> u64 {
    kilobytes(process, "VmHWM:")
}

fn kilobytes(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1_024
}

/// Open handles of a process. Unlike the attacker's sockets, they do not include what waits in the kernel to be accepted.
pub(crate) fn handles(process: u32) -> u64 {
    let handles = fs::read_dir(format!("/proc/{process}/fd")).unwrap();
    u64::try_from(handles.count()).unwrap()
}
