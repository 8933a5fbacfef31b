# shellcheck shell=bash
# Sourced by ci/demo and ci/test: a virtual environment with this package, made once and then reused.
# For bash 3.2 and up, because that is what macOS has.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

find_python() {
    local name
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        # Run, not only looked up: a version manager has names that start nothing. The base interpreter is asked
        # for, because an activated environment of ours must not be what it is rebuilt from.
        "$name" -c '
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
print(getattr(sys, "_base_executable", sys.executable))' 2>/dev/null && return
    done
    die "needs Python 3.11 or newer, but python3 here is: $(python3 --version 2>&1 || true)"
}

# make_environment VENV [ARGUMENT...]: install this package, editable, and what the further arguments of pip name.
# Nothing happens when VENV was made for the same Python, requirements, place and arguments.
make_environment() {
    local venv=$1 python key stamp
    shift
    stamp=$venv/xarray-mrc.key
    python=$(find_python)
    key=$("$python" -c '
import hashlib, pathlib, sys, tomllib
project = tomllib.loads(pathlib.Path(sys.argv[1], "pyproject.toml").read_text(encoding="utf-8"))
parts = [project.get(name) for name in ("build-system", "project", "dependency-groups")]
print(hashlib.sha256(repr((sys.version, sys.base_prefix, sys.argv, parts)).encode()).hexdigest())' "$root" "$venv" "$@")
    if [ "$(cat "$stamp" 2>/dev/null)" = "$key" ]; then
        return
    fi

    if [ ! -e "$stamp" ] && [ -n "$(ls -A "$venv" 2>/dev/null)" ]; then
        die "$venv was not made by this script, so it is left alone: move it away first"
    fi
    echo "Installing into $venv; this takes a minute, once."
    rm -rf "$venv"
    mkdir -p "$venv"
    : >"$stamp" # still empty: ours, but not finished
    "$python" -m venv "$venv" || die "$python can't make a virtual environment"
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    "$venv/bin/python" -m pip install --quiet --quiet --upgrade pip # --group needs 25.1
    "$venv/bin/python" -m pip install --quiet --quiet --editable "$root" "$@"
    echo "$key" >"$stamp"
}
