{{/*
.Facts.ports: every port that services declare, in their order: service (the entry's name),
object (the Service's name), name, port, target, protocol, nodePort, appProtocol, and at (the
path of the value it comes from).
*/}}
{{- define "app.facts.ports" -}}
  {{- $ports := list -}}
  {{- range $i, $service := .Values.services -}}
    {{- $object := include "app.child" (dict "root" $ "suffix" $service.name) -}}
    {{- range $j, $port := prepend ($service.morePorts | default list) $service -}}
      {{- $ports = append $ports (dict
            "service" $service.name
            "object" $object
            "at" (eq $j 0 | ternary (printf "services[%d]" $i) (printf "services[%d].morePorts[%d]" $i (sub $j 1)))
            "name" $port.name
            "port" (int $port.servicePort)
            "target" ($port.targetPort | default $port.servicePort)
            "protocol" ($port.protocol | default "TCP")
            "nodePort" $port.nodePort
            "appProtocol" $port.appProtocol) -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set .Facts "ports" $ports -}}
{{- end -}}

{{/*
.Facts.containerPorts: [{name, number, protocol}], each number once, under the name of the first port
that leads to it. .Facts.portNames: what a target or a probe may call them.
*/}}
{{- define "app.facts.containerPorts" -}}
  {{- $ports := list -}}
  {{- $names := list -}}
  {{- $seen := dict -}}
  {{- range .Facts.ports -}}
    {{- $key := printf "%v/%s" .target .protocol -}}
    {{- if not (or (kindIs "string" .target) (hasKey $seen $key)) -}}
      {{- $_ := set $seen $key true -}}
      {{- $ports = append $ports (dict "name" .name "number" .target "protocol" .protocol) -}}
      {{- $names = append $names .name -}}
    {{- end -}}
  {{- end -}}
  {{- range .Facts.addedPorts -}}
    {{- if not (hasKey $seen (printf "%d/TCP" .)) -}}
      {{- $ports = append $ports (dict "name" (printf "port-%d" .) "number" . "protocol" "TCP") -}}
    {{- end -}}
  {{- end -}}
  {{- $_ := set .Facts "containerPorts" $ports -}}
  {{- $_ := set .Facts "portNames" $names -}}
{{- end -}}
