// Package packaged runs the program as what is in deploy starts it: as its user, on a root that nobody can write, with the files and
// folders that it mounts and nothing else. It is for the tests of those packages, and needs root.
package packaged

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store/storetest"
)

// mute is part of what a server says at its start that cannot write the list of the erased.
const mute = "can erase nobody"

// patience is how long to wait for the program, on a busy machine.
const patience = 2 * time.Minute

// Mount is a folder of the machine, and where the program finds it.
type Mount struct {
	From, At string
	ReadOnly bool
}

// Server is how a package starts a server.
type Server struct {
	User, Group int // a folder of the group is the program's to write as well
	Environment map[string]string
	Mounts      []Mount
}

// mounting makes a root of a folder, mounts folders in it, and turns into a program in it. It is a script of a shell because a process
// cannot leave its own mounts behind, as a test would have to.
const mounting = `
set -eu
root=$1 user=$2 group=$3
shift 3
mount --bind "$root" "$root"
while [ "$1" != -- ]; do
	mount --bind "$1" "$root$2"
	if [ "$3" = true ]; then mount -o remount,bind,ro "$root$2"; fi
	shift 3
done
shift
mount -o remount,bind,ro "$root"
exec chroot --userspec="$user:$group" --groups="$group" "$root" "$@"
`

// Start starts the server on a database and returns its address of REST and what stops it, which returns all that it logged.
func (s Server) Start(t *testing.T, program, database string) (address string, stop func() string) {
	t.Helper()
	root := filepath.Join(t.TempDir(), "root")
	args := []string{"--mount", "sh", "-c", mounting, "sh", root, fmt.Sprint(s.User), fmt.Sprint(s.Group)}
	folders := []string{root}
	for _, m := range s.Mounts {
		folders = append(folders, filepath.Join(root, m.At))
		args = append(args, m.From, m.At, fmt.Sprint(m.ReadOnly))
	}
	for _, folder := range folders {
		if err := os.MkdirAll(folder, 0o755); err != nil { //nolint:gosec // it is the program's root, and another user's program
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(root, "insights"), text, 0o755); err != nil { //nolint:gosec // the same
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	command := exec.CommandContext(ctx, "unshare", append(args, "--", "/insights", "serve")...)
	command.Env = []string{"PATH=" + os.Getenv("PATH")}
	for name, value := range s.Environment {
		command.Env = append(command.Env, name+"="+value)
	}
	command.Env = append( // the last one counts
		command.Env, "INSIGHTS_DATABASE="+database, "INSIGHTS_GRPC_ADDRESS=127.0.0.1:0", "INSIGHTS_HTTP_ADDRESS=127.0.0.1:0",
		"INSIGHTS_PROMETHEUS_ADDRESS=127.0.0.1:0",
	)
	command.Cancel = func() error { return command.Process.Signal(syscall.SIGTERM) }
	command.WaitDelay = 30 * time.Second
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stdout, command.Stderr = in, in
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	_ = in.Close()          // the program has it
	var log strings.Builder // of who waited for read
	found, read := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(read)
		re := regexp.MustCompile(` http=(\S+)`)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			fmt.Fprintln(&log, lines.Text())
			if at := re.FindStringSubmatch(lines.Text()); at != nil {
				found <- at[1]
			}
		}
	}()
	stop = sync.OnceValue(func() string {
		cancel()
		_ = command.Wait() // a signal ends it
		<-read
		_ = out.Close()
		return log.String()
	})
	t.Cleanup(func() { stop() })
	select {
	case address = <-found:
	case <-read:
		t.Fatalf("the server ended:\n%s", stop())
	}
	call(t, http.MethodGet, address, "/livez", "", nil) // it answers when it has done what it does at its start
	return address, stop
}

// list is the file of the machine that has the list of the erased of the server.
func (s Server) list(t *testing.T) string {
	t.Helper()
	name := s.Environment["INSIGHTS_ERASED_LIST"]
	if name == "" {
		name = s.Environment["INSIGHTS_PRIVACY_KEY_FILE"] + ".erased"
	}
	for _, m := range s.Mounts {
		if rest, ok := strings.CutPrefix(name, m.At+"/"); ok {
			return filepath.Join(m.From, rest)
		}
	}
	t.Fatalf("%s is in none of the mounts %+v", name, s.Mounts)
	return ""
}

// TryErasing has somebody erased by the first of some servers of one database, restores an older backup of the database, and starts the
// last server alone: it must keep the person away. Each server has its own mounts. program is the file of the program.
func TryErasing(t *testing.T, program string, servers ...Server) {
	t.Helper()
	database := storetest.Postgres(t)
	var addresses []string
	var stops []func() string
	for _, s := range servers {
		address, stop := s.Start(t, program, database)
		addresses, stops = append(addresses, address), append(stops, stop)
	}
	owner := strings.TrimSpace(string(run(t, program, database, nil, "token", "first")))
	person := map[string]any{"id": uuid.NewString(), "username": "kanarie-" + uuid.NewString(), "kind": "human", "status": "active"}
	catalog := map[string]any{"users": []any{person}}
	if answer := call(t, http.MethodPost, addresses[0], "/api/v2/catalog", owner, catalog); bytes.Contains(answer, []byte(`"reason"`)) {
		t.Fatalf("apply the catalog: %s", answer)
	}
	words := map[string]string{"id": person["id"].(string), "name": person["username"].(string)}
	older := run(t, program, database, nil, "backup", "--output", "-")
	call(t, http.MethodDelete, addresses[0], "/api/v2/privacy/users/"+words["id"], owner, nil)
	erased, err := os.ReadFile(servers[0].list(t))
	if err != nil || len(strings.Fields(string(erased))) < 2 {
		t.Fatalf("the list of the erased: %q, %v", erased, err)
	}
	for _, s := range servers[1:] {
		for begin := time.Now(); ; {
			has, err := os.ReadFile(s.list(t))
			if err == nil && len(has) == len(erased) {
				break
			}
			if time.Since(begin) > patience {
				t.Fatalf("the list of another server after %v: %q, %v; want %q", patience, has, err, erased)
			}
			<-time.After(50 * time.Millisecond)
		}
	}
	for _, stop := range stops {
		if log := stop(); strings.Contains(log, mute) {
			t.Errorf("the server says:\n%s", log)
		}
	}

	restored, err := storetest.SharedCluster(t).Create(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	run(t, program, restored, older, "restore", "-")
	if found := storetest.Traces(t, restored, words); len(found) != len(words) {
		t.Fatalf("of the person the backup has only %q", found)
	}
	address, stop := servers[len(servers)-1].Start(t, program, restored)
	if found := storetest.Traces(t, restored, words); len(found) > 0 {
		t.Errorf("the person is back: %q", found)
	}
	owner = strings.TrimSpace(string(run(t, program, restored, nil, "token", "create", "--role", "owner")))
	if answer := call(t, http.MethodPost, address, "/api/v2/catalog", owner, catalog); !bytes.Contains(answer, []byte("was erased")) {
		t.Errorf("the control plane brings the person back: %s", answer)
	}
	if log := stop(); !strings.Contains(log, "erased users were back") {
		t.Errorf("the server does not say that it erased somebody again:\n%s", log)
	}
}

// TryReadOnly starts a server that is to keep its list outside its mounts: it must say that it can erase nobody. This shows that what
// TryErasing tried needs the mounts.
func TryReadOnly(t *testing.T, program string, s Server) {
	t.Helper()
	s.Environment["INSIGHTS_ERASED_LIST"] = "/erased"
	_, stop := s.Start(t, program, storetest.Postgres(t))
	if log := stop(); !strings.Contains(log, mute) || !strings.Contains(log, "read-only file system") {
		t.Errorf("on a root that nobody can write the server says:\n%s", log)
	}
}

// run runs another command of the program on a database, with an input, and returns its output.
func run(t *testing.T, program, database string, input []byte, args ...string) []byte {
	t.Helper()
	command := exec.CommandContext(t.Context(), program, args...)
	command.Env = []string{"INSIGHTS_DATABASE=" + database}
	command.Stdin = bytes.NewReader(input)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("insights %s: %v", strings.Join(args, " "), err)
	}
	return out
}

// call calls a server over REST and returns the answer, which must be good.
func call(t *testing.T, method, address, path, token string, body any) []byte {
	t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+address+path, bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Coder-Session-Token", token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s: %s, %v", method, path, resp.Status, answer, err)
	}
	return answer
}
