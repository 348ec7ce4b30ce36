#!/usr/bin/env bash
# Makes this checkout ready: a virtual environment, and the system programs that the demo and the tests drive.
#
#   infra/steps/setup.sh [python|demo|test]
#
# "python" prepares only .venv; "demo" adds OpenSSH; "test" adds what the tests drive besides. As root, missing programs are
# installed with apt-get; otherwise they are listed and the script stops. Running it again costs a fraction of a second.
set -euo pipefail
cd "$(dirname "$0")/../.."
need=${1:-test}
export PATH="$PATH:/usr/sbin:/sbin"

say() { printf '%s\n' "$*" >&2; }

# Services that a package brings (sshd on port 22) must not start on the machine of somebody who only wants to try Sallyport.
install_packages() {
  say "Installing with apt-get: $*"
  local guard=/usr/sbin/policy-rc.d made=no
  if [ ! -e "$guard" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$guard" && chmod +x "$guard" && made=yes
  fi
  local status=0
  {
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
  } >/tmp/sallyport-apt.$$ 2>&1 || status=$?
  [ "$made" = yes ] && rm -f "$guard"
  if [ "$status" -ne 0 ]; then
    tail -n 20 /tmp/sallyport-apt.$$ >&2
    rm -f /tmp/sallyport-apt.$$
    say "apt-get could not install: $*"
    exit 1
  fi
  rm -f /tmp/sallyport-apt.$$
}

missing=()
want() { # want PROGRAM PACKAGE
  command -v "$1" >/dev/null 2>&1 || missing+=("$2")
}

python=
for candidate in python3.11 python3.12 python3.13 python3; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(command -v "$candidate")
    break
  fi
done
if [ -z "$python" ]; then
  say "Sallyport needs Python 3.11 or newer. On Debian 12: apt-get install python3 python3-venv"
  exit 1
fi
"$python" -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)

case "$need" in
  demo | test)
    want ssh openssh-client
    want sshd openssh-server
    want ssh-keygen openssh-client
    want vi vim-tiny
    ;;
esac
case "$need" in
  test)
    want rsync rsync
    want sudo sudo
    want git git
    want zsh zsh
    want fish fish
    want busybox busybox
    ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing+=(postgresql)
    # The tests drive pgjdbc, from Python: a JRE is enough, and no more than its part without windows.
    want java default-jre-headless
    [ -e /usr/share/java/postgresql.jar ] || missing+=(libpostgresql-jdbc-java)
    want node nodejs
    want npm npm
    # Playwright brings a node of its own, which needs it.
    ldconfig -p | grep -q 'libatomic\.so\.1' || missing+=(libatomic1)
    want chromium chromium
    ;;
esac

if [ ${#missing[@]} -gt 0 ]; then
  mapfile -t missing < <(printf '%s\n' "${missing[@]}" | sort -u)
  if [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null 2>&1; then
    install_packages "${missing[@]}"
  else
    say "These programs are missing. Install them and run the command again:"
    if command -v apt-get >/dev/null 2>&1; then
      say "  sudo apt-get install ${missing[*]}"
    else
      say "  ${missing[*]} (Debian's names of the packages)"
    fi
    exit 1
  fi
fi

stamp=.venv/.sallyport-$(cat pyproject.toml requirements.txt constraints.txt | sha256sum | cut -c1-16)
if [ ! -e "$stamp" ]; then
  say "Preparing .venv (a minute or two the first time) ..."
  [ -x .venv/bin/python ] || "$python" -m venv .venv
  .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[agent,cli,local,dev]' 2>.venv/pip.log || {
    tail -n 20 .venv/pip.log >&2
    say "The Python packages could not be installed. They come from PyPI, or from the index that pip is configured for."
    exit 1
  }
  rm -f .venv/.sallyport-*
  touch "$stamp"
fi
