{{- define "app.check.services" -}}
  {{- if and .Values.services (not (regexMatch "^[a-z]" (.Facts.fullname))) }}
    fullnameOverride: the name {{ .Facts.fullname | quote }} begins with a digit, and Kubernetes wants the name of a Service to begin with a letter. Set fullnameOverride: app-{{ .Facts.fullname }}.
  {{- end }}
  {{- $names := dict }}
  {{- range $i, $service := .Values.services }}
    {{- if hasKey $names .name }}
      services[{{ $i }}].name is {{ .name | quote }}, and so is services[{{ get $names .name }}].name: each Service needs another name.
    {{- end }}
    {{- $_ := set $names .name $i }}
    {{- if and (eq .name "headless") $.Facts.stateful }}
      services[{{ $i }}].name is "headless": kind: StatefulSet makes a Service of that name itself. Choose another.
    {{- end }}
    {{- include "app.check.serviceType" (dict "index" $i "service" .) }}
  {{- end }}
  {{- include "app.check.ports" . }}
{{- end -}}

{{/* Settings that only some types of Service have. Takes index and service. */}}
{{- define "app.check.serviceType" -}}
  {{- $at := printf "services[%v]" .index }}
  {{- $service := .service }}
  {{- $type := $service.type | default "ClusterIP" }}
  {{- if ne $type "LoadBalancer" }}
    {{- range list "loadBalancerIP" "loadBalancerClass" "loadBalancerSourceRanges" "allocateLoadBalancerNodePorts" }}
      {{- if hasKey $service . }}
        {{ $at }}.{{ . }} is set, but {{ $at }}.type is {{ $type }}: only type: LoadBalancer has it. Change the type, or remove it.
      {{- end }}
    {{- end }}
  {{- end }}
  {{- if eq $type "ClusterIP" }}
    {{- if and (hasKey $service "externalTrafficPolicy") (not $service.externalIPs) }}
      {{ $at }}.externalTrafficPolicy is set, but {{ $at }}.type is ClusterIP: only NodePort and LoadBalancer have it. Change the type, or remove it.
    {{- end }}
  {{- else if eq (toString $service.clusterIP) "None" }}
    {{ $at }}.clusterIP is None, but {{ $at }}.type is {{ $type }}: only type: ClusterIP can do without an address. Change the type, or remove clusterIP.
  {{- end }}
  {{- range $port := prepend ($service.morePorts | default list) $service }}
    {{- if and $port.nodePort (eq $type "ClusterIP") }}
      {{ $at }}: nodePort {{ $port.nodePort }} of the port {{ $port.name | quote }} is set, but {{ $at }}.type is ClusterIP. Set type: NodePort or LoadBalancer, or remove nodePort.
    {{- end }}
  {{- end }}
{{- end -}}

{{- define "app.check.ports" -}}
  {{- $names := dict }}
  {{- $numbers := dict }}
  {{- $nodePorts := dict }}
  {{- $known := .Facts.portNames }}
  {{- range concat (.Values.sidecars | default list) (.Values.initContainers | default list) }}
    {{- range .ports }}{{ with .name }}{{ $known = append $known . }}{{ end }}{{ end }}
  {{- end }}
  {{- range $port := .Facts.ports }}
    {{- include "app.check.portName" . }}
    {{- range $added := $.Facts.addedPorts }}
      {{- if eq $port.name (printf "port-%d" $added) }}
        {{ $port.at }}.name is {{ $port.name | quote }}, the name of what the chart adds for the port {{ $added }} of a host. Choose another, or set servicePort: {{ $added }} here.
      {{- end }}
    {{- end }}
    {{- if hasKey $names .name }}
      {{- if hasSuffix "]" .at | and (contains "morePorts" .at) }}
        {{ .at }}.name is {{ .name | quote }}, and so is {{ get $names .name }}.name: each port needs another name.
      {{- end }}
    {{- else }}
      {{- $_ := set $names .name .at }}
    {{- end }}
    {{- $number := printf "%s %v/%s" .object .port .protocol }}
    {{- if and (hasKey $numbers $number) }}
      {{ .at }}.servicePort is {{ .port }}, and so is {{ get $numbers $number }}.servicePort: one Service has a port once. Change one of them.
    {{- end }}
    {{- $_ := set $numbers $number .at }}
    {{- if .nodePort }}
      {{- $key := printf "%v/%s" .nodePort .protocol }}
      {{- if hasKey $nodePorts $key }}
        {{ .at }}.nodePort is {{ .nodePort }}, and so is {{ get $nodePorts $key }}.nodePort: a node has a port once. Change one of them.
      {{- end }}
      {{- $_ := set $nodePorts $key .at }}
    {{- end }}
    {{- if and (kindIs "string" .target) (not (has .target $known)) }}
      {{ .at }}.targetPort is {{ .target | quote }}, but no container has a port of that name ({{ join ", " $known | default "there are none" }}). Give the number instead.
    {{- end }}
  {{- end }}
{{- end -}}

{{/* Takes an entry of app.ports. */}}
{{- define "app.check.portName" -}}
  {{- if gt (len .name) 15 }}
    {{ .at }}.name is {{ .name | quote }}, {{ len .name }} characters long: it becomes the name of a port, and Kubernetes takes no more than 15. Shorten it, to {{ trunc 15 .name | trimAll "-" | quote }} for example.
  {{- end }}
  {{- if or (not (regexMatch "[a-z]" .name)) (contains "--" .name) }}
    {{ .at }}.name is {{ .name | quote }}: it becomes the name of a port, which needs a letter and no two dashes in a row. Rename it, to "http" for example.
  {{- end }}
{{- end -}}
