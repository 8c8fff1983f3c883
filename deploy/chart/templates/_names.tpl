{{- define "dfengine.name" -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "dfengine.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "dfengine.labels" -}}
{{ include "dfengine.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "dfengine.image" -}}
image: {{ printf "%s:%s" (required "image.repository names the image that deploy/Containerfile builds" .Values.image.repository) (default .Chart.AppVersion .Values.image.tag) | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
{{- end }}

{{/* The Secret with the swarm's secret; empty if there is none. */}}
{{- define "dfengine.secret" -}}
{{- if .Values.secret.existing }}
{{- .Values.secret.existing }}
{{- else if .Values.secret.value }}
{{- include "dfengine.name" . }}-secret
{{- end }}
{{- end }}

{{/* Names of supernodes. They must be equal on all hosts, since a file's supernode is chosen by name. */}}
{{- define "dfengine.nodes" -}}
{{- $name := include "dfengine.name" . }}
{{- if .Values.proxy.supernodes }}
{{- range .Values.proxy.supernodes }}
- {{ printf "--node=%s" . | quote }}
{{- end }}
{{- else if .Values.supernode.enabled }}
{{- range until (int .Values.supernode.replicas) }}
- --node={{ $name }}-supernode-{{ . }}.{{ $name }}-supernodes.{{ $.Release.Namespace }}.svc.{{ $.Values.clusterDomain }}:8002
{{- end }}
{{- else }}
{{- fail "supernode.enabled is false: name other supernodes by proxy.supernodes" }}
{{- end }}
{{- end }}

{{- define "dfengine.trust.args" -}}
{{- if include "dfengine.secret" . }}
{{- range .Values.secret.keys }}
- --secret-file=/etc/dfengine/secret/{{ . }}
{{- end }}
{{- end }}
{{- if .Values.tls.existing }}
- --tls-cert=/etc/dfengine/tls/tls.crt
- --tls-key=/etc/dfengine/tls/tls.key
- --tls-ca=/etc/dfengine/tls/ca.crt
{{- end }}
{{- end }}

{{- define "dfengine.trust.mounts" -}}
{{- if include "dfengine.secret" . }}
- name: secret
  mountPath: /etc/dfengine/secret
  readOnly: true
{{- end }}
{{- if .Values.tls.existing }}
- name: tls
  mountPath: /etc/dfengine/tls
  readOnly: true
{{- end }}
{{- end }}

{{/* Files of Secrets are owned by root and the pod's fsGroup. */}}
{{- define "dfengine.trust.volumes" -}}
{{- if include "dfengine.secret" . }}
- name: secret
  secret:
    secretName: {{ include "dfengine.secret" . }}
    defaultMode: 0440
{{- end }}
{{- if .Values.tls.existing }}
- name: tls
  secret:
    secretName: {{ .Values.tls.existing }}
    defaultMode: 0440
{{- end }}
{{- end }}

{{/* For every container that runs dfengine's servers: the image's user, without privileges. */}}
{{- define "dfengine.unprivileged" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
For both pods. Kubernetes would set environment variables for services, such as DFENGINE_SUPERNODE_PORT, which is the variable of an
option, so enableServiceLinks is off. The group's permissions are set only once, since the kubelet's later passes would make private files
readable for the group.
*/}}
{{- define "dfengine.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  fsGroup: 10001
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- if .Values.image.pullSecrets }}
imagePullSecrets:
{{- range .Values.image.pullSecrets }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end }}

{{/* Scheduling of a pod. The context is supernode or proxy of the values. */}}
{{- define "dfengine.placing" -}}
{{- if .priorityClassName }}
priorityClassName: {{ .priorityClassName }}
{{- end }}
nodeSelector: {{- toYaml .nodeSelector | nindent 2 }}
tolerations: {{- toYaml .tolerations | nindent 2 }}
affinity: {{- toYaml .affinity | nindent 2 }}
{{- end }}

{{/* For init containers that write files owned by root; capabilities are last, so that one can be added. */}}
{{- define "dfengine.root" -}}
runAsNonRoot: false
runAsUser: 0
runAsGroup: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}
