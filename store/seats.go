package store

import (
	"maps"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"

	"github.com/template-insights/insights/store/minute"
)

// seatRow is the link of a subject to a workspace.
type seatRow struct {
	Subject     int64
	WorkspaceID uuid.UUID
}

// TableName implements the naming of GORM.
func (seatRow) TableName() string { return "seats" }

// seat is a person at a workspace.
type seat struct {
	person    int64
	workspace uuid.UUID
}

// readSeats returns the numbers of the visits of people: where a workspace is known, of those who have a seat there.
func readSeats(tx *gorm.DB, visits []Visit, people map[uuid.UUID]int64) (map[Visit]int64, error) {
	workspaces := map[uuid.UUID]bool{}
	for _, v := range visits {
		if people[v.User] != 0 && v.Workspace != uuid.Nil {
			workspaces[v.Workspace] = true
		}
	}
	seats := make(map[seat]int64, len(workspaces))
	for batch := range slices.Chunk(slices.Collect(maps.Keys(workspaces)), readBatch) {
		var found []seatRow
		if err := tx.Where("workspace_id IN ?", batch).Find(&found).Error; err != nil {
			return nil, err
		}
		for _, f := range found {
			seats[seat{minute.PersonOf(f.Subject), f.WorkspaceID}] = f.Subject
		}
	}
	subjects := make(map[Visit]int64, len(visits))
	for _, v := range visits {
		person, known := people[v.User]
		if !known {
			continue
		}
		subject := minute.SubjectOf(person, 0)
		if v.Workspace != uuid.Nil {
			if subject, known = seats[seat{person, v.Workspace}]; !known {
				continue
			}
		}
		subjects[v] = subject
	}
	return subjects, nil
}

// makeSeats gives people seats at the workspaces that they visit and have none at. Who has as many as there are numbers gets no more.
func makeSeats(tx *gorm.DB, visits []Visit, people map[uuid.UUID]int64) error {
	wanted := map[int64][]uuid.UUID{}
	for _, v := range visits {
		if person := people[v.User]; person != 0 && v.Workspace != uuid.Nil && !slices.Contains(wanted[person], v.Workspace) {
			wanted[person] = append(wanted[person], v.Workspace)
		}
	}
	for len(wanted) > 0 {
		// Whoever raises the number of a person's seats is alone with them until the transaction ends.
		var numbers []struct {
			Person int64
			Seats  int32
		}
		err := tx.Raw(`UPDATE people SET seats = seats + 1 WHERE person IN ? AND seats < ? RETURNING person, seats`,
			slices.Sorted(maps.Keys(wanted)), minute.MaxSeat).Scan(&numbers).Error
		if err != nil {
			return err
		}
		if len(numbers) == 0 {
			return nil
		}
		var fresh []seatRow
		left := map[int64][]uuid.UUID{}
		for _, n := range numbers {
			workspaces := wanted[n.Person]
			fresh = append(fresh, seatRow{minute.SubjectOf(n.Person, n.Seats), workspaces[0]})
			if len(workspaces) > 1 {
				left[n.Person] = workspaces[1:]
			}
		}
		// Another server may have given a seat there before: its number counts, and this one is left out.
		if err := tx.Clauses(clause.OnConflict{DoNothing: true}).CreateInBatches(fresh, writeBatch).Error; err != nil {
			return err
		}
		wanted = left
	}
	return nil
}
