"""What well-known programs do, as data. A program that is not here is `unknown`, never silently `read`.

read: shows something and changes nothing. write: changes data the user owns. admin: changes the machine, its users or
its services. execute: runs code that is not in the line, or lets the user type some.
A row may be overridden by its arguments in `CHANGING` (options that turn reading into something else), in `ESCAPES`
(options that run code) and in `subcommands`.
"""

from __future__ import annotations

_READ = """
    ls dir vdir cat tac head tail grep egrep fgrep zcat zgrep bzcat xzcat zstdcat wc cut tr fold fmt pr expand unexpand
    paste join comm cmp diff diff3 nl rev column colrm od hexdump xxd strings stat file readlink realpath basename
    dirname du df tree namei lsattr getfacl md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum sum
    sort uniq shuf tsort seq numfmt base64 base32 iconv jq zipinfo look locate
"""
_READ_NO_PATHS = """
    ps pgrep pidof pstree pmap uname hostname uptime w who whoami id groups logname users last lastlog lastb faillog
    date cal ncal free vmstat iostat mpstat sar pidstat nproc arch lscpu lsmem lspci lsusb lsmod lsblk lsns lsipc lslocks
    modinfo blkid findmnt dmesg lsof ss netstat printenv echo printf pwd true false : test [ expr factor sleep yes tty
    which whereis whatis getent locale getconf getenforce sestatus tput clear reset_term ping ping6 traceroute tracepath
    dig host dpkg-query rpmquery apt-mark_show numastat slabtop_once uptimed lsinitcpio ulimit umask cd pushd popd dirs
    return exit break continue shift wait jobs type times caller help logout disown local export declare typeset readonly
    unset read mapfile readarray getopts let set shopt hash trap alias unalias bind complete compgen compopt history fc
    enable eval . source suspend fg bg
"""
_WRITE = """
    rm rmdir unlink mv cp ln touch mkdir mkfifo mktemp tee truncate shred install dd split csplit gzip gunzip bzip2
    bunzip2 xz unxz lzma zstd unzstd zip unzip tar cpio ar patch sync fallocate rename dos2unix unix2dos chrt_none
    logger wall write mesg crypt uuencode uudecode
"""
_ADMIN = """
    chmod chown chgrp setfacl chattr setcap mknod useradd userdel usermod adduser deluser groupadd groupdel groupmod
    addgroup delgroup gpasswd passwd chpasswd chage chsh chfn vipw vigr visudo newusers pwconv grpconv
    mount umount swapon swapoff losetup fsck e2fsck resize2fs xfs_growfs tune2fs mkswap mkfs mkfs.ext2 mkfs.ext3
    mkfs.ext4 mkfs.xfs mkfs.btrfs mkfs.vfat wipefs sgdisk sfdisk blkdiscard pvcreate vgcreate lvcreate pvremove
    vgremove lvremove lvextend lvreduce lvresize vgextend vgreduce mdadm cryptsetup
    shutdown reboot halt poweroff init telinit runlevel kill pkill killall killall5 renice skill
    iptables ip6tables iptables-restore nft ufw ipset ebtables arptables ifup ifdown ifconfig route arp dhclient brctl
    vconfig sysctl_write modprobe insmod rmmod depmod kexec hwclock update-grub update-initramfs dracut
    grub-install grub-mkconfig update-rc.d chkconfig setenforce semanage restorecon chcon setsebool aa-enforce
    aa-complain ldconfig update-alternatives dpkg-reconfigure locale-gen logrotate quotaon quotaoff edquota
    auditctl netplan iw rfkill tc bridge ethtool nmcli
"""
_EXECUTE_SCRIPT = """
    make gmake cmake ninja ant mvn gradle rake ansible ansible-playbook run-parts anacron expect puppet chef-client
    salt-call terraform pytest tox nox go cargo javac java dotnet gcc cc g++ c++ clang ld as
"""
_OPAQUE = """
    less more most man info vi vim nvim view vimdiff rvim ex ed nano pico emacs emacsclient joe micro mcedit mc ranger
    top htop atop btop iotop nmon gdb lldb tmux screen byobu dtach
    psql mysql mariadb sqlite3 mongo mongosh redis-cli cqlsh influx clickhouse-client sqlplus
    ftp lftp sftp telnet cfdisk fdisk gdisk parted nslookup irb bc dc pdb ipython
    watchman tig ncdu lynx w3m links elinks mutt mail mailx sudoedit crash script minicom picocom cu gnuplot octave R
    debugfs bluetoothctl virsh dialog whiptail
"""
_INTERPRETERS = """
    python python2 python3 perl ruby node nodejs php lua luajit tclsh wish guile ghci erl iex elixir scala groovy julia
    deno bun Rscript osascript pwsh powershell raku
"""

SUDO_ONLY_PAGERS = frozenset("git journalctl systemctl man loginctl timedatectl hostnamectl localectl aws psql".split())

INTERPRETERS = frozenset(_INTERPRETERS.split())
SCRIPT_RUNNERS = frozenset(_EXECUTE_SCRIPT.split())
OPAQUE = frozenset(_OPAQUE.split())
PATH_OPERANDS = frozenset((_READ + _WRITE + _ADMIN).split())
NETWORK = frozenset(
    """curl wget nc ncat netcat socat telnet ssh scp sftp rsync ftp lftp ping ping6 traceroute tracepath dig host nslookup
    mysql mariadb psql mongosh redis-cli aws kubectl git-remote""".split()
)

EFFECTS: dict[str, frozenset[str]] = {
    **{name: frozenset({"read"}) for name in (_READ + _READ_NO_PATHS).split()},
    **{name: frozenset({"write"}) for name in _WRITE.split()},
    **{name: frozenset({"admin"}) for name in _ADMIN.split()},
    **{name: frozenset({"execute"}) for name in SCRIPT_RUNNERS | INTERPRETERS},
    **{name: frozenset({"read", "execute"}) for name in OPAQUE},
    # Editors and consoles write too.
    **{
        name: frozenset({"read", "write", "execute"})
        for name in "vi vim nvim rvim ex ed nano pico emacs emacsclient joe micro mcedit mc psql mysql mariadb sqlite3 "
        "mongo mongosh redis-cli sftp ftp lftp sudoedit".split()
    },
    **{name: frozenset({"read", "admin", "execute"}) for name in ("fdisk", "gdisk", "cfdisk", "parted", "virsh")},
    # Fetching is reading; what is stored or sent is found from the options.
    "curl": frozenset({"read"}),
    "wget": frozenset({"read", "write"}),
    "scp": frozenset({"read", "write"}),
    "rsync": frozenset({"read", "write"}),
    # A pipe to anywhere: what travels through it is not in the line.
    **{name: frozenset({"read", "write", "execute"}) for name in ("nc", "ncat", "netcat", "socat")},
    "ssh": frozenset({"execute"}),
    "find": frozenset({"read"}),
    "sed": frozenset({"read"}),
    **{name: frozenset({"read"}) for name in ("awk", "gawk", "mawk", "nawk", "original-awk")},
    "sysctl": frozenset({"read"}),
    "openssl": frozenset({"read"}),
    "rg": frozenset({"read"}),
    "yq": frozenset({"read"}),
    "tcpdump": frozenset({"read"}),
    "atrm": frozenset({"admin"}),
}  # fmt: skip

# (short letters, long names) that turn the program's effect into another. Long names match by abbreviation.
CHANGING: dict[str, tuple[tuple[str, tuple[str, ...], str], ...]] = {
    "sed": (("i", ("in-place",), "write"),),
    "sort": (("o", ("output",), "write"),),
    "shuf": (("o", ("output",), "write"),),
    "tree": (("o", (), "write"),),
    "iconv": (("o", ("output",), "write"),),
    "yq": (("i", ("inplace", "in-place"), "write"),),
    "xxd": (("r", ("revert",), "write"),),
    "file": (("C", ("compile",), "write"),),
    "sar": (("o", (), "write"),),
    "curl": (
        ("OTdFcDJ", ("remote-name", "upload-file", "data", "data-binary", "data-raw", "data-urlencode", "form", "form-string", "json",
                     "cookie-jar", "dump-header", "create-dirs", "trace", "trace-ascii", "remote-name-all", "output-dir", "hsts",
                     "alt-svc", "etag-save", "stderr", "libcurl", "url-query"), "write"),
    ),
    "hostname": (("Fb", ("file", "boot"), "admin"),),
    "dmesg": (("cCDEn", ("clear", "read-clear", "console-off", "console-on", "console-level"), "admin"),),
    "ss": (("K", ("kill",), "admin"),),
    "sysctl": (("wp", ("write", "load", "system"), "admin"),),
    "faillog": (("r", ("reset",), "admin"), ("lmt", ("lock-secs", "maximum"), "admin")),
    "lastlog": (("CS", ("clear", "set"), "admin"),),
    "tcpdump": (("w", (), "write"),),
    "openssl": (("", (), "write"),),
    "tar": (("", ("remove-files",), "write"),),
    "locate": (("", (), "read"),),
    "numfmt": (),
    "bind": (),
    "zstd": (),
}  # fmt: skip

# (short letters, long names) after which an argument is code, or names code to run.
ESCAPES: dict[str, tuple[str, tuple[str, ...]]] = {
    "tar": ("IF", ("checkpoint-action", "to-command", "use-compress-program", "rsh-command", "info-script",
                   "new-volume-script", "rmt-command")),
    "rsync": ("eM", ("rsh", "rsync-path", "remote-option", "config", "early-exec")),
    "zip": ("T", ("test", "unzip-command")),
    "sort": ("", ("compress-program",)),
    "split": ("", ("filter",)),
    "csplit": ("", ()),
    "scp": ("SoFD", ()),
    "sftp": ("SDoFbs", ()),
    "curl": ("K", ("config", "engine", "netrc-file")),
    "wget": ("ei", ("execute", "use-askpass", "config", "input-file")),
    "tcpdump": ("zZ", ()),
    "man": ("PHCl", ("pager", "html", "config-file", "local-file", "preprocessor", "gxditview")),
    "less": ("kot", ("lesskey-file", "lesskey-src", "lesskey-content", "log-file", "tag")),
    "install": ("", ("strip-program",)),
    "cpio": ("HF", ("rsh-command", "to-stdout")),
    "rg": ("", ("pre", "hostname-bin")),
    "openssl": ("", ()),
    "gdb": ("xn", ("command", "eval-command", "ex", "ix", "init-command", "init-eval-command", "batch", "args", "pid")),
    "vim": ("cSsuUw", ("cmd",)),
    "psql": ("cfvL", ("command", "file", "variable", "set", "log-file")),
    "mysql": ("e", ("execute", "init-command", "pager", "tee", "plugin-dir", "defaults-file", "defaults-extra-file",
                    "system-command")),
    "sqlite3": ("", ("cmd", "init", "command")),
    "screen": ("XcSdm", ()),
    "tmux": ("cfS", ()),
    "emacs": ("", ("eval", "execute", "load", "batch", "script", "funcall", "visit")),
    "nmap": ("", ("script", "interactive")),
    "nc": ("ec", ("exec", "sh-exec", "lua-exec")),
    "ncat": ("ec", ("exec", "sh-exec", "lua-exec")),
    "netcat": ("ec", ("exec", "sh-exec", "lua-exec")),
    "ed": ("", ()),
    "logrotate": ("sml", ("state", "mail", "log")),
    "ifup": ("i", ("interfaces",)),
    "ifdown": ("i", ("interfaces",)),
    "mount": ("", ("",)),
    "kexec": ("", ()),
    "mail": ("", ()),
    "dhclient": ("s", ()),
    "modprobe": ("Cd", ("config", "dirname")),
    "visudo": ("f", ()),
    "htop": ("", ()),
    "top": ("", ()),
    "shutdown": ("", ()),
    "lftp": ("cef", ()),
    "ftp": ("", ()),
    "mutt": ("eFH", ()),
    "watch": ("", ()),
    "ldconfig": ("", ()),
    "hexdump": ("", ()),
}  # fmt: skip
for _alias, _of in {
    "vi": "vim", "nvim": "vim", "view": "vim", "vimdiff": "vim", "rvim": "vim", "ex": "vim", "mariadb": "mysql",
    "byobu": "tmux", "more": "less", "emacsclient": "emacs", "most": "less",
}.items():  # fmt: skip
    ESCAPES[_alias] = ESCAPES[_of]
ESCAPES = {name: row for name, row in ESCAPES.items() if row[0] or any(row[1])}
CHANGING = {name: rows for name, rows in CHANGING.items() if rows and name != "openssl"}

# Opaque programs that take their commands from the terminal even when data is piped to them.
PAGERS = frozenset("less more most man top htop atop btop iotop nmon dialog whiptail".split())

# Programs that take `+command` as an operand.
PLUS_ESCAPES = frozenset("vi vim nvim view vimdiff rvim ex less more emacs".split())

# Programs that take every name the shell expands as a possible option, and have options that run code.
GLOB_ESCAPES = frozenset({"tar", "rsync", "zip", "scp"})
