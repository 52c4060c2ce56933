{{- define "insights.probe" -}}
{{- if hasKey .files "tls-client-ca" -}}
# Whoever checks has no certificate of a client.
tcpSocket:
  port: http
{{- else -}}
httpGet:
  path: {{ .path }}
  port: http
  scheme: {{ hasKey .files "tls-cert" | ternary "HTTPS" "HTTP" }}
{{- end }}
{{- end }}
