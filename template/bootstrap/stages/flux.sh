#!/usr/bin/env bash
# flux: Flux's controllers in flux-system, as clusters/<name>/flux-system has them. From the first push on Flux keeps
# them by that folder itself; until then, and when one is missing, they are applied from this working tree.

readonly FLUX_CONTROLLERS=(source-controller kustomize-controller helm-controller notification-controller
  image-reflector-controller image-automation-controller)
# Flux removes this manager's name from what it takes over, so a later version can also take fields away.
readonly FLUX_FIELD_MANAGER=kubectl

stage_flux() {
  local missing problem
  missing=$(flux_missing)
  if [[ -z $missing ]] && flux_keeps_itself; then
    have "Flux is there, in version $(flux_file_version) or newer, and keeps itself"
  else
    problem=$(flux_too_new)
    [[ -z $problem ]] || die "$problem" '' "$(flux_export)
commit the file, then run ./bootstrap.sh --from flux"
    apply_flux "$missing"
  fi
  if dry_run; then return 0; fi
  wait_for "$LAB_WAIT_FLUX_MINUTES" "Flux's controllers" flux_ready \
    || die "Flux's controllers did not become ready: $WAIT_REASON" 'kubectl get pods -n flux-system; flux check'
  if ! version_at_least "$(flux_file_version)" "$FLUX_VERSION"; then
    doing "Flux $(flux_file_version) is in use, $FLUX_VERSION is known to work, too: $(flux_export)"
  fi
}

flux_folder() { printf 'clusters/%s/flux-system' "$CLUSTER_NAME"; }

# flux_export: the command that writes Flux's newest controllers into the repository.
flux_export() {
  local extra=image-reflector-controller,image-automation-controller
  printf 'flux install --export --components-extra=%s \\\n  > %s/gotk-components.yaml' "$extra" "$(flux_folder)"
}

# flux_file_version: the version of Flux that lies in the repository.
flux_file_version() {
  local version
  version=$(sed -n 's/^# Flux Version: v//p' "$LAB_DIR/$(flux_folder)/gotk-components.yaml" 2>/dev/null | head -n 1)
  [[ -n $version ]] || die "$(flux_folder)/gotk-components.yaml is missing, or names no version of Flux." 'git status' \
    "$(flux_export)"
  printf '%s' "$version"
}

# flux_versions: the controllers that are there, with their versions, one a line.
flux_versions() {
  kube_list deployments --namespace flux-system
  field "$KUBE_OUT" '.items[].metadata | "\(.name) \(.labels["app.kubernetes.io/version"] // "v0.0.0")"'
}

# flux_missing: the controllers that are not there in the repository's version or newer.
flux_missing() {
  local controller version found wanted missing=''
  wanted=$(flux_file_version) || exit
  found=$(flux_versions) || exit
  for controller in "${FLUX_CONTROLLERS[@]}"; do
    version=$(printf '%s\n' "$found" | sed -n "s/^$controller //p")
    if [[ -z $version ]]; then
      missing+="${missing:+, }$controller"
    elif ! version_at_least "$version" "$wanted"; then
      missing+="${missing:+, }$controller is still $version"
    fi
  done
  printf '%s' "$missing"
}

# flux_too_new: why the repository's Flux would be a step back; nothing if it is not.
flux_too_new() {
  local name version found wanted
  wanted=$(flux_file_version) || exit
  found=$(flux_versions) || exit
  while read -r name version; do
    if [[ " ${FLUX_CONTROLLERS[*]} " == *" $name "* ]] && ! version_at_least "$wanted" "$version"; then
      printf 'Flux %s runs in the cluster; %s/gotk-components.yaml holds v%s, and would bring it back to that.' \
        "$version" "$(flux_folder)" "$wanted"
      return 0
    fi
  done <<<"$found"
}

# flux_keeps_itself: its own controllers are among what Flux applied from the repository.
flux_keeps_itself() {
  kube_get kustomizations.kustomize.toolkit.fluxcd.io flux-system flux-system
  [[ $(field "${KUBE_OUT:-null}" \
    'any(.status.inventory.entries[]?; .id == "flux-system_helm-controller_apps_Deployment")') == true ]]
}

# apply_flux MISSING: the controllers with the lab's patches. What makes Flux follow the repository comes later (sync).
apply_flux() {
  local manifest status=0
  manifest=$(flux_manifest) || exit
  if [[ -z $1 ]]; then
    printf '%s' "$manifest" | kubectl diff --server-side --force-conflicts --field-manager="$FLUX_FIELD_MANAGER" \
      --filename - >"$LAB_TMP/flux.log" 2>&1 || status=$?
    if ((status == 0)); then
      have "Flux is there, as $(flux_folder) has it"
      return 0
    fi
  fi
  if dry_run; then
    would "install Flux $(flux_file_version) from $(flux_folder)${1:+ ($1)}"
    return 0
  fi
  doing "installing Flux $(flux_file_version) from $(flux_folder)${1:+ ($1)}"
  kube "$manifest" apply --server-side --force-conflicts --field-manager="$FLUX_FIELD_MANAGER" --filename - \
    || kube_die 'install Flux'
  did "Flux $(flux_file_version)"
}

# flux_manifest: what kustomize builds of the folder, without the two objects that make Flux follow the repository.
flux_manifest() {
  kubectl kustomize "$LAB_DIR/$(flux_folder)" >"$LAB_TMP/flux.yaml" 2>"$LAB_TMP/kubectl.err" </dev/null \
    || die "$(flux_folder) cannot be built: $(<"$LAB_TMP/kubectl.err")" "kubectl kustomize $(flux_folder)"
  awk '
    function flush() { if (!skip && text != "") printf "---\n%s", text; text = ""; skip = 0 }
    /^---$/ { flush(); next }
    /^kind: (GitRepository|Kustomization)$/ { skip = 1 }
    { text = text $0 "\n" }
    END { flush() }' "$LAB_TMP/flux.yaml"
}

# flux_ready: a probe for wait_for.
flux_ready() {
  kube_list deployments --namespace flux-system
  WAIT_REASON=$(printf '%s' "$KUBE_OUT" | jq --raw-output \
    '[.items[] | select((.status.readyReplicas // 0) < 1 or (.status.observedGeneration // 0) < .metadata.generation)
      | .metadata.name] | join(", ")')
  if [[ -z $WAIT_REASON ]]; then return 0; fi
  WAIT_REASON="not ready: $WAIT_REASON"
  return 1
}
