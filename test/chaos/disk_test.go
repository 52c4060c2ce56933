package chaos

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// mountSmall mounts a file system of so many MiB for the test; ok is false where nobody may.
func mountSmall(t *testing.T, size string) (folder string, ok bool) {
	t.Helper()
	folder, err := os.MkdirTemp("", "insights-small-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	switch err := syscall.Mount("tmpfs", folder, "tmpfs", 0, "mode=0777,size="+size); {
	case errors.Is(err, syscall.EPERM):
		return "", false
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(folder, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return folder, true
}

// again runs a test once more, in a process that may mount what it likes because nobody else sees it.
func again(t *testing.T) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v", "-fills="+strconv.Itoa(*fills))
	child.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := child.CombinedOutput()
	t.Logf("in a namespace of its own:\n%s", out)
	if err != nil {
		t.Error(err)
	}
}

// A disk that is full takes nothing: nothing is acknowledged, callers are asked to try again, questions are answered, and work
// goes on as soon as there is room. The database is whole in the end.
func TestDiskFullSQLite(t *testing.T) {
	t.Parallel()
	folder, ok := mountSmall(t, "16m")
	if !ok {
		again(t)
		return
	}
	database := "sqlite:" + filepath.Join(folder, "insights.db")
	if err := store.Migrate(t.Context(), store.Options{Database: database}); err != nil {
		t.Fatal(err)
	}
	f := newFleet(t, database, 8)
	p := startServer(t, newServerConfig(t, database))
	p.awaitReady(t, true)
	fillDisk(t, f, p, folder)
	p.stop(t)
	db := openTables(t, f.database)
	defer db.Close()
	each(t, db, "PRAGMA integrity_check", func(scan func(...any) error) error {
		var verdict string
		err := scan(&verdict)
		if verdict != "ok" {
			t.Errorf("integrity: %s", verdict)
		}
		return err
	})
}

// The same with Postgres, whose tables are on a small file system of their own.
func TestDiskFullPostgres(t *testing.T) {
	t.Parallel()
	folder, ok := mountSmall(t, "32m")
	if !ok {
		t.Log("nothing may be mounted here: Postgres says by itself that the disk is full")
		diskFullByTrigger(t)
		return
	}
	cluster, database := durableCluster(t)
	small := filepath.Join(folder, "small")
	if err := errors.Join(os.Mkdir(small, 0o700), chownLike(small, cluster)); err != nil {
		t.Fatal(err)
	}
	name := database[strings.LastIndex(database, "/")+1 : strings.Index(database, "?")]
	for _, statement := range []string{
		"CREATE TABLESPACE small LOCATION '" + small + "'", "ALTER DATABASE " + name + " SET TABLESPACE small",
	} {
		if err := cluster.Exec(t.Context(), "postgres", statement); err != nil {
			t.Fatal(err)
		}
	}
	f := newFleet(t, database, 8)
	p := startServer(t, newServerConfig(t, database))
	p.awaitReady(t, true)
	fillDisk(t, f, p, folder)
	p.stop(t)
}

// An agent whose disk is full is refused each report by itself, at once; what its spool holds stays, and is sent when there is a
// server, which makes room for further ones.
func TestDiskFullSpool(t *testing.T) {
	t.Parallel()
	folder, ok := mountSmall(t, "128k")
	if !ok {
		again(t)
		return
	}
	f := newFleet(t, databases["sqlite"](t), 1)
	config, a := newServerConfig(t, f.database), f.agents[0]
	spool, err := client.OpenSpool(filepath.Join(folder, "spool"), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer spool.Close()
	conn, err := client.NewConn("passthrough:"+config.GRPC, client.Token(a.token), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	reporter := client.NewSpoolingReporter(conn, spool)
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	var refused []*insightsv1.AgentReport
	var numbers []int
	report := func(n int, report *insightsv1.AgentReport) error {
		err := reporter.Report(ctx, report)
		if err == nil {
			a.mu.Lock()
			a.acknowledge(n)
			a.mu.Unlock()
		}
		return err
	}
	for len(refused) < 10 {
		n, r := a.think()
		if err := report(n, r); errors.Is(err, syscall.ENOSPC) {
			numbers, refused = append(numbers, n), append(refused, r)
		} else if err != nil {
			t.Fatal(err)
		}
	}
	before := f.acked.Load()
	p := startServer(t, config)
	running, end := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() { defer close(ended); _ = reporter.Run(running) }()
	defer func() { end(); <-ended }()
	for i, n := range numbers {
		await(t, "room in the spool", func() bool {
			err := report(n, refused[i])
			if err != nil && !errors.Is(err, syscall.ENOSPC) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	if err := reporter.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	v := f.check(t, p.GRPC)
	p.stop(t)
	t.Logf("the disk was full after %d reports; %d reports in the end", before, v.acked)
}

// chownLike gives a folder to whom a cluster runs as.
func chownLike(folder string, c *storetest.Cluster) error {
	info, err := os.Stat(filepath.Join("/proc", strconv.Itoa(c.PID())))
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	return os.Chown(folder, int(owner.Uid), int(owner.Gid))
}

// fillDisk fills the disk of a database under load, and frees it again, so many times.
func fillDisk(t *testing.T, f *fleet, p *process, folder string) {
	t.Helper()
	load := f.report(t, manner{address: p.GRPC})
	ballast := filepath.Join(folder, "ballast")
	var recoveries delays
	var again func()
	for i := range *fills {
		f.awaitAcks(t, 100)
		failures := p.metric(t, "insights_ingest_commit_failures_total")
		file, err := os.OpenFile(ballast, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		// What is left is eaten up again and again, until a commit finds nothing.
		await(t, "a commit that finds no room", func() bool {
			for size := 1 << 20; size >= 512; {
				if n, err := file.Write(make([]byte, size)); err != nil || n < size {
					size /= 2
				}
			}
			return p.metric(t, "insights_ingest_commit_failures_total") > failures+2
		})
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		f.mustAsk(t, p.GRPC)
		if i == 0 {
			again = f.checkNoRoom(t, p)
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}
		recoveries.add(f.awaitRecovery(t, "room"))
	}
	load.stop()
	again()
	t.Logf("the disk was full %d times; from room to the first acknowledgement: %v", *fills, &recoveries)
	f.check(t, p.GRPC)
}

// checkNoRoom makes unary calls that would have to store something, and returns what makes the last one again until it is stored: what was
// refused for now waits in the server, which may store it at any moment.
func (f *fleet) checkNoRoom(t *testing.T, p *process) (again func()) {
	t.Helper()
	conn := dial(t, p.GRPC)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(func() { cancel(); _ = conn.Close() })
	ingest := insightsv1.NewIngestServiceClient(conn)
	var report *insightsv1.AgentReport
	await(t, "a report that needs room", func() bool { // what the database has left within its files goes first
		_, report = f.agents[0].think()
		_, err := f.reportOnce(ctx, ingest, report)
		if err != nil && (status.Code(err) != codes.Unavailable || len(status.Convert(err).Details()) < 2) {
			t.Fatalf("report without room: %v, want Unavailable and when to retry", err)
		}
		return err != nil
	})
	return func() {
		t.Helper()
		await(t, "room for the report that found none", func() bool {
			_, err := f.reportOnce(ctx, ingest, report)
			return err == nil
		})
	}
}

// diskFullByTrigger lets Postgres say that it has no room.
func diskFullByTrigger(t *testing.T) {
	t.Helper()
	database := storetest.Postgres(t)
	f := newFleet(t, database, 8)
	p := startServer(t, newServerConfig(t, database))
	load := f.report(t, manner{address: p.GRPC})
	db := openTables(t, database)
	defer db.Close()
	exec := func(statements ...string) {
		t.Helper()
		if _, err := db.ExecContext(t.Context(), strings.Join(statements, ";")); err != nil {
			t.Fatal(err)
		}
	}
	f.awaitAcks(t, 100)
	exec("CREATE FUNCTION full() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no room' USING ERRCODE = '53100'; END $$",
		"CREATE TRIGGER full BEFORE INSERT ON usage_rows FOR EACH STATEMENT EXECUTE FUNCTION full()")
	await(t, "a commit that finds no room", func() bool { return p.metric(t, "insights_ingest_commit_failures_total") > 2 })
	f.mustAsk(t, p.GRPC)
	again := f.checkNoRoom(t, p)
	exec("DROP TRIGGER full ON usage_rows")
	f.awaitAcks(t, 1)
	load.stop()
	again()
	f.check(t, p.GRPC)
	p.stop(t)
}
