{{/*
What the release's pods may call. The internet is what is no private, shared, link-local or reserved address
(www.iana.org/assignments/iana-ipv4-special-registry); of IPv6 it is the global unicast addresses.
*/}}
{{- define "app.called" -}}
  {{- $to := (.Values.networkPolicy | default dict).to | default dict -}}
  {{- if $to.everything }}
- {}
  {{- else }}
- to:
    - namespaceSelector:
        matchLabels:
          kubernetes.io/metadata.name: kube-system
      podSelector:
        matchLabels:
          k8s-app: kube-dns
  ports:
    - port: 53
      protocol: UDP
    - port: 53
      protocol: TCP
- to:
    - {{ include "app.ownPods" . | indent 6 | trim }}
    {{- if ne $to.internet false }}
      {{- $four := list "0.0.0.0/8" "10.0.0.0/8" "100.64.0.0/10" "127.0.0.0/8" "169.254.0.0/16" "172.16.0.0/12" "192.0.0.0/24" "192.168.0.0/16" "198.18.0.0/15" "224.0.0.0/3" }}
      {{- $six := list }}
      {{- range $to.notInternet }}
        {{- /* Kubernetes takes only exceptions that lie within the rest; other addresses of IPv6 are no internet anyway. */}}
        {{- if regexMatch "^[23][0-9a-fA-F]{3}:" . }}{{ $six = append $six . }}{{ else if not (contains ":" .) }}{{ $four = append $four . }}{{ end }}
      {{- end }}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          {{- toYaml $four | nindent 10 }}
    - ipBlock:
        cidr: 2000::/3
        {{- with $six }}
        except:
          {{- toYaml . | nindent 10 }}
        {{- end }}
    {{- end }}
    {{- if $to.traefik }}
- to:
    - {{ include "app.traefikPods" . | indent 6 | trim }}
  ports:
    - port: {{ include "app.entryPointHttps" . | quote }}
      protocol: TCP
    - port: {{ include "app.entryPointHttp" . | quote }}
      protocol: TCP
    {{- end }}
    {{- if $to.apiServer }}
- ports:
    - port: 6443
      protocol: TCP
    {{- end }}
    {{- include "app.listedPeers" (dict "side" "to" "pods" $to.pods "addresses" $to.addresses) }}
  {{- end }}
{{- end -}}
