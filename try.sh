#!/bin/sh
# Install medalliond into a private environment and show it a sample: files dropped into landing become gold tables.
# Needs Python 3.11 or newer, no root, nothing but the package registry. May be run again: it starts from a fresh root.
set -eu
cd "$(dirname "$0")"
. ./setup.sh
install_into_venv .
root="${1:-try-root}"
if [ -e "$root" ] && [ ! -e "$root/.try-root" ]; then
    echo "try.sh: $root is there already and was not made by try.sh: name another folder, e.g. ./try.sh /tmp/try-root" >&2
    exit 1
fi
rm -rf "$root"
medalliond="$PWD/.venv/bin/medalliond"
show() {
    printf '\n$ medalliond'
    for word in "$@"; do
        case $word in *' '*) printf ' "%s"' "$word" ;; *) printf ' %s' "$word" ;; esac
    done
    echo
    "$medalliond" "$@"
}
"$medalliond" init "$root" --sample >/dev/null
touch "$root/.try-root"
echo
echo "A fresh root is in $root; three files were dropped into its landing/:"
ls "$root/landing"
show drain --root "$root" --log-format console
show status --root "$root"
show query --root "$root" "SELECT order_id, product, quantity, amount, _source_file, _source_row FROM gold.sales.orders LIMIT 5"
show quarantine list --root "$root"
cat <<END

Those rows stand in $root/data/gold/, each with its file and record number; what did not fit was set aside with the reason.
Next: drop a file of your own into $root/landing/<table>/ and run
    .venv/bin/medalliond run --root $root
END
