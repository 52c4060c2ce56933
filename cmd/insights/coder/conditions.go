package coder

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/template-insights/insights/store"
)

// liveAgent is an agent of the newest build of a workspace.
type liveAgent struct {
	store.AgentCondition

	template  uuid.UUID
	connected *time.Time // for the first time; nil: not yet
	seen      *time.Time
}

// silent is how long an agent may say nothing and is connected, as Coder has it.
const silent = `INTERVAL '30 seconds'`

// conditions calls f with the state of the agents that there are.
func (d *Database) conditions(ctx context.Context, tx pgx.Tx, organization *uuid.UUID, f func([]liveAgent) error) error {
	err := each(ctx, tx, `SELECT workspace_agents.id, now(), workspaces.template_id, CASE WHEN first_connected_at IS NULL THEN 'connecting'
			WHEN disconnected_at > last_connected_at OR last_connected_at < now() - `+silent+` THEN 'disconnected' ELSE 'connected' END,
			lifecycle_state::text, first_connected_at, last_connected_at
		FROM workspaces JOIN LATERAL (SELECT job_id FROM workspace_builds WHERE workspace_id = workspaces.id
			ORDER BY build_number DESC LIMIT 1) AS newest ON true
		JOIN workspace_resources ON workspace_resources.job_id = newest.job_id
		JOIN workspace_agents ON workspace_agents.resource_id = workspace_resources.id
		WHERE NOT workspaces.deleted AND ($1::uuid IS NULL OR workspaces.organization_id = $1)`,
		func(row pgx.CollectableRow) (a liveAgent, err error) {
			var at *time.Time
			err = row.Scan(&a.AgentID, &at, &a.template, &a.Status, &a.LifecycleState, &a.connected, &a.seen)
			a.At = instant(at)
			return a, err
		}, f, organization)
	if err != nil {
		return fmt.Errorf("read the state of agents: %w", err)
	}
	return nil
}

// recordConditions keeps the states of agents that are other ones than before.
func (i *Importer) recordConditions(ctx context.Context, agents []liveAgent) error {
	if i.dry {
		return nil
	}
	modeOf, err := i.modes(ctx)
	if err != nil {
		return err
	}
	var conditions []store.AgentCondition
	var states []store.AgentState
	for _, a := range agents {
		if modeOf(a.template) != store.PrivacyOff && i.conditions[a.AgentID] != [2]string{a.Status, a.LifecycleState} {
			conditions = append(conditions, a.AgentCondition)
			if a.connected != nil {
				states = append(states, store.AgentState{
					AgentID: a.AgentID, FirstConnectedAt: instant(a.connected), LastSeenAt: instant(a.seen),
				})
			}
		}
	}
	if err := errors.Join(i.to.RecordAgentConditions(ctx, conditions), i.to.TouchAgents(ctx, states)); err != nil {
		return err
	}
	if len(i.conditions) > maxKnown {
		clear(i.conditions)
	}
	for _, c := range conditions {
		i.conditions[c.AgentID] = [2]string{c.Status, c.LifecycleState}
	}
	return nil
}
