{{- define "insights.selector" -}}
app.kubernetes.io/name: insights
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "insights.labels" -}}
{{ include "insights.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}
