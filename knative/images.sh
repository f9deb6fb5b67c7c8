#!/bin/sh
# Builds keruta's images. Usage: images.sh TAG; BASE=… for another base image, PREFIX=… for the images' names before "keruta-"
# (a registry's, to push them there with PUSH=1; dev.local/ is what Knative takes without asking a registry). LOAD=1 loads them
# into the node of kind or k3s. BUILD="…" are more arguments of the build, for example a volume with the authorities of a proxy
# that inspects TLS: BUILD="--volume /etc/ssl/certs/ca-certificates.crt:/etc/ssl/certs/ca-certificates.crt:ro". SBOM=DIRECTORY writes there what each image holds, as CycloneDX documents.
# DIGESTS=FILE takes a line for each pushed image: its target and its digest.
# CODING_AGENTS="claude-code codex aider" makes an image of each of these, too.
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
save() { # save NAME FILE: the image as an archive
  if [ "$tool" = buildah ]; then buildah push "$1" "docker-archive:$2:$1" >&2; else "$tool" save -o "$2" "$1"; fi
}
for target in functions agent ${CODING_AGENTS:-}; do
  case $target in
    functions | agent) file=knative/Dockerfile bases=BASE ;;
    *) file=knative/coding-agents.Dockerfile bases="NODE PYTHON" ;;
  esac
  arguments=
  for one in ${base:+$bases}; do arguments="$arguments --build-arg $one=$base"; done
  name="${PREFIX:-}keruta-$target:$1"
  # shellcheck disable=SC2086  (several words)
  "$tool" build $dated ${BUILD:-} $arguments --target "$target" -t "$name" -f "$file" .
  echo "$name: $("$tool" inspect --type image --format '{{.Size}}' "$name" 2>/dev/null || "$tool" images --format '{{.Size}}' "$name")"
  if [ -n "${SBOM:-}" ]; then
    mkdir -p "$SBOM"
    save "$name" "$SBOM/keruta-$target.tar"
    "${PYTHON:-python3}" knative/sbom.py "$SBOM/keruta-$target.tar" >"$SBOM/sbom-$target.json"
    rm -f "$SBOM/keruta-$target.tar"
  fi
  if [ "${PUSH:-}" = 1 ]; then
    if [ "$tool" = docker ]; then
      docker push "$name" >&2
      digest=$(docker inspect --format '{{index .RepoDigests 0}}' "$name" | sed 's/.*@//')
    else
      said=$(mktemp)
      "$tool" push ${INSECURE:+--tls-verify=false} --digestfile "$said" "$name" >&2
      digest=$(cat "$said"); rm -f "$said"
    fi
    [ -z "${DIGESTS:-}" ] || echo "$target $digest" >>"$DIGESTS"
  fi
  [ "${LOAD:-}" = 1 ] || continue
  archive=$(mktemp)
  save "$name" "$archive"
  if command -v kind >/dev/null; then kind load image-archive "$archive"
  elif command -v k3s >/dev/null; then k3s ctr images import "$archive"
  else echo "$name is not loaded: there is no kind and no k3s; set REGISTRY, or load it into the nodes yourself" >&2; fi
  rm -f "$archive"
done
