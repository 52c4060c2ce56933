package guard

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// limitedListener closes connections beyond a number at once. One address may have at most half of them, so that none can
// lock out the others.
type limitedListener struct {
	net.Listener

	most    int
	logger  *slog.Logger
	refused rate.Sometimes // says so in the log

	mu       sync.Mutex
	open     int
	networks map[string]int // open connections by where they come from
}

// LimitConnections bounds the connections of a listener; 0 is no bound.
func LimitConnections(l net.Listener, most int, logger *slog.Logger) net.Listener {
	if most == 0 {
		return l
	}
	return &limitedListener{
		Listener: l, most: most, logger: logger, refused: rate.Sometimes{Interval: 10 * time.Second}, networks: map[string]int{},
	}
}

// Accept implements [net.Listener].
func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		network := networkOf(conn.RemoteAddr().String())
		if l.enter(network) {
			return &limitedConn{Conn: conn, leave: sync.OnceFunc(func() { l.leave(network) })}, nil
		}
		_ = conn.Close()
		l.refused.Do(func() {
			l.logger.WarnContext(
				context.Background(), "too many connections, some are refused", "from", network, "listener", l.Addr().String(), "most",
				l.most,
			)
		})
	}
}

func (l *limitedListener) enter(network string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open >= l.most || l.networks[network] >= (l.most+1)/2 {
		return false
	}
	l.open++
	l.networks[network]++
	return true
}

func (l *limitedListener) leave(network string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open--
	if l.networks[network]--; l.networks[network] == 0 {
		delete(l.networks, network)
	}
}

// limitedConn is a connection that is counted until it is closed.
type limitedConn struct {
	net.Conn
	leave func()
}

// Close implements [net.Conn].
func (c *limitedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
