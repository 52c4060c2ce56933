// Command example is an agent: it runs a command, such as an editor, and reports a session of an app for as long as that runs.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/template-insights/insights/client"
	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

func main() {
	address := flag.String("address", "127.0.0.1:9090", "the server's address for gRPC, on this machine")
	agentID := flag.String("agent", "", "the agent's id")
	tokenFile := flag.String("token-file", "", "the file with the agent's token")
	app := flag.String("app", "ssh", "the app whose session to report")
	flag.Parse()
	command := exec.Command(flag.Arg(0), flag.Args()[min(1, flag.NArg()):]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, os.Stdout, os.Stderr
	if err := run(command, *address, *tokenFile, *agentID, *app); err != nil {
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

// patience is how long the agent waits in the end for the server to have everything.
const patience = 10 * time.Second

// run runs a command and reports meanwhile.
func run(command *exec.Cmd, address, tokenFile, agentID, app string) error {
	// Beyond the machine leave the last argument out: then the connection is encrypted.
	conn, err := client.NewConn(address, client.TokenFile(tokenFile), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()

	reporter := client.NewReporter(conn)
	running, stop := context.WithCancel(context.Background())
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		_ = reporter.Run(running) // until it is stopped
	}()
	defer func() { stop(); <-stopped }()
	last := time.Now()
	for {
		now := time.Now()
		err := reporter.Report(running, &insightsv1.AgentReport{
			AgentId: agentID, CollectedAt: timestamppb.New(now), Interval: durationpb.New(now.Sub(last)),
			SessionCounts: map[string]int64{app: 1}, ConnectionCount: 1,
		})
		if err != nil {
			return err
		}
		last = now
		select {
		case <-time.After(cmp.Or(reporter.Interval(), 30*time.Second)): // as often as the server wants
		case exit := <-ended:
			flush, cancel := context.WithTimeout(running, patience)
			defer cancel()
			return errors.Join(exit, reporter.Flush(flush))
		}
	}
}
