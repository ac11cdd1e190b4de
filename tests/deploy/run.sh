#!/bin/sh
# Checks the files in deploy/: the alert rules with their unit tests, the Kubernetes manifests, and the systemd unit. tests/it/deploy.rs
# checks that the series exist.
set -eu
cd "$(dirname "$0")/../.."
# shellcheck source=tests/machine.sh
. tests/machine.sh
unpack usr/bin/promtool=prometheus
promtool=$unpacked/usr/bin/promtool
"$promtool" check rules deploy/prometheus-rules.yml
"$promtool" test rules deploy/prometheus-rules.test.yml
"$promtool" check config --syntax-only deploy/prometheus.yml

# What a broker serves to clients of either form.
need curl=curl ip=iproute2 unshare=util-linux
broker .
export TURN_BROKER_BIN promtool
# shellcheck disable=SC2016 # the shell inside expands it
isolate sh -c '
    set -eu
    token=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d " \n")
    HOST=127.0.0.1 PORT=3001 ICE_SOURCES=stun METRICS_TOKEN=$token "$TURN_BROKER_BIN" >/dev/null &
    metrics() { curl -sf -H "Authorization: Bearer $token" "$@" http://127.0.0.1:3001/metrics; }
    until metrics >/dev/null; do sleep 0.1; done
    metrics | "$promtool" check metrics
    [ "$(metrics -H "Accept: application/openmetrics-text" | tail -n 1)" = "# EOF" ]
    kill $!'
echo 'the metrics have the form of Prometheus, and on request that of OpenMetrics'

# Against the schemas of Kubernetes, which the package contains. A name that is in none of them is an error.
need python3=python3-venv
checker=${CARGO_TARGET_DIR:-target}/kubernetes/bin
if [ ! -x "$checker/kubernetes-validate" ]; then
    python3 -m venv "$(dirname "$checker")"
    "$checker/pip" install -q kubernetes-validate==1.37.0
fi
manifests_hold() { "$checker/kubernetes-validate" --strict -k 1.30 "$@" >/dev/null; }
manifests_hold deploy/kubernetes/one.yaml deploy/kubernetes/replicas.yaml deploy/kubernetes/network.yaml
for resource in $(sed -n 's/^resources: \[\(.*\)\]$/\1/p' deploy/kubernetes/kustomization.yaml | tr -d ,); do [ -e "deploy/kubernetes/$resource" ]; done
wrong=$(mktemp)
sed 's/readinessProbe/readynessProbe/' deploy/kubernetes/replicas.yaml >"$wrong"
if manifests_hold "$wrong" 2>/dev/null; then echo 'the check of the manifests finds no mistake' >&2 && exit 1; fi
rm "$wrong"
echo 'the Kubernetes manifests have the form of Kubernetes 1.30'

# The units are checked with a program that exists, because they name the place of the installation.
if command -v systemd-analyze >/dev/null; then
    checked=$(mktemp -d)
    trap 'rm -r "$checked"' EXIT
    for unit in turn-broker.service turn-broker-ice.service; do
        sed "s:^ExecStart=/usr/local/bin/turn-broker:ExecStart=$(command -v true):" "deploy/$unit" >"$checked/$unit"
        said=$(systemd-analyze verify --man=no "$checked/$unit" 2>&1) || true
        case $said in
        *$unit*) printf '%s\n' "$said" >&2; exit 1 ;;
        esac
    done
    # 0 is closed, 10 is open. The network and its own directory are what is left.
    systemd-analyze security --offline=yes --threshold=20 "$checked/turn-broker.service" >/dev/null ||
        { echo 'the unit is less hardened than before: systemd-analyze security' >&2; exit 1; }
    echo 'the systemd units are valid, and that of the broker is hardened'
else
    echo 'no systemd-analyze here: the systemd units were not checked'
fi
