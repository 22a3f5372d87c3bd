/* Shows a process a processor without AVX-512, VNNI and AMX, to measure here what older machines would do.
 *
 *     cc -O2 -shared -fPIC -o avx2_only.so worker/benches/avx2_only.c
 *     LD_PRELOAD=$PWD/avx2_only.so nightread bench
 *
 * Every library picks its kernels by the instruction CPUID. Linux lets a thread ask for a fault instead (arch_prctl,
 * "cpuid_fault" in /proc/cpuinfo); the handler runs the instruction and clears the bits. What hides is only the
 * choice of kernels: clock, caches and memory stay this machine's.
 */
#define _GNU_SOURCE
#include <cpuid.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

enum { ARCH_SET_CPUID = 0x1012 };

/* Bits of leaf 7, as in Intel's manual, volume 2A, CPUID. */
static const uint32_t LEAF_7_0_EBX = 1u << 16 | 1u << 17 | 1u << 21 | 1u << 26 | 1u << 27 | 1u << 28 | 1u << 30 | 1u << 31;
static const uint32_t LEAF_7_0_ECX = 1u << 1 | 1u << 6 | 1u << 11 | 1u << 12 | 1u << 14;
static const uint32_t LEAF_7_0_EDX = 1u << 2 | 1u << 3 | 1u << 8 | 1u << 22 | 1u << 23 | 1u << 24 | 1u << 25;
static const uint32_t LEAF_7_1_EAX = 1u << 4 | 1u << 5 | 1u << 21 | 1u << 23;
static const uint32_t LEAF_7_1_EDX = 1u << 4 | 1u << 5 | 1u << 8 | 1u << 10 | 1u << 19;

static struct sigaction others;

static long faulting(int yes) { return syscall(SYS_arch_prctl, ARCH_SET_CPUID, !yes); }

static void answer(int number, siginfo_t *info, void *context) {
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *at = (const uint8_t *)registers[REG_RIP];
    if (info->si_code != SI_KERNEL || at[0] != 0x0F || at[1] != 0xA2) {
        /* Not ours: whoever was there before, or the default at the next try. */
        sigaction(SIGSEGV, &others, NULL);
        return;
    }
    uint32_t leaf = registers[REG_RAX], part = registers[REG_RCX], a, b, c, d;
    faulting(0);
    __cpuid_count(leaf, part, a, b, c, d);
    faulting(1);
    if (leaf == 7 && part == 0) {
        b &= ~LEAF_7_0_EBX;
        c &= ~LEAF_7_0_ECX;
        d &= ~LEAF_7_0_EDX;
    } else if (leaf == 7 && part == 1) {
        a &= ~LEAF_7_1_EAX;
        d &= ~LEAF_7_1_EDX;
    }
    registers[REG_RAX] = a;
    registers[REG_RBX] = b;
    registers[REG_RCX] = c;
    registers[REG_RDX] = d;
    registers[REG_RIP] += 2;
    (void)number;
}

__attribute__((constructor)) static void hide(void) {
    struct sigaction ours = {.sa_sigaction = answer, .sa_flags = SA_SIGINFO | SA_NODEFER};
    if (sigaction(SIGSEGV, &ours, &others) != 0 || faulting(1) != 0) {
        fputs("avx2_only: this kernel or processor cannot hide instructions (no cpuid_fault)\n", stderr);
        exit(1);
    }
}
