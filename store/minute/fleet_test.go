package minute

import (
	"math/rand/v2"
)

// fleet returns the rows of a plausible day of one template: each user works some seven hours within eight and a half, in one editor and
// now and then by SSH and in a web app, while the latency wanders about the user's own. Some are at another seat in the afternoon, and
// some have a second editor that they use now and then beside the first.
func fleet(template uint64, users int, day int32) []Row {
	who := rand.New(rand.NewPCG(template, 0))
	r := rand.New(rand.NewPCG(template, uint64(day)+1))
	var rows []Row
	for range users {
		subject := SubjectOf(int64(1+who.Uint64N(MaxPerson)), 1)
		editor := []string{"vscode", "jetbrains", "cursor"}[who.IntN(3)]
		app := []string{"code-server", "jupyter", "filebrowser", "8080"}[who.IntN(4)]
		seats, second := who.IntN(7), who.IntN(3)
		latency, begin := 40+who.IntN(90), day*HalfHoursPerDay+14+int32(r.IntN(8))
		for half := begin; half < begin+17; half++ {
			m := fullMask
			switch x := r.Float64(); {
			case x < 0.08: // a break
				continue
			case x < 0.35: // away for a while
				m = between(r.IntN(30), r.IntN(30))
			}
			if seats == 0 && half >= begin+8 {
				subject = SubjectOf(PersonOf(subject), 2)
			}
			rows = append(rows, Row{HalfHour: half, Subject: subject, Kind: Session, App: editor, Minutes: m, Connected: true})
			if second == 0 && r.Float64() < 0.15 {
				rows = append(rows, Row{HalfHour: half, Subject: subject, Kind: Session, App: "zed", Minutes: m, Connected: true})
			}
			if r.Float64() < 0.25 {
				ssh := m & Mask(r.Uint32())
				rows = append(rows, Row{HalfHour: half, Subject: subject, Kind: Session, App: "ssh", Minutes: ssh, Connected: true})
			}
			if r.Float64() < 0.15 {
				web := m & between(r.IntN(30), r.IntN(30))
				rows = append(rows, Row{HalfHour: half, Subject: subject, Kind: App, App: app, Minutes: web})
			}
			bins := make([]byte, m.Count())
			for i := range bins {
				bins[i] = byte(latency + int(r.NormFloat64()*3))
			}
			rows = append(rows, Row{HalfHour: half, Subject: subject, Kind: Connection, Minutes: m, Bins: bins})
		}
	}
	return Normalize(rows)
}

// between returns the minutes from one to the other, both included, in either order.
func between(a, b int) Mask {
	return Mask(1)<<(max(a, b)+1) - Mask(1)<<min(a, b)
}
