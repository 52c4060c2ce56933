// Command insights shows how cloud development environments are used. See insights --help.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	_ "time/tzdata" // zones of questions, wherever the program runs

	"github.com/alecthomas/kong"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	// After the first signal the program drains; a second one ends it at once.
	context.AfterFunc(ctx, stop)
	code := run(ctx, os.Args[1:], os.Environ(), os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// commandLine is the whole command line: what stands in the help is what there is.
type commandLine struct {
	Serve   serveCommand   `cmd:"" help:"Run the server."`
	Migrate migrateCommand `cmd:"" help:"Bring the schema of a database up to date and exit. serve does it as well."`
	Token   struct {
		First  tokenFirstCommand  `cmd:"" help:"Make the first token of an owner and print it. It works once per database."`
		Create tokenCreateCommand `cmd:"" help:"Make a token and print it. It is shown this once."`
		List   tokenListCommand   `cmd:"" help:"List tokens without their secrets."`
		Revoke tokenRevokeCommand `cmd:"" help:"End a token. Servers turn it away within five seconds."`
	} `cmd:"" help:"Make, list and end tokens, directly in the database."`
	Grant struct {
		Create grantCreateCommand `cmd:"" help:"Give a role to a user, group or service and print the grant's id."`
		List   grantListCommand   `cmd:"" help:"List who holds which role."`
		Revoke grantRevokeCommand `cmd:"" help:"Take a role back. Servers notice within five seconds."`
	} `cmd:"" help:"Give, list and take back roles, directly in the database."`
	Import struct {
		Coder importCoderCommand `cmd:"" help:"Import catalog, usage, builds, status changes and roles of a Coder deployment, from its database. It may be repeated."`
	} `cmd:"" help:"Take over what another system knows."`
	Report struct {
		Capacity     reportCapacityCommand     `cmd:"" help:"How many people work at once, when, and how that may go on."`
		Optimization reportOptimizationCommand `cmd:"" help:"Apps and options that nobody uses, and defaults that most people change."`
		Support      reportSupportCommand      `cmd:"" help:"Who has slow connections or hardly uses a workspace, and which apps people prefer."`
		ROI          reportROICommand          `cmd:"" name:"roi" help:"How many of those who could use templates do, and how much of the time that workspaces run is used."`
	} `cmd:"" help:"Ask a server for a report and print it: by default about the last four weeks."`
	Privacy struct {
		Report privacyReportCommand `cmd:"" help:"Print what holds, who may do what, who looked at single people, and what is stored of whom and why, from the database. The audit trail tells that it was asked for."`
	} `cmd:"" help:"What a privacy officer wants to know."`
	Query   queryCommand   `cmd:"" help:"Ask a server for any figures of usage, and print them as a table."`
	Export  exportCommand  `cmd:"" help:"Ask a server for a table and write it as CSV, NDJSON or Parquet."`
	Backup  backupCommand  `cmd:"" help:"Write everything in a database to a file, while servers run."`
	Restore restoreCommand `cmd:"" help:"Fill a new database from such a file, SQLite or Postgres, whichever it was."`
	Demo    demoCommand    `cmd:"" help:"Run a server with a simulated company that streams usage into it."`
	Version versionCommand `cmd:"" help:"Print the version, as --version does."`

	Completion completionCommand `cmd:"" help:"Print what makes a shell complete commands and flags."`
	Complete   completeCommand   `cmd:"" hidden:"" help:"Print what a word may become."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// console is where a command reads and writes, and the environment that it runs in.
type console struct {
	in          io.Reader
	out, err    io.Writer
	environment []string
}

// Exit codes.
const (
	exitOK    = 0
	exitError = 1 // the command failed
	exitUsage = 2 // the command line is wrong
)

// exited carries the code of a help page through the parser.
type exited int

// run is the program without its process.
func run(ctx context.Context, args, environment []string, stdin io.Reader, stdout, stderr io.Writer) (code int) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case exited:
			code = int(p)
		default:
			panic(p)
		}
	}()
	line := &commandLine{}
	parser, err := kong.New(line,
		kong.Name("insights"),
		kong.Description(
			"Shows who uses your workspace templates, with what, how long and how fast.\n\n"+
				"Every flag can be set by the environment variable beside it; the flag wins.",
		),
		kong.UsageOnError(), kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Writers(stdout, stderr), kong.Exit(func(code int) { panic(exited(code)) }),
		kong.BindTo(ctx, (*context.Context)(nil)), kong.Bind(console{stdin, stdout, stderr, environment}),
		kong.Vars{"version": versionText()},
	)
	if err != nil {
		fmt.Fprintln(stderr, "insights:", err)
		return exitError
	}
	args, faults := leaveOutFaults(parser, args)
	faults = errors.Join(checkEnvironment(parser.Model, environment), faults)
	command, err := parse(parser, args)
	switch {
	case err == nil && (faults == nil || line.Serve.Check):
		err = errors.Join(faults, command.Run())
	default:
		err = errors.Join(faults, err)
	}
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(stderr, "insights:", err)
	var usage usageError
	if errors.As(err, &usage) {
		fmt.Fprintln(stderr, "See insights --help.")
		return exitUsage
	}
	return exitError
}

// usageError is a command line that can be read but makes no sense.
type usageError string

func (e usageError) Error() string { return string(e) }

// checkEnvironment refuses all variables with our prefix that no flag has: a misspelt setting must not pass silently.
func checkEnvironment(app *kong.Application, environment []string) error {
	known := []string{tokenVariable}
	var collect func(*kong.Node)
	collect = func(n *kong.Node) {
		for _, f := range n.Flags {
			known = append(known, f.Envs...)
		}
		for _, child := range n.Children {
			collect(child)
		}
	}
	collect(app.Node)
	var errs []error
	for _, variable := range environment {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, "INSIGHTS_") && !slices.Contains(known, name) {
			errs = append(errs, usageError(
				fmt.Sprintf("environment variable %s sets no flag; the names are in insights serve --help", name),
			))
		}
	}
	return errors.Join(errs...)
}
