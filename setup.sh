# Sourced by try.sh and test.sh: finds a Python, makes .venv, installs into it what is not there yet.
find_python() {
    for name in python3.11 python3.12 python3.13 python3.14 python3; do
        if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    echo "medalliond needs Python 3.11 or newer, and no python3 of that age is on PATH: install one and run this again." >&2
    return 1
}

install_into_venv() {
    python="$(find_python)"
    stamp=".venv/.installed-$(printf '%s' "$1" | tr -c 'a-z' '-')"
    if [ ! -x .venv/bin/python ]; then
        "$python" -m venv .venv || {
            echo "making .venv failed: on Debian and Ubuntu, install the package python3-venv" >&2
            return 1
        }
    fi
    if [ ! -e "$stamp" ] || [ pyproject.toml -nt "$stamp" ] || [ constraints.txt -nt "$stamp" ]; then
        echo "installing into $PWD/.venv (once) ..."
        .venv/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e "$1"
        .venv/bin/python -m compileall -q daemon  # once and for all, also where Python is told not to write
        touch "$stamp"
    fi
}
