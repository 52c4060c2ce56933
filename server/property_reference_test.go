package server_test

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
)

// The naive reference: what the documents say, in sets of minutes and loops over them. It shares no code with the service.

// use is where a minute was spent.
type use struct{ template, user, kind, app string }

// seated is a use at a workspace, which is empty where none is known.
type seated struct {
	use

	workspace string
}

// reference is all that people used and that was measured of them.
type reference struct {
	seats   map[seated]map[int64]bool       // of all accounts
	sampled map[[3]string]map[int64]float64 // of all accounts, by template, user and workspace: of a minute the quickest
	first   map[string]int64                // by template: the first minute of which use was told, whether or not it counts
	uses    map[use]map[int64]bool          // of people, at whichever workspace
	others  map[use]map[int64]bool          // of accounts that are no people
	samples map[[2]string]map[int64]float64 // of people, by template and user: of a minute the quickest
	guessed map[[2]string]map[int64]bool    // of people, by template and user: minutes that are used by estimate
	apps    map[[2]string][3]string         // by template and slug: slug, display name and icon
	names   map[string]string               // of users
	kinds   map[string]string               // of users
	builds  []*insightsv1.Event             // in the order of their numbers
}

func newReference(w world) reference {
	ref := reference{
		seats: map[seated]map[int64]bool{}, sampled: map[[3]string]map[int64]float64{}, first: map[string]int64{},
		uses: map[use]map[int64]bool{}, others: map[use]map[int64]bool{}, samples: map[[2]string]map[int64]float64{},
		guessed: map[[2]string]map[int64]bool{}, apps: map[[2]string][3]string{}, names: map[string]string{}, kinds: map[string]string{},
	}
	home, owner := map[string]*insightsv1.Workspace{}, map[string]string{} // of agents
	for _, a := range w.catalog.GetAgents() {
		for _, ws := range w.catalog.GetWorkspaces() {
			if ws.GetId() == a.GetWorkspaceId() {
				home[a.GetId()], owner[a.GetId()] = ws, ws.GetOwnerId()
			}
		}
		for _, app := range w.catalog.GetApps() { // agents come in the order of their creation: the newest has the last word
			if app.GetAgentId() == a.GetId() {
				key := [2]string{home[a.GetId()].GetTemplateId(), app.GetSlug()}
				ref.apps[key] = [3]string{app.GetSlug(), app.GetDisplayName(), app.GetIcon()}
			}
		}
	}
	for _, u := range w.catalog.GetUsers() {
		ref.names[u.GetId()], ref.kinds[u.GetId()] = u.GetUsername(), cmp.Or(u.GetKind(), "human")
	}
	connected := map[[2]string]map[int64]bool{} // half hours by template and user
	for i, part := range w.parts {
		for _, ws := range w.handed {
			for _, a := range w.catalog.GetAgents() {
				if i > 0 && a.GetWorkspaceId() == ws.GetId() {
					owner[a.GetId()] = ws.GetOwnerId()
				}
			}
		}
		for _, r := range part.reports {
			ws := home[r.GetAgentId()]
			ref.addReport(r, [3]string{ws.GetTemplateId(), owner[r.GetAgentId()], ws.GetId()}, connected)
		}
	}
	measured := map[[3]string]map[int64]bool{} // half hours by template, user and kind
	for s, minutes := range ref.seats {
		for m := range minutes {
			mark(measured, [3]string{s.template, s.user, s.kind}, floor(m, 30))
		}
		maps.DeleteFunc(minutes, func(m int64, _ bool) bool { return !connected[[2]string{s.template, s.user}][floor(m, 30)] })
	}
	for _, s := range w.sessions {
		ref.addSession(s, home[s.GetAgentId()], measured)
	}
	for _, e := range w.estimates {
		ref.tell(e.template, 30*e.halfHour)
		for m := 30 * e.halfHour; m < 30*e.halfHour+int64(e.minutes) && !measured[[3]string{e.template, e.user, e.kind}][e.halfHour]; m++ {
			mark(ref.seats, seated{use{e.template, e.user, e.kind, e.app}, e.workspace}, m)
			if ref.kinds[e.user] == "human" {
				mark(ref.guessed, [2]string{e.template, e.user}, m)
			}
		}
	}
	for _, l := range w.logins {
		mark(ref.seats, seated{use: use{"", l.GetLogin().GetUserId(), "login", ""}}, floor(l.GetAt().GetSeconds(), 60))
	}
	ref.unite()
	return ref
}

// unite takes workspaces together, of people and of others.
func (ref reference) unite() {
	for s, minutes := range ref.seats {
		whose := ref.uses
		if ref.kinds[s.user] != "human" {
			whose = ref.others
		}
		for m := range minutes {
			mark(whose, s.use, m)
		}
	}
	for key, samples := range ref.sampled {
		for m, ms := range samples {
			if ref.kinds[key[1]] == "human" {
				measure(ref.samples, [2]string{key[0], key[1]}, m, ms)
			}
		}
	}
}

// otherActors is what is said of those who are no people, by actor.
func (ref reference) otherActors(w refWindow, templates []string) (others []*insightsv1.OtherActor) {
	for _, kind := range []string{"service", "system"} {
		users, _ := reference{uses: ref.others}.of(w, func(u use) bool { return ref.kinds[u.user] == kind && usage(templates)(u) })
		if len(users) > 0 {
			seconds, _ := sum(users)
			others = append(others, &insightsv1.OtherActor{Actor: kind, Actors: int64(len(users)), Seconds: seconds})
		}
	}
	return others
}

// addReport adds what an agent said, whose template, owner and workspace are in the key: sessions that count if they are connected, and a
// sample.
func (ref reference) addReport(r *insightsv1.AgentReport, key [3]string, connected map[[2]string]map[int64]bool) {
	last := floor(r.GetCollectedAt().GetSeconds(), 60)
	names := map[string]int64{"vscode": r.GetSessionCountVscode(), "ssh": r.GetSessionCountSsh()}
	if len(r.GetSessionCounts()) > 0 {
		names = r.GetSessionCounts()
	}
	for m := last - max(1, (r.GetInterval().GetSeconds()+59)/60) + 1; m <= last; m++ {
		for name, open := range names {
			if open <= 0 {
				continue
			}
			ref.tell(key[0], m)
			mark(ref.seats, seated{use{key[0], key[1], "session", sessionNames[name]}, key[2]}, m)
			if r.GetConnectionCount() > 0 {
				mark(connected, [2]string{key[0], key[1]}, floor(m, 30))
			}
		}
	}
	if ms := r.GetConnectionMedianLatencyMs(); ms > 0 {
		measure(ref.sampled, key, last, ms)
	}
}

// addSession adds the visit of an app, which is measured in its half hours.
func (ref reference) addSession(s *insightsv1.AppSession, at *insightsv1.Workspace, measured map[[3]string]map[int64]bool) {
	app := s.GetSlugOrPort()
	if s.GetAccessMethod() == "terminal" {
		app = "[terminal]"
	}
	end := s.GetEndedAt().AsTime().Add(-time.Microsecond).Unix()
	for m := floor(s.GetStartedAt().GetSeconds(), 60); m <= floor(end, 60); m++ {
		ref.tell(at.GetTemplateId(), m)
		mark(ref.seats, seated{use{at.GetTemplateId(), s.GetUserId(), "app", app}, at.GetId()}, m)
		mark(measured, [3]string{at.GetTemplateId(), s.GetUserId(), "app"}, floor(m, 30))
	}
}

// tell notes that use of a template was told of a minute.
func (ref reference) tell(template string, m int64) {
	if before, told := ref.first[template]; !told || m < before {
		ref.first[template] = m
	}
}

// measure keeps a sample if it is the quickest of its minute.
func measure[K comparable](samples map[K]map[int64]float64, key K, m int64, ms float64) {
	if samples[key] == nil {
		samples[key] = map[int64]float64{}
	}
	if before, known := samples[key][m]; !known || ms < before {
		samples[key][m] = ms
	}
}

// estimated reports whether some of what was used is an estimate.
func (ref reference) estimated(w refWindow, templates []string) bool {
	for key, minutes := range ref.guessed {
		for m := range minutes {
			if slices.Contains(templates, key[0]) && m >= w.from && m < w.to {
				return true
			}
		}
	}
	return false
}

func mark[K, V comparable](sets map[K]map[V]bool, key K, v V) {
	if sets[key] == nil {
		sets[key] = map[V]bool{}
	}
	sets[key][v] = true
}

// floor divides rounding down; all times are after 1970.
func floor(n, by int64) int64 { return n / by }

// window is the minutes from one on and before another.
type refWindow struct{ from, to int64 }

// of returns the minutes of each user, and the templates they were spent in, of what the filter lets through.
func (ref reference) of(w refWindow, filter func(use) bool) (users map[string]map[int64]bool, templates []string) {
	users, in := map[string]map[int64]bool{}, map[string]bool{}
	for u, minutes := range ref.uses {
		if !filter(u) {
			continue
		}
		for m := range minutes {
			if m >= w.from && m < w.to {
				mark(users, u.user, m)
				in[u.template] = true
			}
		}
	}
	return users, slices.Sorted(maps.Keys(in))
}

// within is what was used in a window.
func (ref reference) within(w refWindow) reference {
	uses := map[use]map[int64]bool{}
	for u, minutes := range ref.uses {
		for m := range minutes {
			if m >= w.from && m < w.to {
				mark(uses, u, m)
			}
		}
	}
	ref.uses = uses
	return ref
}

// usage is what lets through the usage of templates.
func usage(templates []string) func(use) bool {
	return func(u use) bool { return u.kind != "login" && slices.Contains(templates, u.template) }
}

// runs counts the runs of consecutive half hours with use.
func runs(minutes map[int64]bool) (n int64) {
	halves := map[int64]bool{}
	for m := range minutes {
		halves[floor(m, 30)] = true
	}
	for h := range halves {
		if !halves[h-1] {
			n++
		}
	}
	return n
}

// sum adds up minutes and runs over users.
func sum(users map[string]map[int64]bool) (seconds, launches int64) {
	for _, minutes := range users {
		seconds += 60 * int64(len(minutes))
		launches += runs(minutes)
	}
	return seconds, launches
}

// familyOf is the family of a session app.
func familyOf(name string) string {
	for family, names := range map[string]string{
		"vscode": "vscode vscode_insiders cursor", "jetbrains": "jetbrains", "reconnecting_pty": "reconnecting_pty", "ssh": "ssh zed",
		"sftp": "sftp",
	} {
		if slices.Contains(strings.Fields(names), name) {
			return family
		}
	}
	return "unknown"
}

// editorNames are what people call session apps, and their pictures.
var editorNames = map[string][2]string{
	"vscode": {"VS Code", "/icon/code.svg"}, "vscode_insiders": {"VS Code Insiders", "/icon/code-insiders.svg"},
	"cursor": {"Cursor", "/icon/cursor.svg"}, "jetbrains": {"JetBrains", "/icon/intellij.svg"},
	"reconnecting_pty": {"Web Terminal", "/icon/terminal.svg"}, "ssh": {"SSH", "/icon/terminal.svg"}, "zed": {"Zed", "/icon/zed.svg"},
	"sftp": {"SFTP", "/icon/terminal.svg"}, "my_editor": {"my_editor"}, "unknown": {"unknown"},
}

// builtinEntries are the five that are always there, and the one for other editors.
var builtinEntries = []*insightsv1.AppUsage{
	{Family: "vscode", Slug: "vscode", DisplayName: "Visual Studio Code", Icon: "/icon/code.svg"},
	{Family: "jetbrains", Slug: "jetbrains", DisplayName: "JetBrains", Icon: "/icon/intellij.svg"},
	{Family: "reconnecting_pty", Slug: "reconnecting-pty", DisplayName: "Web Terminal", Icon: "/icon/terminal.svg"},
	{Family: "ssh", Slug: "ssh", DisplayName: "SSH", Icon: "/icon/terminal.svg"},
	{Family: "sftp", Slug: "sftp", DisplayName: "SFTP", Icon: "/icon/terminal.svg"},
	{Family: "unknown", Slug: "unknown", DisplayName: "Other Editors"},
}

// entryKey says which entry of an answer a use belongs to: a family, or slug, display name and icon.
func (ref reference) entryKey(u use) (key [3]string, shown bool) {
	if u.kind == "session" {
		return [3]string{familyOf(u.app)}, true
	}
	key, shown = ref.apps[[2]string{u.template, u.app}]
	return key, shown && u.kind == "app"
}

// entries are the builtin entries, the one for other editors, and the apps that were used, in order.
func (ref reference) entries(w refWindow, templates []string) (list []*insightsv1.AppUsage) {
	keys := map[[3]string]bool{}
	for _, app := range ref.apps {
		keys[app] = true
	}
	fill := func(a *insightsv1.AppUsage, key [3]string) {
		of := func(u use) bool {
			k, shown := ref.entryKey(u)
			return shown && k == key && usage(templates)(u)
		}
		users, in := ref.of(w, of)
		a.Seconds, a.TimesUsed = sum(users)
		a.TemplateIds = in
		for _, name := range slices.Sorted(maps.Values(sessionNames)) {
			editor := func(u use) bool { return of(u) && u.kind == "session" && u.app == name }
			if users, in := ref.of(w, editor); len(users) > 0 {
				seconds, launches := sum(users)
				called := editorNames[name]
				a.Editors = append(a.Editors, &insightsv1.EditorUsage{
					Name: name, TemplateIds: in, Seconds: seconds, TimesUsed: launches, DisplayName: called[0], Icon: called[1],
				})
			}
		}
		list = append(list, a)
	}
	for _, b := range builtinEntries {
		fill(&insightsv1.AppUsage{
			Type: "builtin", Family: b.GetFamily(), Slug: b.GetSlug(), DisplayName: b.GetDisplayName(), Icon: b.GetIcon(),
		}, [3]string{b.GetFamily()})
	}
	for _, k := range slices.SortedFunc(maps.Keys(keys), func(a, b [3]string) int { return slices.Compare(a[:], b[:]) }) {
		fill(&insightsv1.AppUsage{Type: "app", Family: "workspace_app", Slug: k[0], DisplayName: k[1], Icon: k[2]}, k)
	}
	return list
}

// activity ranks users.
func (ref reference) activity(w refWindow, templates []string, location *time.Location) (list []*insightsv1.UserActivity) {
	users, _ := ref.of(w, usage(templates))
	for id, minutes := range users {
		own := func(u use) bool { return u.user == id && usage(templates)(u) }
		_, in := ref.of(w, own)
		days := map[string]int64{}
		for m := range minutes {
			days[dateOf(m, location)]++
		}
		perDay := slices.Sorted(maps.Values(days))
		a := &insightsv1.UserActivity{
			UserId: id, Username: ref.names[id], TemplateIds: in, Seconds: 60 * int64(len(minutes)), ActiveDays: int64(len(days)),
			Kind: ref.kinds[id],
		}
		a.MedianDailySeconds = 30 * (perDay[(len(days)-1)/2] + perDay[len(days)/2])
		one := reference{uses: maps.Clone(ref.uses), apps: ref.apps}
		maps.DeleteFunc(one.uses, func(u use, _ map[int64]bool) bool { return !own(u) })
		for _, e := range one.entries(w, templates) {
			if e.GetSeconds() > 0 {
				a.Apps = append(a.Apps, &insightsv1.UserAppUsage{
					Type: e.GetType(), Slug: e.GetSlug(), DisplayName: e.GetDisplayName(), Seconds: e.GetSeconds(),
				})
			}
		}
		slices.SortStableFunc(a.Apps, func(a, b *insightsv1.UserAppUsage) int { return cmp.Compare(b.GetSeconds(), a.GetSeconds()) })
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b *insightsv1.UserActivity) int {
		return cmp.Or(cmp.Compare(b.GetSeconds(), a.GetSeconds()), cmp.Compare(a.GetUsername(), b.GetUsername()))
	})
	return list
}

// latencies are the samples of a user, ascending: one per template and minute.
func (ref reference) latencies(w refWindow, templates []string, user string) (list []float64) {
	for key, samples := range ref.samples {
		for m, ms := range samples {
			if key[1] == user && m >= w.from && m < w.to && slices.Contains(templates, key[0]) {
				list = append(list, ms)
			}
		}
	}
	slices.Sort(list)
	return list
}

// percentile interpolates between the two nearest of sorted samples.
func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return -1
	}
	at := p * float64(len(sorted)-1)
	low := int(at)
	return sorted[low] + (at-float64(low))*(sorted[min(low+1, len(sorted)-1)]-sorted[low])
}

// ratings are the ones that the sample at rank ⌈percent·n/100⌉ may have: two if it is within 2.6 % of a border.
func ratings(sorted []float64, percent int) []string {
	if len(sorted) == 0 {
		return []string{"unknown"}
	}
	of := func(ms float64) string {
		switch {
		case ms < 150:
			return "good"
		case ms <= 300:
			return "moderate"
		}
		return "poor"
	}
	rank := 1
	for rank*100 < percent*len(sorted) {
		rank++
	}
	ms := sorted[rank-1]
	return []string{of(ms * 0.974), of(ms * 1.026)}
}

// dateOf is the date that a minute has at a location.
func dateOf(m int64, location *time.Location) string {
	return time.Unix(60*m, 0).In(location).Format(time.DateOnly)
}

// choices is which regions the workspaces of some templates run with by what happened within a window.
func (ref reference) choices(w world, within refWindow, templates []string) []*insightsv1.ParameterUsage {
	template := map[string]string{}
	for _, ws := range w.catalog.GetWorkspaces() {
		if ref.kinds[w.ownerInTheEnd(ws)] == "human" {
			template[ws.GetId()] = ws.GetTemplateId()
		}
	}
	counts, in := map[string]int64{}, map[string]bool{}
	for workspace, value := range chosen(ref.builds, within) {
		if slices.Contains(templates, template[workspace]) {
			counts[value]++
			in[template[workspace]] = true
		}
	}
	if len(counts) == 0 {
		return nil
	}
	usage := &insightsv1.ParameterUsage{
		TemplateIds: slices.Sorted(maps.Keys(in)), Name: "region", DisplayName: "region", Type: "string", Options: regions(),
	}
	for _, value := range []string{"eu", "us"} {
		if counts[value] > 0 {
			usage.Values = append(usage.Values, &insightsv1.ParameterValue{Value: value, Count: counts[value]})
		} else {
			usage.UnusedOptions = append(usage.UnusedOptions, value)
		}
	}
	return []*insightsv1.ParameterUsage{usage}
}
