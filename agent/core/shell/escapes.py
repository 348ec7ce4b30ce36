"""Options that make a well-known program do something else than its name says. Data; long names match by abbreviation.

`CHANGING`: the effect becomes another. `CODE`: an argument is code, or names code to run (compare GTFOBins). Letters
match anywhere in a cluster of short options, because a value glued to an option looks the same: rather once too often.
"""

from __future__ import annotations

# program → (short letters, long names, effect)
CHANGING: dict[str, tuple[str, tuple[str, ...], str]] = {
    "sed": ("i", ("in-place",), "write"),
    "sort": ("o", ("output",), "write"),
    "shuf": ("o", ("output",), "write"),
    "tree": ("o", (), "write"),
    "iconv": ("o", ("output",), "write"),
    "yq": ("i", ("inplace", "in-place"), "write"),
    "xxd": ("r", ("revert",), "write"),
    "file": ("C", ("compile",), "write"),
    "sar": ("o", (), "write"),
    "curl": (
        "OTdFcDJ",
        ("remote-name", "upload-file", "data", "data-binary", "data-raw", "data-urlencode", "form", "form-string", "json",
         "cookie-jar", "dump-header", "create-dirs", "trace", "trace-ascii", "remote-name-all", "output-dir", "hsts", "alt-svc",
         "etag-save", "stderr", "libcurl", "url-query"),
        "write",
    ),
    "hostname": ("Fb", ("file", "boot"), "admin"),
    "dmesg": ("cCDEn", ("clear", "read-clear", "console-off", "console-on", "console-level"), "admin"),
    "ss": ("K", ("kill",), "admin"),
    "sysctl": ("wp", ("write", "load", "system"), "admin"),
    "faillog": ("rlmt", ("reset", "lock-secs", "maximum"), "admin"),
    "lastlog": ("CS", ("clear", "set"), "admin"),
    "tcpdump": ("w", (), "write"),
}  # fmt: skip

_SSH_LIKE = ("SoFD", ())
_NETCAT = ("ec", ("exec", "sh-exec", "lua-exec"))
_MYSQL = (
    "e",
    ("execute", "init-command", "pager", "tee", "plugin-dir", "defaults-file", "defaults-extra-file", "system-command"),
)
_VIM = ("cSsuUwti", ("cmd", "remote-send", "remote-expr", "startuptime"))
_LVM = ("", ("config", "profile", "commandprofile"))

# program → (short letters, long names)
CODE: dict[str, tuple[str, tuple[str, ...]]] = {
    "tar": ("IF", ("checkpoint-action", "to-command", "use-compress-program", "rsh-command", "info-script",
                   "new-volume-script", "rmt-command")),
    "rsync": ("eM", ("rsh", "rsync-path", "remote-option", "config", "early-exec")),
    "zip": ("T", ("test", "unzip-command")),
    "sort": ("", ("compress-program",)),
    "split": ("", ("filter",)),
    "diff3": ("", ("diff-program",)),
    "ar": ("M", ("plugin",)),
    "patch": ("e", ("ed",)),
    "cpio": ("HF", ("rsh-command",)),
    "install": ("", ("strip-program",)),
    "scp": _SSH_LIKE,
    "sftp": ("SDoFbs", ()),
    "curl": ("K", ("config", "engine")),
    "wget": ("e", ("execute", "use-askpass", "config")),
    "tcpdump": ("zZ", ()),
    "rg": ("", ("pre", "hostname-bin")),
    "pidstat": ("e", ()),
    "getent": ("s", ("service",)),
    "getconf": ("v", ()),
    "whatis": ("C", ("config-file",)),
    "man": ("PHCl", ("pager", "html", "config-file", "local-file", "preprocessor", "gxditview")),
    "less": ("kot", ("lesskey-file", "lesskey-src", "lesskey-content", "log-file", "tag")),
    "nano": ("s", ("speller",)),
    "vim": _VIM, "vi": _VIM, "nvim": _VIM, "view": _VIM, "vimdiff": _VIM, "rvim": _VIM, "ex": _VIM,
    "emacs": ("lfxe", ("eval", "execute", "load", "batch", "script", "funcall")),
    "emacsclient": ("e", ("eval",)),
    "gdb": ("xn", ("command", "eval-command", "ex", "ix", "init-command", "init-eval-command", "batch", "args", "pid")),
    "psql": ("cfvLoP", ("command", "file", "variable", "set", "pset", "log-file", "output")),
    "mysql": _MYSQL, "mariadb": _MYSQL,
    "redis-cli": ("", ("eval", "pipe")),
    "lftp": ("cef", ()),
    "nc": _NETCAT, "ncat": _NETCAT, "netcat": _NETCAT,
    "iptables": ("M", ("modprobe",)), "ip6tables": ("M", ("modprobe",)), "iptables-restore": ("M", ("modprobe",)),
    "ifup": ("i", ("interfaces",)), "ifdown": ("i", ("interfaces",)),
    "dhclient": ("s", ()),
    "modprobe": ("Cd", ("config", "dirname")),
    "mdadm": ("pA", ("program", "alert", "config")),
    "adduser": ("", ("conf",)), "deluser": ("", ("conf",)), "addgroup": ("", ("conf",)), "delgroup": ("", ("conf",)),
    **dict.fromkeys(("pvcreate", "vgcreate", "lvcreate", "pvremove", "vgremove", "lvremove", "lvextend", "lvreduce", "lvresize",
                     "vgextend", "vgreduce"), _LVM),
}  # fmt: skip

# Where a name that the shell expands (`*`) may be such an option, as in tar's famous `--checkpoint-action` file.
GLOBS = frozenset({"tar", "rsync", "zip", "scp"})
