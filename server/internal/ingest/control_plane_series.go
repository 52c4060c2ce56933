package ingest

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"

	insightsv1 "github.com/template-insights/insights/gen/insights/v1"
	"github.com/template-insights/insights/server/internal/call"
	"github.com/template-insights/insights/server/internal/exposition"
	"github.com/template-insights/insights/store"
	"github.com/template-insights/insights/store/access"
)

// maxCount is the highest count that a series of a histogram holds exactly.
const maxCount = 1 << 53

// series checks a series against its family and the caller's grant.
func (k eventParents) series(
	caller access.Principal, m *insightsv1.Metric, now time.Time,
) (s store.ControlPlaneSeries, rejected *rejection) {
	f, suffix := k.controlPlane.Family(m.GetName())
	if f == nil {
		return s, invalidItem("name: family %q is none of the control plane", call.Shorten(m.GetName()))
	}
	if m.GetType() != string(f.Kind) {
		return s, invalidItem("type: family %s is a %s", f.Name, f.Kind)
	}
	if v := m.GetValue(); math.IsNaN(v) || math.IsInf(v, 0) || v < 0 && f.Kind != exposition.GaugeFamily {
		return s, invalidItem("value: must be a finite number, and only that of a gauge may be negative")
	}
	if v := m.GetValue(); suffix != "" && suffix != exposition.SumSuffix && (v != math.Trunc(v) || v > maxCount) {
		return s, invalidItem("value: a count must be a whole number up to 2^53")
	}
	names := f.Labels
	if suffix == exposition.BucketSuffix {
		names = append(slices.Clone(names), exposition.BoundLabel)
	}
	for name := range m.GetLabels() {
		if !slices.Contains(names, name) && name != exposition.InitiatorLabel {
			return s, invalidItem("labels: series %s has the labels %v, not %q", m.GetName(), names, call.Shorten(name))
		}
	}
	// One that is not given is as good as empty: versions of a control plane differ in their labels.
	labels := map[string]string{}
	for _, name := range names {
		labels[name] = m.GetLabels()[name]
		if err := call.CheckText(labels[name]); err != nil {
			return s, invalidItem("labels.%s: %v", name, err)
		}
	}
	if who := m.GetLabels()[exposition.InitiatorLabel]; who != "" {
		hash := sha256.Sum256([]byte(who)) // series are told apart, and nobody's id is kept
		labels[exposition.InitiatorLabel] = hex.EncodeToString(hash[:])
	}
	if suffix == exposition.BucketSuffix {
		bound, err := strconv.ParseFloat(labels[exposition.BoundLabel], 64)
		if err != nil || math.IsNaN(bound) {
			return s, invalidItem("labels.%s: must be a number or +Inf", exposition.BoundLabel)
		}
		labels[exposition.BoundLabel] = strconv.FormatFloat(bound, 'g', -1, 64) // one text for one bound
	}
	if slices.Contains(f.Labels, exposition.OrganizationLabel) {
		organization, rejected := k.organization(caller, labels[exposition.OrganizationLabel])
		if rejected != nil {
			return s, rejected
		}
		labels[exposition.OrganizationLabel] = organization.String() // another one may have the name tomorrow
	} else if !caller.HoldsEverywhere(access.IngestAny) {
		return s, invalidItem("name: family %s is about the whole deployment, and the caller's grant is not", f.Name)
	}
	text, err := json.Marshal(labels) // in the order of the names
	if err != nil {
		return s, invalidItem("labels: %v", err)
	}
	return store.ControlPlaneSeries{Name: m.GetName(), Labels: string(text), Value: m.GetValue(), ReportedAt: store.At(now)}, nil
}

// organization finds the organization of a name within the caller's grant.
func (k eventParents) organization(caller access.Principal, name string) (uuid.UUID, *rejection) {
	for id, known := range k.organizations {
		if known == name && caller.HoldsIn(access.IngestAny, id) {
			return id, nil
		}
	}
	return uuid.Nil, &rejection{
		causeUnknown, fmt.Sprintf("labels.%s: organization %q is not in the catalog", exposition.OrganizationLabel, name), false,
	}
}
