#!/usr/bin/env bash
# Builds and runs the fuzzers of test/fuzz/c: hack/lib/fuzz-c [--seconds N] [--inputs N] [--seed N] [TARGET...]. See
# hack/fuzz. Prints a line for each target; fails when one of them has found something, whose input is in dist/fuzz then.
set -euo pipefail
root=$(dirname "$(dirname "$(dirname "$(readlink -f "$0")")")")
cd "$root"

seconds=10 inputs='' seed=''
while [[ ${1:-} == --* ]]; do
  case $1 in
  --seconds) seconds=$2 ;;
  --inputs) inputs=$2 ;;
  --seed) seed=$2 ;;
  *)
    echo "fuzz-c: unknown option $1" >&2
    exit 2
    ;;
  esac
  shift 2
done
targets=("$@")
if ((${#targets[@]} == 0)); then targets=(text relay receive-fd localhost copy-sparse); fi

out=$root/dist/fuzz
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
{ read -r sources; read -r engine; } < <(hack/lib/qjs-build --engine)

flags=(-std=gnu11 -O1 -g -w -D_GNU_SOURCE -fno-omit-frame-pointer -fno-sanitize-recover=all "-isystem$sources" -Inative)
clang=${CLANG:-clang}
if command -v "$clang" >/dev/null; then
  cc=$clang
  flags+=("-fsanitize=fuzzer-no-link,address,undefined")
  link=("-fsanitize=fuzzer,address,undefined")
else
  cc=${CC:-cc}
  "$cc" "${flags[@]}" -O2 -c test/fuzz/c/driver.c -o "$work/driver.o"
  flags+=("-fsanitize=address,undefined" "-fsanitize-coverage=trace-pc")
  link=("-fsanitize=address,undefined" "$work/driver.o")
fi

# What a target is linked with.
objects_of() {
  case $1 in
  text | relay | receive-fd) printf '%s\n' "$work"/sys-*.o "$engine"/{quickjs,libregexp,libunicode,dtoa}.o ;;
  localhost) echo "$work/native-confine.o" ;;
  esac
}

build() {
  local objects
  mapfile -t objects < <(objects_of "$1")
  "$cc" "${flags[@]}" -c "test/fuzz/c/$1.c" -o "$work/$1.o"
  "$cc" "$work/$1.o" "${objects[@]}" "${link[@]}" -lm -lpthread -lutil -o "$work/$1"
}

for source in guest-agent/sys/*.c; do
  name=$(basename "$source" .c)
  [[ $name == main ]] || "$cc" "${flags[@]}" -c "$source" -o "$work/sys-$name.o"
done
"$cc" "${flags[@]}" -c native/confine.c -o "$work/native-confine.o"

export ASAN_OPTIONS=detect_leaks=1
findings=0
for target in "${targets[@]}"; do
  build "$target"
  if [[ $cc == "$clang" ]]; then
    arguments=("-max_total_time=$seconds" "-max_len=4096" -timeout=60 "-exact_artifact_path=$out/c-$target.input")
  else
    arguments=("-seconds=$seconds" "-file=$out/c-$target.input")
  fi
  [[ -z $inputs ]] || arguments+=("-runs=$inputs")
  [[ -z $seed ]] || arguments+=("-seed=$seed")
  echo "== $target"
  if "$work/$target" "${arguments[@]}" >"$work/log" 2>&1; then
    tail -n 1 "$work/log"
  else
    findings=$((findings + 1))
    tail -n 60 "$work/log"
  fi
done
[[ $findings -eq 0 ]]
