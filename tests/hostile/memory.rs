//! The memory and the open files of another process, from `/proc`. The attacks and the soak share it.

use std::{fs, io};

pub(crate) fn resident(process: u32) -> io::Result<u64> {
    kilobytes(process, "VmRSS:")
}

/// The highest resident memory so far, in bytes.
pub(crate) fn peak(process: u32) -> io::Result<u64> {
    kilobytes(process, "VmHWM:")
}

fn kilobytes(process: u32, field: &str) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status"))?;
    let figure =
        status.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse().ok());
    figure.map(|kilobytes: u64| kilobytes * 1_024).ok_or_else(|| io::Error::other(format!("no {field}")))
}

/// Open handles of a process. Unlike the attacker's sockets, they do not include what waits in the kernel to be accepted.
pub(crate) fn handles(process: u32) -> io::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}
