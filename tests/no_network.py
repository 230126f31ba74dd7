"""Runs a command of logo-similarity under a seccomp filter: the kernel kills any process of it that uses the network.

    python tests/no_network.py none COMMAND...      an internet socket kills it
    python tests/no_network.py accept COMMAND...    it may accept TCP connections; connecting, or UDP (as for DNS), kills it

The filter needs no privileges and no package, and applies to libraries in any language.
"""

from __future__ import annotations

import ctypes
import os
import platform
import socket
import struct
import sys

# From linux/audit.h and the system call tables.
AUDIT_ARCH, SOCKET, CONNECT, IO_URING_SETUP = {
    "x86_64": (0xC000003E, 41, 42, 425),
    "aarch64": (0xC00000B7, 198, 203, 425),
}[platform.machine()]
PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
LOAD, IF_EQUAL, AND, RETURN = 0x20, 0x15, 0x54, 0x06
ALLOW, KILL_PROCESS, ENOSYS = 0x7FFF0000, 0x80000000, 0x00050000 | 38
# Offsets in struct seccomp_data.
NUMBER, ARCHITECTURE, FAMILY, TYPE = 0, 4, 16, 24

Instruction = tuple[int, int, int, int]


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _program(*, accept: bool) -> list[Instruction]:
    """The filter as (code, skip if true, skip if false, operand)."""
    internet: list[Instruction] = [(RETURN, 0, 0, KILL_PROCESS)]
    if accept:
        internet = [
            (IF_EQUAL, 1, 0, socket.AF_INET),
            (IF_EQUAL, 0, 4, socket.AF_INET6),
            (LOAD, 0, 0, TYPE),
            (AND, 0, 0, 0xF),  # without SOCK_CLOEXEC and SOCK_NONBLOCK
            (IF_EQUAL, 0, 1, socket.SOCK_STREAM),
            (RETURN, 0, 0, ALLOW),
            *internet,
        ]
    return [
        (LOAD, 0, 0, ARCHITECTURE),
        (IF_EQUAL, 1, 0, AUDIT_ARCH),
        (RETURN, 0, 0, KILL_PROCESS),
        (LOAD, 0, 0, NUMBER),
        (IF_EQUAL, 0, 1, IO_URING_SETUP),  # another way to make these calls; libraries work without it
        (RETURN, 0, 0, ENOSYS),
        (IF_EQUAL, 0, 1, CONNECT),
        (RETURN, 0, 0, KILL_PROCESS if accept else ALLOW),
        (IF_EQUAL, 1, 0, SOCKET),
        (RETURN, 0, 0, ALLOW),
        (LOAD, 0, 0, FAMILY),
        (IF_EQUAL, 1, 0, socket.AF_UNIX),
        (IF_EQUAL, 0, 1, socket.AF_NETLINK),
        (RETURN, 0, 0, ALLOW),
        *internet,
    ]


def forbid_network(*, accept: bool) -> None:
    """Install the filter for this process and its children."""
    code = b"".join(
        struct.pack("HBBI", operation, if_true, if_false, operand)
        for operation, if_true, if_false, operand in _program(accept=accept)
    )
    program = _Program(len(code) // 8, code)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) or libc.prctl(
        PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.byref(program), 0, 0
    ):
        raise OSError(ctypes.get_errno(), "the kernel rejects the seccomp filter")


if __name__ == "__main__":
    forbid_network(accept={"none": False, "accept": True}[sys.argv[1]])
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
