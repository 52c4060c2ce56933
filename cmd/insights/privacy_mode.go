package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/google/uuid"

	"github.com/template-insights/insights/store"
)

// privacyModeFlag decides how much is known about persons, where nobody did yet.
type privacyModeFlag struct {
	PrivacyMode string `default:"" enum:"full,pseudonym,aggregate,off," env:"INSIGHTS_PRIVACY_MODE" placeholder:"MODE" help:"How much is known about persons: full, pseudonym, aggregate or off. It is for a database for which nobody decided that yet; what was decided stays. Default: full, until somebody decides."`
}

// undecided is what everybody is told until somebody decided.
const undecided = "nobody decided how much is known about persons: the privacy mode is full until somebody does, by " +
	"--privacy-mode, on the page or with POST /api/v2/privacy/mode"

// decidedBefore is told to who names a mode when another one was decided on.
const decidedBefore = "--privacy-mode changes nothing: the privacy mode was decided on before"

// decide sets the mode that the flag names if nobody decided before, and logs what nobody decided.
func (f privacyModeFlag) decide(ctx context.Context, s *store.Store, logger *slog.Logger) error {
	if f.PrivacyMode != "" {
		decided, err := s.DecidePrivacyMode(ctx, store.PrivacyMode(f.PrivacyMode))
		if err != nil {
			return err
		}
		if decided {
			logger.InfoContext(ctx, "the privacy mode is decided, by --privacy-mode", "mode", f.PrivacyMode)
		}
	}
	modes, err := s.PrivacyModes(ctx)
	if err != nil {
		return err
	}
	switch mode := modes.Of(uuid.Nil); {
	case !modes.Decided():
		logger.WarnContext(ctx, undecided)
	case f.PrivacyMode != "" && f.PrivacyMode != string(mode):
		logger.WarnContext(ctx, decidedBefore, "mode", mode)
	}
	return nil
}

// choose returns the mode to decide on before the first person comes in: that of the flag, or the answer of a person at a terminal. It is
// empty if somebody decided before, and if nobody wants to.
func (f privacyModeFlag) choose(ctx context.Context, c console, s *store.Store) (store.PrivacyMode, error) {
	modes, err := s.PrivacyModes(ctx)
	if err != nil {
		return "", err
	}
	if mode := modes.Of(uuid.Nil); modes.Decided() {
		if f.PrivacyMode != "" && f.PrivacyMode != string(mode) {
			_, err = fmt.Fprintf(c.err, "insights: %s: it is %s\n", decidedBefore, mode)
		}
		return "", err
	}
	mode := store.PrivacyMode(f.PrivacyMode)
	if mode == "" && isTerminal(c.in) && isTerminal(c.err) {
		if mode, err = askPrivacyMode(ctx, c); err != nil {
			return "", err
		}
	}
	if mode == "" {
		_, err = fmt.Fprintf(c.err, "insights: %s\n", undecided)
	}
	return mode, err
}

// askPrivacyMode asks a person, until there is an answer that can be understood; empty: whoever is asked does not decide.
func askPrivacyMode(ctx context.Context, c console) (store.PrivacyMode, error) {
	w := tabwriter.NewWriter(c.err, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "How much may be known about persons? Nobody decided that yet.\n\n")
	for _, name := range store.PrivacyModeNames {
		fmt.Fprintf(w, "  %s\t%s\n", name, store.PrivacyMode(name).Meaning())
	}
	if err := w.Flush(); err != nil {
		return "", err
	}
	fmt.Fprint(c.err, "\nA stricter mode can be chosen later as well; what was shown until then was seen.\n")
	for in := bufio.NewReader(c.in); ; {
		fmt.Fprint(c.err, "Privacy mode (Enter alone: full, until somebody decides): ")
		answer, err := readLine(ctx, in)
		if err != nil || answer == "" || slices.Contains(store.PrivacyModeNames, answer) {
			return store.PrivacyMode(answer), err
		}
	}
}

// readLine returns the next line, without spaces around; nothing at the end. Nobody can end a read of a terminal: if the context is done
// it ends with the program.
func readLine(ctx context.Context, in *bufio.Reader) (string, error) {
	read := make(chan error, 1)
	var line string
	go func() {
		var err error
		if line, err = in.ReadString('\n'); errors.Is(err, io.EOF) {
			err = nil
		}
		read <- err
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case err := <-read:
		return strings.TrimSpace(line), err
	}
}
