{{/* Labels of an object: (dict "component" "network-node" "instance" NAME "version" VERSION). */}}
{{- define "starling.labels" -}}
app.kubernetes.io/name: starling
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/instance: {{ .instance }}
app.kubernetes.io/part-of: starling
{{- with .version }}
app.kubernetes.io/version: {{ . }}
{{- end }}
{{- end }}

{{/* Labels of every object, but not of pods. helm.sh/chart and managed-by are what Helm's own conventions ask for. */}}
{{- define "starling.common" -}}
starling.dev/ledger: embedded
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- end }}

{{- define "starling.spireLabels" -}}
app.kubernetes.io/name: spire-server
app.kubernetes.io/component: identity
app.kubernetes.io/part-of: starling
{{- end }}

{{/* What all pods have: (dict "root" $ "grace" SECONDS). */}}
{{- define "starling.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
terminationGracePeriodSeconds: {{ .grace }}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
- name: {{ . }}
{{- end }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "starling.container" -}}
imagePullPolicy: IfNotPresent
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* Probes of a node of ours; the start may take as long as the copy of a long ledger. */}}
{{- define "starling.probes" -}}
startupProbe:
  httpGet: {path: /startupz, port: health}
  periodSeconds: 1
  failureThreshold: 600
readinessProbe:
  httpGet: {path: /readyz, port: health}
  periodSeconds: 5
  timeoutSeconds: 3
livenessProbe:
  httpGet: {path: /livez, port: health}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{/* Annotations by which a Prometheus finds a pod. */}}
{{- define "starling.scrape" -}}
{{- if .Values.monitoring.enabled }}
prometheus.io/scrape: "true"
prometheus.io/port: "9464"
{{- end }}
{{- end }}

{{/* The specification of a claim: (dict "storage" {size, storageClassName} "mode" MODE). */}}
{{- define "starling.claim" -}}
accessModes: [{{ .mode }}]
{{- with .storage.storageClassName }}
storageClassName: {{ . }}
{{- end }}
resources: {requests: {storage: {{ .storage.size }}}}
{{- end }}

{{/* The objects of a file, which kustomize reads too, with more labels: (dict "root" $ "text" TEXT "labels" TEXT). */}}
{{- define "starling.objects" -}}
{{- $labels := merge (include "starling.common" .root | fromYaml) (.labels | default "" | fromYaml) }}
{{- range splitList "\n---\n" .text }}
---
{{ merge (dict "metadata" (dict "labels" $labels)) (fromYaml .) | toYaml }}
{{- end }}
{{- end }}
