#!/bin/sh
# Builds keruta's images. Usage: images.sh TAG; BASE=… for another base image, PREFIX=… for the images' names before "keruta-".
set -eu
cd "$(dirname "$0")/.."
for tool in buildah podman docker; do command -v "$tool" >/dev/null && break; tool=; done
[ -n "$tool" ] || { echo "images need buildah, podman or docker: apt-get install buildah" >&2; exit 1; }
base=${BASE:-}
for target in functions agent; do
  name="${PREFIX:-}keruta-$target:$1"
  "$tool" build ${base:+--build-arg "BASE=$base"} --target "$target" -t "$name" -f knative/Dockerfile .
  echo "$name"
done
