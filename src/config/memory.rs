//! How much memory the process may use, and how many live grants fit into it.

use std::path::Path;

/// What a live grant takes in memory, as measured with a million of them.
const GRANT_BYTES: u64 = 586;
/// The fewest and the most that are allowed unless the operator sets a number.
const GRANTS: [u64; 2] = [10_000, 2_000_000];

/// The number of live grants that fit into half of the memory.
pub(super) fn grants_in(memory: Option<u64>) -> usize {
    let [least, most] = GRANTS;
    let fit = memory.map_or(most, |bytes| bytes / 2 / GRANT_BYTES);
    usize::try_from(fit.clamp(least, most)).unwrap_or(usize::MAX)
}

/// The smallest limit of the process's control groups (version 2 or 1) and of the groups around them, or the memory of the machine if that
/// is less. `read`: the text of a file, if there is one. `None`: no file says it.
pub(super) fn allowed(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let groups = read("/proc/self/cgroup").unwrap_or_default();
    let limit = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let (root, file) = match controllers {
            "" => ("", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => ("/memory", "memory.limit_in_bytes"),
            _ => return None,
        };
        // In a container the path may be the host's, and only the root is there. `max` is no number.
        let around = Path::new(path).ancestors().filter_map(|group| group.to_str());
        let limits = around.filter_map(|group| {
            read(&format!("/sys/fs/cgroup{root}{}/{file}", group.trim_end_matches('/')))?.trim().parse().ok()
        });
        limits.min()
    };
    let machine = read("/proc/meminfo").and_then(|text| {
        let kibibytes = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.strip_suffix("kB"))?;
        kibibytes.trim().parse::<u64>().ok()?.checked_mul(1_024)
    });
    groups.lines().filter_map(limit).chain(machine).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn allowed_by(files: &[(&str, &str)]) -> Option<u64> {
        allowed(|path| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned()))
    }

    #[test]
    fn half_of_the_memory_is_for_grants_within_bounds() {
        let grants = [None, Some(GIB), Some(64 * GIB), Some(GIB / 1_024)].map(grants_in);
        assert_eq!(grants, [2_000_000, 916_161, 2_000_000, 10_000]);
    }

    #[test]
    fn the_smallest_limit_of_the_groups_around_the_process_holds() {
        let machine = ("/proc/meminfo", "MemFree:  1 kB\nMemTotal:       4194304 kB\nBuffers: 2 kB\n");
        let unit = ("/proc/self/cgroup", "0::/system.slice/turn-broker.service\n");
        let own = "/sys/fs/cgroup/system.slice/turn-broker.service/memory.max";
        assert_eq!(allowed_by(&[]), None);
        assert_eq!(allowed_by(&[machine]), Some(4 * GIB));
        assert_eq!(allowed_by(&[machine, unit, (own, "max\n")]), Some(4 * GIB));
        assert_eq!(allowed_by(&[machine, unit, (own, "1073741824\n")]), Some(GIB));
        let slice = ("/sys/fs/cgroup/system.slice/memory.max", "536870912\n");
        assert_eq!(allowed_by(&[machine, unit, (own, "1073741824\n"), slice]), Some(GIB / 2));
        let container =
            [machine, ("/proc/self/cgroup", "0::/\n"), ("/sys/fs/cgroup/memory.max", "1073741824\n")];
        assert_eq!(allowed_by(&container), Some(GIB));
    }

    #[test]
    fn limits_of_the_first_version_are_read_also_where_only_the_root_is_there() {
        let groups =
            ("/proc/self/cgroup", "5:cpu,cpuacct:/docker/1\n4:hugetlb,memory:/docker/1\n0::/docker/1\n");
        let root = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
        let own = ("/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes", "536870912\n");
        assert_eq!(allowed_by(&[groups, root]), Some(GIB));
        assert_eq!(allowed_by(&[groups, root, own]), Some(GIB / 2));
        let unlimited = ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(allowed_by(&[groups, unlimited, ("/proc/meminfo", "MemTotal: 1048576 kB")]), Some(GIB));
    }
}
