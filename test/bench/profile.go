package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
)

// profileIngest writes profiles of the server while it takes reports as fast as it can.
func profileIngest(ctx context.Context, d database, s sizes, file string) error {
	return withLoad(ctx, d, s, func(l *load) error {
		return profile(ctx, l.server, s.Length, file, func(ctx context.Context) error {
			_, err := l.run(ctx, 0)
			return err
		})
	})
}

// profileQuery writes profiles of the server while it answers questions one after the other.
func profileQuery(ctx context.Context, d database, s sizes, file string) error {
	return withMonth(ctx, d, s, insertAll, func(_ *pages, c *client) error {
		return profile(ctx, c.server, s.Length, file, func(ctx context.Context) error {
			for end := time.Now().Add(s.Length); time.Now().Before(end); {
				for _, path := range []string{insightsPath, activityPath, latencyPath} {
					if _, err := c.get(ctx, path); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
}

// profile writes what the processor did while work ran to a file, and what was allocated to one with .allocs in its name.
func profile(ctx context.Context, p *serverProcess, length time.Duration, file string, work func(context.Context) error) error {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() error { return work(ctx) })
	both.Go(func() error {
		return p.fetchProfile(ctx, fmt.Sprintf("profile?seconds=%.0f", max(1, length.Seconds())), file)
	})
	if err := both.Wait(); err != nil {
		return err
	}
	return p.fetchProfile(context.WithoutCancel(ctx), "allocs", strings.TrimSuffix(file, ".pprof")+".allocs.pprof")
}

func (p *serverProcess) fetchProfile(ctx context.Context, what, file string) (err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Pprof+"/debug/pprof/"+what, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("profile %s: status %d", what, resp.StatusCode)
	}
	out, err := os.Create(file)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, resp.Body)
	return errors.Join(err, out.Close())
}
