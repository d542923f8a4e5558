{{/*
Copyright The Fairlead Authors.
SPDX-License-Identifier: Apache-2.0
*/}}

{{/* The first part of all names, short enough for what follows it. */}}
{{- define "fairlead.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" (.Release.Name | trunc 31 | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{- define "fairlead.operator" -}}
{{ include "fairlead.fullname" . }}-operator
{{- end -}}

{{- define "fairlead.serviceAccount" -}}
{{ .Values.serviceAccount.name | default (include "fairlead.operator" .) }}
{{- end -}}

{{/* Labels of every object. */}}
{{- define "fairlead.labels" -}}
{{ include "fairlead.selector" . }}
{{ include "fairlead.releaseLabels" . }}
{{- end -}}

{{/* How Helm and people tell a release's objects; never in a selector. */}}
{{- define "fairlead.releaseLabels" -}}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: fairlead
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{/* The operator's pods. A selector cannot change, so it is that of config/default. */}}
{{- define "fairlead.selector" -}}
app.kubernetes.io/name: fairlead-operator
{{- end -}}

{{/* repository@digest or repository:tag, of a dict with image and root. */}}
{{- define "fairlead.image" -}}
{{- if .image.digest -}}
{{ .image.repository }}@{{ .image.digest }}
{{- else -}}
{{ .image.repository }}:{{ .image.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* Whether a rule is about resources without a namespace. */}}
{{- define "fairlead.isClusterScoped" -}}
{{- $known := list "customresourcedefinitions" "ingressclasses" "gatewayclasses" "namespaces" "subjectaccessreviews" "tokenreviews" -}}
{{- has (first .resources) $known -}}
{{- end -}}
