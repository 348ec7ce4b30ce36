"""What well-known programs do, as data. A program that is not here is `unknown`, never silently `read`.

read: shows something and changes nothing. write: changes data. admin: changes the machine, its users, its network or
its processes. execute: runs code that is not in the line, or lets the user type some.
The arguments may say otherwise: `escapes` (options that change the effect or run code), `arguments` (scripts and
operands), `subcommands` (git, docker, systemctl …) and `launchers` (sudo, find, ssh …).

A program belongs here only when its whole manual page has been read for ways to run another one. Left out on purpose,
and so unknown: `rename` (perl code), `ldd` (may run its argument), `dc` and `mongosh` (scripts), `dracut` (hooks).
"""

from __future__ import annotations

from agent.core.shell.options import names

# Operands are paths, and are named in `objects`.
READ_PATHS = names("""
    ls dir vdir cat tac head tail grep egrep fgrep zcat zgrep bzcat xzcat zstdcat wc cut tr fold fmt pr expand unexpand
    paste join comm cmp diff diff3 nl rev column od hexdump xxd strings stat file readlink realpath basename dirname
    du df tree namei lsattr getfacl md5sum sha1sum sha224sum sha256sum sha384sum sha512sum b2sum cksum sum
    sort uniq shuf tsort base64 base32 iconv jq yq rg zipinfo look find sed awk gawk mawk nawk original-awk
""")
READ = names("""
    ps pgrep pidof pstree pmap uname hostname uptime w who whoami id groups logname users last lastlog lastb faillog
    date cal ncal free vmstat iostat mpstat sar pidstat nproc arch lscpu lsmem lspci lsusb lsmod lsblk lsns lsipc lslocks
    modinfo blkid findmnt dmesg lsof ss netstat printenv echo printf pwd true false : test [ expr factor seq numfmt sleep
    yes tty stty which whereis whatis getent locale getconf getenforce sestatus tput clear locate numastat
    ping ping6 traceroute tracepath dig host nslookup dpkg-query sysctl openssl tcpdump curl
    ulimit umask cd pushd popd dirs return exit break continue shift wait jobs type times caller help logout disown
    local export declare typeset readonly unset read mapfile readarray getopts let set shopt hash trap alias unalias bind
    complete compgen compopt history fc enable eval . source suspend fg bg
""")
WRITE = names("""
    rm rmdir unlink mv cp ln touch mkdir mkfifo mktemp tee truncate shred install dd split csplit gzip gunzip bzip2
    bunzip2 xz unxz lzma zstd unzstd zip unzip tar cpio ar patch sync fallocate dos2unix unix2dos logger wall write mesg
""")
ADMIN = names("""
    chmod chown chgrp setfacl chattr setcap mknod useradd userdel usermod adduser deluser groupadd groupdel groupmod
    addgroup delgroup gpasswd passwd chpasswd chage chsh chfn newusers pwconv grpconv
    mount umount swapon swapoff losetup fsck e2fsck resize2fs xfs_growfs tune2fs mkswap mkfs mkfs.ext2 mkfs.ext3
    mkfs.ext4 mkfs.xfs mkfs.btrfs mkfs.vfat wipefs sgdisk sfdisk blkdiscard pvcreate vgcreate lvcreate pvremove
    vgremove lvremove lvextend lvreduce lvresize vgextend vgreduce mdadm cryptsetup
    shutdown reboot halt poweroff init telinit runlevel kill pkill killall killall5 renice skill atrm
    iptables ip6tables iptables-restore nft ufw ipset ebtables arptables ifup ifdown ifconfig route arp dhclient brctl
    modprobe insmod rmmod depmod kexec hwclock update-grub update-initramfs grub-install grub-mkconfig update-rc.d
    chkconfig setenforce semanage restorecon chcon setsebool aa-enforce aa-complain ldconfig update-alternatives
    dpkg-reconfigure locale-gen logrotate quotaon quotaoff auditctl netplan iw rfkill tc bridge ethtool nmcli
""")
# Each runs a file of rules, a project or a compiler plug-in: `execute`, and `script_file` unless only asked its version.
SCRIPT_RUNNERS = names("""
    make gmake cmake ninja ant mvn gradle rake ansible ansible-playbook run-parts anacron expect puppet chef-client
    salt-call terraform tofu pytest tox nox go cargo javac java dotnet gcc cc g++ c++ clang ld as
""")
INTERPRETERS = names("""
    python python2 python3 perl ruby node nodejs php lua luajit tclsh wish guile ghci erl iex elixir scala groovy julia
    deno bun Rscript osascript pwsh powershell raku irb ipython
""")
# A person can type further commands in these; policy decides (design §5: flag `opaque`, effect `execute`).
EDITORS = names("vi vim nvim view vimdiff rvim ex ed nano emacs emacsclient sudoedit vipw vigr visudo edquota")
CONSOLES = names("psql mysql mariadb sqlite3 redis-cli sftp ftp lftp telnet gdb tmux screen byobu")
# These take their commands from the terminal even when data is piped to them.
PAGERS = names("less more most man top htop")
DISK_CONSOLES = names("fdisk cfdisk gdisk parted")
OPAQUE = EDITORS | CONSOLES | PAGERS | DISK_CONSOLES

NETWORK = names("""
    curl wget nc ncat netcat socat telnet ssh slogin scp sftp rsync ftp lftp ping ping6 traceroute tracepath dig host
    nslookup mysql mariadb psql redis-cli
""")
# Programs that run `+command` operands.
PLUS_COMMANDS = names("vi vim nvim view vimdiff rvim ex less more most emacs emacsclient")

PATH_OPERANDS = READ_PATHS | WRITE | ADMIN | EDITORS | PAGERS


def _table() -> dict[str, frozenset[str]]:
    rows: tuple[tuple[frozenset[str], str], ...] = (
        (READ_PATHS | READ, "read"),
        (WRITE, "write"),
        (ADMIN, "admin"),
        (SCRIPT_RUNNERS | INTERPRETERS, "execute"),
        (PAGERS, "read execute"),
        (EDITORS | CONSOLES, "read write execute"),
        (DISK_CONSOLES, "read admin execute"),
        # A pipe to anywhere: what travels through it is not in the line.
        (names("nc ncat netcat socat"), "read write execute"),
        # Files come or go; which way is in the operands, and either is a write to somebody.
        (names("wget scp rsync"), "read write"),
        (names("ssh slogin"), "execute"),
        (names("vipw vigr visudo edquota"), "read write admin execute"),
    )
    table: dict[str, frozenset[str]] = {}
    for programs, effects in rows:
        table.update(dict.fromkeys(programs, names(effects)))
    return table


EFFECTS = _table()
