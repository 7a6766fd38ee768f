{{/* How a node gets its identity: variables of its container. */}}
{{- define "starling.identityEnv" -}}
{{- if eq .Values.identity "spire-standalone" -}}
- {name: STARLING_JOIN_TOKEN_FILE, value: /run/starling/identity/token}
- {name: STARLING_SPIRE_BUNDLE, value: /run/starling/identity/bundle.pem}
- {name: SPIRE_SERVER_IP, value: spire-server}
- {name: SPIRE_SERVER_PORT, value: "8081"}
- {name: STARLING_SPIRE_TRUST_DOMAIN, valueFrom: {configMapKeyRef: {name: swarm-settings, key: trust-domain}}}
{{- else if eq .Values.identity "pem" -}}
- {name: SWARM_ID_CERT, value: /run/starling/identity/tls.crt}
- {name: SWARM_ID_KEY, value: /run/starling/identity/tls.key}
- {name: SWARM_ID_CACERT, value: /run/starling/identity/ca.crt}
{{- else -}}
- {name: SPIFFE_ENDPOINT_SOCKET, value: "unix:///run/starling/identity/spire-agent.sock"}
{{- end }}
{{- end }}

{{/* And the volume `identity`: (dict "root" $ "node" NAME). Keys one by one: a pod whose Secret is still empty waits with its start. */}}
{{- define "starling.identityVolume" -}}
- name: identity
{{- if eq .root.Values.identity "spire-csi" }}
  csi: {driver: csi.spiffe.io, readOnly: true}
{{- else }}
  secret:
    secretName: identity-{{ .node }}
    defaultMode: 0440
    items:
    {{- range (eq .root.Values.identity "pem") | ternary (list "tls.crt" "tls.key" "ca.crt") (list "token" "bundle.pem") }}
    - {key: {{ . }}, path: {{ . }}}
    {{- end }}
{{- end }}
{{- end }}

{{/* The Secret itself, which something else fills: (dict "root" $ "node" NAME "labels" TEXT). An upgrade leaves what is in it. */}}
{{- define "starling.identitySecret" -}}
{{- if ne .root.Values.identity "spire-csi" }}
---
apiVersion: v1
kind: Secret
metadata:
  name: identity-{{ .node }}
  labels:
    {{- .labels | nindent 4 }}
    {{- include "starling.common" .root | nindent 4 }}
type: Opaque
{{- end }}
{{- end }}

{{/* The files of the SPIRE server and its sidecar: (dict "root" $ "nodes" [{agent, secret}]). */}}
{{- define "starling.spireConfiguration" -}}
server.conf: |
  {{- .root.Files.Get "files/server.conf" | nindent 2 }}
tokens.yaml: |
  entries:
  {{- (.root.Files.Get "files/tokens.yaml" | fromYaml).entries | toYaml | nindent 2 }}
  tokens:
  {{- toYaml .nodes | nindent 2 }}
{{- end }}
