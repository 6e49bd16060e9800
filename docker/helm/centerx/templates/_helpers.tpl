{{- define "centerx.name" -}}
{{- printf "%s" (default .Release.Name .Values.nameOverride) | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "centerx.selector" -}}
app.kubernetes.io/name: centerx
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "centerx.labels" -}}
{{ include "centerx.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* The user's settings, whose top-level keys have to come before any table, and what the chart adds. */ -}}
{{- define "centerx.config" -}}
{{ .Values.config }}
{{- with .Values.tls.existingSecret }}

[grpc.tls]
certificate = "/etc/centerx/tls/tls.crt"
key = "/etc/centerx/tls/tls.key"
{{- end }}

[auth]
mode = {{ .Values.auth.mode | quote }}
{{- range .Values.auth.tokens }}

[[auth.token]]
name = {{ .name | quote }}
role = {{ .role | quote }}
sha256 = {{ .sha256 | quote }}
{{- end }}
{{- end -}}
