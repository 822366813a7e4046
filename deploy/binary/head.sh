#!/bin/sh
# mcpserve in one file. Two archives follow the last line; they are unpacked once, into the first of
# the folders below that can be used, and run from there in place of this shell: one process, one id.
id=@ID@
first=@FIRST_@ end=@END___@ second=@SECOND@

PATH=$PATH:/usr/bin:/bin
user=$(id -u)
if [ "$user" = 0 ]; then
    # Never below a home: with sudo it may be that of another, who could change what root runs.
    home=/var/cache
else
    home=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
fi

usable() {
    [ -O "$1" ] && [ ! -L "$1" ] && [ -x "$1/$id/bin/python3" ]
}

unpack() (
    umask 022
    mkdir -p "$1" 2>/dev/null && [ -O "$1" ] && [ ! -L "$1" ] || exit
    new=$1/$id.$$
    mkdir -p "$new/@PACKAGES@" 2>/dev/null || exit
    # Whole or not at all, also when two start at once: the first one to rename has done it.
    head -c "$end" "$0" | tail -c "+$first" | tar -xzof - -C "$new" &
    tail -c "+$second" "$0" | tar -xzof - -C "$new" && wait $! && mv -T "$new" "$1/$id" 2>/dev/null ||
        rm -rf "$new"
)

for folder in "${CACHE_DIRECTORY%%:*}" "${home:+$home/mcpserve}" "${TMPDIR:-/var/tmp}/mcpserve-$user"; do
    [ -n "$folder" ] || continue
    usable "$folder" || unpack "$folder"
    usable "$folder" && exec "$folder/$id/bin/python3" -I "$folder/$id/bin/mcpserve" "$@"
done
echo "error: mcpserve cannot unpack itself below ${home:+$home or }${TMPDIR:-/var/tmp}: XDG_CACHE_HOME or" \
    "TMPDIR must name a folder of yours from which programs may run, with 300 MB free" >&2
exit 1
