#!/bin/sh
# Builds keruta's images. Usage: images.sh TAG; BASE=… for another base image, PREFIX=… for the images' names before "keruta-".
set -eu
cd "$(dirname "$0")/.."
for tool in buildah podman docker; do command -v "$tool" >/dev/null && break; tool=; done
[ -n "$tool" ] || { echo "images need buildah, podman or docker: apt-get install buildah" >&2; exit 1; }
base=${BASE:-}
# The same input gives the same layers: files have the time of the last change of the source.
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}"
case $tool in
  docker) dated="--build-arg SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" ;;
  *) dated="--timestamp $SOURCE_DATE_EPOCH" ;;
esac
for target in functions agent; do
  name="${PREFIX:-}keruta-$target:$1"
  # shellcheck disable=SC2086  (two words)
  "$tool" build $dated ${base:+--build-arg "BASE=$base"} --target "$target" -t "$name" -f knative/Dockerfile .
  echo "$name: $("$tool" inspect --type image --format '{{.Size}}' "$name" 2>/dev/null || "$tool" images --format '{{.Size}}' "$name")"
done
