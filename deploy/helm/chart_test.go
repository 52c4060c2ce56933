// Package helm holds the chart. Its tests render it with Helm's own engine, which checks values.schema.json, and decode what comes
// out as the types of Kubernetes and of the Prometheus operator, where a field that is unknown or of another type is an error.
package helm

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"

	"github.com/template-insights/insights/deploy/packaged"
	"github.com/template-insights/insights/store/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }

// What most tests give beside the chart's own values: without an image and a decision about the network there is no chart.
const (
	withTLS = `
image: {repository: registry.example.com/insights}
files:
  tls-cert: {secret: insights-tls, key: tls.crt}
  tls-key: {secret: insights-tls, key: tls.key}
`
	withoutTLS = `
image: {repository: registry.example.com/insights}
settings: {insecure: true}
`
)

// objects are what the chart makes, by kind and name.
type objects map[string]metav1.Object

// get finds an object that must be there.
func get[T metav1.Object](t *testing.T, all objects, name string) T {
	t.Helper()
	object, ok := all[name].(T)
	if !ok {
		t.Fatalf("no %s in %v", name, slices.Sorted(maps.Keys(all)))
	}
	return object
}

// render renders the chart with values, in YAML, over its own.
func render(t *testing.T, values string) (objects, error) {
	t.Helper()
	chart, err := loader.Load("insights")
	if err != nil {
		t.Fatal(err)
	}
	given, err := chartutil.ReadValues([]byte(values))
	if err != nil {
		t.Fatal(err)
	}
	release := chartutil.ReleaseOptions{Name: "insights", Namespace: "tools", IsInstall: true}
	all, err := chartutil.ToRenderValues(chart, given, release, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	files, err := engine.Engine{Strict: true}.Render(chart, all)
	if err != nil {
		return nil, err
	}
	out := objects{}
	for name, text := range files {
		if !strings.HasSuffix(name, ".yaml") || strings.TrimSpace(text) == "" {
			continue
		}
		object := out.decode(t, name, text)
		if object.GetNamespace() != "tools" || object.GetLabels()["app.kubernetes.io/name"] != "insights" {
			t.Errorf("%s: namespace %q, labels %v", name, object.GetNamespace(), object.GetLabels())
		}
	}
	return out, nil
}

// decode adds the object of a file.
func (o objects) decode(t *testing.T, name, text string) metav1.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{
		appsv1.AddToScheme, corev1.AddToScheme, networkingv1.AddToScheme, policyv1.AddToScheme, monitoringv1.AddToScheme,
	} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	object, kind, err := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer().Decode([]byte(text), nil, nil)
	if err != nil {
		t.Fatalf("%s: %v\n%s", name, err, text)
	}
	meta := object.(metav1.Object)
	o[kind.Kind+" "+meta.GetName()] = meta
	return meta
}

func mustRender(t *testing.T, values string) objects {
	t.Helper()
	all, err := render(t, values)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// definitions are values with a definition.
const definitions = "definitions: {metric_families: [{name: acme_depth, type: gauge, help: Jobs that wait.}]}"

// ingress are values with an Ingress.
const ingress = "ingress: {enabled: true, className: nginx, host: insights.example.com, tlsSecret: insights-page, annotations: {a: b}}"

// What is made depends on the values.
func TestObjects(t *testing.T) {
	t.Parallel()
	always := []string{"StatefulSet insights", "Service insights", "Service insights-prom"}
	for name, c := range map[string]struct {
		values string
		want   []string
	}{
		"as it comes": {withTLS, append(slices.Clone(always), "PodDisruptionBudget insights")},
		"one replica": {withTLS + "replicas: 1", always},
		"protected by something else": {
			withoutTLS + "files: {prometheus-token-file: null}\nserviceMonitor: {enabled: true}",
			append(slices.Clone(always), "PodDisruptionBudget insights", "ServiceMonitor insights"),
		},
		"everything": {
			withTLS + "serviceMonitor: {enabled: true}\nnetworkPolicy: {enabled: true}\n" + definitions + "\n" + ingress,
			append(
				slices.Clone(always), "PodDisruptionBudget insights", "ServiceMonitor insights", "NetworkPolicy insights",
				"ConfigMap insights-definitions", "Ingress insights",
			),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := slices.Sorted(maps.Keys(mustRender(t, c.values)))
			if slices.Sort(c.want); !slices.Equal(got, c.want) {
				t.Errorf("objects %v, want %v", got, c.want)
			}
		})
	}
}

// Values that cannot work are refused before anything is installed.
func TestRefusedValues(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ values, says string }{
		"no image":                      {"settings: {insecure: true}", "repository"},
		"no decision about the network": {"image: {repository: x}", "tls-cert"},
		"half of TLS":                   {"image: {repository: x}\nfiles: {tls-cert: {secret: a, key: b}}", "tls-key"},
		"metrics for everybody":         {withTLS + "  prometheus-token-file: null", "prometheus-token-file"},
		"misspelt value":                {withTLS + "replica: 3", "replica"},
		"misspelt setting":              {"image: {repository: x}\nsettings: {Rate_Limit: 3}", "Rate_Limit"},
		"definitions by a path":         {"image: {repository: x}\nsettings: {definitions: /x}", "definitions"},
		"address":                       {"image: {repository: x}\nsettings: {http-address: x}", "http-address"},
		"no replicas":                   {withTLS + "replicas: 0", "replicas"},
		"no privacy mode":               {withTLS + "privacy: {mode: named}", "mode"},
		"digest":                        {"image: {repository: x, digest: latest}", "digest"},
		"no host":                       {withTLS + "ingress: {enabled: true, tlsSecret: x}", "host"},
		"page without TLS":              {withTLS + "ingress: {enabled: true, host: x}", "tlsSecret"},
		"list of the erased by a path":  {"image: {repository: x}\nsettings: {erased-list: /x}", "erased-list"},
		"file that no flag has":         {"image: {repository: x}\nfiles: {password: {secret: a, key: b}}", "password"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := render(t, c.values); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("error: %v; want it to say %q", err, c.says)
			}
		})
	}
}

// Services find the pods and their ports, the budget and the policy the pods, and the monitor the service of the metrics.
func TestSelection(t *testing.T) {
	t.Parallel()
	all := mustRender(t, withTLS+"serviceMonitor: {enabled: true, labels: {release: prometheus}}\nnetworkPolicy: {enabled: true}")
	servers := get[*appsv1.StatefulSet](t, all, "StatefulSet insights")
	pod := servers.Spec.Template
	ports := map[string]int32{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = p.ContainerPort
	}
	if want := map[string]int32{"grpc": 9090, "http": 8080, "prom-http": 2112}; !maps.Equal(ports, want) {
		t.Errorf("ports %v, want %v", ports, want)
	}
	metrics := get[*corev1.Service](t, all, "Service insights-prom")
	if servers.Spec.ServiceName != metrics.Name {
		t.Errorf("pods have their names of %s, which is no headless service", servers.Spec.ServiceName)
	}
	for _, service := range []*corev1.Service{get[*corev1.Service](t, all, "Service insights"), metrics} {
		if len(service.Spec.Selector) == 0 || !labels.SelectorFromSet(service.Spec.Selector).Matches(labels.Set(pod.Labels)) {
			t.Errorf("%s selects %v, pods have %v", service.Name, service.Spec.Selector, pod.Labels)
		}
		for _, p := range service.Spec.Ports {
			if p.TargetPort.StrVal != p.Name || ports[p.Name] != p.Port {
				t.Errorf("%s has the port %+v, pods %v", service.Name, p, ports)
			}
		}
	}
	policy := get[*networkingv1.NetworkPolicy](t, all, "NetworkPolicy insights")
	for name, selector := range map[string]*metav1.LabelSelector{
		"servers": servers.Spec.Selector,
		"budget":  get[*policyv1.PodDisruptionBudget](t, all, "PodDisruptionBudget insights").Spec.Selector,
		"policy":  &policy.Spec.PodSelector, "spread": pod.Spec.TopologySpreadConstraints[0].LabelSelector,
	} {
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil || s.Empty() || !s.Matches(labels.Set(pod.Labels)) {
			t.Errorf("the %s selects %v, %v; pods have %v", name, s, err, pod.Labels)
		}
	}
	for _, rule := range policy.Spec.Ingress {
		for _, p := range rule.Ports {
			if open := len(rule.From) == 0; ports[p.Port.StrVal] == 0 || open == (p.Port.StrVal == "prom-http") {
				t.Errorf("the policy lets %v in to %v", rule.From, p.Port)
			}
		}
	}
	monitor := get[*monitoringv1.ServiceMonitor](t, all, "ServiceMonitor insights")
	s, err := metav1.LabelSelectorAsSelector(&monitor.Spec.Selector)
	if err != nil || !s.Matches(labels.Set(metrics.Labels)) || s.Matches(labels.Set(all["Service insights"].GetLabels())) {
		t.Errorf("the monitor selects %v, %v; the service of the metrics has %v", s, err, metrics.Labels)
	}
	endpoint := monitor.Spec.Endpoints[0]
	if endpoint.Port != metrics.Spec.Ports[0].Name || metrics.Spec.ClusterIP != corev1.ClusterIPNone ||
		metrics.Labels[monitor.Spec.JobLabel] != "insights" || monitor.Labels["release"] != "prometheus" {
		t.Errorf("the monitor scrapes %+v of %+v as job %q", endpoint, metrics.Spec, metrics.Labels[monitor.Spec.JobLabel])
	}
	if token := endpoint.Authorization.Credentials; token.Name != "insights-prometheus-token" || token.Key != "token" {
		t.Errorf("the monitor bears %+v", token)
	}
}

// The Ingress leads to the port of REST, over TLS alone.
func TestIngress(t *testing.T) {
	t.Parallel()
	all := mustRender(t, withTLS+ingress)
	in, service := get[*networkingv1.Ingress](t, all, "Ingress insights"), get[*corev1.Service](t, all, "Service insights")
	const host = "insights.example.com"
	if tls := in.Spec.TLS; len(tls) != 1 || !slices.Equal(tls[0].Hosts, []string{host}) || tls[0].SecretName != "insights-page" {
		t.Errorf("TLS is %+v", tls)
	}
	if *in.Spec.IngressClassName != "nginx" || in.Annotations["a"] != "b" || len(in.Spec.Rules) != 1 || in.Spec.Rules[0].Host != host {
		t.Errorf("class %q, annotations %v, rules %+v", *in.Spec.IngressClassName, in.Annotations, in.Spec.Rules)
	}
	for _, path := range in.Spec.Rules[0].HTTP.Paths {
		to := path.Backend.Service
		found := slices.ContainsFunc(service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == to.Port.Name && p.Port == 8080 })
		if path.Path != "/" || to.Name != service.Name || !found {
			t.Errorf("%s leads to %+v, the service has %+v", path.Path, to, service.Spec.Ports)
		}
	}
}

// Clusters without Helm scrape the same, by the same names.
func TestManifests(t *testing.T) {
	t.Parallel()
	plain := objects{}
	for _, name := range []string{"service.yaml", "servicemonitor.yaml"} {
		text, err := os.ReadFile(filepath.Join("../kubernetes", name))
		if err != nil {
			t.Fatal(err)
		}
		plain.decode(t, name, string(text))
	}
	chart := mustRender(t, withTLS+"serviceMonitor: {enabled: true}")
	was, is := get[*corev1.Service](t, plain, "Service insights-prom"), get[*corev1.Service](t, chart, "Service insights-prom")
	if p, q := was.Spec.Ports[0], is.Spec.Ports[0]; p.Name != q.Name || p.Port != q.Port {
		t.Errorf("port %+v, in the chart %+v", p, q)
	}
	for label, value := range was.Labels {
		if is.Labels[label] != value {
			t.Errorf("label %s is %q, in the chart %q", label, value, is.Labels[label])
		}
	}
	scraped, scrapes := get[*monitoringv1.ServiceMonitor](t, plain, "ServiceMonitor insights").Spec,
		get[*monitoringv1.ServiceMonitor](t, chart, "ServiceMonitor insights").Spec
	if !reflect.DeepEqual(scraped.Endpoints, scrapes.Endpoints) || scraped.JobLabel != scrapes.JobLabel {
		t.Errorf("scraped are %+v, by the chart %+v", scraped, scrapes)
	}
}

// The server is given no more than it needs, and whoever starts it nothing that it refuses.
func TestPod(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		values, scheme string
		variables      map[string]string
		image          string
	}{
		"TLS": {
			withTLS, "HTTPS",
			map[string]string{
				"INSIGHTS_TLS_CERT": "/etc/insights/tls-cert", "INSIGHTS_TLS_KEY": "/etc/insights/tls-key",
				"INSIGHTS_PROMETHEUS_TOKEN_FILE": "/etc/insights/prometheus-token-file",
				"INSIGHTS_PRIVACY_KEY_FILE":      "/etc/insights/privacy-key-file",
			},
			"registry.example.com/insights:0.0.0",
		},
		"a privacy mode": {
			withTLS + "privacy: {mode: pseudonym}", "HTTPS",
			map[string]string{"INSIGHTS_PRIVACY_MODE": "pseudonym"},
			"registry.example.com/insights:0.0.0",
		},
		"a Citus cluster": {
			withTLS + "database: {citusWorkers: workers}", "HTTPS",
			map[string]string{"INSIGHTS_CITUS_WORKERS": "insights-database/workers"},
			"registry.example.com/insights:0.0.0",
		},
		"definitions": {
			withTLS + definitions, "HTTPS",
			map[string]string{"INSIGHTS_DEFINITIONS": "/etc/insights/definitions.yaml"},
			"registry.example.com/insights:0.0.0",
		},
		"settings": {
			"image: {repository: x, tag: v1}\nsettings: {insecure: true, rate-limit: 10000000, usage-retention: 9600h, " +
				"prometheus-collect-agent-stats: true}\nfiles: {prometheus-token-file: null, privacy-key-file: null}",
			"HTTP",
			map[string]string{
				"INSIGHTS_INSECURE": "true", "INSIGHTS_RATE_LIMIT": "10000000", "INSIGHTS_USAGE_RETENTION": "9600h",
				"INSIGHTS_PROMETHEUS_COLLECT_AGENT_STATS": "true",
			},
			"x:v1",
		},
		"certificates of clients": {
			withTLS + "  tls-client-ca: {secret: insights-ca, key: ca.crt}\nimage: {repository: x, digest: sha256:" +
				strings.Repeat("0a", 32) + "}",
			"",
			map[string]string{"INSIGHTS_TLS_CLIENT_CA": "/etc/insights/tls-client-ca"},
			"x@sha256:" + strings.Repeat("0a", 32),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all := mustRender(t, c.values)
			pod := get[*appsv1.StatefulSet](t, all, "StatefulSet insights").Spec.Template.Spec
			server := pod.Containers[0]
			if server.Image != c.image {
				t.Errorf("image %s, want %s", server.Image, c.image)
			}
			check := pod.InitContainers[0]
			if !slices.Equal(check.Args, []string{"serve", "--check"}) || check.Image != server.Image ||
				!reflect.DeepEqual(check.Env, server.Env) || !reflect.DeepEqual(check.VolumeMounts, server.VolumeMounts) ||
				!reflect.DeepEqual(check.SecurityContext, server.SecurityContext) || !reflect.DeepEqual(check.Resources, server.Resources) {
				t.Errorf("the check is %+v, the server %+v", check, server)
			}
			environment := map[string]string{}
			for _, v := range server.Env {
				environment[v.Name] = v.Value
				if from := v.ValueFrom; from != nil {
					environment[v.Name] = from.SecretKeyRef.Name + "/" + from.SecretKeyRef.Key
				}
			}
			want := map[string]string{
				"INSIGHTS_DATABASE": "insights-database/url", "INSIGHTS_GRPC_ADDRESS": ":9090", "INSIGHTS_HTTP_ADDRESS": ":8080",
				"INSIGHTS_PROMETHEUS_ADDRESS": ":2112", "INSIGHTS_ERASED_LIST": "/var/lib/insights/erased",
			}
			maps.Copy(want, c.variables)
			for name, value := range want {
				if environment[name] != value {
					t.Errorf("%s is %q, want %q", name, environment[name], value)
				}
			}
			mounted := map[string]bool{"/var/lib/insights/erased": true} // TestErasing writes it
			for _, v := range pod.Volumes {
				for _, source := range v.Projected.Sources {
					if source.ConfigMap != nil {
						for key := range get[*corev1.ConfigMap](t, all, "ConfigMap "+source.ConfigMap.Name).Data {
							mounted[filepath.Join("/etc/insights", key)] = true
						}
						continue
					}
					mounted[filepath.Join("/etc/insights", source.Secret.Items[0].Path)] = true
				}
			}
			for name, value := range environment {
				if strings.HasPrefix(value, "/") && !mounted[value] {
					t.Errorf("%s is %s, there are %v", name, value, mounted)
				}
			}
			for name, probe := range map[string]*corev1.Probe{
				"readiness": server.ReadinessProbe, "liveness": server.LivenessProbe, "startup": server.StartupProbe,
			} {
				switch {
				case c.scheme == "" && (probe.TCPSocket == nil || probe.HTTPGet != nil),
					c.scheme != "" && (probe.HTTPGet == nil || string(probe.HTTPGet.Scheme) != c.scheme):
					t.Errorf("%s probe %+v", name, probe.ProbeHandler)
				case probe.HTTPGet != nil && (probe.HTTPGet.Path == "/readyz") != (name == "readiness"):
					t.Errorf("%s probe asks for %s", name, probe.HTTPGet.Path)
				}
			}
			delay, err := time.ParseDuration(environment["INSIGHTS_DRAIN_DELAY"])
			if grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second; err != nil || delay == 0 || grace < delay+10*time.Second {
				t.Errorf("it is killed %v after it was told to end, goes on for %v of them (%v) and may drain for 10s", grace, delay, err)
			}
			can := server.SecurityContext
			if !*pod.SecurityContext.RunAsNonRoot || !*can.ReadOnlyRootFilesystem || *can.AllowPrivilegeEscalation ||
				!slices.Equal(can.Capabilities.Drop, []corev1.Capability{"ALL"}) ||
				pod.SecurityContext.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault || *pod.AutomountServiceAccountToken ||
				*pod.EnableServiceLinks {
				t.Errorf("the pod may too much: %+v %+v", pod.SecurityContext, can)
			}
			if server.Resources.Limits.Memory().IsZero() {
				t.Errorf("the server may take all memory: %+v", server.Resources)
			}
			checkVariables(t, slices.Collect(maps.Keys(environment)))
		})
	}
}

// The file of definitions is what the values say.
func TestDefinitions(t *testing.T) {
	t.Parallel()
	file := get[*corev1.ConfigMap](t, mustRender(t, withTLS+definitions), "ConfigMap insights-definitions").Data["definitions.yaml"]
	want := "metric_families:\n- help: Jobs that wait.\n  name: acme_depth\n  type: gauge\n"
	if strings.TrimSpace(file) != strings.TrimSpace(want) {
		t.Errorf("definitions:\n%s\nwant:\n%s", file, want)
	}
}

// Whoever is erased does not come back with an older backup: not to a server that has what the chart mounts and no more, and not to one
// whose list has it of another server.
func TestErasing(t *testing.T) {
	t.Parallel()
	binary := buildProgram(t)
	key := make([]byte, 32)
	rand.Read(key) // it never fails
	secrets := map[string]string{"insights-privacy-key/key": hex.EncodeToString(key), "insights-prometheus-token/token": rand.Text()}
	pod := get[*appsv1.StatefulSet](t, mustRender(t, withoutTLS), "StatefulSet insights")
	for name, replicas := range map[string]int{"one replica": 1, "two replicas": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var servers []packaged.Server
			for range replicas {
				servers = append(servers, startedBy(t, pod, secrets))
			}
			packaged.TryErasing(t, binary, servers...)
		})
	}
	t.Run("nowhere to write", func(t *testing.T) {
		t.Parallel()
		packaged.TryReadOnly(t, binary, startedBy(t, pod, secrets))
	})
}

// buildProgram builds the program as the image has it.
func buildProgram(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "insights")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", binary, "./cmd/insights")
	build.Dir, build.Env = "../..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the program: %v\n%s", err, out)
	}
	return binary
}

// startedBy is a server as Kubernetes starts it for a pod: secrets become files, and a claim becomes an empty volume that the group of
// the pod may write.
func startedBy(t *testing.T, set *appsv1.StatefulSet, secrets map[string]string) packaged.Server {
	t.Helper()
	pod := set.Spec.Template.Spec
	user, group := int(*pod.SecurityContext.RunAsUser), int(*pod.SecurityContext.RunAsGroup)
	volumes := map[string]string{}
	for _, v := range pod.Volumes {
		volumes[v.Name] = t.TempDir()
		for _, source := range v.Projected.Sources {
			for _, item := range source.Secret.Items {
				text, ok := secrets[source.Secret.Name+"/"+item.Key]
				if !ok {
					t.Fatalf("no secret %s has %s", source.Secret.Name, item.Key)
				}
				if err := os.WriteFile(filepath.Join(volumes[v.Name], item.Path), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	for _, claim := range set.Spec.VolumeClaimTemplates {
		if !slices.Equal(claim.Spec.AccessModes, []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}) {
			t.Errorf("the volume %s wants %v, which not every cluster has", claim.Name, claim.Spec.AccessModes)
		}
		folder := t.TempDir()
		if err := errors.Join(os.Chown(folder, 0, int(*pod.SecurityContext.FSGroup)), os.Chmod(folder, 0o2770)); err != nil {
			t.Fatal(err)
		}
		volumes[claim.Name] = folder
	}
	server := packaged.Server{User: user, Group: group, Environment: map[string]string{}}
	for _, m := range pod.Containers[0].VolumeMounts {
		if volumes[m.Name] == "" {
			t.Fatalf("there is no volume %s", m.Name)
		}
		server.Mounts = append(server.Mounts, packaged.Mount{From: volumes[m.Name], At: m.MountPath, ReadOnly: m.ReadOnly})
	}
	for _, v := range pod.Containers[0].Env {
		server.Environment[v.Name] = v.Value
	}
	return server
}

// checkVariables asks the program itself, which refuses variables that set no flag.
func checkVariables(t *testing.T, names []string) {
	t.Helper()
	program := exec.CommandContext(t.Context(), "go", "run", "./cmd/insights", "version")
	program.Dir = "../.."
	program.Env = append(os.Environ(), "CGO_ENABLED=0")
	for _, name := range names {
		program.Env = append(program.Env, name+"=x")
	}
	if out, err := program.CombinedOutput(); err != nil {
		t.Errorf("with the variables %v: %v\n%s", names, err, out)
	}
}
