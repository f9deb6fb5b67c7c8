#!/bin/sh
# Makes a virtual environment, and installs what only the system's packages give. Usage: prepare VENV [PYTHON]
# Where no Python is named, the distribution's own comes before another on the PATH: it gets the distribution's fixes, and
# it is built with a profile, which by-hand builds often are not; with it a function starts in three quarters of the time.
set -eu
venv=$1 python=${2:-}
if [ -z "$python" ]; then
  python=python3 own=/usr/bin/python3
  "$own" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python=$own
fi
packages() {
  command -v apt-get >/dev/null || { echo "install by your system's own way: $*" >&2; exit 1; }
  [ "$(id -u)" = 0 ] || { echo "as root, run: apt-get install $*" >&2; exit 1; }
  echo "installing $*" >&2
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}
command -v "$python" >/dev/null || packages python3 python3-venv
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
"$python" -c 'import ensurepip' 2>/dev/null || packages python3-venv
command -v git >/dev/null || packages git
# The mongod of the wheel is linked against it.
if command -v ldconfig >/dev/null && ! ldconfig -p | grep -q 'libcurl\.so\.4'; then packages libcurl4; fi
# The fence around scripts. Without it keruta works, and says what that means.
command -v bwrap >/dev/null || (packages bubblewrap) || echo "without bubblewrap scripts have all your rights" >&2
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
