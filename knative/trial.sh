#!/bin/sh
# Puts keruta on the cluster that kubectl speaks to, for trying out, and runs a first task. `make cluster-trial` calls it.
#
# It needs Knative Serving and Eventing with Kourier, Contour or Istio, a Gateway API implementation, and a default
# StorageClass. Set:
#   REGISTRY=host/path/   where images are pushed and nodes read them; without it they are loaded into kind's or k3s's node
#   MONGO=image           an image of MongoDB; docker.io/library/mongo:8.0 unless set
#   REPOSITORY=url        what the first task checks out
#   NO_IMAGES=1 TAG=tag   images that are there already, by that tag
#   CODING_AGENTS="…"     the coding agents of which images are made, too, and that the ready profiles then run in
#   OVERLAY=directory     an overlay to start from instead, for a networking layer of your own
set -eu
cd "$(dirname "$0")/.."
keruta=${KERUTA:-.venv/bin/keruta}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
repository=${REPOSITORY:-https://github.com/octocat/Hello-World.git}
MONGO=${MONGO:-docker.io/library/mongo:8.0}
prefix=${REGISTRY:-dev.local/}
# A tag of its own for each trial: nodes keep an image by its tag, and would go on with an older one.
tag=${TAG:-$version-$(date +%Y%m%d%H%M%S)}
agents=
for one in ${CODING_AGENTS:-}; do agents=$agents${agents:+,}$one=${prefix}keruta-$one:$tag; done
say() { printf '%s  %s\n' "$(date +%T)" "$*" >&2; }
die() { say "$*"; exit 1; }
has() { kubectl get "$@" >/dev/null 2>&1; }

# What is missing is said before minutes go by.
command -v kubectl >/dev/null || die "kubectl is not there: https://kubernetes.io/docs/tasks/tools/"
said=$(kubectl version 2>&1) || die "the cluster does not answer: $(printf '%s\n' "$said" | tail -1)"
for kind in services.serving.knative.dev brokers.eventing.knative.dev httproutes.gateway.networking.k8s.io; do
  has crd "$kind" || { "$keruta" doctor --cluster >&2; die "the cluster lacks something, as it says above"; }
done
if has service -n kourier-system kourier-internal; then layer=kourier
elif has service -n contour-internal envoy; then layer=contour
elif has service -n istio-system knative-local-gateway; then layer=istio
elif [ -n "${OVERLAY:-}" ]; then layer=
else die "no networking layer of Knative was found: install Kourier, Contour or Istio (https://knative.dev/docs/install/)"
fi
gateway=$(kubectl get gateway -A -o jsonpath='{.items[0].metadata.namespace} {.items[0].metadata.name}' 2>/dev/null) ||
  die "there is no Gateway: install a Gateway API implementation and make one (https://gateway-api.sigs.k8s.io/)"

if [ -z "${NO_IMAGES:-}${REGISTRY:-}" ] && ! command -v kind >/dev/null && ! command -v k3s >/dev/null; then
  die "there is no kind and no k3s to load images with: set REGISTRY=host/path/ to push them to a registry that the nodes read"
fi
kubectl get storageclass -o yaml | grep -q 'is-default-class: "true"' || has pvc -n keruta keruta-shared ||
  die "there is no default StorageClass: mark one (https://kubernetes.io/docs/tasks/administer-cluster/change-default-storage-class/)"

say "images $prefix...:$tag"
[ -n "${NO_IMAGES:-}" ] || PREFIX=$prefix PUSH=${REGISTRY:+1} LOAD=${REGISTRY:-1} knative/images.sh "$tag"

# MongoDB goes on when the trial is repeated: its helper keeps the image that it has.
helper=$(kubectl get statefulset -n keruta mongodb --ignore-not-found \
  -o 'jsonpath={.spec.template.spec.containers[?(@.name=="replica-set")].image}' 2>/dev/null) || helper=
helper=${helper:-${prefix}keruta-functions:$tag}

trial=knative/overlays/.trial
mkdir -p "$trial"
{
  echo "apiVersion: kustomize.config.k8s.io/v1beta1"
  echo "kind: Kustomization"
  if [ -n "${OVERLAY:-}" ]; then
    echo "resources: [../../../$OVERLAY]"
  else
    echo "resources: [../../base]"
    echo "components: [../../components/mongodb, ../../components/sign-in-by-code, ../../components/networking-$layer]"
  fi
  cat <<YAML
images:
  - {name: mongo, newName: ${MONGO%:*}, newTag: "${MONGO##*:}"}
  - {name: keruta-functions, newName: ${prefix}keruta-functions, newTag: "$tag"}
  - {name: keruta-agent, newName: ${prefix}keruta-agent, newTag: "$tag"}
  - {name: keruta-replica-set, newName: ${helper%:*}, newTag: "${helper##*:}"}
patches:
  - target: {kind: HTTPRoute, name: keruta}
    patch: |-
      - {op: replace, path: /spec/parentRefs, value: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: ${gateway% *}, name: ${gateway#* }}]}
  - target: {kind: NetworkPolicy, name: admin}
    patch: |-
      - {op: replace, path: /spec/ingress/0/from/0/namespaceSelector/matchExpressions/0/values, value: [knative-eventing, ${gateway% *}]}
  - target: {kind: ConfigMap, name: keruta}
    patch: |-
      - {op: add, path: /data/KERUTA_TRANSPORTS, value: "https,http,ssh"}
      - {op: add, path: /data/KERUTA_WORKER_ADDRESSES, value: "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"}
      - {op: add, path: /data/KERUTA_CODING_AGENT_IMAGES, value: "$agents"}
YAML
} >"$trial/kustomization.yaml"

say "namespace, volume, Secrets, settings of Eventing"
kubectl apply -k knative/persistent >&2
if ! has secret -n keruta keruta-sign-in; then
  secrets=$("$keruta" secrets) || die "keruta secrets failed, as it says above"
  printf '%s\n' "$secrets" | kubectl create -f - >&2
fi
kubectl patch configmap -n knative-eventing config-features --type=merge -p '{"data":{"authentication-oidc":"enabled"}}' >&2
say "keruta"
kubectl apply -k "$trial" >&2
say "waiting until everything is ready"
i=0
until { ! has statefulset -n keruta mongodb || kubectl rollout status -n keruta statefulset/mongodb --timeout=5s >/dev/null 2>&1; } &&
  kubectl wait -n keruta --for=condition=Ready ksvc --all --timeout=5s >/dev/null 2>&1 &&
  kubectl rollout status -n keruta deployment/admin --timeout=5s >/dev/null 2>&1 &&
  kubectl rollout status -n keruta deployment/worker --timeout=5s >/dev/null 2>&1; do
  i=$((i + 1))
  [ $i -lt 60 ] || { "$keruta" doctor --cluster >&2; die "not ready after five minutes"; }
  sleep 1
done

say "a first task, on $repository"
kubectl exec -i -n keruta deployment/admin -c admin -- python - "$repository" <<'PYTHON'
import sys, time
from pathlib import Path
from keruta.client import Client

client = Client("http://create-task.keruta.svc.cluster.local", Path("/etc/keruta/sign-in/token").read_text())
task = client.submit({"repository": {"url": sys.argv[1]}, "script": "ls; echo done"}).id
reader = Client("http://localhost:8080", Path("/etc/keruta/sign-in/token").read_text())
until = time.monotonic() + 240
while (found := reader.task(task)).status not in ("succeeded", "failed", "cancelled"):
    if time.monotonic() > until:
        sys.exit(f"task {task} is {found.status} after four minutes")
    time.sleep(1)
print(b"".join(reader.logs(task)).decode("utf-8", "replace"), end="")
print(f"task {task} {found.status}", found.message or "")
sys.exit(found.status != "succeeded")
PYTHON
code=$(kubectl get secret -n keruta keruta-sign-in -o 'go-template={{.data.code | base64decode}}')
say "kubectl port-forward -n keruta service/admin 8480:80, then http://localhost:8480; sign in with the code $code"
