//! Memory and CPU time of a process, from the kernel.

use std::fs;

/// Ticks a second in /proc/PID/stat: the same on every Linux that programs see.
const TICKS: f64 = 100.0;

/// A process of this machine.
#[derive(Debug, Clone, Copy)]
pub struct Process(pub u32);

impl Process {
    /// This one.
    pub(super) fn own() -> Self {
        Self(std::process::id())
    }

    /// Processor time of all its threads so far, in seconds; `None` where there is no /proc, or no
    /// such process.
    pub(super) fn cpu_seconds(self) -> Option<f64> {
        cpu_seconds(&fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?)
    }

    /// Memory that is resident now, in MiB.
    pub(super) fn resident_mib(self) -> Option<f64> {
        resident_mib(&fs::read_to_string(format!("/proc/{}/status", self.0)).ok()?)
    }
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    // The second field is a name in parentheses, which may hold anything; utime and stime are 14
    // and 15.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

fn resident_mib(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix(" kB")?.trim().parse::<f64>().ok()? / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processor_time_is_found_behind_any_name() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 4 0 100 1 1";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a"), None);
    }

    #[test]
    fn resident_memory_is_read_in_mib() {
        assert_eq!(resident_mib("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2.0));
        assert_eq!(resident_mib("Name:\tx\n"), None);
    }
}
