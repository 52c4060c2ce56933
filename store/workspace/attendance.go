package workspace

// Use is what is known of the use of a workspace.
type Use struct {
	// Here is the minutes in which somebody, of whichever kind, had a session in the workspace.
	Here Minutes
	// Somewhere is the half hours in which the owner used the template in a workspace that nobody knows: of an imported past, and before
	// usage had workspaces.
	Somewhere Minutes
}

// Attendance is whom a workspace ran for. Attended, Unattended and Unknown have no minute in common, and together they are the minutes in
// which it ran.
type Attendance struct {
	Attended   Minutes // somebody had a session there
	Unattended Minutes // nobody had: a nightly build or an agent at work, as well as waste
	Unknown    Minutes // somebody may have had one
	Outside    Minutes // use while the workspace did not run, as far as its builds tell
}

// Attend says whom a workspace ran for.
func Attend(running Minutes, use Use) Attendance {
	silent := running.Without(use.Here)
	return Attendance{
		Attended: running.Intersect(use.Here), Unattended: silent.Without(use.Somewhere), Unknown: silent.Intersect(use.Somewhere),
		Outside: use.Here.Without(running),
	}
}
