// Package definitions knows what things mean on this server: what is built in, and what an operator's file adds. It reads the
// file again when it changes and tells those whom it concerns. It knows nothing of what is reported and shown.
package definitions

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/background"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store/apps"
)

// readEvery is how often the file is read.
const readEvery = 5 * time.Second

// builtIn is the origin of what no file says.
const builtIn = "built-in"

// Options say where definitions come from and whom they concern. All fields without "empty" in their comment are needed.
type Options struct {
	File         string // YAML; empty: none
	Logger       *slog.Logger
	Clock        func() time.Time
	ControlPlane *exposition.ControlPlane // which takes the families of metrics
	Own          []*exposition.Family     // the families that this service tells itself, whose names are taken
	Apps         *apps.List               // what is known of apps without the file
	KnowApps     func(*apps.List)         // takes the list of apps that is in force
	Changed      func()                   // called when other definitions are in force
}

// Service is the DefinitionsService.
type Service struct {
	insightsv1.UnimplementedDefinitionsServiceServer

	options Options

	mu      sync.Mutex
	text    []byte // in force; nil: none
	content content
	apps    *apps.List
	readAt  time.Time
	err     error // why the file as it is now is not in force
}

// New reads the file. It fails if that is not possible or the file is wrong.
func New(o Options) (*Service, error) {
	s := &Service{options: o, apps: o.Apps}
	o.KnowApps(s.apps)
	_, err := s.read()
	return s, err
}

// Run reads the file again and again until the context is done.
func (s *Service) Run(ctx context.Context) {
	background.Every(ctx, readEvery, background.LookTimeout, s.options.Logger, "read definitions", s.Refresh)
}

// Refresh reads the file now.
func (s *Service) Refresh(ctx context.Context) error {
	changed, err := s.read()
	if changed {
		s.options.Logger.InfoContext(ctx, "other definitions are in force", "file", s.options.File)
		s.options.Changed()
	}
	return err
}

// read brings the file into force if it is another one than before. What is wrong with it is returned once.
func (s *Service) read() (changed bool, err error) {
	if s.options.File == "" {
		return false, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	text, err := readFile(s.options.File)
	if err == nil && s.text != nil && bytes.Equal(text, s.text) {
		s.err = nil
		return false, nil
	}
	var c content
	var known *apps.List
	if err == nil {
		c, err = parse(text)
	}
	if err == nil {
		err = c.check(s.options.Own)
	}
	if err == nil {
		known, err = c.extend(s.options.Apps)
	}
	if err != nil {
		err = fmt.Errorf("definitions in %s: %w", filepath.Base(s.options.File), err)
		known := s.err != nil && s.err.Error() == err.Error()
		if s.err = err; known {
			return false, nil
		}
		return false, err
	}
	s.text, s.content, s.apps, s.readAt, s.err = text, c, known, s.options.Clock(), nil
	s.options.ControlPlane.Extend(c.families)
	s.options.KnowApps(known)
	return true, nil
}

// readFile reads a file that is not too large. An empty one is not nil.
func readFile(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, withoutFolder(err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, withoutFolder(err)
	}
	if len(text) > maxFile {
		return nil, fmt.Errorf("more than %d bytes", maxFile)
	}
	return text, nil
}

// withoutFolder is an error that does not say in which folder the file is.
func withoutFolder(err error) error {
	if of := (*fs.PathError)(nil); errors.As(err, &of) {
		return of.Err
	}
	return err
}

// GetDefinitions implements [insightsv1.DefinitionsServiceServer].
func (s *Service) GetDefinitions(context.Context, *insightsv1.GetDefinitionsRequest) (*insightsv1.GetDefinitionsResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := &insightsv1.GetDefinitionsResponse{MetricFamilies: []*insightsv1.DefinedMetricFamily{}}
	origins := map[string]string{}
	if s.options.File != "" {
		answer.File, answer.ReadAt = filepath.Base(s.options.File), timestamppb.New(s.readAt)
		for i, f := range s.content.families {
			origins[f.Name] = fmt.Sprintf("%s:%d", answer.File, s.content.lines[i])
		}
	}
	if s.err != nil {
		answer.Error = s.err.Error()
	}
	origin := func(lines map[string]int, name string) string {
		if line, defined := lines[name]; defined {
			return fmt.Sprintf("%s:%d", answer.GetFile(), line)
		}
		return builtIn
	}
	for _, f := range s.apps.Families() {
		answer.AppFamilies = append(answer.AppFamilies, &insightsv1.DefinedAppFamily{
			Name: f.Name, DisplayName: f.DisplayName, Icon: f.Icon, Ide: f.IDE, Floor: int64(f.Together),
			Origin: origin(s.content.appFamilies.lines, f.Name),
		})
	}
	for _, name := range s.apps.Names() {
		a := s.apps.Of(name)
		answer.Apps = append(answer.Apps, &insightsv1.DefinedApp{
			Name: name, Family: a.Family, DisplayName: a.DisplayName, Icon: a.Icon, Ide: a.IDE, Origin: origin(s.content.apps.lines, name),
		})
	}
	for _, f := range s.options.ControlPlane.Families() {
		answer.MetricFamilies = append(answer.MetricFamilies, &insightsv1.DefinedMetricFamily{
			Name: f.Name, Type: string(f.Kind), Help: f.Help, Labels: f.Labels, Origin: cmp.Or(origins[f.Name], builtIn),
		})
	}
	return answer, nil
}
