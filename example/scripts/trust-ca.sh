#!/usr/bin/env bash
# Makes a machine trust the lab's own certificate authority: each node of the cluster, so that it can pull images; the runner's
# machine; your own. From the lab's folder, with the registry (or several) as its images spell it:
#   scp ca.crt scripts/trust-ca.sh root@node1: && ssh root@node1 bash trust-ca.sh registry.lab
# Run it again when ca.crt has changed; with nothing to do it does nothing. It needs root.
set -euo pipefail

: "${1:?say which registry, as its images spell it: bash trust-ca.sh registry.lab:8443}"
root=${TRUST_CA_ROOT-}
here=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

fail() {
  printf 'trust-ca.sh: %s\n' "$1" >&2
  exit 1
}

# put TARGET: copies the certificate there, readable for all; fails where it is there already.
put() {
  if cmp --silent -- "$ca" "$root$1"; then return 1; fi
  # Asked after in an `if`, where Bash does not end at an error by itself.
  install -D -m 644 -- "$ca" "$root$1" || fail "$root$1 cannot be written"
  printf '%s: trusted now\n' "$1"
}

# refresh COMMAND TARGET: has the system's store made anew; where that fails, the next run has to try again.
refresh() {
  if ! "$1"; then
    rm -f -- "$root$2"
    fail "$1 failed, see above; this machine does not trust the authority yet"
  fi
  changed=true
}

ca=$here/ca.crt
[[ -e $ca ]] || ca=$here/../ca.crt
[[ -s $ca ]] || fail "ca.crt is missing: copy your authority's certificate (not its key) beside this script"
grep --quiet -e '-----BEGIN CERTIFICATE-----' -- "$ca" || fail "$ca is no certificate in PEM form; it begins with -----BEGIN CERTIFICATE-----"
if grep --quiet -e 'PRIVATE KEY-----' -- "$ca"; then fail "$ca holds a private key, which no other machine may have; keep the certificate alone"; fi
[[ -n $root || $(id -u) -eq 0 ]] || fail "this needs root; run it with sudo"

# The system's own store: containerd, git and curl read it.
changed=false
if command -v update-ca-certificates >/dev/null; then
  store=/usr/local/share/ca-certificates/lab-ca.crt
  if put "$store"; then refresh update-ca-certificates "$store"; fi
elif command -v update-ca-trust >/dev/null; then
  store=/etc/pki/ca-trust/source/anchors/lab-ca.crt
  if put "$store"; then refresh update-ca-trust "$store"; fi
else
  fail "no update-ca-certificates and no update-ca-trust here: install the package ca-certificates"
fi

# Docker looks here at every pull, and need not be restarted.
if command -v docker >/dev/null; then
  for registry in "$@"; do put "/etc/docker/certs.d/$registry/ca.crt" || true; done
fi

# What pulls the cluster's images reads the store when it starts. Pods keep running.
for service in k3s k3s-agent rke2-server rke2-agent crio containerd; do
  # Docker's containerd pulls nothing; Docker does.
  if [[ $service == containerd ]] && command -v docker >/dev/null; then continue; fi
  if [[ $changed == true ]] && command -v systemctl >/dev/null && systemctl is-active --quiet "$service"; then
    systemctl restart "$service"
    printf '%s: restarted\n' "$service"
  fi
done
