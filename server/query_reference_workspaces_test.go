package server_test

import (
	"iter"
	"slices"
	"strings"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// thing is a minute in which a workspace ran, or a build in the minute in which it was asked for. Its user is the owner in the end.
type thing struct {
	stay

	minute   int64
	kind     string            // attended, unattended or unknown; empty: a build
	visitors []string          // of an attended minute
	build    *insightsv1.Build // nil: a minute
	ready    bool
	wait     float64 // seconds until it was ready
}

// put adds a thing to a row.
func (x thing) put(c *queryCell) {
	for _, figure := range x.figures() {
		mark(c.owners, figure, x.user)
	}
	switch {
	case x.build == nil:
		c.ran["running_seconds"]++
		c.ran[x.kind+"_seconds"]++
		return
	case x.build.GetStatus() == "failed":
		c.built["failed_builds"]++
	case x.ready:
		c.waits = append(c.waits, x.wait)
	}
	c.built["builds"]++
}

// figures are the figures behind which the owner stands.
func (x thing) figures() []string {
	switch {
	case x.kind == "unknown":
		return []string{"runs", "unknown"}
	case x.build == nil:
		return []string{"runs"}
	case x.build.GetStatus() == "failed":
		return []string{"builds", "failed"}
	case x.ready:
		return []string{"builds", "ready"}
	}
	return []string{"builds"}
}

// valuesOfThing are its values in a dimension: those of the owner, and of a build its own.
func (ref queryReference) valuesOfThing(x thing, dimension string, q propertyQuestion) []string {
	if x.build != nil && (dimension == "template_version" || strings.HasPrefix(dimension, "parameter:")) {
		return valuesOfBuild(x.build, dimension)
	}
	return ref.valuesOf(x.stay, dimension, q)
}

// valuesOfBuild is the version, the preset or the region of a build; nil has none.
func valuesOfBuild(b *insightsv1.Build, dimension string) []string {
	switch {
	case b == nil:
		return nil
	case dimension == "template_version":
		return []string{b.GetTemplateVersionId()}
	case dimension == "parameter:preset":
		return some(b.GetPreset())
	}
	for _, p := range b.GetParameters() {
		if "parameter:"+p.GetName() == dimension {
			return []string{p.GetValue()}
		}
	}
	return nil
}

// buildsOf are the builds of a workspace in the order of their numbers.
func (ref queryReference) buildsOf(workspace string) (builds []*insightsv1.Build) {
	for _, e := range ref.builds {
		if b := e.GetBuild(); b.GetWorkspaceId() == workspace {
			builds = append(builds, b)
		}
	}
	return builds
}

func starts(b *insightsv1.Build) bool {
	return b.GetTransition() == "start" && b.GetStatus() == "succeeded"
}

// endOf is when a build was done, in seconds; where nobody said, when it was asked for.
func endOf(b *insightsv1.Build) int64 {
	if b.GetFinishedAt() != nil {
		return b.GetFinishedAt().GetSeconds()
	}
	return b.GetCreatedAt().GetSeconds()
}

// runsOf are the times in which a workspace ran: from each start that succeeded to the next stop or delete that did, or to the present; not
// those of which a build is missing before that.
func (ref queryReference) runsOf(workspace string) (runs []refWindow) {
	builds := ref.buildsOf(workspace)
	for i, b := range builds {
		if !starts(b) {
			continue
		}
		run, number := refWindow{floor(endOf(b), 60), propertyNow.Unix() / 60}, b.GetNumber()
		for _, next := range builds[i+1:] {
			if number++; next.GetNumber() != number {
				run.to = run.from // nobody knows
			} else if next.GetTransition() == "start" || next.GetStatus() != "succeeded" {
				continue
			} else {
				run.to = floor(next.GetCreatedAt().GetSeconds()+59, 60)
			}
			break
		}
		runs = append(runs, run)
	}
	return runs
}

// things are what a question counts of workspaces.
func (ref queryReference) things(q queried) iter.Seq[thing] {
	return func(yield func(thing) bool) {
		for _, ws := range ref.w.catalog.GetWorkspaces() {
			of := stay{seated{use{ws.GetTemplateId(), ref.w.ownerInTheEnd(ws), "", ""}, ws.GetId()}, false, 0}
			if !slices.Contains(q.templates, of.template) || !ref.counts(of, q) {
				continue
			}
			if q.asks(metricsOfTime) && !ref.eachMinute(q, of, yield) || q.asks(metricsOfBuilds) && !ref.eachBuild(q, of, yield) {
				return
			}
		}
	}
}

// eachMinute goes through the minutes of the window in which a workspace ran.
func (ref queryReference) eachMinute(q queried, of stay, yield func(thing) bool) bool {
	visitors, somewhere := map[int64]map[string]bool{}, map[int64]bool{} // of minutes, and half hours
	for s, minutes := range ref.stays {
		if s.sample || s.kind == "login" || s.template != of.template {
			continue
		}
		if s.workspace == "" && s.user == of.user {
			somewhere[s.halfHour] = true
		}
		if s.workspace != of.workspace {
			continue
		}
		for _, m := range minutes {
			mark(visitors, m, s.user)
		}
	}
	runs, passes, window := ref.runsOf(of.workspace), false, q.window()
	for m := window.from; m < window.to; m++ {
		if half := floor(m, 30); half != of.halfHour {
			of.halfHour = half
			passes = ref.passes(q, func(d string) []string { return ref.valuesOf(of, d, q.propertyQuestion) })
		}
		if !passes || !slices.ContainsFunc(runs, func(r refWindow) bool { return r.from <= m && m < r.to }) {
			continue
		}
		x := thing{stay: of, minute: m, kind: "unattended"}
		if len(visitors[m]) > 0 {
			x.kind = "attended"
		} else if somewhere[of.halfHour] {
			x.kind = "unknown"
		}
		for user := range visitors[m] {
			x.visitors = append(x.visitors, user)
		}
		if !yield(x) {
			return false
		}
	}
	return true
}

// eachBuild goes through the builds of a workspace that were asked for in the window.
func (ref queryReference) eachBuild(q queried, of stay, yield func(thing) bool) bool {
	window := q.window()
	for _, b := range ref.buildsOf(of.workspace) {
		x := thing{stay: of, build: b, minute: floor(b.GetCreatedAt().GetSeconds(), 60)}
		x.halfHour = floor(x.minute, 30)
		if x.minute < window.from || x.minute >= window.to ||
			!ref.passes(q, func(d string) []string { return ref.valuesOfThing(x, d, q.propertyQuestion) }) {
			continue
		}
		x.ready, x.wait = ref.readiness(b)
		if !yield(x) {
			return false
		}
	}
	return true
}

// readiness is how long somebody waited for a start, and whether all of its agents connected: those that were made after it was asked for
// and before the next one was.
func (ref queryReference) readiness(b *insightsv1.Build) (ready bool, wait float64) {
	if !starts(b) {
		return false, 0
	}
	ended := max(b.GetCreatedAt().GetSeconds(), endOf(b))
	for _, a := range ref.w.made {
		if a.workspace != b.GetWorkspaceId() || ref.madeBy(a) != b {
			continue
		}
		if a.connected == 0 {
			return false, 0
		}
		ended = max(ended, a.connected)
	}
	return true, float64(ended - b.GetCreatedAt().GetSeconds())
}

// madeBy is the start, whatever became of it, that was asked for last before an agent was made.
func (ref queryReference) madeBy(a madeAgent) (start *insightsv1.Build) {
	for _, b := range ref.buildsOf(a.workspace) {
		if asked := b.GetCreatedAt().GetSeconds(); b.GetTransition() == "start" && asked <= a.at &&
			(start == nil || asked >= start.GetCreatedAt().GetSeconds()) {
			start = b
		}
	}
	return start
}
