#!/usr/bin/env bash
# Makes a static program of a TypeScript entry: esbuild bundle -> QuickJS-ng bytecode -> linked with the engine and the
# sys module (guest-agent/sys). The same inputs give the same bytes.
#
#   hack/lib/qjs-build [--sanitize] ENTRY.ts OUTPUT
#   hack/lib/qjs-build --engine                        prints the folders of the engine's sources and objects
#
# --sanitize: for tests; the sys module with address and undefined behaviour sanitizers, not static, not stripped.
# The engine (25 s to compile) and the sys module are kept in ${XDG_CACHE_HOME:-~/.cache}/hull/qjs by content.
set -euo pipefail
export LC_ALL=C

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
sys=$root/guest-agent/sys
cache=${XDG_CACHE_HOME:-$HOME/.cache}/hull/qjs
cc=${CC:-cc}

sanitize=
if [[ ${1:-} == --sanitize ]]; then
  sanitize=1
  shift
fi
[[ $# -eq 2 || ($# -eq 1 && $1 == --engine) ]] || {
  echo "usage: qjs-build [--sanitize] ENTRY.ts OUTPUT" >&2
  exit 2
}
entry=$1
output=${2:-}

command -v "$cc" >/dev/null || {
  echo "qjs-build: no C compiler: install gcc and libc6-dev" >&2
  exit 1
}

engine_version=qjs-src
engine_sources=$("$root/hack/lib/apt-fetch" sid "$engine_version")/usr/src/quickjs-ng
# Paths are mapped away: neither the clone's nor the cache's place may show in the result.
common_flags=(-std=gnu11 -O2 -fno-plt -D_GNU_SOURCE "-ffile-prefix-map=$root=." "-ffile-prefix-map=$engine_sources=qjs")
engine_flags=("${common_flags[@]}" -w -ffunction-sections -fdata-sections)
sys_flags=("${common_flags[@]}" -Wall -Wextra -Werror -ffunction-sections -fdata-sections "-isystem$engine_sources")
link_flags=(-static -s "-Wl,--gc-sections" "-Wl,--build-id=none" "-Wl,-z,norelro")
if [[ $sanitize ]]; then
  sys_flags+=(-g -fno-omit-frame-pointer "-fsanitize=address,undefined" -fno-sanitize-recover=all -DHULL_FREE_ALL)
  link_flags=(-g "-fsanitize=address,undefined" "-Wl,--build-id=none")
fi

# compiler_version: part of every key, another compiler gives other code.
compiler_version=$("$cc" --version | head -n 1)

key() {
  { echo "$compiler_version"; cat -; } | sha256sum | cut -c1-24
}

# once KEY FUNCTION: runs FUNCTION in a fresh folder that becomes $cache/KEY only when it succeeds.
once() {
  [[ -d $cache/$1 ]] && return
  mkdir -p "$cache"
  (
    flock 9
    [[ -d $cache/$1 ]] && exit
    work=$(mktemp -d "$cache/work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    (cd "$work" && "$2")
    mv "$work" "$cache/$1"
  ) 9>"$cache/lock"
}

compile_engine() {
  echo "qjs-build: compiling QuickJS-ng (once)" >&2
  local name pids=()
  for name in quickjs libregexp libunicode dtoa quickjs-libc qjsc; do
    "$cc" "${engine_flags[@]}" -c "$engine_sources/$name.c" -o "$name.o" &
    pids+=($!)
  done
  for pid in "${pids[@]}"; do wait "$pid"; done
  "$cc" ./*.o -lm -ldl -lpthread -o qjsc
  rm qjsc.o quickjs-libc.o
}

compile_sys() {
  local source
  for source in "$sys"/*.c; do
    "$cc" "${sys_flags[@]}" -c "$source" -o "$(basename "$source" .c).o"
  done
}

engine_key=engine-$({ echo "${engine_flags[*]##-ffile-prefix-map=*}"; cat "$engine_sources"/*.[ch]; } | key)
once "$engine_key" compile_engine
if [[ $entry == --engine ]]; then
  printf '%s\n' "$engine_sources" "$cache/$engine_key"
  exit
fi
sys_key=sys-$({ echo "$engine_key ${sys_flags[*]##-ffile-prefix-map=*}"; cat "$sys"/*.[chS]; } | key)
once "$sys_key" compile_sys

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$root/node_modules/.bin/esbuild" "$entry" --bundle --format=esm --target=es2023 --platform=neutral \
  --main-fields=module,main --external:sys --minify-syntax --legal-comments=none --log-level=warning \
  --outfile="$work/bundle.js"
# -s: without the source text. Line numbers stay: they make an agent's stack trace readable and cost little.
"$cache/$engine_key/qjsc" -b -m -s -P -M sys,sys -n "$(basename "$output").js" -o "$work/bytecode" "$work/bundle.js"
"$cc" -c "-DHULL_BYTECODE=\"$work/bytecode\"" "$sys/bytecode.S" -o "$work/bytecode.o"
mkdir -p "$(dirname "$output")"
"$cc" "${link_flags[@]}" "$work/bytecode.o" "$cache/$sys_key"/*.o "$cache/$engine_key"/{quickjs,libregexp,libunicode,dtoa}.o \
  -lm -lpthread -o "$work/program"
# Renamed into place: the old program may be running.
mv "$work/program" "$output.new.$$" && mv "$output.new.$$" "$output"
