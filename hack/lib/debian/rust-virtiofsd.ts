#!/usr/bin/env bash
# Prints the path of a Rust virtiofsd that runs on Debian 12, which has QEMU's in C: Debian 13's, with that release's C
# library. For tests of both: HULL_VIRTIOFSD="$(hack/lib/rust-virtiofsd)" hack/test conformance e2e
set -euo pipefail
here=$(dirname "${BASH_SOURCE[0]}")

{ read -r daemon && read -r libc; } < <("$here/apt-fetch" trixie virtiofsd libc6)
made=${XDG_CACHE_HOME:-$HOME/.cache}/hull/rust-virtiofsd/$(basename "$daemon")+$(basename "$libc")
if [[ ! -x $made/virtiofsd ]]; then
  mkdir -p "$made"
  patchelf=$("$here/apt-fetch" bookworm patchelf)/usr/bin/patchelf
  library=$libc/usr/lib/$(uname -m)-linux-gnu
  loader=$(find "$library" -name 'ld-linux-*')
  "$patchelf" --set-interpreter "$loader" --set-rpath "$library" --output "$made/virtiofsd.new" \
    "$daemon/usr/libexec/virtiofsd"
  mv "$made/virtiofsd.new" "$made/virtiofsd"
fi
echo "$made/virtiofsd"
