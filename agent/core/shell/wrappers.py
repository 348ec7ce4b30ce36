"""Programs whose arguments are another program: how to find it. Data only; see `options.Spec`.

Long options are listed once more by name because getopt_long takes abbreviations: what is not here is not sure.
"""

from __future__ import annotations

from agent.core.shell.options import Spec, names


def _spec(
    value: str = "",
    flag: str = "",
    long_value: str = "",
    long_flag: str = "",
    operands: int = 0,
    alone: str = "harmless",
    *,
    assigns: bool = False,
    numeric: bool = False,
    appends: bool = False,
) -> Spec:
    return Spec(
        value, flag, frozenset(long_value.split()), frozenset(long_flag.split()), operands, assigns, alone, numeric,
        appends,
    )  # fmt: skip


WRAPPERS: dict[str, Spec] = {
    "sudo": _spec(
        "ugpCchrtTDRU", "AbEHikKlnPsSvVBN",
        "user group prompt close-from login-class host role type command-timeout chdir chroot other-user",
        "askpass background preserve-env set-home login remove-timestamp reset-timestamp list non-interactive "
        "preserve-groups shell stdin validate version bell",
        alone="privileged", assigns=True,
    ),
    "doas": _spec("uC", "nsL", alone="privileged"),
    "pkexec": _spec("", "", "user", "disable-internal-agent keep-cwd", alone="shell"),
    "env": _spec(
        "uC", "i0v", "unset chdir",
        "ignore-environment null debug block-signal default-signal ignore-signal list-signal-handling", assigns=True,
    ),
    "nohup": _spec(),
    "timeout": _spec("ks", "vfp", "kill-after signal", "foreground preserve-status verbose", operands=1),
    "nice": _spec("n", "", "adjustment", numeric=True),
    "ionice": _spec("cnpPu", "t", "class classdata pid pgid uid", "ignore"),
    "setsid": _spec("", "cfw", "", "ctty fork wait"),
    "stdbuf": _spec("ioe", "", "input output error"),
    "chroot": _spec("", "", "userspec groups", "skip-chdir", operands=1, alone="shell"),
    "unshare": _spec(
        "SGRw", "mfnpuiUCTrc", "setuid setgid root wd map-user map-group propagation",
        "mount fork net pid uts ipc user cgroup time map-root-user map-current-user mount-proc kill-child",
        alone="shell",
    ),
    "nsenter": _spec(
        "tSG", "amuinpUCTFZ", "target setuid setgid",
        "all mount uts ipc net pid user cgroup time preserve-credentials no-fork", alone="shell",
    ),
    "xargs": _spec(
        "IEdaLnPs", "0rtpxoie", "replace eof delimiter arg-file max-lines max-args max-procs max-chars process-slot-var",
        "null no-run-if-empty verbose interactive exit open-tty", appends=True,
    ),
    "time": _spec("fo", "pvaq", "format output", "portability verbose append quiet"),
    "command": _spec("", "pvV"),
    "builtin": _spec(),
    "exec": _spec("a", "cl"),
    "noglob": _spec(),
    "-": _spec(),  # zsh's, for a program that is to think it was logged in to
    "nocorrect": _spec(),
    "busybox": _spec("", "", "", "list list-full help install"),
    "toybox": _spec("", "", "", "long help version"),
    "strace": _spec("abeEIoOpPsSuUX", "cCdDfFhiknqrtTvVwxyYzZ", "trace output user", "follow-forks", alone="harmless"),
    "ltrace": _spec("aDeFlnopsuxX", "bcCfhiLrStTV"),
    "taskset": _spec("", "acp", "", "all-tasks cpu-list pid", operands=1),
    "chrt": _spec("TPD", "abdfiormpRv", "sched-runtime sched-period sched-deadline", "fifo rr batch idle other", operands=1),
    "numactl": _spec("iNmCpP", "lsHab", "interleave membind cpunodebind physcpubind preferred", "localalloc show hardware all"),
    "setpriv": _spec("", "d", "reuid regid groups inh-caps ambient-caps bounding-set securebits pdeathsig selinux-label "
        "apparmor-profile", "init-groups clear-groups keep-groups reset-env no-new-privs nnp dump", alone="harmless"),
    "systemd-run": _spec(
        "upEHM", "rtPGdqS",
        "unit property description slice service-type uid gid nice working-directory setenv on-active on-boot "
        "on-startup on-calendar timer-property host machine",
        "scope system user remain-after-exit send-sighup no-block wait pty pipe quiet collect same-dir shell",
        alone="harmless",
    ),
    "systemd-inhibit": _spec("", "", "what who why mode", "list no-pager no-legend"),
    "systemd-cat": _spec("tpP", "", "identifier priority stderr-priority level-prefix"),
    "dbus-run-session": _spec("", "", "config-file dbus-daemon", ""),
    "cgexec": _spec("g", "", "", "sticky"),
    "choom": _spec("np", "", "adjust pid"),
    "prlimit": _spec("op", "", "output pid", "noheadings raw verbose"),
    "setarch": _spec("", "vRFZLXBITS3", "", "verbose addr-no-randomize 32bit 3gb", operands=1, alone="shell"),
    "linux32": _spec("", "vRFZLXBITS3", alone="shell"),
    "linux64": _spec("", "vRFZLXBITS3", alone="shell"),
    "fakeroot": _spec("lisb", "huv", "lib faked", "unknown-is-real", alone="shell"),
    "eatmydata": _spec(),
    "unbuffer": _spec("", "p"),
    "catchsegv": _spec(),
    "aa-exec": _spec("pn", "iv", "profile namespace", "immediate verbose"),
    "ld.so": _spec(
        "", "", "preload library-path audit argv0 glibc-hwcaps-prepend glibc-hwcaps-mask",
        "inhibit-cache list verify list-tunables list-diagnostics",
    ),
}  # fmt: skip

PRIVILEGE = frozenset({"sudo", "doas", "pkexec", "su", "runuser", "sg", "newgrp", "sudoedit", "machinectl", "runas"})

SHELLS = names("sh bash rbash dash ash ksh ksh93 mksh oksh pdksh zsh rzsh yash posh fish csh tcsh hush")
# Their grammar is not ours: code for them is classified, and marked dynamic as well.
FOREIGN_SHELLS = frozenset({"fish", "csh", "tcsh"})

# Options after which `docker exec`, `docker run` and `kubectl exec` name the container and the command.
DOCKER_EXEC = _spec("euw", "dit", "env env-file user workdir detach-keys", "detach interactive tty privileged", operands=1)
DOCKER_RUN = _spec(
    "evuwphlmcea", "dtiPq",
    "env env-file volume user workdir publish hostname label memory cpus name network net entrypoint restart mount "
    "add-host dns cap-add cap-drop device security-opt pid ipc log-driver log-opt platform pull tmpfs ulimit shm-size",
    "detach tty interactive rm privileged init read-only publish-all quiet", operands=1,
)  # fmt: skip
