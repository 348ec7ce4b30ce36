#!/usr/bin/env bash
# Fetches PostgreSQL's own regression files, of the version that is installed here, from the source of Debian's package.
#
#   infra/steps/regression-files.sh FOLDER
#
# Needs no root and leaves the system's own lists alone: apt-get works in FOLDER. Prints the folder of the files.
set -euo pipefail
mkdir -p "$1"
cd "$1"
major=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' | sort -V | tail -n 1)
files=$(find . -path "./postgresql-$major*/src/test/regress/sql" -print -quit)
if [ -z "$files" ]; then
  mkdir -p apt/lists/partial apt/cache/archives/partial apt/parts
  # The same places that packages come from, asked for their sources.
  : >apt/sources.list
  for each in /etc/apt/sources.list /etc/apt/sources.list.d/*.list; do
    [ -e "$each" ] && sed -n 's/^deb /deb-src /p' "$each" >>apt/sources.list
  done
  for each in /etc/apt/sources.list.d/*.sources; do
    [ -e "$each" ] && sed 's/^Types:.*/Types: deb-src/' "$each" >"apt/parts/${each##*/}"
  done
  options=(-qq -o "Dir::Etc::sourcelist=$PWD/apt/sources.list" -o "Dir::Etc::sourceparts=$PWD/apt/parts"
    -o "Dir::State::lists=$PWD/apt/lists" -o "Dir::Cache=$PWD/apt/cache" -o "APT::Sandbox::User=$(id -un)")
  apt-get "${options[@]}" update >&2
  # A mirror may name a version that it does not carry yet: then the one before will do.
  versions=$(apt-cache "${options[@]}" showsrc "postgresql-$major" | sed -n 's/^Version: //p' | sort -Vr)
  for version in $versions; do
    apt-get "${options[@]}" source --download-only --tar-only "postgresql-$major=$version" >&2 && break
  done
  tar -xf "postgresql-${major}_"*.orig.tar.* --wildcards '*/src/test/regress/*'
  files=$(find . -path "./postgresql-$major*/src/test/regress/sql" -print -quit)
fi
[ -n "$files" ] || { echo "The regression files of PostgreSQL $major could not be had." >&2; exit 1; }
echo "$PWD/${files#./}"
