//! Plans the memory of a process: its maximum, the number of threads that compare, and the share
//! of decoded pixels.

use std::{fs, path::Path};

use anyhow::Result;
use visavis_face::Device;

use crate::config::{Config, MIN_PIXELS_BYTES};

const MIB: u64 = 1 << 20;
/// The program without threads, bodies and pixels.
const BASE_MIB: u64 = 100;
/// A thread: its nets, with the memory that they keep between runs, and small buffers.
const THREAD_MIB: u64 = 100;
/// Host memory of CUDA, and its growth with each size of batch: 913 MiB were measured with one size
/// and 1477 MiB with six, without the threads.
const CUDA_MIB: u64 = 700;
const CUDA_SIZE_MIB: u64 = 120;
/// Default for pixels, if that much is free: any picture within the default limits, or an ordinary
/// one for each thread.
const PIXELS_MIB: u64 = 1_024;
const PIXELS_PER_THREAD_MIB: u64 = 96;

/// The memory of a process by use.
#[derive(Debug)]
pub struct MemoryPlan {
    /// Threads that compare.
    pub(crate) threads: usize,
    /// For decoded pixels, bytes.
    pub(crate) pixels: u64,
    /// The memory of the machine, or of the container if it has less, MiB; `None` if it is unknown.
    pub(crate) available_mib: Option<u64>,
    /// The maximum of each use, MiB, and its description.
    pub(crate) parts: Vec<(u64, String)>,
}

impl MemoryPlan {
    /// The plan for the configuration; settings that are 0 follow from the available memory.
    ///
    /// # Errors
    /// When the device does not exist, or the number of cores is unknown.
    pub(crate) fn new(config: &Config) -> Result<Self> {
        let (proc, cgroups) = (Path::new("/proc"), Path::new("/sys/fs/cgroup"));
        // Either device of "auto" has the same threads and memory.
        let device = config.runtime.device()?.unwrap_or_default();
        Ok(Self::for_machine(config, device, device.threads()?, available_mib(proc, cgroups)))
    }

    fn for_machine(
        config: &Config,
        device: Device,
        max_threads: usize,
        available_mib: Option<u64>,
    ) -> Self {
        let mut parts = vec![
            (BASE_MIB, "the program".to_owned()),
            (
                config.http.body_budget_bytes as u64 / MIB,
                "bodies of requests (http.body_budget_bytes)".to_owned(),
            ),
            (
                config.queue.payload_cache_bytes / MIB,
                "photos of accepted jobs (queue.payload_cache_bytes)".to_owned(),
            ),
        ];
        if matches!(device, Device::Cuda(_)) {
            let sizes = config.runtime.batches().sizes().count() as u64;
            let what = format!("CUDA and {sizes} sizes of batch (runtime.batch_max)");
            parts.push((CUDA_MIB + CUDA_SIZE_MIB * sizes, what));
        }
        let fixed: u64 = parts.iter().map(|(mib, _)| mib).sum();
        // A tenth is left to the system.
        let free = available_mib.map(|mib| (mib - mib / 10).saturating_sub(fixed));
        let configured = match config.memory.pixels_bytes {
            0 => None,
            bytes => Some(bytes / MIB),
        };
        let threads = match (config.worker.threads, free) {
            (0, Some(free)) => {
                let for_threads = configured.map_or(free / 2, |pixels| free.saturating_sub(pixels));
                let fit = usize::try_from(for_threads / THREAD_MIB).unwrap_or(usize::MAX);
                fit.clamp(1, max_threads)
            }
            (0, None) => max_threads,
            (threads, _) => threads,
        };
        let for_threads = THREAD_MIB * threads as u64;
        let pixels = configured.unwrap_or_else(|| {
            let wanted = PIXELS_MIB.max(PIXELS_PER_THREAD_MIB * threads as u64);
            let left = free.map_or(wanted, |free| free.saturating_sub(for_threads));
            wanted.min(left).max(MIN_PIXELS_BYTES / MIB)
        });
        parts.push((for_threads, format!("{threads} threads (worker.threads)")));
        parts.push((pixels, "decoded pixels (memory.pixels_bytes)".to_owned()));
        Self { threads, pixels: pixels * MIB, available_mib, parts }
    }

    /// The maximum of all uses together, MiB.
    pub(crate) fn needed_mib(&self) -> u64 {
        self.parts.iter().map(|(mib, _)| mib).sum()
    }
}

/// The memory of the machine, or the lowest limit of the control groups of this process, MiB.
fn available_mib(proc: &Path, cgroups: &Path) -> Option<u64> {
    let meminfo = fs::read_to_string(proc.join("meminfo")).ok()?;
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let machine = line.split_whitespace().next()?.parse::<u64>().ok()? / 1_024;
    let limits = cgroup_limits(proc, cgroups).into_iter().map(|bytes| bytes / MIB);
    Some(limits.fold(machine, u64::min))
}

/// The limits of the control groups of this process and of their ancestors, bytes, versions 1 and
/// 2. A container may see only its own group, as the root.
fn cgroup_limits(proc: &Path, cgroups: &Path) -> Vec<u64> {
    let groups = fs::read_to_string(proc.join("self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    for group in groups.lines() {
        let mut fields = group.splitn(3, ':').skip(1);
        let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => (cgroups.to_path_buf(), "memory.max"),
            some if some.split(',').any(|name| name == "memory") => {
                (cgroups.join("memory"), "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let own = root.join(path.trim_start_matches('/'));
        let above = own.ancestors().take_while(|folder| folder.starts_with(&root));
        let read = above.filter_map(|folder| fs::read_to_string(folder.join(file)).ok());
        // "max" is no number.
        limits.extend(read.filter_map(|text| text.trim().parse::<u64>().ok()));
    }
    limits
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(change: impl FnOnce(&mut Config)) -> Config {
        let mut config = Config::load(None, std::iter::empty()).unwrap();
        change(&mut config);
        config
    }

    fn plan(config: &Config, threads: usize, available_mib: u64) -> MemoryPlan {
        MemoryPlan::for_machine(config, Device::Cpu, threads, Some(available_mib))
    }

    #[test]
    fn threads_and_pixels_follow_from_the_available_memory() {
        let config = config(|_| ());
        let chosen = |cores, mib| {
            let plan = plan(&config, cores, mib);
            (plan.threads, plan.pixels / MIB)
        };
        assert_eq!(chosen(2, 24_000), (2, 1_024));
        assert_eq!(chosen(32, 64_000), (32, 32 * 96));
        // 420 MiB are for the program, bodies and jobs.
        assert_eq!(chosen(2, 1_024), (2, 302));
        assert_eq!(chosen(8, 1_024), (2, 302));
        assert_eq!(chosen(2, 768), (1, 172));
        assert_eq!(chosen(2, 256), (1, 64));
        for mib in [700, 1_024, 2_048, 8_192] {
            assert!(plan(&config, 8, mib).needed_mib() <= mib, "{mib}");
        }
    }

    #[test]
    fn what_is_configured_holds_and_the_rest_follows() {
        let pixels = config(|config| config.memory.pixels_bytes = 400 * MIB);
        assert_eq!(
            (plan(&pixels, 8, 1_200).threads, plan(&pixels, 8, 1_200).pixels),
            (2, 400 * MIB)
        );
        let threads = config(|config| config.worker.threads = 5);
        assert_eq!(
            (plan(&threads, 8, 1_200).threads, plan(&threads, 8, 1_200).pixels),
            (5, 160 * MIB)
        );
    }

    #[test]
    fn a_gpu_takes_memory_of_the_machine_too_and_more_for_larger_batches() {
        let config = config(|config| config.runtime.batch_max = 20);
        let parts = |device| MemoryPlan::for_machine(&config, device, 4, None).parts;
        let (cpu, gpu) = (parts(Device::Cpu), parts(Device::Cuda(0)));
        assert_eq!(gpu.len(), cpu.len() + 1);
        // 1, 2, 4, 8, 16 and 20 rows.
        let (mib, what) = &gpu[3];
        assert_eq!(*mib, CUDA_MIB + 6 * CUDA_SIZE_MIB);
        assert!(what.contains("6 sizes") && what.contains("runtime.batch_max"), "{what}");
    }

    /// A machine with 8 GiB, on which the process is in these control groups.
    fn machine(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("proc/meminfo", "MemTotal:        8388608 kB\nMemFree:          123 kB\n");
        write("proc/self/cgroup", groups);
        for (path, text) in files {
            write(&format!("cgroup/{path}"), text);
        }
        available_mib(&folder.path().join("proc"), &folder.path().join("cgroup"))
    }

    #[test]
    fn the_least_limit_of_the_control_groups_counts() {
        let gib = |gib: u64| (gib << 30).to_string();
        assert_eq!(machine("0::/\n", &[]), Some(8_192));
        assert_eq!(machine("0::/\n", &[("memory.max", "max\n")]), Some(8_192));
        assert_eq!(machine("0::/\n", &[("memory.max", "536870912\n")]), Some(512));
        assert_eq!(machine("0::/\n", &[("memory.max", &gib(9))]), Some(8_192));
        let nested = [("a/b/memory.max", "max"), ("a/memory.max", &gib(3)), ("x/memory.max", "1")];
        assert_eq!(machine("0::/a/b\n", &nested), Some(3_072));
        let v1 = "5:devices:/\n4:cpu,memory:/one/two\n0::/\n";
        let unlimited = "9223372036854771712\n";
        let files = [
            ("memory/one/two/memory.limit_in_bytes", &*gib(1)),
            ("memory/memory.limit_in_bytes", unlimited),
        ];
        assert_eq!(machine(v1, &files), Some(1_024));
        // In a container its own group is the root, and the path is one of the machine.
        assert_eq!(machine(v1, &[("memory/memory.limit_in_bytes", &gib(2))]), Some(2_048));
    }
}
