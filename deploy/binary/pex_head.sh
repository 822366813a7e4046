#!/bin/sh
# In front of what pex itself writes: it looks for Python on PATH, and unpacks below HOME.
export PATH="${PATH:-/usr/local/bin:/usr/bin:/bin}"
if [ -z "${PEX_ROOT:-}" ] && ! { mkdir -p "${HOME:-/nonexistent}/.cache" && [ -w "$HOME/.cache" ]; } 2>/dev/null; then
    PEX_ROOT=${TMPDIR:-/var/tmp}/mcpserve-$(id -u)
    mkdir -m 700 "$PEX_ROOT" 2>/dev/null
    [ -O "$PEX_ROOT" ] && [ ! -L "$PEX_ROOT" ] || unset PEX_ROOT
    [ -z "${PEX_ROOT:-}" ] || export PEX_ROOT="$PEX_ROOT/pex"
fi
