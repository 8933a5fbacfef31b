# shellcheck shell=bash
# Sourced by the scripts of this directory: a virtual environment with this package, made once and then reused.
# Written for bash 3.2 and newer, because macOS has 3.2.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." >/dev/null && pwd -P)

die() {
    echo "$(basename "$0"): $*" >&2
    exit 1
}

# base_python COMMAND: print the path of the interpreter that COMMAND starts, if it is Python 3.11 or newer.
base_python() {
    # The command is run, not only looked up, because the shims of a version manager may start nothing. The base
    # interpreter is asked for, because an activated environment of ours must not be what it is rebuilt from.
    "$1" -c '
import sys
if sys.version_info < (3, 11) or sys.version_info.releaselevel != "final":
    sys.exit(1)
print(getattr(sys, "_base_executable", sys.executable))' 2>/dev/null
}

# Print the path of the interpreter that XARRAY_MRC_PYTHON names, or else of the usual one.
find_python() {
    local name
    if [ -n "${XARRAY_MRC_PYTHON:-}" ]; then
        base_python "$XARRAY_MRC_PYTHON" && return
        die "XARRAY_MRC_PYTHON=$XARRAY_MRC_PYTHON does not start Python 3.11 or newer"
    fi
    for name in python3 python3.14 python3.13 python3.12 python3.11 python; do
        base_python "$name" && return
    done
    die "needs Python 3.11 or newer, but python3 here is: $(python3 --version 2>&1 || true)"
}

# Print the path of the newest Python that pyproject.toml names, from PATH or from pyenv.
find_newest_python() {
    local minor candidate
    for minor in 14 13 12 11; do
        for candidate in "python3.$minor" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor".*/bin/"python3.$minor"; do
            base_python "$candidate" && return
        done
    done
    find_python
}

# make_environment VENV [ARGUMENT...]: make a virtual environment with this package, installed as editable. The other
# arguments go to pip install. A VENV that was made for the same Python, requirements, path and arguments is reused.
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
    : >"$stamp" # an empty stamp marks an environment of ours that is not finished
    "$python" -m venv "$venv" || die "$python can't make a virtual environment"
    export PIP_DISABLE_PIP_VERSION_CHECK=1
    "$venv/bin/python" -m pip install --quiet --quiet --upgrade pip # --group needs 25.1
    "$venv/bin/python" -m pip install --quiet --quiet --editable "$root" "$@"
    echo "$key" >"$stamp"
}

# make_test_environment VENV: make the environment of ci/test, which ci/bench uses, too.
make_test_environment() {
    make_environment "$1" --group "$root/pyproject.toml:test" --group "$root/pyproject.toml:ome" \
        --group "$root/pyproject.toml:lint" --group "$root/pyproject.toml:docs"
}
