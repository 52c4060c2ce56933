package coder

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/minute"
)

// accounts is what those who are no people are called, one and several.
var accounts = map[minute.Actor][2]string{
	minute.Service: {"service account", "service accounts"},
	minute.System:  {"system account", "system accounts"},
}

// fewer says how many users figures leave out, and what they are; empty: nobody. One of the system accounts owns the prebuilt workspaces:
// withPrebuilds says that it is among them.
func fewer(others []store.OtherActor, withPrebuilds bool) string {
	sum, parts := 0, []string(nil)
	for _, o := range others {
		sum += o.Actors
		if o.Actor == minute.System && withPrebuilds {
			parts = append(parts, "1 owner of prebuilds")
			o.Actors--
		}
		switch o.Actors {
		case 0:
		case 1:
			parts = append(parts, "1 "+accounts[o.Actor][0])
		default:
			parts = append(parts, fmt.Sprintf("%d %s", o.Actors, accounts[o.Actor][1]))
		}
	}
	if sum == 0 {
		return ""
	}
	return fmt.Sprintf("%d fewer: %s", sum, strings.Join(parts, ", "))
}

// less says how many minutes figures leave out, and whose they are; empty: none.
func less(others []store.OtherActor) string {
	sum, parts := int64(0), []string(nil)
	for _, o := range others {
		sum, parts = sum+o.Minutes, append(parts, fmt.Sprintf("%d of %s", o.Minutes, accounts[o.Actor][1]))
	}
	if sum == 0 {
		return ""
	}
	return fmt.Sprintf("%d less: %s", sum, strings.Join(parts, ", "))
}

// Population is who was active by Coder's half hours.
type Population struct {
	From, To time.Time
	People   int
	Others   []store.OtherActor // without minutes

	// Prebuilds says that one of the others is the account that owns prebuilt workspaces.
	Prebuilds bool
}

// populationPast is how much of the past a population is about.
const populationPast = 30 * 24 * time.Hour

// Population asks Coder who was active in the last 30 days of the import.
func (i *Importer) Population(ctx context.Context) (Population, error) {
	p := Population{From: i.until.Add(-populationPast), To: i.until}
	err := i.from.read(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `SELECT `+i.from.shape.kind(store.Human)+` AS kind, COUNT(DISTINCT user_id),
				COALESCE(BOOL_OR(user_id = '`+prebuilds+`'), false)
			FROM template_usage_stats JOIN users ON users.id = user_id
			WHERE start_time >= $2 AND start_time < $3`+inOrganization+` GROUP BY 1 ORDER BY 1`, i.organization, p.From, p.To)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var kind string
			var n int
			var owns bool
			if err := rows.Scan(&kind, &n, &owns); err != nil {
				return err
			}
			p.Prebuilds = p.Prebuilds || owns
			if actor := store.ActorOf(kind); actor == minute.Person {
				p.People = n
			} else {
				p.Others = append(p.Others, store.OtherActor{Actor: actor, Actors: n})
			}
		}
		return rows.Err()
	})
	if err != nil {
		return p, fmt.Errorf("count who was active in %s: %w", i.from, err)
	}
	return p, nil
}

// Write prints how many users Coder shows, how many are shown here, and why they differ.
func (p Population) Write(out io.Writer) error {
	all := p.People
	for _, o := range p.Others {
		all += o.Actors
	}
	why := fewer(p.Others, p.Prebuilds)
	if why != "" {
		why = " " + why + "."
	}
	_, err := fmt.Fprintf(
		out, "\nActive users from %s to %s: %d in Coder, %d here.%s\n",
		p.From.Format(time.RFC3339), p.To.Format(time.RFC3339), all, p.People, why,
	)
	return err
}
