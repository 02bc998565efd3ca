module cluster/crds

go 1.26.8

require (
	github.com/cert-manager/cert-manager v1.21.2
	github.com/k3s-io/helm-controller v0.17.9
	github.com/traefik/traefik/v3 v3.7.13
	sigs.k8s.io/gateway-api v1.6.3
)
