{{/* Hosts that say where they lead, each address once. Takes at (the value's path) and hosts. */}}
{{- define "app.check.hosts" -}}
  {{- $at := .at }}
  {{- $hosts := .hosts }}
  {{- if not $hosts }}
    {{ $at }} is empty, so nothing would be reachable: add a host such as {name: demo.lab.example.com, servicePort: 80}.
  {{- end }}
  {{- $seen := dict }}
  {{- range $i, $host := $hosts }}
    {{- $address := printf "%s%s" .name (.path | default "/") }}
    {{- $key := printf "%s %s" $address (.pathType | default "Prefix") }}
    {{- if hasKey $seen $key }}
      {{ $at }}[{{ $i }}]: {{ $address }} is {{ $at }}[{{ get $seen $key }}] too: one address leads to one Service. Remove one of them, or give it another path.
    {{- end }}
    {{- $_ := set $seen $key $i }}
    {{- if regexMatch "/\\.\\.?(/|$)" $address }}
      {{ $at }}[{{ $i }}].path is {{ .path | quote }}: Kubernetes takes no path with . or .. as a part. Write it out.
    {{- end }}
    {{- if regexMatch "[^.]{64}" .name }}
      {{ $at }}[{{ $i }}].name is {{ .name | quote }}: no part of a host's name has more than 63 letters. Shorten it.
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Why an entry leads nowhere. Takes root, at (the entry's path) and entry. */}}
{{- define "app.check.lost" -}}
  {{- $at := .at }}
  {{- $entry := .entry }}
  {{- $ports := list }}
  {{- $named := list }}
  {{- range .root.Facts.ports }}
    {{- $text := printf "%s %d/%s" .service .port .protocol }}
    {{- $ports = append $ports $text }}
    {{- if eq .service (toString $entry.service) }}{{ $named = append $named $text }}{{ end }}
  {{- end }}
  {{- $have := join ", " $ports | default "services is empty" }}
  {{- if and $entry.service (not $named) }}
    {{ $at }}.service of {{ $entry.name }} is {{ $entry.service | quote }}, and services has none of that name ({{ $have }}). Correct it, or remove it and let servicePort find the Service.
  {{- else if and $entry.service $entry.servicePort }}
    {{ $at }}.servicePort of {{ $entry.name }} is {{ $entry.servicePort }}, and the Service {{ $entry.service | quote }} has no such TCP port ({{ join ", " $named }}). Correct it, or add the port.
  {{- else if $entry.service }}
    {{ $at }}.service of {{ $entry.name }} is {{ $entry.service | quote }}, which has no TCP port ({{ join ", " $named }}). Name another Service.
  {{- else if $entry.servicePort }}
    {{ $at }}.servicePort of {{ $entry.name }} is {{ $entry.servicePort }}, and no entry of services has that TCP port ({{ $have }}). Correct it, or add {name: port-{{ $entry.servicePort }}, servicePort: {{ $entry.servicePort }}} to services.
  {{- else }}
    {{ $at }}.servicePort of {{ $entry.name }} is missing, and services has no single TCP port that could be meant ({{ $have }}). Say which one.
  {{- end }}
{{- end -}}
