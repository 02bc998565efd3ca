{{- define "app.check.workload" -}}
  {{- $set := .Facts.stateful }}
  {{- $strategy := include "app.strategy" . | fromYaml }}
  {{- $rolling := $strategy.rollingUpdate | default dict }}
  {{- if and $set (eq $strategy.type "Recreate") }}
    strategy is Recreate, which kind: StatefulSet does not know: it never has two pods of one name. Use RollingUpdate or OnDelete, or leave strategy empty.
  {{- end }}
  {{- if and (not $set) (eq $strategy.type "OnDelete") }}
    strategy is OnDelete, which kind: Deployment does not know. Use Recreate or RollingUpdate, or leave strategy empty.
  {{- end }}
  {{- if and $rolling (ne $strategy.type "RollingUpdate") }}
    strategy.rollingUpdate is set, but strategy.type is {{ $strategy.type }}. Remove rollingUpdate, or set type: RollingUpdate.
  {{- end }}
  {{- if and $set (hasKey $rolling "maxSurge") }}
    strategy.rollingUpdate.maxSurge is set, which kind: StatefulSet does not know. Remove it.
  {{- end }}
  {{- if and (not $set) (hasKey $rolling "partition") }}
    strategy.rollingUpdate.partition is set, which only kind: StatefulSet knows. Remove it.
  {{- end }}
  {{- if and (not $set) (gt (int (default 1 .Values.replicas)) 1) }}
    {{- range .Facts.volumes }}
      {{- if and .claim (has "ReadWriteOncePod" (.claim.accessModes | default list)) }}
        replicas is {{ $.Values.replicas }}, but {{ .at }}.claim is ReadWriteOncePod: one pod only can have it. Set replicas: 1, or kind: StatefulSet for a claim a pod.
      {{- end }}
    {{- end }}
  {{- end }}
  {{- if and (eq (default "" .Values.dnsPolicy) "None") (not (.Values.dnsConfig | default dict).nameservers) }}
    dnsPolicy is None, so dnsConfig.nameservers has to say which servers are asked. Add them, or leave dnsPolicy empty.
  {{- end }}
  {{- include "app.check.lists" . }}
  {{- include "app.check.helmTest" . }}
  {{- with .Facts.check }}
    {{- if eq . $.Release.Name }}
      check.of is {{ . | quote }}, which is this release itself: a check is a release beside the one that it checks. Give this one another name, such as {{ . }}-check.
    {{- end }}
    {{- if not $.Values.command }}
      check.of is {{ . | quote }}, and command is empty: the Job would start the application itself, and never end. Say in command what checks it.
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Lists that Kubernetes reads as maps: an entry that comes twice is refused by the server, and late. */}}
{{- define "app.check.lists" -}}
  {{- $seen := dict }}
  {{- range $i, $alias := .Values.hostAliases }}
    {{- if hasKey $seen .ip }}
      hostAliases[{{ $i }}].ip is {{ .ip }}, and so is hostAliases[{{ get $seen .ip }}].ip: give an address all its hostnames in one entry.
    {{- end }}
    {{- $_ := set $seen .ip $i }}
  {{- end }}
  {{- range $i, $spread := .Values.topologySpreadConstraints }}
    {{- $key := printf "%s/%s" .whenUnsatisfiable .topologyKey }}
    {{- if hasKey $seen $key }}
      topologySpreadConstraints[{{ $i }}]: {{ .whenUnsatisfiable }} by {{ .topologyKey }} is topologySpreadConstraints[{{ get $seen $key }}] too. Remove one of them.
    {{- end }}
    {{- $_ := set $seen $key $i }}
  {{- end }}
{{- end -}}

{{- define "app.check.helmTest" -}}
  {{- $tests := .Values.tests | default dict }}
  {{- if and $tests.enabled $tests.service (not .Facts.tested) }}
    tests.service is {{ $tests.service | quote }}, and services has no TCP port of that name. Correct it, or leave it empty for the first one.
  {{- end }}
{{- end -}}
