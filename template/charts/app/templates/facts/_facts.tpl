{{/*
What several templates need to know is found out once a render, and kept as .Facts:

  name, fullname  of the application, and of its objects
  stateful        whether its kind is StatefulSet
  check           whether the release is the check of another one  ../lib/_job.tpl
  ports           what services declare                            _ports.tpl
  containerPorts  what the application's container opens, and portNames
  volumes         what the pod mounts                              _volumes.tpl
  hosts           what ingress serves, host by host                _routes.tpl
  gatewayHosts    the same for the Gateway API
  tcpRoutes       what tcpRoutes lead to
  addedPorts      ports that hosts name and services do not
  lost            entries of hosts and tcpRoutes that lead nowhere
  tls             whether and how the hosts are served by https    _tls.tpl
  tested          the port that helm test calls                    _tests.tpl

Every template that reads them begins by including this one.
*/}}
{{- define "app.facts" -}}
  {{- if not (hasKey . "Facts") -}}
    {{- with (.Values.check | default dict).of }}{{ include "app.onlyTheCheck" $ }}{{ end -}}
    {{- $facts := dict "name" (include "app.name" .) "stateful" (eq (default "Deployment" .Values.kind) "StatefulSet") -}}
    {{- $_ := set $facts "check" ((.Values.check | default dict).of | default "") -}}
    {{- $_ := set $facts "fullname" (include "app.fullname" .) -}}
    {{- $_ := set . "Facts" $facts -}}
    {{- include "app.facts.ports" . -}}
    {{- include "app.facts.volumes" . -}}
    {{- include "app.facts.routes" . -}}
    {{- include "app.facts.containerPorts" . -}}
    {{- include "app.facts.tls" . -}}
    {{- include "app.facts.tested" . -}}
  {{- end -}}
{{- end -}}
