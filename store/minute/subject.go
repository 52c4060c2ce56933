package minute

// A subject is a person at a workspace, in one number: the person, and below it, in the lowest SeatBits bits, the seat. Rows
// sorted by subject are sorted by person, so those of all seats of a person lie side by side.
const (
	// SeatBits is how many bits of a subject are the seat's.
	SeatBits = 24
	// MaxSeat is the highest number of a seat. Seats count the workspaces of a person from 1; seat 0 is any of them, where it is
	// not known which.
	MaxSeat = 1<<SeatBits - 1
	// MaxPerson is the highest number of a person; the lowest is 1.
	MaxPerson = 1<<(63-SeatBits) - 1
)

// SubjectOf returns the subject of a person, 1 to MaxPerson, at a seat, 0 to MaxSeat.
func SubjectOf(person int64, seat int32) int64 { return person<<SeatBits | int64(seat) }

// PersonOf returns the person of a subject.
func PersonOf(subject int64) int64 { return subject >> SeatBits }

// SeatOf returns the seat of a subject.
func SeatOf(subject int64) int32 { return int32(subject & MaxSeat) }
