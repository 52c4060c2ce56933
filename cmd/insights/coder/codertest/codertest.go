// Package codertest makes databases like that of a Coder deployment, for tests. It knows nothing of who reads them.
package codertest

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Schemas are the schemas of Coder that are known, by the number of their last migration, oldest first.
var Schemas = []int{308, 313, 400, 480, 551, 614}

// Newest is the newest schema that is known.
var Newest = slices.Max(Schemas)

// Deployment is statements that fill a schema of before 590 with a small deployment: one user of one template, at work since noon of
// yesterday.
//
//go:embed deployment.sql
var Deployment string

//go:embed company.sql
var company string

//go:embed schema.sql
var facts string

// marked is a line of the facts that does not hold for all schemas.
var marked = regexp.MustCompile(`-- (since|before) (\d+)$`)

// Schema returns the statements that make the empty schema after a migration.
func Schema(version int) string {
	var b strings.Builder
	for line := range strings.Lines(facts) {
		if m := marked.FindStringSubmatch(strings.TrimSpace(line)); m != nil {
			n, _ := strconv.Atoi(m[2])
			if (version >= n) != (m[1] == "since") {
				continue
			}
		}
		b.WriteString(line)
	}
	fmt.Fprintf(&b, "INSERT INTO schema_migrations VALUES (%d, false);\n", version)
	return b.String()
}

// Company returns statements that fill a schema of before 590 with a company of so many people and workspaces that has worked for some
// days, and is at work: a CALL company.live(N) is what happens in the second N from then on, with the time of the call.
func Company(people, workspaces, days int) string {
	return fmt.Sprintf("SET company.people = %d; SET company.workspaces = %d; SET company.days = %d;\n", people, workspaces, days) + company
}
