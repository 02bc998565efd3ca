{{- define "app.check.network" -}}
  {{- $policy := .Values.networkPolicy | default dict }}
  {{- if and $policy.enabled .Values.hostNetwork }}
    networkPolicy.enabled is true, but with hostNetwork the pods have the addresses of their node, which no NetworkPolicy reaches. Remove one of them.
  {{- end }}
  {{- range $side := list "from" "to" }}
    {{- range $i, $peer := (get $policy $side | default dict).pods }}
      {{- if not (or $peer.release $peer.namespace $peer.labels) }}
        networkPolicy.{{ $side }}.pods[{{ $i }}] names no pods, so it would mean all of the release's namespace. Say which: release, namespace or labels, such as {release: shop}.
      {{- end }}
    {{- end }}
  {{- end }}
{{- end -}}
