"""The three kinds of guest, and what each needs."""

import os
import platform
import resource
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import initramfs


@dataclass(frozen=True, slots=True, kw_only=True)
class Streams:
    """Descriptors for the kernel's log and the command's two streams."""

    log: int
    out: int
    err: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A way to start one.

    Attributes:
        name: uml, kvm or qemu.
        words: What it is, for people.
        missing: Why this machine cannot start it and how to change that; "" when it can.
        argv: (job folder, memory, streams) -> the program that is the guest; may set limits of its process.
    """

    name: str
    words: str
    missing: str
    argv: Callable[[Path, str, Streams], list[str]]


def uml() -> Guest:
    """User Mode Linux: a kernel as an ordinary program. Its root is hostfs."""
    program = os.environ.get("NETPOD_UML") or shutil.which("linux.uml") or ""

    def argv(job: Path, memory: str, streams: Streams) -> list[str]:
        # One CPU: each system call of the guest is a hand-over between two processes, four to eight times slower
        # when it wakes another CPU.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
        # hostfs holds a descriptor for every inode the guest has cached.
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        return [
            program,
            *("rootfstype=hostfs", "rootflags=/", "ro", f"mem={memory}", f"init={job}/init"),
            *(f"uml_dir={job}/uml", "seccomp=auto", "con=null", f"con0=null,fd:{streams.log}"),
            *("ssl=null", f"ssl0=null,fd:{streams.out}", f"ssl1=null,fd:{streams.err}"),
            *("noreboot", "panic=-1", "oops=panic", "NETPOD_GUEST=uml", f"NETPOD_JOB={job}"),
        ]

    missing = "" if program else "apt-get install user-mode-linux (amd64 only)"
    return Guest(name="uml", words="User Mode Linux", missing=missing, argv=argv)


def kvm() -> Guest:
    """QEMU with the processor's help. A device file alone means nothing: nested, it may be there and hang."""
    flags = set(Path("/proc/cpuinfo").read_text().split())
    missing = ""
    if not flags & {"vmx", "svm"} or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        missing = (
            "this machine has no usable /dev/kvm (no vmx or svm in /proc/cpuinfo, or no access)"
        )
    return _qemu("kvm", "QEMU with KVM", "kvm", missing)


def qemu() -> Guest:
    """QEMU that emulates the processor: minutes for what takes seconds."""
    return _qemu("qemu", "QEMU without KVM, which is slow", "tcg", "")


def _qemu(name: str, words: str, accelerator: str, missing: str) -> Guest:
    machine = platform.machine()
    program = shutil.which(f"qemu-system-{machine}") or ""
    busybox = shutil.which("busybox") or ""
    base = Path(os.environ.get("NETPOD_VM_KERNEL", "/"))
    kernels = sorted(
        (base / "boot").glob(f"vmlinuz-*{'' if base != Path('/') else platform.release()}")
    )
    if not missing and machine != "x86_64":
        missing = "written for x86_64 only"
    if not missing and not (program and busybox):
        missing = "apt-get install qemu-system-x86 busybox-static"
    if not missing and not kernels:
        missing = (
            "no kernel in /boot: NETPOD_VM_KERNEL=DIR names a folder with an unpacked Debian kernel "
            "(apt-get download linux-image-amd64's package; dpkg -x PACKAGE DIR)"
        )

    def argv(job: Path, memory: str, streams: Streams) -> list[str]:
        kernel = kernels[-1]
        release = kernel.name.removeprefix("vmlinuz-")
        modules = base / "lib/modules" / release
        initrd = job / "initrd"
        initrd.write_bytes(initramfs.build(Path(busybox), modules))
        share = "security_model=none,multidevs=remap"
        serial = []
        for number, descriptor in enumerate((streams.log, streams.out, streams.err), 1):
            serial += ["-add-fd", f"fd={descriptor},set={number}"]
            serial += ["-chardev", f"file,id=s{number},path=/dev/fdset/{number},append=on"]
            serial += ["-serial", f"chardev:s{number}"]
        append = (
            "console=ttyS0 quiet loglevel=5 panic=-1 oops=panic "
            f"NETPOD_GUEST={name} NETPOD_JOB={job} NETPOD_MODULES={modules}"
        )
        return [
            program,
            *("-M", f"q35,accel={accelerator}", "-cpu", "max", "-m", memory, "-smp", "2"),
            *("-display", "none", "-nodefaults", "-no-reboot", "-monitor", "none"),
            *("-kernel", str(kernel), "-initrd", str(initrd), "-append", append),
            *("-virtfs", f"local,path=/,mount_tag=root,readonly=on,{share}"),
            *("-virtfs", f"local,path={job},mount_tag=job,{share}"),
            *serial,
        ]

    return Guest(name=name, words=words, missing=missing, argv=argv)


ALL: dict[str, Callable[[], Guest]] = {"kvm": kvm, "uml": uml, "qemu": qemu}
"""By name, best first."""
