//go:build !race

package chaos

// raceEnabled is whether the race detector runs.
const raceEnabled = false
