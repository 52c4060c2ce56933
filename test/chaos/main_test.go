package chaos

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"

	"github.com/template-insights/insights/server"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/storetest"
)

// A child of the test program with these variables is the server under test.
const (
	databaseVariable = "CHAOS_DATABASE"
	addressVariable  = "CHAOS_ADDRESS"
)

func TestMain(m *testing.M) {
	if database := os.Getenv(databaseVariable); database != "" {
		if err := serve(database, os.Getenv(addressVariable)); err != nil {
			fmt.Fprintln(os.Stderr, "serve:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(storetest.Main(m))
}

// serve is the real server with its defaults, until it is told to stop or killed.
func serve(database, address string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := store.Open(ctx, store.Options{Database: database})
	if err != nil {
		return err
	}
	defer s.Close()
	srv, err := server.New(server.Config{
		Store: s, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError})),
		GRPCAddress: address, HTTPAddress: "127.0.0.1:0", PrometheusAddress: "127.0.0.1:0",
		IngestMaxAge: 7 * 24 * time.Hour, IngestMaxAhead: 5 * time.Minute, ReportInterval: 30 * time.Second, UsageStats: true,
	})
	if err != nil {
		return err
	}
	return srv.Run(ctx)
}
