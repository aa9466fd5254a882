"""The system calls that a recording is made from: their numbers, and what is kept of each.

The tracepoints raw_syscalls:sys_enter and sys_exit carry a number, six arguments and the result. Two events with a
filter cost a recorded build far less than a pair of events for each call: perf gives every new process all of them.
Numbers are x86-64's (arch/x86/entry/syscalls/syscall_64.tbl), as fault kinds are (see perf).
"""

from dataclasses import dataclass

AT_FDCWD = (1 << 32) - 100  # linux/fcntl.h, as the low 32 bits of an argument
AT_EMPTY_PATH = 0x1000
AT_REMOVEDIR = 0x200
# linux/fcntl.h, x86-64
O_ACCMODE, O_CREAT, O_EXCL, O_TRUNC, O_APPEND, O_CLOEXEC = 3, 0o100, 0o200, 0o1000, 0o2000, 0o2000000
ERROR = (1 << 64) - 4095  # from here on, what a system call returned is an error

# the arguments that are a directory's descriptor (None: the current directory) and a name
Name = tuple[int | None, int]


@dataclass(frozen=True)
class Call:
    """A system call: what its entry and its exit are called among raw records ("": not kept), and its arguments."""

    number: int
    enter: str = ""
    exit: str = ""
    args: tuple[int, ...] = ()  # which arguments become a, b, ... of the entry
    names: tuple[Name, ...] = ()  # of a file call, as places in `args`
    flags: int | None = None


def _pair(number: int, name: str, *args: int) -> Call:
    return Call(number, f"enter_{name}", f"exit_{name}", args)


def _file(number: int, name: str, *names: Name, flags: int | None = None) -> Call:
    return Call(number, f"enter_{name}", f"exit_{name}", (0, 1, 2, 3, 4), names, flags)


# calls that look names up, or use descriptors of files
_FILES = [
    _file(0, "read"), _file(1, "write"), _file(19, "read"), _file(20, "write"),
    _file(17, "pread"), _file(18, "pwrite"), _file(8, "lseek"),
    _file(2, "open", (None, 0), flags=1), _file(257, "openat", (0, 1), flags=2), _file(437, "openat2", (0, 1)),
    _file(85, "creat", (None, 0)),
    _file(4, "stat", (None, 0)), _file(6, "lstat", (None, 0)), _file(5, "fstat"),
    _file(262, "newfstatat", (0, 1), flags=3), _file(332, "statx", (0, 1), flags=2),
    _file(21, "access", (None, 0)), _file(269, "faccessat", (0, 1)), _file(439, "faccessat2", (0, 1), flags=3),
    _file(89, "readlink", (None, 0)), _file(267, "readlinkat", (0, 1)),
    _file(87, "unlink", (None, 0)), _file(263, "unlinkat", (0, 1), flags=2), _file(84, "rmdir", (None, 0)),
    _file(82, "rename", (None, 0), (None, 1)), _file(264, "renameat", (0, 1), (2, 3)),
    _file(316, "renameat2", (0, 1), (2, 3), flags=4),
    _file(83, "mkdir", (None, 0)), _file(258, "mkdirat", (0, 1)),
    _file(88, "symlink", (None, 1), (None, 0)), _file(266, "symlinkat", (1, 2), (None, 0)),
    _file(86, "link", (None, 0), (None, 1)), _file(265, "linkat", (0, 1), (2, 3), flags=4),
    _file(76, "truncate", (None, 0)), _file(77, "ftruncate"), _file(217, "getdents"), _file(78, "getdents"),
    _file(80, "chdir", (None, 0)), _file(81, "fchdir"),
    _file(90, "chmod", (None, 0)), _file(268, "fchmodat", (0, 1)), _file(452, "fchmodat2", (0, 1), flags=3),
    _file(91, "fchmod"), _file(92, "chown", (None, 0)), _file(94, "lchown", (None, 0)),
    _file(260, "fchownat", (0, 1), flags=4), _file(93, "fchown"),
    _file(235, "utimes", (None, 0)), _file(280, "utimensat", (0, 1), flags=3),
    _file(59, "execve", (None, 0)), _file(322, "execveat", (0, 1), flags=4),
    _file(40, "sendfile"), _file(326, "copy_file_range"),
]  # fmt: skip
# memory, processes, and descriptors of other things
_OTHERS = [
    _pair(9, "mmap", 0, 1, 2, 3, 5), _pair(12, "brk"), _pair(25, "mremap", 0, 1, 2),
    Call(11, "munmap", args=(0, 1)), Call(10, "mprotect", args=(0, 1, 2)),
    Call(61, exit="wait"), Call(109, "setpgid", args=(0, 1)), Call(112, "setsid"), Call(62, "kill", args=(0, 1)),
    Call(56, "enter"), Call(57, "enter"), Call(58, "enter"), Call(435, "enter"), Call(231, "enter"),
    _pair(22, "pipe"), _pair(293, "pipe", 1), Call(3, "close", args=(0,)), Call(436, "close_range", args=(0, 1, 2)),
    _pair(32, "dup", 0), _pair(33, "dup", 0), _pair(292, "dup", 0, 2), _pair(72, "fcntl", 0, 1, 2),
    # socket, memfd_create, epoll_create1, eventfd2, timerfd_create, signalfd4, pidfd_open
    *(Call(number, exit="exit_make") for number in (41, 319, 291, 290, 283, 289, 434)),
]  # fmt: skip

CALLS = {call.number: call for call in _OTHERS + _FILES}
FILE_CALLS = {call.enter.removeprefix("enter_"): call for call in _FILES}
# names of calls that look a name up, by number: what probes are made for
NAMED = {call.number: call for call in _FILES if call.names}


def event_filter(entries: bool) -> str:
    """Return the filter for raw_syscalls:sys_enter, or sys_exit, that lets through what is kept."""
    numbers = sorted(call.number for call in CALLS.values() if (call.enter if entries else call.exit))
    return "||".join(f"id=={number}" for number in numbers)
