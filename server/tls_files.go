package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"
)

// TLSFiles are the files, in PEM, that a server shows who it is with.
type TLSFiles struct {
	Certificate string
	Key         string
	ClientCA    string // whose clients are let in; empty: clients need no certificate
}

// tlsCheck is how often the files are looked at, at most.
const tlsCheck = 2 * time.Second

// Config reads the files, and later reads them again for a handshake when they have changed: certificates are renewed without
// a restart. Connections that are open stay as they are. Files that cannot be used are logged, and those before stay in use,
// so it does not matter in which order they are replaced.
func (f TLSFiles) Config(logger *slog.Logger) (*tls.Config, error) {
	w := &tlsWatch{files: f, logger: logger}
	w.stamps = f.stamps()
	var err error
	if w.current, err = f.load(); err != nil {
		return nil, err
	}
	w.checked = time.Now() // the real clock: files are looked at now and then
	outer := w.current.Clone()
	outer.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return w.config(), nil }
	return outer, nil
}

// load reads the files.
func (f TLSFiles) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, fmt.Errorf("read certificate and key: %w", err)
	}
	// The protocols are those of gRPC and REST alike: what a handshake gets replaces all that the two had set.
	config := &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	if f.ClientCA == "" {
		return config, nil
	}
	text, err := os.ReadFile(f.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("read certificates of who signs clients: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !config.ClientCAs.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("read certificates of who signs clients: %s holds none", f.ClientCA)
	}
	return config, nil
}

// fileStamp tells a file from what it was before.
type fileStamp struct {
	modified time.Time
	size     int64
}

// stamps looks at the files; one that is not there has no stamp.
func (f TLSFiles) stamps() (stamps [3]fileStamp) {
	for i, name := range []string{f.Certificate, f.Key, f.ClientCA} {
		if info, err := os.Stat(name); err == nil {
			stamps[i] = fileStamp{info.ModTime(), info.Size()}
		}
	}
	return stamps
}

// tlsWatch follows the files.
type tlsWatch struct {
	files  TLSFiles
	logger *slog.Logger

	mu      sync.Mutex
	current *tls.Config
	stamps  [3]fileStamp
	checked time.Time
}

// config is what the files say, or said a moment ago.
func (w *tlsWatch) config() *tls.Config {
	w.mu.Lock()
	defer w.mu.Unlock()
	if time.Since(w.checked) < tlsCheck {
		return w.current
	}
	w.checked = time.Now()
	stamps := w.files.stamps()
	if stamps == w.stamps {
		return w.current
	}
	w.stamps = stamps
	config, err := w.files.load()
	if err != nil {
		w.logger.WarnContext(context.Background(), "changed TLS files cannot be used, those before stay in use", "error", err)
		return w.current
	}
	w.logger.InfoContext(context.Background(), "TLS files were read again")
	w.current = config
	return config
}
