#!/usr/bin/env bash
# flux: Flux's controllers in flux-system.

readonly FLUX_CONTROLLERS=(source-controller kustomize-controller helm-controller notification-controller
  image-reflector-controller image-automation-controller)

stage_flux() {
  local missing
  missing=$(flux_missing)
  if [[ -z $missing ]]; then
    have "Flux is there, in version $FLUX_VERSION or newer, image controllers included"
  elif dry_run; then
    would "install Flux $FLUX_VERSION ($missing)"
    return 0
  else
    doing "installing Flux $FLUX_VERSION ($missing)"
    install_flux
    did "Flux $FLUX_VERSION"
  fi
  wait_for "$LAB_WAIT_FLUX_MINUTES" "Flux's controllers" flux_ready \
    || die "Flux's controllers did not become ready: $WAIT_REASON" 'kubectl get pods -n flux-system; flux check'
}

# flux_missing: the controllers that are not there in FLUX_VERSION or newer. A newer Flux is the owner's choice.
flux_missing() {
  local controller version found missing=''
  kube_list deployments --namespace flux-system
  found=$(field "$KUBE_OUT" '.items[].metadata | "\(.name) \(.labels["app.kubernetes.io/version"] // "v0.0.0")"')
  for controller in "${FLUX_CONTROLLERS[@]}"; do
    version=$(printf '%s\n' "$found" | sed -n "s/^$controller //p")
    if [[ -z $version ]]; then
      missing+="${missing:+, }$controller"
    elif ! version_at_least "$version" "$FLUX_VERSION"; then
      missing+="${missing:+, }$controller is still $version"
    fi
  done
  printf '%s' "$missing"
}

# install_flux: flux prints every object that it applies; only its failure is worth the owner's time.
install_flux() {
  local try
  for ((try = 1; ; try++)); do
    if flux install --version="v$FLUX_VERSION" \
      --components-extra=image-reflector-controller,image-automation-controller \
      --timeout="${LAB_WAIT_FLUX_MINUTES}m" >"$LAB_TMP/flux.log" 2>&1 </dev/null; then return 0; fi
    ((try < 3)) || die "Flux could not be installed: $(tail -n 5 "$LAB_TMP/flux.log")" \
      "flux check --pre; kubectl get pods -n flux-system; whether github.com and ghcr.io can be reached"
    back_off "$try" "flux install: $(tail -n 1 "$LAB_TMP/flux.log")"
  done
}

# flux_ready: a probe for wait_for.
flux_ready() {
  kube_list deployments --namespace flux-system
  WAIT_REASON=$(printf '%s' "$KUBE_OUT" | jq --raw-output \
    '[.items[] | select((.status.readyReplicas // 0) < 1) | .metadata.name] | join(", ")')
  if [[ -z $WAIT_REASON ]]; then return 0; fi
  WAIT_REASON="not ready: $WAIT_REASON"
  return 1
}
