//! What the process takes of its machine, under the names that Prometheus's own clients use.

use std::fs;

use super::Page;

/// USER_HZ is 100 and a page of /proc 4 KiB on every Linux that Rust's std runs on but a few.
const TICKS_PER_S: f64 = 100.0;

/// Linux tells all of this in /proc; what it does not tell is left out.
pub fn write(page: &mut Page) {
    let mut gauge = |name: &str, kind: &str, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            page.head(name, kind, help);
            page.value(name, &[], value);
        }
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name in brackets may hold spaces: count from its end. Field 3 of proc_pid_stat(5) is the first here.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let field = |n: usize| fields.get(n - 3).and_then(|field| field.parse::<f64>().ok());
    let cpu = field(14).zip(field(15)).map(|(user, system)| (user + system) / TICKS_PER_S);
    gauge("process_cpu_seconds_total", "counter", "User and system CPU time.", cpu);
    gauge("process_threads", "gauge", "Threads.", field(20));
    gauge("process_virtual_memory_bytes", "gauge", "Virtual memory.", field(23));
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let resident = resident.and_then(|rest| rest.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok());
    gauge("process_resident_memory_bytes", "gauge", "Memory in RAM.", resident.map(|kib| kib * 1024.0));
    let boot = fs::read_to_string("/proc/stat").unwrap_or_default();
    let boot = boot.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse::<f64>().ok());
    let started = boot.zip(field(22)).map(|(boot, ticks)| boot + ticks / TICKS_PER_S);
    gauge("process_start_time_seconds", "gauge", "When it started, since 1970.", started);
    // The directory being read is one of them.
    let open = fs::read_dir("/proc/self/fd").map(|entries| entries.count().saturating_sub(1) as f64).ok();
    gauge("process_open_fds", "gauge", "Open file descriptors.", open);
    gauge("process_max_fds", "gauge", "File descriptors it may open.", max_fds().map(|n| n as f64));
}

/// File descriptors this process may open.
pub fn max_fds() -> Option<u64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let most = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    most.split_whitespace().next()?.parse().ok()
}
