package deploy

import (
	"crypto/rand"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/template-insights/insights/deploy/packaged"
)

// nonroot is the user of the image, which deploy/Dockerfile names.
const nonroot = 65532

// What the compose file mounts is enough to erase somebody for good, and its service that makes the privacy key makes it once.
func TestErasingInCompose(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Environment         map[string]string
			Volumes             []string
			Entrypoint, Command []string
			ReadOnly            bool `yaml:"read_only"`
		}
	}
	readYAML(t, "compose.yaml", &compose)
	maker, server := compose.Services["privacy-key"], compose.Services["insights"]
	for name, value := range server.Environment {
		if strings.HasSuffix(value, ":-}") { // empty unless somebody sets it
			server.Environment[name] = ""
		}
	}
	if len(maker.Volumes) != 1 || len(server.Volumes) != 1 || maker.Volumes[0] != server.Volumes[0] || !server.ReadOnly {
		t.Fatalf("the key is made in %v, the server has %v", maker.Volumes, server.Volumes)
	}
	_, at, _ := strings.Cut(server.Volumes[0], ":")
	volume := t.TempDir()
	var keys [2]string
	for i := range keys {
		// A service has its volume, and here a folder of the machine hides everything beside it.
		args := append([]string{
			"--mount", "sh", "-euc", `mount -t tmpfs none "$(dirname "$2")"; mkdir "$2"; mount --bind "$1" "$2"; shift 2; exec "$@"`,
			"sh", volume, at,
		}, append(maker.Entrypoint, maker.Command...)...)
		if out, err := exec.CommandContext(t.Context(), "unshare", args...).CombinedOutput(); err != nil || len(out) > 0 {
			t.Fatalf("make the privacy key: %v\n%s", err, out)
		}
		text, err := os.ReadFile(filepath.Join(volume, "privacy-key"))
		if err != nil {
			t.Fatal(err)
		}
		keys[i] = string(text)
	}
	if keys[0] != keys[1] {
		t.Error("another start makes another key")
	}
	packaged.TryErasing(t, build(t), packaged.Server{
		User: nonroot, Group: nonroot, Environment: server.Environment, Mounts: []packaged.Mount{{From: volume, At: at}},
	})
}

// The unit lets the server write its own folder and nothing else, and the settings beside it keep the list of the erased there.
func TestErasingUnderSystemd(t *testing.T) {
	t.Parallel()
	unit, err := os.ReadFile("systemd/insights.service")
	if err != nil {
		t.Fatal(err)
	}
	folder := regexp.MustCompile(`(?m)^StateDirectory=(\S+)$`).FindSubmatch(unit)
	if folder == nil || !strings.Contains(string(unit), "\nProtectSystem=strict\n") || strings.Contains(string(unit), "ReadWritePaths") {
		t.Fatal("the unit lets the server write elsewhere, or nowhere")
	}
	text, err := os.ReadFile("systemd/insights.env")
	if err != nil {
		t.Fatal(err)
	}
	settings := map[string]string{"INSIGHTS_INSECURE": "true"}
	pattern := regexp.MustCompile(`(?m)^#(INSIGHTS_(?:PRIVACY_KEY_FILE|ERASED_LIST))=(.*)$`)
	for _, s := range pattern.FindAllStringSubmatch(string(text), -1) {
		settings[s[1]] = s[2]
	}
	const user = 61184
	etc, state := t.TempDir(), t.TempDir()
	secret := make([]byte, 32)
	rand.Read(secret) // it never fails
	key := filepath.Join(etc, filepath.Base(settings["INSIGHTS_PRIVACY_KEY_FILE"]))
	if err := os.WriteFile(key, []byte(hex.EncodeToString(secret)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, owned := range []string{key, state} {
		if err := os.Chown(owned, user, user); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(state, 0o700); err != nil { //nolint:gosec // StateDirectoryMode of a folder
		t.Fatal(err)
	}
	packaged.TryErasing(t, build(t), packaged.Server{
		User: user, Group: user, Environment: settings, Mounts: []packaged.Mount{
			{From: etc, At: filepath.Dir(settings["INSIGHTS_PRIVACY_KEY_FILE"]), ReadOnly: true},
			{From: state, At: "/var/lib/" + string(folder[1])},
		},
	})
}
