//! What a child gives up before its first frame, for good.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

/// Limits memory to `memory_bytes` of address space, gives up new files and core dumps, and every system call a decoder
/// does not need. Call it before any thread is started.
///
/// # Errors
/// A sentence that says what this system refused.
pub(super) fn confine(memory_bytes: u64) -> Result<(), String> {
    for (resource, most) in [
        (Resource::As, memory_bytes),
        (Resource::Core, 0), // a core file would hold the image
        (Resource::Fsize, 0),
        (Resource::Nofile, 0),
    ] {
        lower(resource, most).map_err(|error| format!("a resource limit cannot be set: {error}"))?;
    }
    filter_system_calls()
}

/// Lowers a limit to `most`, for good. The hard limit may already be lower, and then stays.
fn lower(resource: Resource, most: u64) -> rustix::io::Result<()> {
    let most = getrlimit(resource).maximum.map_or(most, |hard| most.min(hard));
    setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })
}

/// Gives the process `seconds` of processor time from now on. The parent's time-out comes first; this one holds where the
/// parent is gone.
pub(super) fn limit_processor_time(seconds: u64) -> rustix::io::Result<()> {
    let used = clock_gettime(ClockId::ProcessCPUTime).tv_sec.unsigned_abs();
    let most = used.saturating_add(seconds).saturating_add(1);
    let hard = getrlimit(Resource::Cpu).maximum;
    setrlimit(
        Resource::Cpu,
        Rlimit { current: Some(hard.map_or(most, |hard| most.min(hard))), maximum: hard },
    )
}

/// A list of what is allowed; anything else kills the process. `no_new_privs` is set with it.
#[cfg(target_os = "linux")]
fn filter_system_calls() -> Result<(), String> {
    use seccompiler::{SeccompAction, SeccompFilter};

    // The first reading of the clock finds out where the kernel keeps it.
    let _ = clock_gettime(ClockId::ProcessCPUTime);
    // Found out by the first use of a vector instruction, on some systems by opening a file.
    #[cfg(target_arch = "aarch64")]
    let _ = std::arch::is_aarch64_feature_detected!("neon");
    let arch = std::env::consts::ARCH.try_into();
    let filter = arch.and_then(|arch| {
        SeccompFilter::new(allowed()?, SeccompAction::KillProcess, SeccompAction::Allow, arch)
    });
    let program: seccompiler::BpfProgram = filter
        .and_then(TryInto::try_into)
        .map_err(|error| format!("seccomp has no filter for it: {error}"))?;
    seccompiler::apply_filter(&program).map_err(|error| format!("seccomp cannot be switched on: {error}"))
}

#[cfg(not(target_os = "linux"))]
fn filter_system_calls() -> Result<(), String> {
    Err("only Linux has seccomp".to_owned())
}

#[cfg(target_os = "linux")]
type Rules = std::collections::BTreeMap<i64, Vec<seccompiler::SeccompRule>>;

/// Reading frames, writing answers, memory, locks, the clock, and what ends a process in order or by `abort`.
#[cfg(target_os = "linux")]
fn allowed() -> Result<Rules, seccompiler::BackendError> {
    use seccompiler::SeccompCmpArgLen::Dword;
    use seccompiler::SeccompCmpOp::{Eq, Le, MaskedEq};
    use seccompiler::{SeccompCondition, SeccompRule};

    let freely = [
        libc::SYS_brk,
        libc::SYS_clock_gettime,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_futex,
        libc::SYS_getpid,
        libc::SYS_getrandom,
        libc::SYS_gettid,
        libc::SYS_madvise,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_restart_syscall,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sched_yield,
        libc::SYS_sigaltstack,
    ];
    let own_pid = u64::from(std::process::id());
    let executable = libc::PROT_EXEC as u64;
    // Of descriptors that were left open by mistake none can be read or written; no other process can be touched.
    let when = [
        (libc::SYS_read, 0, Eq, 0),
        (libc::SYS_write, 0, Le, 2),
        (libc::SYS_mmap, 2, MaskedEq(executable), 0),
        (libc::SYS_mprotect, 2, MaskedEq(executable), 0),
        (libc::SYS_prlimit64, 0, Eq, 0),
        (libc::SYS_tgkill, 0, Eq, own_pid),
    ];
    let mut rules: Rules = freely.into_iter().map(|call| (call, Vec::new())).collect();
    for (call, argument, operator, value) in when {
        let condition = SeccompCondition::new(argument, Dword, operator, value)?;
        rules.insert(call, vec![SeccompRule::new(vec![condition])?]);
    }
    Ok(rules)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch};

    use super::allowed;

    #[test]
    fn nothing_that_opens_reaches_out_or_starts_is_on_the_list() {
        let allowed = allowed().expect("a list");
        // What every architecture has. aarch64 has no others of these kinds.
        let everywhere = [
            libc::SYS_bind,
            libc::SYS_bpf,
            libc::SYS_clone,
            libc::SYS_clone3,
            libc::SYS_connect,
            libc::SYS_dup,
            libc::SYS_execve,
            libc::SYS_execveat,
            libc::SYS_fcntl,
            libc::SYS_io_uring_setup,
            libc::SYS_ioctl,
            libc::SYS_kill,
            libc::SYS_linkat,
            libc::SYS_memfd_create,
            libc::SYS_mount,
            libc::SYS_openat,
            libc::SYS_openat2,
            libc::SYS_pidfd_open,
            libc::SYS_prctl,
            libc::SYS_process_vm_readv,
            libc::SYS_process_vm_writev,
            libc::SYS_ptrace,
            libc::SYS_recvfrom,
            libc::SYS_sendmsg,
            libc::SYS_sendto,
            libc::SYS_seccomp,
            libc::SYS_setns,
            libc::SYS_socket,
            libc::SYS_socketpair,
            libc::SYS_tkill,
            libc::SYS_unlinkat,
            libc::SYS_unshare,
            libc::SYS_userfaultfd,
        ];
        #[cfg(target_arch = "x86_64")]
        let older = [
            libc::SYS_creat,
            libc::SYS_dup2,
            libc::SYS_fork,
            libc::SYS_link,
            libc::SYS_open,
            libc::SYS_unlink,
            libc::SYS_vfork,
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let older = [];
        for call in everywhere.into_iter().chain(older) {
            assert!(!allowed.contains_key(&call), "system call {call} is allowed");
        }
    }

    #[test]
    fn the_list_is_a_filter_on_both_architectures() {
        for arch in [TargetArch::x86_64, TargetArch::aarch64] {
            let rules = allowed().expect("a list");
            let filter = SeccompFilter::new(rules, SeccompAction::KillProcess, SeccompAction::Allow, arch);
            let program: BpfProgram = filter.and_then(TryInto::try_into).expect("a program");
            assert!(program.len() > 24, "a rule for each call");
        }
    }
}
