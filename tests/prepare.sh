#!/bin/sh
# What tests need beside what running needs: an ssh server, Git LFS, the fence around scripts, and a browser. As root, where there is
# apt, it is installed; elsewhere the tests that need a part say that they are skipped.
set -eu
missing=""
[ -x /usr/sbin/sshd ] || missing="$missing openssh-server openssh-client"
command -v git-lfs >/dev/null || missing="$missing git-lfs"
command -v bwrap >/dev/null || missing="$missing bubblewrap"
command -v chromium >/dev/null || missing="$missing chromium fonts-noto-cjk"
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "installing$missing" >&2
  # shellcheck disable=SC2086  they are words
  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
  echo "SKIPPED LOUDLY: not here, and not installed without root and apt:$missing" >&2
fi
