#!/usr/bin/env bash
# Fetches Debian packages into the user's cache without touching the host's own package state.
#
#   hack/lib/apt-fetch SUITE [src:]PACKAGE[=VERSION]...
#
# Prints the directory each package was extracted to, one a line, in the order asked for; the package's control files
# are in its DEBIAN folder. A source package (src:) is left as the archives it consists of. A private apt configuration
# is used; apt checks the archive's signature with the installed Debian keyring. What is in the cache is taken from there
# with no look at the network: a package asked for without a version stays at the version first fetched until the cache
# is removed.
#
# The mirror is the one this machine's apt uses; HULL_DEBIAN_MIRROR names another one (needed on Ubuntu).
# The cache is ${XDG_CACHE_HOME:-~/.cache}/hull; XDG_CACHE_HOME moves it.
set -euo pipefail

readonly keyring=/usr/share/keyrings/debian-archive-keyring.gpg

fail() {
  echo "apt-fetch: $*" >&2
  exit 1
}

[[ $# -ge 2 ]] || fail "usage: apt-fetch SUITE [src:]PACKAGE[=VERSION]..."
suite=$1
shift
[[ $suite =~ ^[a-z][a-z-]*$ ]] || fail "suite '$suite' is not a Debian suite name"
for wanted; do
  [[ $wanted =~ ^(src:)?[a-z0-9][a-z0-9+.-]*(=[A-Za-z0-9.+:~-]+)?$ ]] || fail "'$wanted' is not PACKAGE or PACKAGE=VERSION"
done

cache=${XDG_CACHE_HOME:-$HOME/.cache}/hull/debian
state=$cache/apt/$suite
links=$cache/$suite
pool=$cache/pool

# The first archive in the machine's apt sources that carries the machine's own Debian release.
machine_mirror() {
  local codename files
  # shellcheck disable=SC1091
  codename=$(. /etc/os-release && [[ ${ID:-} == debian ]] && echo "${VERSION_CODENAME:-}") || true
  [[ -n $codename ]] || return 0
  shopt -s nullglob
  files=(/etc/apt/sources.list.d/*.sources)
  if ((${#files[@]})); then
    # deb822: stanzas parted by empty lines; a URI counts when its Suites name the release.
    awk -v codename="$codename" '
      function flush(  i, n, names) {
        n = split(suites, names, /[ \t]+/)
        for (i = 1; i <= n; i++) if (names[i] == codename && uri != "" && enabled) { print uri; exit }
        uri = suites = ""; enabled = 1
      }
      BEGIN { enabled = 1 }
      FNR == 1 || /^[ \t]*$/ { flush() }
      /^URIs:/ { uri = $2 }
      /^Suites:/ { sub(/^Suites:[ \t]*/, ""); suites = $0 }
      /^Enabled:[ \t]*no/ { enabled = 0 }
      END { flush() }' "${files[@]}" | grep . && return 0
  fi
  files=(/etc/apt/sources.list /etc/apt/sources.list.d/*.list)
  # One line form: deb [options] URI SUITE COMPONENT...
  awk -v codename="$codename" '
    $1 == "deb" { sub(/\[[^]]*\]/, ""); if ($3 == codename) { print $2; exit } }' "${files[@]}" 2>/dev/null || true
}

write_configuration() {
  [[ -r $keyring ]] || fail "$keyring is missing: install the package debian-archive-keyring"
  local mirror=${HULL_DEBIAN_MIRROR:-}
  [[ -n $mirror ]] || mirror=$(machine_mirror | head -n 1)
  [[ -n $mirror ]] || fail "no Debian archive in this machine's apt sources: set HULL_DEBIAN_MIRROR to one"
  mkdir -p "$state/lists/partial" "$state/archives/partial" "$state/parts"
  : >"$state/status"
  printf '%s [signed-by=%s] %s %s main\n' deb "$keyring" "$mirror" "$suite" >"$state/sources.list"
  # The list of sources is as long again: only for those who want one.
  if [[ " ${missing[*]}" == *" src:"* ]]; then
    printf '%s [signed-by=%s] %s %s main\n' deb-src "$keyring" "$mirror" "$suite" >>"$state/sources.list"
  fi
  {
    # Proxies and certificates as the machine has them; none of its hooks.
    apt-config dump Acquire | grep -E '^Acquire::[a-z]+::[^ ]+ "' || true
    echo "Dir::Etc::main \"$state/none\";"
    echo "Dir::Etc::parts \"$state/parts\";"
    echo "Dir::Etc::sourcelist \"$state/sources.list\";"
    echo "Dir::Etc::sourceparts \"$state/parts\";"
    echo "Dir::Etc::preferencesparts \"$state/parts\";"
    echo "Dir::Etc::preferences \"$state/none\";"
    echo "Dir::State \"$state\";"
    echo "Dir::State::lists \"$state/lists\";"
    echo "Dir::State::status \"$state/status\";"
    echo "Dir::Cache \"$state\";"
    echo "Dir::Cache::archives \"$state/archives\";"
    echo 'Acquire::Languages "none";'
    echo 'Acquire::Retries "3";'
    # A mirror may lag behind sid's one-week term. Signatures are still checked; what is given up is only the proof
    # that the signed list is a recent one.
    echo 'Acquire::Check-Valid-Until "false";'
    # The private folders belong to the caller, the download user _apt could not write there.
    echo 'APT::Sandbox::User "";'
  } >"$state/apt.conf"
  export APT_CONFIG=$state/apt.conf
}

update_lists() {
  echo "apt-fetch: reading the package lists of Debian $suite" >&2
  apt-get -qq --error-on=any update >&2 || fail "could not read the package lists of $suite"
  updated=1
}

# Downloads one package and extracts it to the pool; the link is made last, so that a broken run leaves none.
fetch() {
  local wanted=$1 work list=Packages download=(download) file name
  [[ $wanted != src:* ]] || list=Sources download=(source --download-only)
  work=$(mktemp -d "$cache/fetch.XXXXXX")
  mkdir "$work/tree"
  [[ -n $updated || -n $(find "$state/lists" -name "*$list*" -print -quit) ]] || update_lists
  if ! (cd "$work/tree" && apt-get -qq "${download[@]}" "${wanted#src:}" >&2); then
    # The lists may be older than the archive.
    [[ -z $updated ]] || fail "could not download $wanted from Debian $suite"
    update_lists
    (cd "$work/tree" && apt-get -qq "${download[@]}" "${wanted#src:}" >&2) ||
      fail "could not download $wanted from Debian $suite"
  fi
  file=$(find "$work/tree" -name '*.deb' -o -name '*.dsc')
  [[ -f $file ]] || fail "apt-get ${download[0]} $wanted left no package"
  name=$(basename "${file%.d*}")
  if [[ $file == *.deb ]]; then
    dpkg-deb --raw-extract "$file" "$work/package"
  else
    mv "$work/tree" "$work/package"
  fi
  [[ -d $pool/$name ]] || mv "$work/package" "$pool/$name"
  rm -rf "$work"
  ln -sfn "../pool/$name" "$links/$wanted"
}

mkdir -p "$links" "$pool"
missing=()
for wanted; do [[ -d $links/$wanted ]] || missing+=("$wanted"); done
if ((${#missing[@]})); then
  updated=
  exec 9>"$cache/lock"
  flock 9
  write_configuration
  for wanted in "${missing[@]}"; do
    # Another run may have fetched it while this one waited.
    [[ -d $links/$wanted ]] || fetch "$wanted"
  done
fi
for wanted; do readlink -f "$links/$wanted"; done
