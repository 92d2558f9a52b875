#!/bin/sh
# Install medalliond with its test tools into the private environment and run the tests. Arguments go to pytest.
set -eu
cd "$(dirname "$0")"
. ./setup.sh
install_into_venv '.[dev]'
exec .venv/bin/python -m pytest "$@"
