#!/usr/bin/env bash
# gitlab: GitLab, installed and healthy.
# self: from this working tree, with the very values that Flux will use, so that Flux later takes the release over as it
# is. external: Flux itself installs it from the external repository.

readonly WEBHOOK_RECEIVER=http://webhook-receiver.flux-system.svc.cluster.local

stage_gitlab() {
  refuse_forbidden_upgrade
  ensure_namespace "$GITLAB_NAMESPACE"
  ensure_namespace "$APP_NAMESPACE"
  ensure_ca "$GITLAB_NAMESPACE"
  ensure_ca flux-system
  ensure_tls_copy
  ensure_root_password
  ensure_webhook_secrets
  if [[ $GITOPS_SOURCE == self ]]; then
    install_infrastructure
    install_gitlab
  else
    follow_external_repository
  fi
  wait_for_gitlab
}

# ensure_ca NAMESPACE: the lab's own certificate authority as Secret lab-ca; ca.crt in this folder is the source.
ensure_ca() {
  local certificate
  if [[ $PRIVATE_CA != true ]]; then return 0; fi
  [[ -s $LAB_DIR/ca.crt ]] || die 'ca.crt is missing in the lab.' '' \
    'copy the certificate (not the key) of your certificate authority to ca.crt beside bootstrap.sh'
  certificate=$(<"$LAB_DIR/ca.crt")$'\n'
  kube_get secret lab-ca "$1"
  if [[ $(secret_field "$KUBE_OUT" ca.crt) == "${certificate%$'\n'}" ]]; then
    have "Secret $1/lab-ca"
    return 0
  fi
  ensure_namespace "$1"
  kube_apply "Secret $1/lab-ca" "$(secret_manifest "$1" lab-ca Opaque ca.crt "$certificate")"
}

# ensure_tls_copy: the owner's certificate also where the applications run, those of ./new-app.sh among them; renewed
# there when it is renewed.
ensure_tls_copy() {
  local original
  if [[ $TLS_SOURCE != secret || $APP_NAMESPACE == "$GITLAB_NAMESPACE" ]]; then return 0; fi
  kube_get secret "$TLS_SECRET_NAME" "$GITLAB_NAMESPACE"
  original=$KUBE_OUT
  [[ -n $original ]] || die "The Secret $GITLAB_NAMESPACE/$TLS_SECRET_NAME is missing." '' \
    "kubectl create secret tls $TLS_SECRET_NAME -n $GITLAB_NAMESPACE --cert=CERTIFICATE --key=KEY
then run ./bootstrap.sh --from gitlab"
  kube_get secret "$TLS_SECRET_NAME" "$APP_NAMESPACE"
  if [[ -n $KUBE_OUT && $(field "$KUBE_OUT" .data) == "$(field "$original" .data)" ]]; then
    have "Secret $APP_NAMESPACE/$TLS_SECRET_NAME"
    return 0
  fi
  kube_apply "Secret $APP_NAMESPACE/$TLS_SECRET_NAME, a copy" "$(printf '%s' "$original" | jq --compact-output \
    --arg to "$APP_NAMESPACE" '{apiVersion, kind, type, data, metadata: {name: .metadata.name, namespace: $to}}')"
}

# ensure_root_password: GitLab reads it at its very first start, and never again.
ensure_root_password() {
  local password
  if kube_has secret gitlab-root "$GITLAB_NAMESPACE"; then
    have "Secret $GITLAB_NAMESPACE/gitlab-root"
    return 0
  fi
  if kube_has deployment gitlab "$GITLAB_NAMESPACE"; then
    warn "GitLab was set up without the Secret $GITLAB_NAMESPACE/gitlab-root. The one made now holds a password that is
not root's. To set root's:
kubectl exec -it deploy/gitlab -n $GITLAB_NAMESPACE -- gitlab-rake 'gitlab:password:reset[root]'"
  fi
  password=$(random_secret)
  hide_secret "$password"
  put_secret "$GITLAB_NAMESPACE" gitlab-root Opaque password "$password"
}

# ensure_webhook_secrets: the token that GitLab and Flux share, and the address that GitLab's registry tells of pushes.
# The address follows from the token, so GitLab can have it from its first start.
ensure_webhook_secrets() {
  local token url old
  kube_get secret receiver-token flux-system
  token=$(secret_field "$KUBE_OUT" token)
  if [[ -n $token ]]; then
    have 'Secret flux-system/receiver-token'
  else
    token=$(random_secret)
    hide_secret "$token"
    put_secret flux-system receiver-token Opaque token "$token"
  fi
  hide_secret "$token"
  url=$WEBHOOK_RECEIVER$(webhook_path "$token" registry)
  kube_get secret registry-webhook "$GITLAB_NAMESPACE"
  old=$(secret_field "$KUBE_OUT" url)
  if [[ $old == "$url" ]]; then
    have "Secret $GITLAB_NAMESPACE/registry-webhook"
  elif dry_run && [[ -n $old ]]; then
    would "renew Secret $GITLAB_NAMESPACE/registry-webhook"
  else
    tell_registry "$url" "$old"
  fi
}

# tell_registry URL [OLD_URL]: GitLab reads the address when it starts, so a new one waits for its next start.
tell_registry() {
  put_secret "$GITLAB_NAMESPACE" registry-webhook Opaque url "$1"
  if [[ -n ${2-} ]]; then
    warn "GitLab's registry knows another address of Flux's until its next start:
kubectl rollout restart deploy/gitlab -n $GITLAB_NAMESPACE"
  fi
}

# install_infrastructure: namespaces, storage, Traefik's entry points; Flux keeps them once it follows the repository.
install_infrastructure() {
  if kube_has kustomizations.kustomize.toolkit.fluxcd.io infrastructure flux-system; then
    have 'infrastructure/ is kept by Flux'
    return 0
  fi
  kube_apply_folder 'namespaces, storage, Traefik, network rules' infrastructure
}

# install_gitlab: by Helm, unless Flux keeps the release already, or nothing would change.
install_gitlab() {
  local try
  if kube_has helmreleases.helm.toolkit.fluxcd.io gitlab "$GITLAB_NAMESPACE"; then
    have "GitLab's release is kept by Flux"
    return 0
  fi
  drop_unfinished_release
  if helm_up_to_date; then
    have "GitLab's release is installed as this working tree has it"
    return 0
  fi
  if dry_run; then
    would "install GitLab $GITLAB_VERSION with Helm, from charts/app and apps/gitlab/"
    return 0
  fi
  doing "installing GitLab $GITLAB_VERSION with Helm"
  for ((try = 1; ; try++)); do
    if helm_install >"$LAB_TMP/helm.out" 2>"$LAB_TMP/helm.err" </dev/null; then break; fi
    if ! kube_may_pass "$(<"$LAB_TMP/helm.err")" || ((try >= LAB_RETRIES)); then
      die "Helm did not install GitLab: $(<"$LAB_TMP/helm.err")" "helm history gitlab -n $GITLAB_NAMESPACE"
    fi
    back_off "$try" "helm: $(last_line "$(<"$LAB_TMP/helm.err")")"
    drop_unfinished_release
  done
  did 'GitLab is installed; now it sets itself up'
}

# helm_install: not by server-side apply, as Helm 4 would by itself; Flux goes on in the way that Helm began with.
# Helm's name would stay on each field beside Flux's, and so would what a later release leaves out, such as a port.
helm_install() {
  if version_at_least "$(helm version --short)" 4.0; then
    helm_gitlab upgrade --install --server-side=false
  else
    helm_gitlab upgrade --install
  fi
}

# helm_gitlab VERB ARGUMENT...: the values exactly as apps/gitlab/helmrelease.yaml gives them.
helm_gitlab() {
  local verb=$1
  shift
  (cd -- "$LAB_DIR" && helm "$verb" gitlab charts/app --namespace "$GITLAB_NAMESPACE" --values apps/gitlab/values.yaml \
    --set-file 'configMaps.config.data.gitlab\.rb=apps/gitlab/gitlab.rb' "$@")
}

# helm_up_to_date: what is installed equals what this working tree would install.
helm_up_to_date() {
  local installed wanted
  installed=$(helm status gitlab --namespace "$GITLAB_NAMESPACE" --output json 2>/dev/null </dev/null) || return 1
  if [[ $(field "$installed" .info.status) != deployed ]]; then return 1; fi
  wanted=$(helm_gitlab upgrade --dry-run=server --output json 2>"$LAB_TMP/helm.err" </dev/null) \
    || die "Helm cannot render GitLab's release: $(<"$LAB_TMP/helm.err")" 'charts/app and apps/gitlab/values.yaml'
  [[ $(field "$installed" .manifest) == "$(field "$wanted" .manifest)" ]]
}

# drop_unfinished_release: a Helm that was killed leaves a revision "pending", and Helm then refuses to go on. The
# record of that revision is removed; what it had made in the cluster stays, and the next installation takes it over.
drop_unfinished_release() {
  local records record
  kube_list secrets --namespace "$GITLAB_NAMESPACE" --selector 'owner=helm,name=gitlab'
  records=$(field "$KUBE_OUT" '.items[].metadata | select(.labels.status // "" | startswith("pending")) | .name')
  for record in $records; do
    if dry_run; then
      would "remove the unfinished Helm record $record"
      continue
    fi
    kube '' delete secret "$record" --namespace "$GITLAB_NAMESPACE" --ignore-not-found || kube_die "remove $record"
    did "removed $record, the record of an installation that was cut short"
  done
}

# follow_external_repository: GitLab comes out of the repository, so Flux has to follow that first.
follow_external_repository() {
  ensure_git_credential
  push_external
  ensure_flux_follows
}
