package usage

import (
	"context"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"gorm.io/gorm"
)

const dropBatch = 5000 // templates of one statement

// DropLatencies deletes all latencies of templates.
func (e *Engine) DropLatencies(ctx context.Context, templates []uuid.UUID) error {
	for batch := range slices.Chunk(templates, dropBatch) {
		for _, statement := range []struct {
			text string
			args []any
		}{
			{`DELETE FROM usage_rows WHERE ` + LatencyRows + ` AND template_id IN ?`, []any{batch}},
			// In the order in which folds and rewriting move what is there. One that read the page before one of these statements finds
			// another version and starts again.
			{
				`UPDATE usage_day SET latency = ?, version = version + 1 WHERE length(latency) > 0 AND template_id IN ?`,
				[]any{[]byte{}, batch},
			},
			{
				`UPDATE usage_pages SET latency = ?, version = version + 1 WHERE length(latency) > 0 AND template_id IN ?`,
				[]any{[]byte{}, batch},
			},
		} {
			err := e.db.Write(ctx, func(tx *gorm.DB) error { return tx.Exec(statement.text, statement.args...).Error })
			if err != nil {
				return fmt.Errorf("delete latencies: %w", err)
			}
		}
	}
	return nil
}
